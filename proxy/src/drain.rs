//! Drain: which generations are still held, by how many exchanges, on which worker. Each worker counts in a shard of
//! its own; the control plane sums. Knows nothing of what a generation is made of.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::Notify;

/// All generations that are not freed yet, oldest first. Shared by control plane and status.
#[derive(Debug, Default)]
pub struct Drain {
    live: Mutex<Vec<Arc<Ledger>>>,
    changed: Arc<Notify>,
}

/// The count of one generation's holders, one shard a worker.
#[derive(Debug)]
pub struct Ledger {
    generation: u64,
    began: Instant,
    age_max: Option<Duration>,
    shards: Box<[Arc<Shard>]>,
    changed: Arc<Notify>,
}

// A cache line pair of its own, so that no worker writes what another reads on the request path.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard {
    exchanges: AtomicU64,
}

/// One worker's hold on a generation; shared by its exchanges there. Dropped, the worker is through with it.
#[derive(Debug)]
pub struct Hold {
    ledger: Arc<Ledger>,
    // This worker's of the ledger's.
    shard: Arc<Shard>,
    expired: Cell<bool>,
    expiry: RefCell<Expiry>,
}

// Who waits for the end of a generation's time. Written only where generations have an age limit.
#[derive(Debug, Default)]
struct Expiry {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// One exchange's hold on its generation. Not `Send`: it is counted on the worker that took it.
#[derive(Debug)]
pub struct Pin(Rc<Hold>);

/// A place among those who wait for the end of a generation's time; made by the first wait.
#[derive(Debug)]
pub struct Place {
    hold: Rc<Hold>,
    number: usize,
}

/// Open tunnels by the generation that they began on. A tunnel holds its generation's number and nothing of it.
#[derive(Debug, Default)]
pub struct Tunnels {
    // A lock, because only the start and the end of a tunnel take it, never a request.
    open: Mutex<BTreeMap<u64, u64>>,
    changed: Notify,
}

/// One open tunnel; dropped, it is closed.
#[derive(Debug)]
pub struct TunnelPin {
    tunnels: Arc<Tunnels>,
    generation: u64,
}

/// One live generation, as status prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// Its number.
    pub generation: u64,
    /// Exchanges that began on it and are not over.
    pub exchanges: u64,
    /// Whole seconds since it began to serve.
    pub age_s: u64,
}

