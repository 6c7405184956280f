//! How long a string is that is in HPACK's Huffman code (RFC 7541 section 5.2 and appendix B), and whether it is one. The
//! code is canonical: shorter codes are smaller than longer ones, and those of a length follow each other. So the count of
//! codes of each length tells where each code ends; which letter it stands for is not asked.

use super::table::Name;

/// A string, as far as it was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Huffman {
    read: Name,
    // Of a code that is not whole.
    bits: u64,
    known: u32,
}

impl Huffman {
    /// Looks at what comes next; none where it has the code that no string may have.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Option<()> {
        for byte in piece {
            self.bits = self.bits << 8 | u64::from(*byte);
            self.known += 8;
            while self.known >= SHORTEST_BITS {
                let window = (self.bits << (64 - self.known) >> 32) as u32;
                let length = code_bits(window);
                if length > self.known {
                    break;
                }
                if window >= END {
                    return None;
                }
                self.read.is_pseudo |= self.read.bytes == 0 && window >> (32 - COLON.1) == COLON.0;
                self.read.bytes += 1;
                self.known -= length;
                self.bits &= (1 << self.known) - 1;
            }
        }
        Some(())
    }

    /// It is whole; none where what fills up its last byte is anything but the beginning of that code.
    pub(super) fn end(self) -> Option<Name> {
        (self.known < 8 && self.bits == (1 << self.known) - 1).then_some(self.read)
    }
}

// How long the code is that `window` begins with.
fn code_bits(window: u32) -> u32 {
    LIMITS.iter().find(|(limit, _)| window < *limit).map_or(LONGEST_BITS, |(_, bits)| *bits)
}

// The first window past each length, and the length.
const LIMITS: [(u32, u32); 20] = {
    let mut limits = [(0, 0); 20];
    let (mut at, mut past) = (0, 0);
    while at < limits.len() {
        let (bits, count) = COUNTS[at];
        past += count << (32 - bits);
        limits[at] = (past, bits);
        at += 1;
    }
    limits
};
// How many codes there are of each length but the longest.
const COUNTS: [(u32, u32); 20] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
];
const SHORTEST_BITS: u32 = 5;
const LONGEST_BITS: u32 = 30;
// The code of the end of a string, 30 ones.
const END: u32 = 0xffff_fffc;
const COLON: (u32, u32) = (0x5c, 7);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Name> {
        let mut coded = Huffman::default();
        coded.feed(bytes)?;
        coded.end()
    }

    #[test]
    fn strings_are_as_long_as_their_codes_say() {
        // RFC 7541 appendix C.4 and C.6.
        for (bytes, length) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com".len()),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache".len()),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key".len()),
            (&[0x64, 0x02], "302".len()),
            // Three of the longest codes: line feed, carriage return, 22.
            (&[0xff, 0xff, 0xff, 0xf3, 0xff, 0xff, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xbf], 3),
        ] {
            assert_eq!(read(bytes), Some(Name { bytes: length, is_pseudo: false }), "{bytes:x?}");
        }
        assert_eq!(read(&[0xb9, 0x49, 0x53, 0x39, 0xe4]), Some(Name { bytes: 7, is_pseudo: true }));
    }

    #[test]
    fn what_fills_up_is_checked() {
        for bytes in [&[0xff][..], &[0x1f, 0xff], &[0x00], &[0xff, 0xff, 0xff, 0xff], &[0x1f, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(read(bytes), None, "{bytes:x?}");
        }
        assert_eq!(read(&[0x07]).map(|read| read.bytes), Some(1));
    }
}
