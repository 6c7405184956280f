//! All keys, by their digests, and finding one so that the time it takes says nothing.
//!
//! A search by digest alone would not do: how far it gets tells an attacker, who can hash guesses himself, the first bits of
//! stored digests, and with these he may try a dictionary at home. So the index is by a second hash, of a secret that the
//! guest drew when it was made and nobody ever sees: what a comparison gives away is a bit of a number that has nothing to
//! do, as far as anybody without the secret can tell, with the key. The same amount is hashed for a key that was never seen
//! as for one that is not known, and with ten thousand consumers as with one.
//!
//! A key that was found is remembered, so that who sends it again pays for no hash. It is found again by a place that
//! depends on the secret, and compared whole, in a time that depends on its length and on what is in its place, which is nothing or
//! another key that was found: that a key is remembered tells no more than that it is let pass, which its sender sees anyway.

use std::{cell::RefCell, hint::black_box};

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// The keys.
pub(crate) struct Keys {
    secret: Vec<u8>,
    // Sorted by the first.
    index: Vec<(Digest, usize)>,
    // Keys that were found, each in its place, which the next one of the same place takes.
    seen: RefCell<Vec<Option<Seen>>>,
}

struct Seen {
    key: Vec<u8>,
    position: usize,
}

/// Keys that are remembered, at most: two for each that there is.
const SEEN_MAX: usize = 1024;
/// Of a key that is remembered.
const SEEN_BYTES_MAX: usize = 128;

impl Keys {
    /// Of the keys' digests.
    pub(crate) fn new(secret: &[u8], digests: Vec<Digest>) -> Self {
        let mut keys = Self { secret: secret.to_vec(), index: Vec::new(), seen: RefCell::default() };
        keys.index = digests.iter().enumerate().map(|(position, digest)| (keys.blind(digest), position)).collect();
        keys.index.sort_unstable();
        keys
    }

    /// The position of the digest of this key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        if let Some(Some(seen)) = self.seen.borrow().get(self.place(key))
            && is_same(&seen.key, key)
        {
            return Some(seen.position);
        }
        let wanted = self.blind(&Sha256::digest(key).into());
        let found = self.index.binary_search_by(|(known, _)| known.cmp(&wanted));
        let position = self.index[found.ok()?].1;
        self.remember(key, position);
        Some(position)
    }

    fn blind(&self, digest: &Digest) -> Digest {
        Sha256::new().chain_update(&self.secret).chain_update(digest).finalize().into()
    }

    fn remember(&self, key: &[u8], position: usize) {
        if key.len() > SEEN_BYTES_MAX {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        if seen.is_empty() {
            seen.resize_with(self.places(), || None);
        }
        seen[self.place(key)] = Some(Seen { key: key.to_vec(), position });
    }

    fn places(&self) -> usize {
        (self.index.len() * 2).next_power_of_two().min(SEEN_MAX)
    }

    // That keys share a place costs a hash and gives nothing away: only keys that were found have one.
    fn place(&self, key: &[u8]) -> usize {
        let words = |bytes: &[u8], mixed: u64| {
            bytes.chunks(8).fold(mixed, |mixed, chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                (mixed ^ u64::from_le_bytes(word)).wrapping_mul(MIX).rotate_left(29)
            })
        };
        let mixed = words(key, words(&self.secret, key.len() as u64)).wrapping_mul(MIX);
        (mixed >> 32) as usize & (self.places() - 1)
    }
}

// Odd, its bits as good as random: 2^64 divided by the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn is_same(known: &[u8], key: &[u8]) -> bool {
    let differs = known.iter().zip(key).fold(0, |differs, (one, other)| differs | (one ^ other));
    known.len() == key.len() && black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> (Keys, Vec<String>) {
        let known: Vec<_> = (0..count).map(|number| format!("key-{number}")).collect();
        let digests = known.iter().map(|key| Sha256::digest(key).into()).collect();
        (Keys::new(b"a secret of sixteen", digests), known)
    }

    #[test]
    fn a_key_is_found_again_as_it_was_found_first() {
        // With more keys than are remembered, each takes another's place sooner or later.
        for count in [1, 3, 2_000] {
            let (keys, known) = keys(count);
            for _ in 0..3 {
                for (position, key) in known.iter().enumerate() {
                    assert_eq!(keys.find(key.as_bytes()), Some(position), "{key}");
                    assert_eq!(keys.find(key.as_bytes()), Some(position), "{key} again");
                }
            }
            assert!(keys.seen.borrow().len() <= SEEN_MAX);
        }
    }

    #[test]
    fn what_is_like_a_key_that_was_seen_is_not_taken_for_it() {
        let (keys, _) = keys(1);
        assert_eq!(keys.find(b"key-0"), Some(0));
        for other in ["key-1", "key-", "key-00", "", "Key-0", "key-0\0"] {
            assert_eq!(keys.find(other.as_bytes()), None, "{other}");
        }
        let none = Keys::new(b"secret", Vec::new());
        assert_eq!((none.find(b"key-0"), none.find(b"")), (None, None));
    }

    #[test]
    fn long_keys_are_found_and_not_remembered() {
        let long = "k".repeat(SEEN_BYTES_MAX + 1);
        let keys = Keys::new(b"secret", vec![Sha256::digest(&long).into()]);
        assert_eq!((keys.find(long.as_bytes()), keys.find(long.as_bytes())), (Some(0), Some(0)));
        assert!(keys.seen.borrow().is_empty());
    }
}
