//! Values by key, bounded in bytes and number for the whole process: what was not looked at lately makes room (a clock, as
//! Corbató 1968 has it). Sharded by key; a shard is locked for one look or change. Knows nothing of what is kept.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// The values of one name.
#[derive(Debug)]
pub struct Shelf<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    hasher: std::hash::RandomState,
    bytes: AtomicUsize,
    entries: AtomicUsize,
    evicted: AtomicU64,
    hand: AtomicUsize,
}

/// How much there is room for. It comes with each change, so that a new bound holds for what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Keys, values and what is reserved, together.
    pub bytes_max: usize,
    /// Keys.
    pub entries_max: usize,
}

/// Room that is taken before a value is there; dropped, it is free again.
#[derive(Debug)]
pub struct Reserved<V> {
    shelf: Arc<Shelf<V>>,
    room: Room,
    bytes: usize,
}

#[derive(Debug)]
struct Shard<V> {
    index: HashMap<Arc<str>, usize>,
    slots: Vec<Slot<V>>,
    hand: usize,
}

#[derive(Debug)]
struct Slot<V> {
    key: Arc<str>,
    value: V,
    bytes: usize,
    used: bool,
}

const SHARDS: usize = 16;
// What an entry takes beside its key and value, roughly.
const ENTRY_BYTES: usize = 128;

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { index: HashMap::new(), slots: Vec::new(), hand: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: std::hash::RandomState::new(),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }
}

impl<V: Default> Shelf<V> {
    /// Looks at a value.
    pub fn read<R>(&self, key: &str, look: impl FnOnce(&V) -> R) -> Option<R> {
        let mut shard = self.shard(key);
        let position = *shard.index.get(key)?;
        let slot = &mut shard.slots[position];
        slot.used = true;
        Some(look(&slot.value))
    }

    /// Changes a value, made where there is none; `change` answers with the bytes that it takes then, and with 0 where it
    /// may go.
    pub fn change(&self, key: &str, room: Room, change: impl FnOnce(&mut V) -> usize) {
        let mut shard = self.shard(key);
        let position = match shard.index.get(key) {
            Some(position) => *position,
            None => {
                self.entries.fetch_add(1, Relaxed);
                shard.add(key)
            }
        };
        let slot = &mut shard.slots[position];
        let before = mem::take(&mut slot.bytes);
        let value = change(&mut slot.value);
        (slot.used, slot.bytes) = (true, if value == 0 { 0 } else { value + key.len() + ENTRY_BYTES });
        self.bytes.fetch_add(slot.bytes, Relaxed);
        self.bytes.fetch_sub(before, Relaxed);
        if slot.bytes == 0 {
            self.entries.fetch_sub(1, Relaxed);
            let gone = shard.take(position);
            drop(shard);
            drop(gone);
        } else {
            drop(shard);
            self.make_room(room);
        }
    }

