//! Coarse timers of one worker: a hashed wheel with one sleeping task behind it, so that arming and disarming a
//! timeout (almost every one is disarmed) costs no system call, no lock and no allocation. For timeouts of requests
//! and connections, where 10 ms more do not matter. Knows nothing of what is timed.

use std::{
    cell::RefCell,
    fmt,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// One worker's timers; to be had from [`super::Locals::of`]. Fires up to 10 ms late, never early.
#[derive(Default)]
pub struct Timers(RefCell<Wheel>);

/// Resolves at its time. Armed when it is first polled, disarmed when it is dropped.
pub struct Timeout {
    timers: Rc<Timers>,
    at: Instant,
    key: u32,
}

/// The time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Timers {
    /// A timeout `after` this moment. Poll it on the worker.
    pub fn after(self: &Rc<Self>, after: Duration) -> Timeout {
        let now = Instant::now();
        self.at(now.checked_add(after).unwrap_or(now + FAR))
    }

    /// A timeout at a given moment.
    pub fn at(self: &Rc<Self>, at: Instant) -> Timeout {
        Timeout { timers: Rc::clone(self), at, key: NONE }
    }

    /// Runs `future` until its end or until `at`; in the second case it is dropped.
    ///
    /// # Errors
    /// [`Elapsed`] when the time was up first.
    pub async fn within<F: Future>(self: &Rc<Self>, at: Instant, future: F) -> Result<F::Output, Elapsed> {
        let mut timeout = self.at(at);
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut timeout).poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    fn arm(self: &Rc<Self>, at: Instant, waker: &Waker) -> u32 {
        let mut wheel = self.0.borrow_mut();
        let (key, hurry) = wheel.insert(at, waker.clone());
        let start = !std::mem::replace(&mut wheel.running, true);
        let ticker = if hurry { wheel.ticker.take() } else { None };
        drop(wheel);
        if start {
            tokio::task::spawn_local(Ticker { timers: Rc::downgrade(self), sleep: None });
        } else if let Some(ticker) = ticker {
            ticker.wake();
        }
        key
    }
}

impl Timeout {
    /// Moves it to another moment.
    pub fn reset(&mut self, at: Instant) {
        self.disarm();
        self.at = at;
    }

    /// Takes it off the wheel until it is polled again.
    pub fn disarm(&mut self) {
        if self.key != NONE {
            let waker = self.timers.0.borrow_mut().remove(self.key);
            self.key = NONE;
            drop(waker);
        }
    }
}

impl Future for Timeout {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.key == NONE {
            self.key = self.timers.arm(self.at, cx.waker());
            return Poll::Pending;
        }
        let mut wheel = self.timers.0.borrow_mut();
        let entry = &mut wheel.entries[self.key as usize];
        match &mut entry.waker {
            None => Poll::Ready(()),
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        if let Some(ticker) = self.0.get_mut().ticker.take() {
            ticker.wake();
        }
    }
}

// The task that sleeps until the next slot in use. It lives as long as the timers do.
struct Ticker {
    timers: Weak<Timers>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Ticker {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(timers) = self.timers.upgrade() else { return Poll::Ready(()) };
            let due = timers.0.borrow_mut().advance(Instant::now());
            due.into_iter().for_each(Waker::wake);
            let mut wheel = timers.0.borrow_mut();
            wheel.plan();
            wheel.ticker = Some(cx.waker().clone());
            if wheel.planned == u64::MAX {
                return Poll::Pending;
            }
            let next = tokio::time::Instant::from_std(wheel.origin + TICK * wheel.planned.min(FAR_TICKS) as u32);
            drop(wheel);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            sleep.as_mut().reset(next);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

struct Wheel {
    origin: Instant,
    entries: Vec<Entry>,
    free: u32,
    slots: Box<[u32]>,
    occupied: [u64; SLOTS / 64],
    // Every tick up to this one has been handled.
    cursor: u64,
    // The tick at which the ticker looks next.
    planned: u64,
    ticker: Option<Waker>,
    running: bool,
}

struct Entry {
    tick: u64,
    previous: u32,
    next: u32,
    // Taken when it fires.
    waker: Option<Waker>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            entries: Vec::new(),
            free: NONE,
            slots: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: [0; SLOTS / 64],
            cursor: 0,
            planned: u64::MAX,
            ticker: None,
            running: false,
        }
    }
}

