//! Tokens whose signature this guest has verified: the same one comes with many requests, and verifying it again would
//! say nothing new. Found by digest; times are checked at each use all the same. Knows no host.

use std::{collections::HashMap, rc::Rc};

use sha2::{Digest, Sha256};

use crate::{claims::Window, identity::Identity};

/// What is known of a token.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    /// The set of keys that it was verified with.
    pub(crate) set: u64,
    pub(crate) window: Window,
    pub(crate) identity: Rc<Identity>,
}

/// The last so many tokens, and at most twice as many: when the newer half is full, the older one is forgotten.
#[derive(Debug)]
pub(crate) struct Seen {
    newer: HashMap<Sum, Verified>,
    older: HashMap<Sum, Verified>,
    entries_max: usize,
}

/// SHA-256 of a token.
pub(crate) type Sum = [u8; 32];

/// Bytes of an identity that is remembered.
const IDENTITY_BYTES_MAX: usize = 1024;

/// What a token is remembered by.
pub(crate) fn sum(token: &str) -> Sum {
    Sha256::digest(token).into()
}

impl Seen {
    /// Remembers `entries_max` at least; nothing, if that is 0.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), entries_max }
    }

    /// What is known of a token.
    pub(crate) fn of(&mut self, sum: &Sum) -> Option<Verified> {
        if let Some(known) = self.newer.get(sum) {
            return Some(known.clone());
        }
        let known = self.older.remove(sum)?;
        self.insert(*sum, known.clone());
        Some(known)
    }

    /// Remembers one.
    pub(crate) fn remember(&mut self, sum: Sum, verified: Verified) {
        if self.entries_max > 0 && verified.identity.bytes() <= IDENTITY_BYTES_MAX {
            self.insert(sum, verified);
        }
    }

    fn insert(&mut self, sum: Sum, verified: Verified) {
        if self.newer.len() >= self.entries_max {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(sum, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Claims, Rules};

    fn verified(set: u64) -> Verified {
        let window = Rules::default().check(None, &Claims::new()).unwrap();
        Verified { set, window, identity: Rc::default() }
    }

    #[test]
    fn the_last_ones_are_known_and_the_others_forgotten() {
        let mut seen = Seen::new(2);
        for number in 0..10u64 {
            seen.remember(sum(&number.to_string()), verified(number));
            assert!(seen.newer.len() + seen.older.len() <= 4);
            // Used again and again, it stays.
            assert_eq!(seen.of(&sum("0")).map(|known| known.set), Some(0), "after {number}");
        }
        assert!(seen.of(&sum("9")).is_some() && seen.of(&sum("1")).is_none());
        let mut none = Seen::new(0);
        none.remember(sum("a"), verified(1));
        assert!(none.of(&sum("a")).is_none());
    }
}
