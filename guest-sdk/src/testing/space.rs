//! A key-value space, as the gateway keeps one for each middleware: versions, expiry, a bound.

use std::{collections::HashMap, time::Duration};

use crate::kv::Error;

/// One middleware's space.
#[derive(Default)]
pub(super) struct Space {
    pub(super) bytes_max: usize,
    entries: HashMap<String, Kept>,
    versions: u64,
}

struct Kept {
    value: Vec<u8>,
    version: u64,
    expires: Option<Duration>,
}

const KEY_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 1 << 20;
// What the gateway counts for an entry beside its key and value.
const ENTRY_BYTES: usize = 64;

impl Space {
    pub(super) fn get(&mut self, key: &str, now: Duration) -> Option<(Vec<u8>, u64)> {
        self.expire(now);
        self.entries.get(key).map(|kept| (kept.value.clone(), kept.version))
    }

    pub(super) fn set(&mut self, key: &str, value: &[u8], ttl: Option<Duration>, now: Duration) -> Result<u64, Error> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        self.expire(now);
        let bytes = |key: &str, value: &[u8]| key.len() + value.len() + ENTRY_BYTES;
        let others = self.entries.iter().filter(|(known, _)| *known != key);
        let used: usize = others.map(|(known, kept)| bytes(known, &kept.value)).sum();
        if used + bytes(key, value) > self.bytes_max {
            return Err(Error::Full);
        }
        self.versions += 1;
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        self.entries.insert(key.to_owned(), Kept { value: value.to_vec(), version: self.versions, expires });
        Ok(self.versions)
    }

    pub(super) fn delete(&mut self, key: &str, now: Duration) -> bool {
        self.expire(now);
        self.entries.remove(key).is_some()
    }

    pub(super) fn compare_and_set(
        &mut self,
        (key, version): (&str, u64),
        value: &[u8],
        ttl: Option<Duration>,
        now: Duration,
    ) -> Result<u64, Error> {
        let found = self.get(key, now).map_or(0, |(_, version)| version);
        if found == version { self.set(key, value, ttl, now) } else { Err(Error::Conflict) }
    }

    pub(super) fn add(&mut self, key: &str, by: i64, ttl: Option<Duration>, now: Duration) -> Result<i64, Error> {
        let Some((value, _)) = self.get(key, now) else {
            return self.set(key, &by.to_le_bytes(), ttl, now).map(|_| by);
        };
        let number = <[u8; 8]>::try_from(value).map_err(|_| Error::Conflict)?;
        let sum = i64::from_le_bytes(number).saturating_add(by);
        // The time to live is that of the entry's first writer.
        let left = self.entries.get(key).and_then(|kept| kept.expires).map(|expires| expires - now);
        self.set(key, &sum.to_le_bytes(), left, now).map(|_| sum)
    }

    fn expire(&mut self, now: Duration) {
        self.entries.retain(|_, kept| kept.expires.is_none_or(|expires| now < expires));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_number_keeps_the_time_of_its_first_addition() {
        let mut space = Space { bytes_max: 1 << 20, ..Space::default() };
        let at = Duration::from_secs;
        assert_eq!(space.add("n", 1, Some(LONG), at(0)), Ok(1));
        assert_eq!(space.add("n", 1, Some(LONG), at(9)), Ok(2));
        assert_eq!(space.add("n", 1, Some(LONG), at(10)), Ok(1));
    }

    #[test]
    fn an_entry_made_anew_is_another_version_and_a_full_space_takes_no_more() {
        let mut space = Space { bytes_max: 200, ..Space::default() };
        let now = Duration::ZERO;
        let first = space.set("a", b"1", None, now).unwrap();
        assert!(space.delete("a", now));
        space.set("a", b"1", None, now).unwrap();
        assert_eq!(space.compare_and_set(("a", first), b"2", None, now), Err(Error::Conflict));
        assert_eq!(space.set("b", &[0; 100], None, now), Err(Error::Full));
        assert_eq!(space.add("a", 1, None, now), Err(Error::Conflict));
    }
}