impl Wheel {
    // The key, and whether the ticker must look earlier than it meant to.
    fn insert(&mut self, at: Instant, waker: Waker) -> (u32, bool) {
        let since = at.saturating_duration_since(self.origin).as_nanos();
        let tick = u64::try_from(since.div_ceil(TICK.as_nanos())).unwrap_or(FAR_TICKS).max(self.cursor + 1);
        let slot = slot(tick);
        let next = self.slots[slot];
        let entry = Entry { tick, previous: NONE, next, waker: Some(waker) };
        let key = if self.free == NONE {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let key = self.free;
            self.free = self.entries[key as usize].next;
            self.entries[key as usize] = entry;
            key
        };
        if next != NONE {
            self.entries[next as usize].previous = key;
        }
        self.slots[slot] = key;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        let visit = self.cursor + 1 + (tick - self.cursor - 1) % SLOTS as u64;
        let hurry = visit < self.planned;
        self.planned = self.planned.min(visit);
        (key, hurry)
    }

    // The waker is returned so that it is dropped when the wheel is no longer borrowed.
    fn remove(&mut self, key: u32) -> Option<Waker> {
        let waker = self.entries[key as usize].waker.take();
        if waker.is_some() {
            self.unlink(key);
        }
        self.entries[key as usize].next = std::mem::replace(&mut self.free, key);
        waker
    }

    fn unlink(&mut self, key: u32) {
        let Entry { tick, previous, next, .. } = self.entries[key as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        } else {
            let slot = slot(tick);
            self.slots[slot] = next;
            if next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
    }

    // Moves to `now` and takes the wakers of what is due.
    fn advance(&mut self, now: Instant) -> Vec<Waker> {
        let now = (now.saturating_duration_since(self.origin).as_nanos() / TICK.as_nanos()) as u64;
        let mut due = Vec::new();
        for step in 0..now.saturating_sub(self.cursor).min(SLOTS as u64) {
            let mut key = self.slots[slot(now - step)];
            while key != NONE {
                let Entry { tick, next, .. } = self.entries[key as usize];
                if tick <= now {
                    due.extend(self.entries[key as usize].waker.take());
                    self.unlink(key);
                }
                key = next;
            }
        }
        self.cursor = self.cursor.max(now);
        due
    }

    // The next slot in use, seen from the cursor.
    fn plan(&mut self) {
        let in_use = |tick: &u64| self.occupied[slot(*tick) / 64] >> (slot(*tick) % 64) & 1 == 1;
        let ahead = self.cursor + 1..=self.cursor + SLOTS as u64;
        let any = self.occupied.iter().any(|word| *word != 0);
        self.planned = if any { ahead.into_iter().find(in_use).unwrap_or(u64::MAX) } else { u64::MAX };
    }
}

const fn slot(tick: u64) -> usize {
    tick as usize % SLOTS
}

const NONE: u32 = u32::MAX;
const TICK: Duration = Duration::from_millis(10);
const SLOTS: usize = 1024;
// 497 days: what `TICK * u32` can hold is more.
const FAR_TICKS: u64 = u32::MAX as u64;
const FAR: Duration = Duration::from_secs(3600 * 24 * 365);

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timers")
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeout({:?})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u64),
        Disarm(usize),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..40_000_u64).prop_map(Step::Arm),
            (0..50_usize).prop_map(Step::Disarm),
            (0..15_000_u64).prop_map(Step::Advance),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        // Against a plain list: what is due, and only that, has fired after each move.
        #[test]
        fn fires_what_is_due_and_nothing_else(steps in steps()) {
            let mut wheel = Wheel::default();
            let (mut now, mut armed) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Arm(after) => {
                        let at = now + after;
                        let (key, _) = wheel.insert(wheel.origin + Duration::from_millis(at), Waker::noop().clone());
                        armed.push((key, at.div_ceil(10).max(now / 10 + 1) * 10));
                    }
                    Step::Disarm(position) if !armed.is_empty() => {
                        let (key, _) = armed.swap_remove(position % armed.len());
                        drop(wheel.remove(key));
                    }
                    Step::Disarm(_) => {}
                    Step::Advance(by) => {
                        now += by;
                        drop(wheel.advance(wheel.origin + Duration::from_millis(now)));
                    }
                }
                for (key, at) in &armed {
                    prop_assert_eq!(wheel.entries[*key as usize].waker.is_none(), *at <= now / 10 * 10, "at {} of {}", now, at);
                }
                wheel.plan();
                let next = armed.iter().map(|(_, at)| *at).filter(|at| *at > now / 10 * 10).min();
                prop_assert!(next.is_none_or(|next| wheel.planned * 10 <= next));
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_timeout_fires_and_a_later_one_does_not() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let timers = Rc::<Timers>::default();
                let never = timers.within(Instant::now() + Duration::from_millis(1), std::future::pending::<()>());
                let late = timers.after(Duration::from_secs(3600));
                tokio::select! {
                    () = late => unreachable!("an hour did not pass"),
                    ended = never => assert_eq!(ended, Err(Elapsed)),
                }
                assert_eq!(timers.within(Instant::now(), std::future::ready(3)).await, Ok(3));
            })
            .await;
    }
}
