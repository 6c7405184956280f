//! Key-value spaces of plugins: one for each middleware name, shared by all workers, bounded. Sharded by key; a shard is
//! locked for one operation, and no longer. Knows nothing of what is kept.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// One key-value space.
#[derive(Debug)]
pub struct Space {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    // Versions are unique in a space, so that an entry that was deleted and made anew is not taken for the old one.
    versions: AtomicU64,
}

/// Why an operation changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The space has no room, expired entries counted out.
    Full,
    /// The entry is not of the version given, or not a number.
    Conflict,
    /// A key is over [`KEY_BYTES_MAX`] or empty, or a value is over [`VALUE_BYTES_MAX`].
    TooLarge,
}

/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

const SHARDS: usize = 16;
// What an entry takes beside its key and value, roughly.
const ENTRY_BYTES: usize = 64;

// Between two searches of a shard for what has expired. A full space that is asked for more and more, as by a client
// that makes up keys, must not be searched each time.
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Box<str>, Entry>,
    // No entry expires before this; none ever does, if there is nothing.
    earliest: Option<Instant>,
    searched: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    version: u64,
    expires: Option<Instant>,
}

impl Space {
    /// An empty one.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: std::hash::RandomState::new(),
            bytes: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(bytes_max),
            versions: AtomicU64::new(1),
        }
    }

    /// Sets the bound anew, for what is written from now on.
    pub fn limit(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// A value and its version.
    pub fn get(&self, key: &str, now: Instant) -> Option<(Vec<u8>, u64)> {
        let shard = self.shard(key);
        shard.entry(key, now).map(|entry| (entry.value.clone(), entry.version))
    }

    /// Sets a value, which expires after `ttl`; answers with its version.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] and [`Refused::Full`].
    pub fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>, now: Instant) -> Result<u64, Refused> {
        fits(key, &value)?;
        self.put(&mut self.shard(key), key, value, expiry(ttl, now), now)
    }

    /// Removes an entry; answers whether there was one.
    pub fn delete(&self, key: &str, now: Instant) -> bool {
        let removed = self.shard(key).entries.remove(key);
        removed.is_some_and(|entry| {
            self.bytes.fetch_sub(size(key, &entry.value), Relaxed);
            entry.lives(now)
        })
    }

    /// Sets a value if the entry has this version, 0 meaning that there is none; answers with the new version.
    ///
    /// # Errors
    /// [`Refused::Conflict`] where it has another one; else as [`Space::set`].
    pub fn compare_and_set(
        &self,
        key: &str,
        version: u64,
        value: Vec<u8>,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<u64, Refused> {
        fits(key, &value)?;
        let mut shard = self.shard(key);
        let found = shard.entry(key, now).map_or(0, |entry| entry.version);
        if found != version {
            return Err(Refused::Conflict);
        }
        self.put(&mut shard, key, value, expiry(ttl, now), now)
    }

    /// Adds to a number of 8 bytes, little-endian, 0 where there is none, and answers with the sum, which stops at the
    /// ends of its range. `ttl` counts from when the entry is made.
    ///
    /// # Errors
    /// [`Refused::Conflict`] where the entry is not a number; else as [`Space::set`].
    pub fn add(&self, key: &str, by: i64, ttl: Option<Duration>, now: Instant) -> Result<i64, Refused> {
        fits(key, &[])?;
        let mut shard = self.shard(key);
        let (before, expires) = match shard.entry(key, now) {
            None => (0, expiry(ttl, now)),
            Some(entry) => {
                let bytes = entry.value.as_slice().try_into().map_err(|_| Refused::Conflict)?;
                (i64::from_le_bytes(bytes), entry.expires)
            }
        };
        let sum = before.saturating_add(by);
        self.put(&mut shard, key, sum.to_le_bytes().to_vec(), expires, now)?;
        Ok(sum)
    }

    /// The rest of every key that begins with `prefix`, in no order. Looks at all there are, a shard at a time.
    pub fn keys(&self, prefix: &str, now: Instant) -> Vec<String> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let living = shard.entries.iter().filter(|(_, entry)| entry.lives(now));
            keys.extend(living.filter_map(|(key, _)| key.strip_prefix(prefix).map(str::to_owned)));
        }
        keys
    }

    /// Keys and values together, with what they take beside.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn put(
        &self,
        shard: &mut Shard,
        key: &str,
        value: Vec<u8>,
        expires: Option<Instant>,
        now: Instant,
    ) -> Result<u64, Refused> {
        let before = shard.entries.get(key).map_or(0, |entry| size(key, &entry.value));
        let after = size(key, &value);
        if !self.reserve(before, after) {
            // Expired entries of other shards are found when those are written to.
            self.bytes.fetch_sub(shard.expire(key, now), Relaxed);
            if !self.reserve(before, after) {
                return Err(Refused::Full);
            }
        }
        let version = self.versions.fetch_add(1, Relaxed);
        let entry = Entry { value, version, expires };
        shard.earliest = shard.earliest.into_iter().chain(expires).min();
        match shard.entries.get_mut(key) {
            Some(known) => *known = entry,
            None => drop(shard.entries.insert(key.into(), entry)),
        }
        Ok(version)
    }

    // Counts `after` in and `before` out, if there is room.
    fn reserve(&self, before: usize, after: usize) -> bool {
        let max = self.bytes_max.load(Relaxed);
        let change = |bytes: usize| {
            let bytes = bytes - before + after;
            // What shrinks always fits: the bound may have been lowered since.
            (bytes <= max || after <= before).then_some(bytes)
        };
        self.bytes.fetch_update(Relaxed, Relaxed, change).is_ok()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn entry(&self, key: &str, now: Instant) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.lives(now))
    }

    // Removes what has expired, but for `kept`, if something can have and the last search is a while ago; answers with
    // how much room that makes.
    fn expire(&mut self, kept: &str, now: Instant) -> usize {
        let due = self.searched.is_none_or(|searched| now.saturating_duration_since(searched) >= SEARCH_INTERVAL);
        if !due || self.earliest.is_none_or(|earliest| now < earliest) {
            return 0;
        }
        let (mut freed, mut earliest) = (0, None::<Instant>);
        self.entries.retain(|key, entry| {
            let keep = entry.lives(now) || &**key == kept;
            if keep {
                earliest = earliest.into_iter().chain(entry.expires).min();
            } else {
                freed += size(key, &entry.value);
            }
            keep
        });
        (self.earliest, self.searched) = (earliest, Some(now));
        freed
    }
}

