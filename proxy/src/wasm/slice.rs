//! How guests that compute for longer than a tick share their worker with everything else on it. Knows no guest.
//!
//! A guest that gives way at a tick goes on after the worker has looked at its sockets and timers and run whatever was
//! ready: tokio puts a task that merely wakes itself right back into its queue, where it would run some sixty times before
//! a socket is looked at. Those that compute at the same time take turns, so that however many they are, the others wait
//! for one tick and not for one of each. Calls of a plugin that lately computed for long take their turn before they begin:
//! what nothing interrupts, such as the filling of megabytes, then comes once before the worker looks at the others.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use wasmtime::UpdateDeadline;

use super::{
    deadline::{Deadline, Late},
    engine::Ticker,
};

thread_local! {
    // Who has it is the next of its thread to compute for a tick. A future of a store must be `Send`, and so must this.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    // How many times a guest gave way on this thread.
    static GIVEN_HERE: Cell<u64> = const { Cell::new(0) };
}

/// Ticks after which a call first gives way. It begins somewhere between two, so the first says nothing of how long it has
/// computed, and comes to many calls where there are many: each would wait for a turn, and have the ticks come faster.
pub(super) const FIRST: u64 = 2;

// Of all guests of the process.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// How many times guests gave way until now: for the ticker, to which it says that some compute for long.
pub(super) fn given() -> u64 {
    GIVEN.load(Relaxed)
}

/// What a store's guest does at a tick: it gives way, and has the next tick when it is its turn.
pub(super) fn give_way() -> UpdateDeadline {
    UpdateDeadline::YieldCustom(1, Box::pin(over()))
}

/// Comes when it is the turn of whoever computes here, and the worker has run what was ready.
pub(super) fn over() -> impl Future<Output = ()> + Send {
    GIVEN.fetch_add(1, Relaxed);
    GIVEN_HERE.set(GIVEN_HERE.get().wrapping_add(1));
    let turn = TURN.with(Arc::clone);
    async move {
        // Never closed.
        let turn = turn.acquire_owned().await;
        tokio::task::yield_now().await;
        drop(turn);
    }
}

/// How one plugin shares its worker.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a guest of it last computed for long.
    long: Cell<Option<Instant>>,
}

/// How long it is remembered that a plugin computed for long.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Ticks that begin in one poll of a guest that computes for long. One may begin in any.
const LONG_TICKS: u64 = 2;

impl Pace {
    /// Polls a guest, and remembers when it computed for long: when it gave way, or came to no place where it could.
    #[inline]
    pub(super) fn watch<T>(&self, ticker: &Ticker, poll: impl FnOnce() -> T) -> T {
        let (ticks, given) = (ticker.ticks(), GIVEN_HERE.get());
        let polled = poll();
        if GIVEN_HERE.get() != given || ticker.ticks().wrapping_sub(ticks) >= LONG_TICKS {
            self.long.set(Some(Instant::now()));
        }
        polled
    }

    /// Whether a guest of it computed for long lately.
    #[inline]
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.long.get().is_some_and(|long| now.saturating_duration_since(long) < REMEMBERED)
    }

    /// Lets a call begin `now`, in its turn where it may be a long one.
    ///
    /// # Errors
    /// [`Late`] where its turn does not come until `deadline`.
    pub(super) async fn begin(&self, now: Instant, deadline: Instant) -> Result<(), Late> {
        if self.is_slow(now) {
            // Boxed, because few have to wait and every call has room for it.
            return Box::pin(Deadline::within(deadline, over())).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::{io::AsyncReadExt, task::LocalSet};

    use super::*;

    // Rounds that guests compute in, until a socket of the same thread has been read.
    async fn rounds_until_read(guests: usize) -> usize {
        let (mut here, there) = tokio::net::UnixStream::pair().unwrap();
        let (rounds, read) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        for _ in 0..guests {
            let (rounds, read) = (Rc::clone(&rounds), Rc::clone(&read));
            tokio::task::spawn_local(async move {
                while !read.get() {
                    rounds.set(rounds.get() + 1);
                    over().await;
                }
            });
        }
        while rounds.get() < guests {
            tokio::task::yield_now().await;
        }
        there.try_write(b"x").unwrap();
        rounds.set(0);
        here.read_exact(&mut [0]).await.unwrap();
        read.set(true);
        rounds.get()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn however_many_compute_a_socket_is_looked_at_after_a_few_ticks() {
        for guests in [1, 10, 100] {
            let rounds = LocalSet::new().run_until(rounds_until_read(guests)).await;
            assert!(rounds <= 4, "{rounds} ticks of {guests} guests");
        }
    }

    // Calls that begin, each for the first time, until a socket of the same thread has been read.
    async fn calls_until_read(pace: Rc<Pace>, calls: usize) -> usize {
        let (mut here, there) = tokio::net::UnixStream::pair().unwrap();
        let begun = Rc::new(Cell::new(0));
        let later = Instant::now() + Duration::from_secs(60);
        for _ in 0..calls {
            let (pace, begun) = (Rc::clone(&pace), Rc::clone(&begun));
            tokio::task::spawn_local(async move {
                pace.begin(Instant::now(), later).await.unwrap();
                begun.set(begun.get() + 1);
            });
        }
        there.try_write(b"x").unwrap();
        here.read_exact(&mut [0]).await.unwrap();
        begun.get()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn calls_of_a_plugin_that_computed_for_long_begin_one_by_one() {
        let ticker = Ticker::still();
        let (slow, quick) = (Rc::new(Pace::default()), Rc::new(Pace::default()));
        slow.watch(&ticker, || drop(give_way()));
        quick.watch(&ticker, || ());
        assert_eq!((slow.is_slow(Instant::now()), quick.is_slow(Instant::now())), (true, false));
        let begun = LocalSet::new().run_until(calls_until_read(slow, 100)).await;
        assert!(begun <= 4, "{begun} calls began");
        let begun = LocalSet::new().run_until(calls_until_read(quick, 100)).await;
        assert!(begun > 40, "{begun} calls began, as many as tokio runs before it looks at sockets");
    }

    #[test]
    fn a_guest_that_came_to_no_place_to_give_way_at_is_remembered_for_a_while() {
        let (ticker, pace) = (Ticker::still(), Pace::default());
        let now = Instant::now();
        for (ticks, slow) in [(0, false), (LONG_TICKS - 1, false), (LONG_TICKS, true)] {
            pace.watch(&ticker, || ticker.tick(ticks));
            assert_eq!(pace.is_slow(now), slow, "{ticks}");
        }
        assert!(!pace.is_slow(Instant::now() + REMEMBERED));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_turn_that_does_not_come_in_time_is_late() {
        let pace = Pace::default();
        pace.watch(&Ticker::still(), || drop(give_way()));
        let turn = TURN.with(Arc::clone).acquire_owned().await.unwrap();
        let now = Instant::now();
        assert_eq!(pace.begin(now, now).await, Err(Late));
        drop(turn);
        assert_eq!(pace.begin(now, now + REMEMBERED).await, Ok(()));
    }
}
