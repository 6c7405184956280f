//! Integers as field sections write them (RFC 7541 section 5.1, RFC 9204 section 4.1.1): in some bits of a byte, and in the
//! bytes behind it where those do not suffice. Pure.

/// One that is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integer {
    value: usize,
    bytes: u32,
}

/// What a byte made of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    /// It is this.
    Whole(usize),
    /// More follows.
    Part(Integer),
    /// It is longer than any may be.
    TooLong,
}

impl Integer {
    /// In the last `bits` of `first`.
    pub(super) const fn begin(first: u8, bits: u32) -> Read {
        let most = (1 << bits) - 1;
        let value = first as usize & most;
        if value < most { Read::Whole(value) } else { Read::Part(Self { value, bytes: 1 }) }
    }

    /// With the next byte.
    pub(super) const fn go_on(self, byte: u8) -> Read {
        let value = self.value + ((byte as usize & 0x7f) << (7 * (self.bytes - 1)));
        let bytes = self.bytes + 1;
        match byte {
            ..0x80 => Read::Whole(value),
            _ if bytes == BYTES_MAX => Read::TooLong,
            _ => Read::Part(Self { value, bytes }),
        }
    }
}

// Longer ones are more than any length or index may be; h2 takes no longer ones either.
const BYTES_MAX: u32 = 5;
