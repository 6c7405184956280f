//! A section of fields of a request over HTTP/3 as it passes by: whether its pseudo-headers stand where they may (RFC 9114
//! section 4.3), which the codec does not ask. Reads the wire format (RFC 9204 section 4.5) and decodes nothing. Pure.

use crate::server::prefixed::{Integer, Read};

/// A section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    at: At,
    are_trailers: bool,
    // The pseudo-headers that were there, and whether there was a field of another kind.
    seen: u8,
    has_fields: bool,
    name: Name,
}

/// It is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum At {
    InsertCount,
    Base,
    Field,
    Length,
    Integer(Integer, What),
    Name { left: usize, is_coded: bool, read: Text },
    Value(usize),
    // There is no dynamic table: whoever refers to it is refused by the codec.
    Undecodable,
}

// What an integer means.
#[derive(Clone, Copy, Debug)]
enum What {
    InsertCount,
    Base,
    Field,
    Name,
    NameLength { is_coded: bool },
    ValueLength,
}

// How a name begins, and how long it is.
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    begin: [u8; NAME_BYTES_MAX],
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Field,
    // One of `PSEUDO`.
    Pseudo(u8),
    // What is none of a request's.
    Foreign,
}

impl Section {
    /// One that begins.
    pub(super) const fn new(are_trailers: bool) -> Self {
        Self { at: At::InsertCount, are_trailers, seen: 0, has_fields: false, name: Name::Field }
    }

    /// Looks at what comes next of it.
    ///
    /// # Errors
    /// It has a pseudo-header that may not be there.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let Some((first, rest)) = bytes.split_first() {
            let mut behind = rest;
            match self.at {
                At::InsertCount => self.integer(Integer::begin(*first, 8), What::InsertCount)?,
                At::Base => self.integer(Integer::begin(*first, 7), What::Base)?,
                At::Field => self.begin_field(*first)?,
                At::Length => self.integer(Integer::begin(*first, 7), What::ValueLength)?,
                At::Integer(integer, what) => self.integer(integer.go_on(*first), what)?,
                At::Name { left, is_coded, read } => {
                    let (piece, after) = bytes.split_at(left.min(bytes.len()));
                    self.read_name(piece, left - piece.len(), is_coded, read);
                    behind = after;
                }
                At::Value(left) => {
                    let skipped = left.min(bytes.len());
                    behind = &bytes[skipped..];
                    self.at = if left == skipped { At::Field } else { At::Value(left - skipped) };
                }
                At::Undecodable => return Ok(()),
            }
            bytes = behind;
        }
        Ok(())
    }

    // RFC 9204 section 4.5.2 and what follows it.
    fn begin_field(&mut self, first: u8) -> Result<(), Malformed> {
        let (bits, what) = match first {
            0xc0.. => (6, What::Field),
            0x50..0x60 | 0x70..0x80 => (4, What::Name),
            0x20..0x40 => (3, What::NameLength { is_coded: first & 8 != 0 }),
            _ => {
                self.at = At::Undecodable;
                return Ok(());
            }
        };
        self.integer(Integer::begin(first, bits), what)
    }

    fn integer(&mut self, read: Read, what: What) -> Result<(), Malformed> {
        let Read::Whole(value) = read else {
            self.at = if let Read::Part(integer) = read { At::Integer(integer, what) } else { At::Undecodable };
            return Ok(());
        };
        self.at = match what {
            What::InsertCount if value == 0 => At::Base,
            What::InsertCount => At::Undecodable,
            What::Base => At::Field,
            What::Field => {
                self.name = of_static(value);
                self.admit(false)?;
                At::Field
            }
            What::Name => {
                self.name = of_static(value);
                At::Length
            }
            What::NameLength { is_coded } => At::Name { left: value, is_coded, read: Text::default() },
            What::ValueLength => {
                self.admit(value == 0)?;
                if value == 0 { At::Field } else { At::Value(value) }
            }
        };
        Ok(())
    }

    fn read_name(&mut self, piece: &[u8], left: usize, is_coded: bool, mut read: Text) {
        for (place, byte) in read.begin.iter_mut().skip(read.bytes).zip(piece) {
            *place = *byte;
        }
        read.bytes += piece.len();
        self.at = At::Name { left, is_coded, read };
        if left == 0 {
            self.name = read.name(is_coded);
            self.at = At::Length;
        }
    }

    fn admit(&mut self, is_empty: bool) -> Result<(), Malformed> {
        let which = match self.name {
            Name::Field => {
                self.has_fields = true;
                return Ok(());
            }
            Name::Foreign => return Err(Malformed),
            Name::Pseudo(which) => which,
        };
        let is_again = self.seen & 1 << which != 0;
        self.seen |= 1 << which;
        let is_misplaced = self.are_trailers || self.has_fields || is_again;
        if is_misplaced || is_empty && which == PATH { Err(Malformed) } else { Ok(()) }
    }
}

