//! The identity of a part: the hash of its canonical content. Equal identity, same object. And how such bytes are written.
//! Knows nothing of what is hashed.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256 of some content, the key by which compiled parts are found for reuse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of raw bytes (a file, a module).
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The identity of a value by its serialised form. Maps in `value` must iterate in a fixed order.
    pub fn of<T: Serialize>(value: &T) -> Self {
        let mut hasher = Sha256::new();
        serde_json::to_writer(HashWriter(&mut hasher), value)
            .expect("a specification has string keys only, so it serialises");
        Self(hasher.finalize().into())
    }

    /// The identity of an ordered list of parts.
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part.0);
        }
        Self(hasher.finalize().into())
    }

    /// The identity of an ordered list of named parts.
    pub fn of_named<'a>(parts: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut hasher = Sha256::new();
        for (name, part) in parts {
            // With its length before it, no name can run into the next part.
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(part.0);
        }
        Self(hasher.finalize().into())
    }

    /// The identity of a part in its place.
    pub fn placed(place: &[usize], part: Self) -> Self {
        let mut hasher = Sha256::new();
        place.iter().for_each(|at| hasher.update((*at as u64).to_le_bytes()));
        hasher.update(part.0);
        Self(hasher.finalize().into())
    }

    /// The identity of a part under its name.
    pub fn named(name: &str, part: Self) -> Self {
        Self::of_named([(name, part)])
    }

    /// The identity of one name behind another.
    pub fn linked(before: &str, name: &str) -> Self {
        let mut hasher = Sha256::new();
        // With its length before it, neither can run into the other.
        hasher.update((before.len() as u64).to_le_bytes());
        hasher.update(before);
        hasher.update(name);
        Self(hasher.finalize().into())
    }

    /// What [`fmt::Display`] writes, read back; `None` for anything but 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    fn halves(self) -> (u128, u128) {
        let half = |at: usize| self.0[at..at + 16].try_into().map_or(0, u128::from_le_bytes);
        (half(0), half(16))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lower-case hexadecimal, 64 characters; `{:.12}` prints the first 12.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        hex(&mut text, &self.0);
        let shown = f.precision().map_or(&text[..], |digits| &text[..digits.min(64)]);
        f.write_str(std::str::from_utf8(shown).expect("these digits are ASCII"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.12}")
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The identity of many parts, kept up to date part by part: which ones there are, in whatever order they came. What a part is
/// called or where it stands belongs into its own identity ([`Identity::named`], [`Identity::placed`]). It tells apart what
/// differs; it does not withstand somebody who looks for tens of thousands of parts that come to the same sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    count: u64,
    // A number of 256 bits, the low one first, modulo 2^256.
    low: u128,
    high: u128,
}

impl Sum {
    /// The sum of these parts.
    pub fn of(parts: impl IntoIterator<Item = Identity>) -> Self {
        let mut sum = Self::default();
        parts.into_iter().for_each(|part| sum.add(part));
        sum
    }

    /// Adds a part.
    pub fn add(&mut self, part: Identity) {
        let (low, high) = part.halves();
        let (low, carries) = self.low.overflowing_add(low);
        (self.low, self.count) = (low, self.count.wrapping_add(1));
        self.high = self.high.wrapping_add(high).wrapping_add(u128::from(carries));
    }

    /// Takes away a part that was added.
    pub fn remove(&mut self, part: Identity) {
        let (low, high) = part.halves();
        let (low, borrows) = self.low.overflowing_sub(low);
        (self.low, self.count) = (low, self.count.wrapping_sub(1));
        self.high = self.high.wrapping_sub(high).wrapping_sub(u128::from(borrows));
    }

    /// Of all parts that are in it.
    pub fn identity(&self) -> Identity {
        let mut hasher = Sha256::new();
        hasher.update(self.count.to_le_bytes());
        hasher.update(self.low.to_le_bytes());
        hasher.update(self.high.to_le_bytes());
        Identity(hasher.finalize().into())
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes `bytes` as lower-case hexadecimal, two digits each. Both are one look at a table: several ids are written for each
/// request.
pub(crate) fn hex(digits: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

static PAIRS: [[u8; 2]; 256] = {
    let (mut pairs, mut byte) = ([[0; 2]; 256], 0);
    while byte < pairs.len() {
        pairs[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let identity = Identity::of_bytes(b"x");
        let text = identity.to_string();
        assert_eq!(Identity::parse(&text), Some(identity));
        assert_eq!((format!("{identity:.12}"), format!("{identity:.99}")), (text[..12].to_owned(), text.clone()));
        assert_eq!(Identity([0x0f; 32]).to_string(), "0f".repeat(32));
        let not_hexadecimal = text.replace(|c: char| c.is_ascii_digit(), "g");
        for bad in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &not_hexadecimal] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sum_is_of_what_is_in_it_and_of_nothing_that_was() {
        let parts = ["a", "b", "c", "c"].map(|name| Identity::of_bytes(name.as_bytes()));
        let mut sum = Sum::of(parts);
        assert_eq!(sum, Sum::of(parts.into_iter().rev()));
        let three = Sum::of(parts[..3].iter().copied());
        assert_ne!(sum.identity(), three.identity());
        sum.remove(parts[3]);
        assert_eq!((sum, sum.identity()), (three, three.identity()));
        parts[..3].iter().for_each(|part| sum.remove(*part));
        assert_eq!(sum, Sum::default());
        let all = Identity([0xff; 32]);
        (0..5).for_each(|_| sum.add(all));
        (0..5).for_each(|_| sum.remove(all));
        assert_eq!(sum, Sum::default(), "what carries borrows back");
        assert_ne!(Identity::placed(&[1, 2], parts[0]), Identity::placed(&[2, 1], parts[0]));
    }

    #[test]
    fn a_name_does_not_run_into_the_next_part() {
        let part = Identity::of_bytes(b"");
        let name = String::from_utf8_lossy(&[b'a'; 8]).into_owned();
        assert_ne!(Identity::of_named([("a", part), ("b", part)]), Identity::of_named([("b", part), ("a", part)]));
        assert_ne!(Identity::of_named([(&*name, part)]), Identity::of_named([("", part), ("", part)]));
        assert_ne!(Identity::linked("a", "bc"), Identity::linked("ab", "c"));
    }
}
