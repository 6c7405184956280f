//! Streams of one direction that a client opens (RFC 9114 section 6.2): what the codec does not look at is looked at here,
//! the others are handed to it.

use std::{
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use h3::error::Code;
use quinn::{ConnectionError, ReadError, RecvStream};

use super::qpack::{Instructions, Role};

/// Those of one connection that are not the codec's, or not known yet. No more than a client may have open.
#[derive(Debug, Default)]
pub(super) struct Others {
    unknown: Vec<RecvStream>,
    qpack: Vec<(RecvStream, Instructions)>,
}

/// Why nothing more can be taken.
#[derive(Debug)]
pub(super) enum Ended {
    /// The connection is gone.
    Lost(ConnectionError),
    /// It has to end with this.
    Broken(Code),
}

impl From<Code> for Ended {
    fn from(code: Code) -> Self {
        Self::Broken(code)
    }
}

impl Others {
    /// One was opened.
    pub(super) fn push(&mut self, stream: RecvStream) {
        self.unknown.push(stream);
    }

    /// One for the codec, with what was read of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(RecvStream, Bytes), Ended>> {
        let mut at = 0;
        while at < self.unknown.len() {
            let Poll::Ready(read) = poll_read(&mut self.unknown[at], cx) else {
                at += 1;
                continue;
            };
            let stream = self.unknown.swap_remove(at);
            // One that ends before it says what it is means nothing.
            let Some(bytes) = read? else { continue };
            match kind(&bytes) {
                Some((PUSH, _)) => return Poll::Ready(Err(Code::H3_STREAM_CREATION_ERROR.into())),
                Some((ENCODER, size)) => self.begin(stream, Role::Encoder, &bytes[size..])?,
                Some((DECODER, size)) => self.begin(stream, Role::Decoder, &bytes[size..])?,
                _ => return Poll::Ready(Ok((stream, bytes))),
            }
        }
        for (stream, instructions) in &mut self.qpack {
            while let Poll::Ready(read) = poll_read(stream, cx) {
                let bytes = read?.ok_or(Code::H3_CLOSED_CRITICAL_STREAM)?;
                instructions.feed(&bytes)?;
            }
        }
        Poll::Pending
    }

    fn begin(&mut self, stream: RecvStream, role: Role, bytes: &[u8]) -> Result<(), Code> {
        if self.qpack.iter().any(|(_, instructions)| instructions.role() == role) {
            return Err(Code::H3_STREAM_CREATION_ERROR);
        }
        let mut instructions = Instructions::new(role);
        instructions.feed(bytes)?;
        self.qpack.push((stream, instructions));
        Ok(())
    }
}

// What comes next; nothing at the end, however it came.
fn poll_read(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Ended>> {
    pin!(stream.read_chunk(READ_BYTES_MAX, true)).poll(cx).map(|read| match read {
        Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
        Err(ReadError::ConnectionLost(error)) => Err(Ended::Lost(error)),
        Err(_) => Ok(None),
    })
}

// What a stream says that it is, in how many bytes. One that takes longer than its first bytes is left to the codec.
fn kind(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let size = 1 << (first >> 6);
    let rest = bytes.get(1..size)?;
    Some((rest.iter().fold(u64::from(first & 0x3f), |kind, byte| kind << 8 | u64::from(*byte)), size))
}

const PUSH: u64 = 1;
const ENCODER: u64 = 2;
const DECODER: u64 = 3;
const READ_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_an_integer_of_any_length() {
        for (bytes, known) in [
            (&[2, 0x20][..], Some((2, 1))),
            (&[0x40, 3], Some((3, 2))),
            (&[0x80, 0, 0, 1, 9], Some((1, 4))),
            (&[0x40], None),
            (&[], None),
        ] {
            assert_eq!(kind(bytes), known, "{bytes:x?}");
        }
    }
}