impl Drain {
    /// Opens the ledger of a new generation, whose exchanges may go on for `age_max` after it was replaced.
    pub fn open(&self, generation: u64, workers: usize, age_max: Option<Duration>) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger {
            generation,
            began: Instant::now(),
            age_max,
            shards: (0..workers).map(|_| Arc::default()).collect(),
            changed: Arc::clone(&self.changed),
        });
        self.lock().push(Arc::clone(&ledger));
        ledger
    }

    /// Every generation that something still holds; forgets the others.
    pub fn live(&self) -> Vec<Live> {
        let mut live = self.lock();
        live.retain(|ledger| Arc::strong_count(ledger) > 1);
        live.iter().map(|ledger| ledger.read()).collect()
    }

    /// Waits until at most `count` generations are live, or `deadline` has passed; answers whether they are.
    pub async fn down_to(&self, count: usize, deadline: Duration) -> bool {
        self.until(deadline, |live| live.len() <= count).await
    }

    /// Waits until no exchange is under way, or `deadline` has passed; answers whether none is.
    pub async fn quiet(&self, deadline: Duration) -> bool {
        self.until(deadline, |live| live.iter().all(|generation| generation.exchanges == 0)).await
    }

    async fn until(&self, deadline: Duration, done: impl Fn(&[Live]) -> bool) -> bool {
        // The counters are written without a signal, so that a request pays for none: look again now and then.
        let look_again = Duration::from_millis(10);
        let end = Instant::now() + deadline;
        while !done(&self.live()) {
            if Instant::now() >= end {
                return false;
            }
            let _elapsed = tokio::time::timeout(look_again, self.changed.notified()).await.is_err();
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Ledger>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// The generation's number.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The hold of one worker.
    pub fn hold(self: &Arc<Self>, worker: usize) -> Rc<Hold> {
        let (ledger, shard) = (Arc::clone(self), Arc::clone(&self.shards[worker]));
        Rc::new(Hold { ledger, shard, expired: Cell::new(false), expiry: RefCell::default() })
    }

    fn read(&self) -> Live {
        Live {
            generation: self.generation,
            exchanges: self.shards.iter().map(|shard| shard.exchanges.load(Relaxed)).sum(),
            age_s: self.began.elapsed().as_secs(),
        }
    }
}

impl Hold {
    /// Pins the generation for one exchange.
    #[inline]
    pub fn pin(self: &Rc<Self>) -> Pin {
        self.add(1);
        Pin(Rc::clone(self))
    }

    /// How long its exchanges may go on after the generation was replaced, where that is limited.
    pub fn age_max(&self) -> Option<Duration> {
        self.ledger.age_max
    }

    /// The generation's time is over: every exchange that still holds it on this worker is told.
    pub fn expire(&self) {
        self.expired.set(true);
        let wakers: Vec<_> = self.expiry.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    // Only its own worker writes a shard, so a load and a store are enough: no locked instruction.
    #[inline]
    fn add(&self, by: u64) {
        let count = &self.shard.exchanges;
        count.store(count.load(Relaxed).wrapping_add(by), Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ledger.changed.notify_waiters();
    }
}

impl Pin {
    /// The generation that is pinned.
    pub fn generation(&self) -> u64 {
        self.0.ledger.generation
    }

    /// Another hold on the same generation.
    pub fn again(&self) -> Self {
        self.0.pin()
    }

    /// Whether the generation's time is over; if not, the task is woken when it is, and `place` keeps the place of this
    /// pin among those who wait. Costs a comparison where generations have no age limit.
    #[inline]
    pub fn poll_expired(&self, place: &RefCell<Option<Place>>, cx: &Context<'_>) -> Poll<()> {
        if self.0.ledger.age_max.is_none() { Poll::Pending } else { self.wait(place, cx) }
    }

    fn wait(&self, place: &RefCell<Option<Place>>, cx: &Context<'_>) -> Poll<()> {
        if self.0.expired.get() {
            return Poll::Ready(());
        }
        let mut place = place.borrow_mut();
        let number = place.get_or_insert_with(|| Place::take(&self.0)).number;
        match &mut self.0.expiry.borrow_mut().wakers[number] {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        self.0.add(u64::MAX);
    }
}

impl Place {
    fn take(hold: &Rc<Hold>) -> Self {
        let expiry = &mut *hold.expiry.borrow_mut();
        let number = expiry.free.pop().unwrap_or_else(|| {
            expiry.wakers.push(None);
            expiry.wakers.len() - 1
        });
        Self { hold: Rc::clone(hold), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut expiry = self.hold.expiry.borrow_mut();
        expiry.wakers[self.number] = None;
        expiry.free.push(self.number);
    }
}

impl Tunnels {
    /// Counts a tunnel that begins on `generation`.
    pub fn open(self: &Arc<Self>, generation: u64) -> TunnelPin {
        *self.lock().entry(generation).or_default() += 1;
        TunnelPin { tunnels: Arc::clone(self), generation }
    }

    /// Open tunnels by generation, oldest first.
    pub fn by_generation(&self) -> Vec<(u64, u64)> {
        self.lock().iter().map(|(generation, count)| (*generation, *count)).collect()
    }

    /// Waits until none is open, or `deadline` has passed; answers whether none is.
    pub async fn quiet(&self, deadline: Duration) -> bool {
        let all_closed = async {
            loop {
                let changed = self.changed.notified();
                if self.lock().is_empty() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(deadline, all_closed).await.is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TunnelPin {
    fn drop(&mut self) {
        let mut open = self.tunnels.lock();
        if let Some(count) = open.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.generation);
            }
        }
        drop(open);
        self.tunnels.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_lives_as_long_as_a_pin() {
        let drain = Drain::default();
        let ledger = drain.open(7, 2, None);
        let (first, second) = (ledger.hold(0), ledger.hold(1));
        drop(ledger);
        let pins = [first.pin(), second.pin(), second.pin()];
        drop((first, second));
        assert_eq!(drain.live()[0].exchanges, 3);
        assert_eq!(pins[0].generation(), 7);
        drop(pins);
        assert_eq!(drain.live(), []);
    }

    #[test]
    fn who_waits_is_told_once_that_a_limited_generation_is_over() {
        let (drain, cx) = (Drain::default(), Context::from_waker(Waker::noop()));
        let unlimited = drain.open(1, 1, None).hold(0);
        let limited = drain.open(2, 1, Some(Duration::from_secs(1))).hold(0);
        let waits = |hold: &Rc<Hold>| (hold.pin(), RefCell::default());
        let polled = |(pin, place): &(Pin, RefCell<Option<Place>>)| pin.poll_expired(place, &cx).is_ready();
        let (free, first, second) = (waits(&unlimited), waits(&limited), waits(&limited));
        assert!(!polled(&free) && !polled(&first) && !polled(&second));
        drop(first);
        let third = waits(&limited);
        assert!(!polled(&third));
        assert_eq!(limited.expiry.borrow().wakers.len(), 2, "a place that is left is taken again");
        unlimited.expire();
        limited.expire();
        assert!(!polled(&free) && polled(&second) && polled(&third));
    }
}