impl Text {
    fn name(&self, is_coded: bool) -> Name {
        let known = self.begin.get(..self.bytes);
        let is_it = |(plain, coded): &(&[u8], &[u8])| known == Some(if is_coded { coded } else { plain });
        if let Some(which) = PSEUDO.iter().position(is_it) {
            return Name::Pseudo(which as u8);
        }
        let first = self.begin[0];
        let is_pseudo = if is_coded { first >> 1 == CODED_COLON } else { first == b':' };
        if is_pseudo { Name::Foreign } else { Name::Field }
    }
}

// RFC 9204 appendix A.
const fn of_static(index: usize) -> Name {
    match index {
        0 => Name::Pseudo(AUTHORITY),
        1 => Name::Pseudo(PATH),
        15..=21 => Name::Pseudo(METHOD),
        22 | 23 => Name::Pseudo(SCHEME),
        24..=28 | 63..=71 => Name::Foreign,
        _ => Name::Field,
    }
}

const AUTHORITY: u8 = 0;
const PATH: u8 = 1;
const METHOD: u8 = 2;
const SCHEME: u8 = 3;
// Each as it is, and in the Huffman code (RFC 7541 appendix B).
const PSEUDO: [(&[u8], &[u8]); 5] = [
    (b":authority", &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f]),
    (b":path", &[0xb9, 0x58, 0xd3, 0x3f]),
    (b":method", &[0xb9, 0x49, 0x53, 0x39, 0xe4]),
    (b":scheme", &[0xb8, 0x82, 0x4e, 0x5a, 0x4b]),
    (b":protocol", &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f]),
];
const CODED_COLON: u8 = 0x5c;
const NAME_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    // `:method GET`, `:scheme https`, `:path /` of the static table.
    const HEAD: &[u8] = &[0, 0, 0xd1, 0xd7, 0xc1];

    fn check(are_trailers: bool, bytes: &[u8]) -> Result<(), Malformed> {
        let outcomes: Vec<_> = [1, 2, 3, 1000]
            .into_iter()
            .map(|piece| {
                let mut section = Section::new(are_trailers);
                bytes.chunks(piece).try_for_each(|piece| section.feed(piece))
            })
            .collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{bytes:x?}: {outcomes:?}");
        outcomes[0]
    }

    fn head(more: &[u8]) -> Result<(), Malformed> {
        check(false, &[HEAD, more].concat())
    }

    #[test]
    fn heads_as_they_should_be_pass() {
        for more in [
            &b""[..],
            b"\x50\x01a",
            b"\x27\x03:authority\x01a",
            b"\x2f\x01\xb8\x3b\x53\x39\xec\x32\x7d\x7f\x01a\xdd",
            b"\x27\x02:protocol\x01a",
            b"\x23x-a\x02:b\xdd",
            b"\x5f\x0e\x00\xdd",
            // What the codec refuses.
            b"\x80\xd1",
            b"\x00\xd1",
        ] {
            assert_eq!(head(more), Ok(()), "{more:x?}");
        }
        assert_eq!(check(true, b"\0\0\x23x-a\x01b\xdd"), Ok(()));
        assert_eq!(check(false, b"\x01\0\xd1\xd1"), Ok(()));
    }

    #[test]
    fn pseudo_headers_come_once_and_first_and_are_a_requests() {
        for more in [
            &b"\xd1"[..],
            b"\xd6",
            b"\xc1",
            b"\x51\x02/b",
            b"\x25:path\x02/b",
            b"\x2c\xb9\x58\xd3\x3f\x02/b",
            b"\x50\x01a\x50\x01a",
            b"\xdd\x50\x01a",
            b"\x23x-a\x01b\x27\x03:authority\x01a",
            b"\xd8",
            b"\x27\x00:status\x03200",
            b"\x22:x\x01y",
        ] {
            assert_eq!(head(more), Err(Malformed), "{more:x?}");
        }
        assert_eq!(check(false, b"\0\0\xd1\xd7\x51\x00"), Err(Malformed));
        assert_eq!(check(true, b"\0\0\xd1"), Err(Malformed));
    }
}
