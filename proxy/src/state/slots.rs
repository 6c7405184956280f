//! How many may be under way at a time, by key, with a bounded queue. Outlives what is configured: limits come with each
//! who enters, so a changed one holds for who is there already. Knows nothing of what is under way.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// The slots of one limit. Takes a lock, of one of several shards, twice for each who enters.
#[derive(Debug)]
pub struct Slots {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

// Only keys of which something is under way.
type Shard = HashMap<Arc<str>, Line>;

#[derive(Debug, Default)]
struct Line {
    under_way: usize,
    under_way_max: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Under way at a time, for each key.
    pub under_way_max: usize,
    /// Waiting, for each key.
    pub waiting_max: usize,
}

/// What becomes of who enters.
#[derive(Debug)]
pub enum Entry {
    /// Under way, until it is dropped.
    Slot(Slot),
    /// Waits; a slot comes, first come, first served.
    Wait(Waiting),
    /// The queue is full.
    Full,
}

/// One that is under way.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    key: Arc<str>,
}

/// One that waits. Who leaves before its slot comes costs nobody anything.
#[derive(Debug)]
pub struct Waiting {
    turn: oneshot::Receiver<()>,
    slots: Arc<Slots>,
    key: Arc<str>,
}

const SHARDS: usize = 16;

impl Default for Slots {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Slots {
    /// Asks for a slot of `key`.
    pub fn enter(self: &Arc<Self>, key: &str, bounds: Bounds) -> Entry {
        let mut shard = self.shard(key);
        let key = shard.get_key_value(key).map_or_else(|| Arc::from(key), |(key, _)| Arc::clone(key));
        let line = shard.entry(Arc::clone(&key)).or_default();
        line.under_way_max = bounds.under_way_max;
        line.call();
        if line.under_way < bounds.under_way_max {
            line.under_way += 1;
            return Entry::Slot(Slot { slots: Arc::clone(self), key });
        }
        if line.waiting.len() >= bounds.waiting_max {
            line.waiting.retain(|waiting| !waiting.is_closed());
        }
        if line.waiting.len() >= bounds.waiting_max {
            return Entry::Full;
        }
        let (sender, turn) = oneshot::channel();
        line.waiting.push_back(sender);
        Entry::Wait(Waiting { turn, slots: Arc::clone(self), key })
    }

    /// How many are under way and how many wait.
    pub fn count(&self) -> (usize, usize) {
        let counts = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = |line: &Line| line.waiting.iter().filter(|waiting| !waiting.is_closed()).count();
            shard.values().fold((0, 0), |sum, line| (sum.0 + line.under_way, sum.1 + waiting(line)))
        });
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    fn leave(&self, key: &str) {
        let mut shard = self.shard(key);
        let Some(line) = shard.get_mut(key) else { return };
        line.under_way -= 1;
        line.call();
        if line.under_way == 0 {
            shard.remove(key);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    // Calls who waits, as long as there is room. Who is called has its slot.
    fn call(&mut self) {
        while self.under_way < self.under_way_max
            && let Some(waiting) = self.waiting.pop_front()
        {
            if waiting.send(()).is_ok() {
                self.under_way += 1;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.leave(&self.key);
    }
}

impl Future for Waiting {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        // It is not dropped without a call: a line with who waits has something under way, which calls when it leaves.
        let called = Pin::new(&mut self.turn).poll(cx);
        called.map(|_| Slot { slots: Arc::clone(&self.slots), key: Arc::clone(&self.key) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turn.close();
        // Called, and gone before it heard.
        if self.turn.try_recv().is_ok() {
            self.slots.leave(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn bounds(under_way_max: usize, waiting_max: usize) -> Bounds {
        Bounds { under_way_max, waiting_max }
    }

    fn slot(entry: Entry) -> Slot {
        match entry {
            Entry::Slot(slot) => slot,
            other => panic!("no slot: {other:?}"),
        }
    }

    fn waiting(entry: Entry) -> Waiting {
        match entry {
            Entry::Wait(waiting) => waiting,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    #[test]
    fn each_key_has_its_own_slots_and_its_own_queue() {
        let slots = Arc::new(Slots::default());
        let a = slot(slots.enter("a", bounds(1, 1)));
        let b = slot(slots.enter("b", bounds(1, 1)));
        let mut next = waiting(slots.enter("a", bounds(1, 1)));
        assert!(matches!(slots.enter("a", bounds(1, 1)), Entry::Full));
        assert!((&mut next).now_or_never().is_none());
        drop(b);
        assert!((&mut next).now_or_never().is_none());
        assert_eq!(slots.count(), (1, 1));
        drop(a);
        let next = next.now_or_never().unwrap();
        assert_eq!(slots.count(), (1, 0));
        drop(next);
        assert_eq!(slots.count(), (0, 0));
        assert!(slots.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "nothing is kept of idle keys");
    }

    #[test]
    fn who_leaves_the_queue_costs_nobody_a_slot() {
        let slots = Arc::new(Slots::default());
        let first = slot(slots.enter("a", bounds(1, 3)));
        let gone = waiting(slots.enter("a", bounds(1, 3)));
        let called = waiting(slots.enter("a", bounds(1, 3)));
        let last = waiting(slots.enter("a", bounds(1, 3)));
        drop(gone);
        assert!(matches!(slots.enter("a", bounds(1, 3)), Entry::Wait(_)), "its place in the queue is free");
        drop(first);
        // Called before it was dropped: its slot goes on to the next.
        drop(called);
        let last = last.now_or_never().unwrap();
        assert_eq!(slots.count().0, 1);
        drop(last);
        assert_eq!(slots.count(), (0, 0));
    }

    #[test]
    fn a_changed_limit_holds_for_who_is_there_already() {
        let slots = Arc::new(Slots::default());
        let two = [slot(slots.enter("a", bounds(2, 9))), slot(slots.enter("a", bounds(2, 9)))];
        let third = waiting(slots.enter("a", bounds(2, 9)));
        let fourth = slot(slots.enter("a", bounds(4, 9)));
        let third = third.now_or_never().unwrap();
        assert_eq!(slots.count(), (4, 0), "a raised one lets in who waits first");
        let fifth = waiting(slots.enter("a", bounds(1, 9)));
        drop((two, third));
        assert_eq!(slots.count(), (1, 1), "a lowered one lets nobody in until it is met");
        drop(fourth);
        assert!(fifth.now_or_never().is_some());
    }

    #[test]
    fn workers_may_enter_and_leave_at_once() {
        let slots = Arc::new(Slots::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let slots = Arc::clone(&slots);
                std::thread::spawn(move || {
                    let mut most = 0;
                    for _ in 0..2000 {
                        if let Entry::Slot(slot) = slots.enter("a", bounds(2, 0)) {
                            most = most.max(slots.count().0);
                            drop(slot);
                        }
                    }
                    most
                })
            })
            .collect();
        let most = threads.into_iter().map(|thread| thread.join().unwrap()).max();
        assert!(most <= Some(2), "{most:?}");
        assert_eq!(slots.count(), (0, 0));
    }
}
