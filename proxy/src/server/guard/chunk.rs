//! A body in chunks and its trailers (RFC 9112 section 7.1), in the one form that every server reads alike.

use super::{
    Bounds, Fault,
    line::{self, Lines},
};
use crate::error::Kind;

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    // Of all chunks of this body: they are for nobody.
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

#[derive(Debug)]
enum State {
    Size { digits: u32, size: u64 },
    Extension { size: u64, at: Extension },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers(Lines),
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: START, extension_bytes: 0, trailer_bytes: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Reads on in `bytes`; answers whether the body ends, and counts in `taken` what may pass, also before a fault.
    pub(super) fn read(&mut self, bytes: &[u8], bounds: &Bounds, taken: &mut usize) -> Result<bool, Fault> {
        while *taken < bytes.len() {
            let rest = &bytes[*taken..];
            match &mut self.state {
                State::Data { left } => {
                    let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= piece as u64;
                    *taken += piece;
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                }
                State::Trailers(_) => match self.trailer(rest, bounds)? {
                    None => return Ok(false),
                    Some(Trailer::Field(length)) => *taken += length,
                    Some(Trailer::End(length)) => {
                        *taken += length;
                        return Ok(true);
                    }
                },
                _ => {
                    self.byte(rest[0])?;
                    *taken += 1;
                }
            }
        }
        Ok(false)
    }

    // A byte of the line with the size, or of the line end after the data.
    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (&self.state, byte) {
            (State::Size { digits, size }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                if *digits == SIZE_DIGITS_MAX {
                    return Err(Fault::malformed("a chunk size of too many digits"));
                }
                State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size: *size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size: *size, at: Extension::Name },
            (State::Size { .. }, _) => return Err(Fault::malformed("an invalid chunk size")),
            (State::Extension { size, at }, b'\r') if at.may_end() => State::SizeEnd { size: *size },
            (State::Extension { size, at }, byte) => {
                let at = at.after(byte).ok_or(Fault::malformed("an invalid chunk extension"))?;
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(Fault::malformed("chunk extensions over their limit"));
                }
                State::Extension { size: *size, at }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers(Lines::default()),
            (State::SizeEnd { size }, b'\n') => State::Data { left: *size },
            (State::SizeEnd { .. }, _) => return Err(Fault::malformed("a chunk size with a bare carriage return")),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => START,
            _ => return Err(Fault::malformed("a chunk that is longer than its size")),
        };
        Ok(())
    }

    // One trailer line, once all of it is there; the empty one is the end.
    fn trailer(&mut self, rest: &[u8], bounds: &Bounds) -> Result<Option<Trailer>, Fault> {
        let State::Trailers(lines) = &mut self.state else { return Ok(None) };
        let most = bounds.head_bytes_max.min(TRAILER_BYTES_MAX).saturating_sub(self.trailer_bytes);
        let Some((line, end)) = lines.next(rest) else {
            return if rest.len() > most { Err(TRAILERS_TOO_LARGE) } else { Ok(None) };
        };
        if end > most {
            return Err(TRAILERS_TOO_LARGE);
        }
        let line = line::whole(line)?;
        if line.is_empty() {
            return Ok(Some(Trailer::End(end)));
        }
        let (name, _) = line::field(line)?;
        self.trailers += 1;
        self.trailer_bytes += end;
        if self.trailers > bounds.headers_max.min(TRAILERS_MAX) {
            return Err(TRAILERS_TOO_LARGE);
        }
        if FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
            return Err(Fault::malformed("a field that frames or addresses a message among its trailers"));
        }
        self.state = State::Trailers(Lines::default());
        Ok(Some(Trailer::Field(end)))
    }
}

// Where in an extension a byte stands (RFC 9112 section 7.1.1): after a semicolon a name, and perhaps a value.
#[derive(Clone, Copy, Debug)]
enum Extension {
    // Before a name.
    Name,
    InName,
    // White space behind a name.
    AfterName,
    // Before a value.
    Value,
    InValue,
    Quoted,
    Escaped,
    // Behind the closing quote.
    Closed,
    // White space behind a value.
    AfterValue,
}

impl Extension {
    /// Where the next byte stands; `None` where this one may not stand here.
    fn after(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        let token = line::is_token(&[byte]);
        Some(match self {
            Self::Name if blank => Self::Name,
            Self::Name | Self::InName if token => Self::InName,
            Self::InName | Self::AfterName if blank => Self::AfterName,
            Self::InName | Self::AfterName if byte == b'=' => Self::Value,
            Self::Value if blank => Self::Value,
            Self::Value if byte == b'"' => Self::Quoted,
            Self::Value | Self::InValue if token => Self::InValue,
            Self::Quoted if byte == b'"' => Self::Closed,
            Self::Quoted if byte == b'\\' => Self::Escaped,
            Self::Quoted | Self::Escaped if matches!(byte, b'\t' | b' '..=b'~') => Self::Quoted,
            Self::InValue | Self::Closed | Self::AfterValue if blank => Self::AfterValue,
            Self::InName | Self::AfterName | Self::InValue | Self::Closed | Self::AfterValue if byte == b';' => {
                Self::Name
            }
            _ => return None,
        })
    }

    /// Whether the line may end here.
    const fn may_end(self) -> bool {
        matches!(self, Self::InName | Self::InValue | Self::Closed)
    }
}

// A trailer line, with its length.
enum Trailer {
    Field(usize),
    End(usize),
}

const START: State = State::Size { digits: 0, size: 0 };
const TRAILERS_TOO_LARGE: Fault = Fault { kind: Kind::HeadTooLarge, detail: "the trailers are over their limit" };
// RFC 9110 section 6.5.1. Others that may not be there are taken off later.
const FORBIDDEN: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
// As many as fit into 64 bits.
const SIZE_DIGITS_MAX: u32 = 16;
const EXTENSION_BYTES_MAX: usize = 4 * 1024;
// Below what hyper takes, so that it is never hyper that refuses.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
const TRAILERS_MAX: usize = 64;
