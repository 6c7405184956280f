//! Which URIs were changed lately, so that an answer that was asked for before a change is not kept after it. Bounded:
//! where too much has changed since, everything may have.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Changes, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Changes {
    hasher: RandomState,
    // Hashes of keys, the latest last.
    recent: Mutex<VecDeque<u64>>,
    count: AtomicU64,
}

/// How many are remembered.
const RECENT_MAX: usize = 1024;

impl Changes {
    /// How many there were so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Notes one.
    pub(super) fn note(&self, key: &str) {
        let mut recent = self.recent();
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(self.hasher.hash_one(key));
        self.count.fetch_add(1, Relaxed);
    }

    /// Whether `key` may have changed since there were `then`.
    pub(super) fn since(&self, then: u64, key: &str) -> bool {
        if self.count() == then {
            return false;
        }
        let recent = self.recent();
        let after = usize::try_from(self.count() - then).unwrap_or(usize::MAX);
        let hash = self.hasher.hash_one(key);
        after > recent.len() || recent.iter().rev().take(after).any(|changed| *changed == hash)
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_is_known_and_what_is_long_ago_is_taken_for_changed() {
        let changes = Changes::default();
        changes.note("a");
        let then = changes.count();
        assert!(!changes.since(then, "a") && changes.since(0, "a") && !changes.since(0, "b"));
        changes.note("b");
        assert!(changes.since(then, "b") && !changes.since(then, "a"));
        (0..RECENT_MAX).for_each(|_| changes.note("c"));
        assert!(changes.since(then, "a"));
        assert!(!changes.since(changes.count() - 1, "a"));
    }
}