    /// Forgets a value; answers whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        let mut shard = self.shard(key);
        let Some(position) = shard.index.get(key).copied() else { return false };
        let gone = shard.take(position);
        drop(shard);
        self.entries.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(gone.bytes, Relaxed);
        true
    }

    /// Takes room for a value that is yet to come, at the expense of others; `None` where there cannot be so much.
    pub fn reserve(self: &Arc<Self>, bytes: usize, room: Room) -> Option<Reserved<V>> {
        let mut reserved = Reserved { shelf: Arc::clone(self), room, bytes: 0 };
        reserved.grow(bytes).then_some(reserved)
    }

    /// Bytes, what is reserved among them.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Keys.
    pub fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// How many made room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    // Answers whether there is enough.
    fn make_room(&self, room: Room) -> bool {
        while self.bytes() > room.bytes_max || self.entries() > room.entries_max {
            if !self.evict() {
                return false;
            }
        }
        true
    }

    fn evict(&self) -> bool {
        // Where everything was used, the first time round only says that it was a while ago.
        for _ in 0..2 * SHARDS {
            let next = self.hand.fetch_add(1, Relaxed) % SHARDS;
            let gone = lock(&self.shards[next]).evict();
            if let Some(gone) = gone {
                self.entries.fetch_sub(1, Relaxed);
                self.bytes.fetch_sub(gone.bytes, Relaxed);
                self.evicted.fetch_add(1, Relaxed);
                return true;
            }
        }
        false
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard<V>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Default> Shard<V> {
    fn add(&mut self, key: &str) -> usize {
        let key: Arc<str> = key.into();
        let position = self.slots.len();
        self.slots.push(Slot { key: Arc::clone(&key), value: V::default(), bytes: 0, used: true });
        self.index.insert(key, position);
        position
    }

    fn take(&mut self, position: usize) -> Slot<V> {
        let gone = self.slots.swap_remove(position);
        self.index.remove(&gone.key);
        if let Some(moved) = self.slots.get(position) {
            self.index.insert(Arc::clone(&moved.key), position);
        }
        gone
    }

    // What the hand comes to that was not used since it came by last, if it finds that in one time round.
    fn evict(&mut self) -> Option<Slot<V>> {
        for _ in 0..self.slots.len() {
            self.hand %= self.slots.len();
            let position = self.hand;
            if !mem::take(&mut self.slots[position].used) {
                return Some(self.take(position));
            }
            self.hand += 1;
        }
        None
    }
}

impl<V: Default> Reserved<V> {
    /// Takes more; answers whether there is so much.
    pub fn grow(&mut self, by: usize) -> bool {
        self.shelf.bytes.fetch_add(by, Relaxed);
        if self.shelf.make_room(self.room) {
            self.bytes += by;
            return true;
        }
        self.shelf.bytes.fetch_sub(by, Relaxed);
        false
    }
}

impl<V> Drop for Reserved<V> {
    fn drop(&mut self) {
        self.shelf.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { bytes_max: 10_000, entries_max: 1000 };

    fn put(shelf: &Shelf<u32>, key: &str, value: u32, bytes: usize, room: Room) {
        shelf.change(key, room, |slot| {
            *slot = value;
            bytes
        });
    }

    #[test]
    fn what_is_looked_at_stays_and_the_rest_makes_room() {
        let mut shard = Shard::<u32> { index: HashMap::new(), slots: Vec::new(), hand: 0 };
        for key in ["a", "b", "c"] {
            shard.add(key);
        }
        let mut evict = |used: &str| {
            shard.slots.iter_mut().filter(|slot| *slot.key == *used).for_each(|slot| slot.used = true);
            shard.evict().map(|slot| slot.key.to_string())
        };
        assert_eq!(evict("a"), None, "all are new");
        let mut gone = [evict("a"), evict("a")].map(Option::unwrap);
        gone.sort();
        assert_eq!(gone, ["b", "c"]);
        assert_eq!([evict("a"), evict(""), evict("")], [None, Some("a".into()), None]);
    }

    #[test]
    fn bounds_hold_for_what_is_there() {
        let shelf = Shelf::default();
        for number in 0..100 {
            put(&shelf, &number.to_string(), number, 500, ROOM);
            assert!(shelf.bytes() <= ROOM.bytes_max);
        }
        let there = (0..100).filter(|number: &u32| shelf.read(&number.to_string(), |_| ()).is_some()).count();
        assert_eq!((shelf.entries(), shelf.evicted()), (there, 100 - there as u64));
        assert!(there >= 10, "{there}");
        put(&shelf, "0", 0, 500, Room { entries_max: 3, ..ROOM });
        assert_eq!(shelf.entries(), 3, "a lowered bound holds for what is there");
    }

    #[test]
    fn bytes_are_counted_out_again() {
        let shelf = Shelf::default();
        put(&shelf, "a", 1, 100, ROOM);
        let one = shelf.bytes();
        put(&shelf, "a", 2, 300, ROOM);
        assert_eq!(shelf.bytes(), one + 200);
        put(&shelf, "b", 3, 10, ROOM);
        assert!(shelf.remove("a") && !shelf.remove("a"));
        put(&shelf, "b", 0, 0, ROOM);
        put(&shelf, "c", 0, 0, ROOM);
        assert_eq!((shelf.bytes(), shelf.entries(), shelf.read("b", |_| ())), (0, 0, None));
    }

    #[test]
    fn room_is_reserved_at_the_expense_of_others_and_no_further() {
        let shelf = Arc::new(Shelf::default());
        (0..20).for_each(|number: u32| put(&shelf, &number.to_string(), number, 300, ROOM));
        let mut reserved = shelf.reserve(5000, ROOM).expect("there is room");
        assert!(shelf.bytes() <= ROOM.bytes_max && shelf.evicted() > 0);
        assert!(reserved.grow(4000) && !reserved.grow(4000));
        assert!(shelf.reserve(ROOM.bytes_max, ROOM).is_none());
        drop(reserved);
        assert_eq!((shelf.bytes(), shelf.entries()), (0, 0));
    }
}
