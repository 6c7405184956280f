//! The body of an HTTP/1.1 response, pure: bytes to data and trailers (RFC 9112 sections 6 and 7). Knows no socket.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::Malformed;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection ends.
    UntilClose,
}

/// Takes a body out of the bytes of a connection.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    trailer_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    End,
}

/// What could be taken.
#[derive(Debug)]
pub(super) enum Piece {
    /// Some bytes.
    Data(Bytes),
    /// The trailers, never empty. Nothing follows.
    Trailers(HeaderMap),
    /// Nothing more until more is read.
    More,
    /// The body is over.
    End,
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub(super) const fn new(framing: Framing, trailer_bytes_max: usize) -> Self {
        let state = match framing {
            Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, trailer_bytes_max }
    }

    /// Whether the body is over.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// How many bytes are to come, where that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece off the front of `input`.
    ///
    /// # Errors
    /// When it is not a body.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self.state {
                State::End => return Ok(Piece::End),
                _ if input.is_empty() => return Ok(Piece::More),
                State::Length(left) => {
                    let (data, left) = take(input, left);
                    self.state = if left == 0 { State::End } else { State::Length(left) };
                    return Ok(Piece::Data(data));
                }
                State::UntilClose => return Ok(Piece::Data(input.split().freeze())),
                State::ChunkSize => match chunk_size(input)? {
                    None => return Ok(Piece::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size),
                },
                State::Chunk(left) => {
                    let (data, left) = take(input, left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    self.finish_early(input);
                    return Ok(Piece::Data(data));
                }
                State::ChunkEnd => match **input {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.state = State::ChunkSize;
                    }
                    [b'\r'] => return Ok(Piece::More),
                    _ => return Err(Malformed("a chunk does not end with its line end")),
                },
                State::Trailers => return self.trailers(input),
            }
        }
    }

    // The body is over when its connection is; an error where it is not.
    pub(super) fn closed(&mut self) -> Result<(), Malformed> {
        if self.state == State::UntilClose {
            self.state = State::End;
        }
        if self.is_over() { Ok(()) } else { Err(Malformed("it ended before its body did")) }
    }

    // With the last chunk, its end is mostly there: then the body is known to be over one read earlier.
    fn finish_early(&mut self, input: &mut BytesMut) {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        if self.state == State::ChunkEnd && input.starts_with(LAST) {
            input.advance(LAST.len());
            self.state = State::End;
        }
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Piece, Malformed> {
        if input.starts_with(b"\r\n") {
            input.advance(2);
            self.state = State::End;
            return Ok(Piece::End);
        }
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            let over = input.len() > self.trailer_bytes_max;
            return if over { Err(Malformed("its trailers are too long")) } else { Ok(Piece::More) };
        };
        let fields = fields(&input.split_to(end + 4).freeze())?;
        self.state = State::End;
        Ok(if fields.is_empty() { Piece::End } else { Piece::Trailers(fields) })
    }
}

fn take(input: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    (input.split_to(size).freeze(), left - size as u64)
}

// The line before a chunk: its size in hexadecimal, and extensions, which nobody uses.
fn chunk_size(input: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(CHUNK_LINE_BYTES_MAX)]) else {
        let over = input.len() >= CHUNK_LINE_BYTES_MAX;
        return if over { Err(Malformed("the line before a chunk is too long")) } else { Ok(None) };
    };
    let line = input[..end].strip_suffix(b"\r").ok_or(Malformed("the line before a chunk ends with a bare LF"))?;
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let rest = line[digits..].trim_ascii_start();
    if digits == 0 || digits > 16 || !(rest.is_empty() || rest[0] == b';') || rest.contains(&b'\r') {
        return Err(Malformed("the size of a chunk is not a number"));
    }
    let size = line[..digits].iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    input.advance(end + 1);
    Ok(Some(size))
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn fields(bytes: &Bytes) -> Result<HeaderMap, Malformed> {
    let bad = Malformed("its trailers are not fields");
    let mut storage = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let Ok(httparse::Status::Complete((_, raw))) = httparse::parse_headers(bytes, &mut storage) else {
        return Err(bad);
    };
    let mut fields = HeaderMap::with_capacity(raw.len());
    for field in raw {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).map_err(|_| bad)?;
        fields.append(name, value);
    }
    Ok(fields)
}

const CHUNK_LINE_BYTES_MAX: usize = 1024;
const TRAILERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Everything that comes out when `wire` arrives cut at `cuts`, and what is left in the buffer.
    fn decode(framing: Framing, wire: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize, usize), Malformed> {
        let mut decoder = Decoder::new(framing, 1024);
        let (mut input, mut data, mut trailers) = (BytesMut::new(), Vec::new(), 0);
        let mut from = 0;
        for cut in cuts.iter().copied().chain([wire.len()]) {
            input.extend_from_slice(&wire[from..cut.max(from)]);
            from = cut.max(from);
            loop {
                match decoder.take(&mut input)? {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields.len(),
                    Piece::More | Piece::End => break,
                }
            }
        }
        decoder.closed()?;
        Ok((data, trailers, input.len()))
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_body_is_the_same(mut cuts in prop::collection::vec(0..65_usize, 0..12)) {
            cuts.sort_unstable();
            let chunked = b"5\r\nhello\r\n00a;x=\"y\"\r\n, chunked \r\n5 \r\nworld\r\n0\r\na: b\r\nc: d\r\n\r\nnext";
            prop_assert_eq!(decode(Framing::Chunked, chunked, &cuts), Ok((b"hello, chunked world".to_vec(), 2, 4)));
            let plain = [b'x'; 75];
            prop_assert_eq!(decode(Framing::Length(72), &plain, &cuts), Ok((vec![b'x'; 72], 0, 3)));
            prop_assert_eq!(decode(Framing::UntilClose, &plain, &cuts), Ok((plain.to_vec(), 0, 0)));
        }

        #[test]
        fn no_bytes_panic(wire in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let _either = decode(Framing::Chunked, &wire, &[cut.min(wire.len())]).is_ok();
        }
    }

    #[test]
    fn what_is_not_a_chunk_is_refused() {
        for wire in [
            "\r\n",
            "g\r\n",
            "-1\r\nx",
            "+1\r\nx\r\n0\r\n\r\n",
            "0x1\r\n",
            "1\nx\r\n0\r\n\r\n",
            "1\r\nxy\r\n0\r\n\r\n",
            "1 2\r\n",
            "11111111111111111\r\n",
            "1\r\nx\r\n",
            "5\r\nab",
            "0\r\n",
            "0\r\na b\r\n\r\n",
            "1;\r\r\nx",
        ] {
            assert!(decode(Framing::Chunked, wire.as_bytes(), &[]).is_err(), "{wire:?}");
        }
        let long = format!("1;{}", "x".repeat(2000));
        assert!(decode(Framing::Chunked, long.as_bytes(), &[]).is_err());
        let trailers = format!("0\r\na: {}", "x".repeat(2000));
        assert!(decode(Framing::Chunked, trailers.as_bytes(), &[]).is_err());
    }
}
