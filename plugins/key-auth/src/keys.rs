//! All keys, by their digests, and finding one so that the time it takes says nothing.
//!
//! A search by digest alone would not do: how far it gets tells an attacker, who can hash guesses himself, the first bits of
//! stored digests, and with these he may try a dictionary at home. So the index is by a second hash, of a secret that the
//! guest drew when it was made and nobody ever sees: what a comparison gives away is a bit of a number that has nothing to
//! do, as far as anybody without the secret can tell, with the key. The same amount is hashed for a key that is known as for
//! one that is not, and with ten thousand consumers as with one.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// The keys.
pub(crate) struct Keys {
    secret: Vec<u8>,
    // Sorted by the first.
    index: Vec<(Digest, usize)>,
}

impl Keys {
    /// Of the keys' digests.
    pub(crate) fn new(secret: &[u8], digests: Vec<Digest>) -> Self {
        let mut keys = Self { secret: secret.to_vec(), index: Vec::new() };
        keys.index = digests.iter().enumerate().map(|(position, digest)| (keys.blind(digest), position)).collect();
        keys.index.sort_unstable();
        keys
    }

    /// The position of the digest of this key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        let wanted = self.blind(&Sha256::digest(key).into());
        let found = self.index.binary_search_by(|(known, _)| known.cmp(&wanted));
        found.ok().map(|place| self.index[place].1)
    }

    fn blind(&self, digest: &Digest) -> Digest {
        Sha256::new().chain_update(&self.secret).chain_update(digest).finalize().into()
    }
}
