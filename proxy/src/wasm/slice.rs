//! How guests that compute for longer than a tick share their worker with everything else on it. Knows no guest.
//!
//! A guest that gives way at a tick goes on after the worker has looked at its sockets and timers and run whatever was
//! ready: tokio puts a task that merely wakes itself right back into its queue, where it would run some sixty times before
//! a socket is looked at. Those that compute at the same time take turns, so that however many they are, the others wait
//! for one tick and not for one of each.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Semaphore;
use wasmtime::UpdateDeadline;

thread_local! {
    // Who has it is the next of its thread to compute for a tick. A future of a store must be `Send`, and so must this.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
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
    let turn = TURN.with(Arc::clone);
    async move {
        // Never closed.
        let turn = turn.acquire_owned().await;
        tokio::task::yield_now().await;
        drop(turn);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

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
}