impl Entry {
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

fn fits(key: &str, value: &[u8]) -> Result<(), Refused> {
    let fits = !key.is_empty() && key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
    if fits { Ok(()) } else { Err(Refused::TooLarge) }
}

fn size(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

// A time beyond what the clock can tell is for ever.
fn expiry(ttl: Option<Duration>, now: Instant) -> Option<Instant> {
    ttl.and_then(|ttl| now.checked_add(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> (Space, Instant) {
        (Space::new(10_000), Instant::now())
    }

    #[test]
    fn a_value_lives_until_it_expires() {
        let (space, now) = space();
        space.set("a", b"1".to_vec(), Some(Duration::from_secs(1)), now).unwrap();
        assert_eq!(space.get("a", now).unwrap().0, b"1");
        assert_eq!(space.get("a", now + Duration::from_secs(1)), None);
        assert!(!space.delete("a", now + Duration::from_secs(1)));
        assert_eq!(space.bytes(), 0);
    }

    #[test]
    fn of_two_who_compare_and_set_one_wins() {
        let (space, now) = space();
        let set = |version, value: &[u8]| space.compare_and_set("a", version, value.to_vec(), None, now);
        let first = set(0, b"1").unwrap();
        assert_eq!(set(0, b"2"), Err(Refused::Conflict));
        let second = set(first, b"2").unwrap();
        assert_eq!(set(first, b"3"), Err(Refused::Conflict));
        assert_eq!(space.get("a", now), Some((b"2".to_vec(), second)));
        space.delete("a", now);
        assert_ne!(set(0, b"4").unwrap(), first);
    }

    #[test]
    fn additions_from_many_threads_are_all_there() {
        let (space, now) = space();
        std::thread::scope(|scope| {
            let add = || (0..1000).for_each(|_| assert!(space.add("n", 1, None, now).is_ok()));
            (0..4).for_each(|_| drop(scope.spawn(add)));
        });
        assert_eq!(space.add("n", 0, None, now), Ok(4000));
        space.set("text", b"x".to_vec(), None, now).unwrap();
        assert_eq!(space.add("text", 1, None, now), Err(Refused::Conflict));
    }

    #[test]
    fn the_time_of_a_number_counts_from_its_first_addition() {
        let (space, now) = space();
        let (ttl, late) = (Some(Duration::from_secs(1)), now + Duration::from_millis(999));
        assert_eq!(space.add("n", 1, ttl, now), Ok(1));
        assert_eq!(space.add("n", 1, ttl, late), Ok(2));
        assert_eq!(space.add("n", 1, ttl, now + Duration::from_secs(1)), Ok(1));
    }

    #[test]
    fn a_full_space_refuses_and_takes_again_what_makes_room() {
        let (space, now) = (Space::new(2 * (ENTRY_BYTES + 11)), Instant::now());
        let set = |key, bytes, ttl| space.set(key, vec![0; bytes], ttl, now).map(drop);
        assert_eq!(set("a", 10, None), Ok(()));
        assert_eq!(set("b", 10, None), Ok(()));
        assert_eq!(set("c", 0, None), Err(Refused::Full));
        assert_eq!(set("a", 11, None), Err(Refused::Full));
        assert_eq!(set("a", 9, None), Ok(()));
        assert!(space.delete("b", now));
        assert_eq!(set("c", 10, None), Ok(()));
        assert_eq!(space.set("", vec![], None, now), Err(Refused::TooLarge));
    }

    #[test]
    fn what_has_expired_makes_room_and_is_not_searched_for_all_the_time() {
        let room = 40 * (ENTRY_BYTES + 10);
        let (space, now) = (Space::new(room), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        let set = |key: u32, ttl, now| space.set(&format!("{key:010}"), vec![], ttl, now).map(drop);
        let short = Some(Duration::from_millis(50));
        (0..40).for_each(|key| set(key, short, now).unwrap());
        let refused = |now| (100..200).filter(|key| set(*key, short, now) == Err(Refused::Full)).count();
        assert_eq!(refused(at(49)), 100);
        let searched =
            |space: &Space| space.shards.iter().filter(|shard| shard.lock().unwrap().searched.is_some()).count();
        assert_eq!(searched(&space), 0, "nothing can have expired");
        assert!(refused(at(50)) < 100);
        assert!(searched(&space) > 0);
        // All of them have expired, and each shard was searched a moment ago.
        let stored = (0..1_000).filter(|key| set(*key, short, at(101)).is_ok()).count();
        assert!(stored > 0 && stored <= 40 && space.bytes() <= room, "{stored}");
        assert_eq!(space.get("0000000000", at(1_000)), None);
    }

    #[test]
    fn a_lower_bound_takes_nothing_away() {
        let (space, now) = space();
        space.set("a", vec![0; 1000], None, now).unwrap();
        space.limit(500);
        assert_eq!(space.set("b", vec![], None, now), Err(Refused::Full));
        assert!(space.get("a", now).is_some() && space.set("a", vec![0; 900], None, now).is_ok());
    }
}
