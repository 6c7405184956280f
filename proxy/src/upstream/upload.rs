//! The bytes of a request on their way out: its body as frames come, framed as its head said, and what waits for the
//! socket. Holds one frame at a time: that is the back-pressure. Knows no socket.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;

use super::head::Sending;
use crate::{
    error::{Error, Kind},
    exchange::Body,
};

/// The body of a request that is being sent.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) body: Body,
    pub(super) sending: Sending,
    /// Whether anything was taken out of the body.
    pub(super) started: bool,
    /// Whether it is the body that is waited for, not the socket.
    pub(super) waiting: bool,
    /// Bytes that the socket took, the head's included.
    pub(super) sent: u64,
    /// Why the upstream takes no more; its answer may still come.
    pub(super) refused: Option<io::Error>,
    ended: bool,
}

/// What waits for the socket, in this order: heads and lines, a piece of body, the line after it.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) lines: Vec<u8>,
    written: usize,
    data: Bytes,
    after: &'static [u8],
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        let sending = Sending::of(&body);
        let ended = sending == Sending::Length(0);
        Self { body, sending, started: false, waiting: false, sent: 0, refused: None, ended }
    }

    /// Whether nothing more will be taken from the body.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Gives up: the upstream takes no more.
    pub(super) fn refuse(&mut self, cause: io::Error) {
        self.refused = Some(cause);
        self.ended = true;
        // What was not begun can be sent on another connection.
        if self.started {
            self.body = Body::empty();
        }
    }

    /// Moves the next frame of the body to `output`, whose last one must be gone.
    ///
    /// # Errors
    /// The body's own, or that it is not as long as it said.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<Result<(), Error>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.started = true;
        Poll::Ready(match frame.transpose()?.map(http_body::Frame::into_data) {
            None => self.end(output, None),
            Some(Ok(data)) => self.data(output, data),
            Some(Err(other)) => self.end(output, other.into_trailers().ok()),
        })
    }

    fn data(&mut self, output: &mut Output, data: Bytes) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.sending {
            Sending::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or_else(length_differs)?;
                self.ended = *left == 0;
            }
            Sending::Chunked => {
                output.settle();
                output.lines.extend_from_slice(hexadecimal(data.len(), &mut [0; 16]));
                output.lines.extend_from_slice(b"\r\n");
                self.ended = self.body.is_end_stream();
                output.after = if self.ended { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            }
        }
        output.data = data;
        Ok(())
    }

    fn end(&mut self, output: &mut Output, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.ended = true;
        match self.sending {
            Sending::Length(0) => Ok(()),
            Sending::Length(_) => Err(length_differs()),
            Sending::Chunked => {
                output.settle();
                output.lines.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    output.lines.extend_from_slice(name.as_str().as_bytes());
                    output.lines.extend_from_slice(b": ");
                    output.lines.extend_from_slice(value.as_bytes());
                    output.lines.extend_from_slice(b"\r\n");
                }
                output.lines.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

fn length_differs() -> Error {
    Error::new(Kind::Internal, "the body of the request is not as long as it said")
}

impl Output {
    /// Begins a new message.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        if self.lines.capacity() > LINES_KEPT_BYTES_MAX {
            self.lines = Vec::new();
        }
        (self.written, self.data, self.after) = (0, Bytes::new(), b"");
    }

    // Drops the lines that were written, so that those after them can be appended.
    fn settle(&mut self) {
        if self.written == self.lines.len() {
            self.lines.clear();
            self.written = 0;
        }
    }

    /// Whether the last frame is gone.
    pub(super) const fn wants_frame(&self) -> bool {
        self.data.is_empty() && self.after.is_empty()
    }

    /// Whether all is gone.
    pub(super) const fn is_empty(&self) -> bool {
        self.written == self.lines.len() && self.wants_frame()
    }

    /// What waits, and how many of the slices hold anything.
    pub(super) fn slices(&self) -> ([IoSlice<'_>; 3], usize) {
        let mut slices = [IoSlice::new(b""); 3];
        let mut used = 0;
        for part in [&self.lines[self.written..], &self.data, self.after] {
            if !part.is_empty() {
                slices[used] = IoSlice::new(part);
                used += 1;
            }
        }
        (slices, used)
    }

    /// Forgets the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let lines = count.min(self.lines.len() - self.written);
        self.written += lines;
        let data = (count - lines).min(self.data.len());
        self.data.advance(data);
        self.after = &self.after[count - lines - data..];
    }
}

fn hexadecimal(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[number & 15];
        number >>= 4;
        if number == 0 {
            return &digits[start..];
        }
    }
}

// A head that was larger than usual does not stay in memory with its connection.
const LINES_KEPT_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::HeaderValue;
    use http_body::{Frame, SizeHint};

    use super::*;

    struct Frames(VecDeque<Frame<Bytes>>, Option<u64>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
        fn size_hint(&self) -> SizeHint {
            self.1.map(SizeHint::with_exact).unwrap_or_default()
        }
    }

    // What goes out when the socket takes `at_once` bytes at a time.
    fn sent(pieces: &[&'static str], trailers: bool, length: Option<u64>, at_once: usize) -> Result<String, Error> {
        let mut frames: VecDeque<_> =
            pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))).collect();
        if trailers {
            frames.push_back(Frame::trailers(HeaderMap::from_iter([(
                http::header::ETAG,
                HeaderValue::from_static("x"),
            )])));
        }
        let mut upload = Upload::new(Body::stream(Frames(frames, length)));
        let (mut output, mut wire) = (Output::default(), Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while !upload.ended() || !output.is_empty() {
            if !upload.ended() && output.wants_frame() {
                let Poll::Ready(filled) = upload.poll_fill(&mut cx, &mut output) else { unreachable!("never waits") };
                filled?;
            }
            let (slices, used) = output.slices();
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).take(at_once).collect();
            output.advance(bytes.len());
            wire.extend(bytes);
        }
        Ok(String::from_utf8(wire).unwrap())
    }

    #[test]
    fn frames_are_framed_as_the_head_said_however_the_socket_takes_them() {
        for at_once in [1, 2, 3, 7, 1000] {
            let pieces = ["hello", "", "seventeen bytes.."];
            let chunked = sent(&pieces, false, None, at_once).unwrap();
            assert_eq!(chunked, "5\r\nhello\r\n11\r\nseventeen bytes..\r\n0\r\n\r\n", "{at_once} at once");
            let trailers = sent(&pieces[..1], true, None, at_once).unwrap();
            assert_eq!(trailers, "5\r\nhello\r\n0\r\netag: x\r\n\r\n", "{at_once} at once");
            assert_eq!(sent(&pieces, false, Some(22), at_once).unwrap(), "helloseventeen bytes..");
        }
    }

    #[test]
    fn a_body_that_was_not_begun_outlives_a_connection_that_takes_nothing() {
        for (begun, left) in [(false, Some(5)), (true, Some(0))] {
            let mut upload = Upload::new(Body::full("hello"));
            if begun {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(upload.poll_fill(&mut cx, &mut Output::default()).is_ready());
            }
            upload.refuse(io::ErrorKind::BrokenPipe.into());
            assert_eq!((upload.body.size_hint().exact(), upload.ended()), (left, true));
        }
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_said_is_an_error() {
        assert!(sent(&["hello"], false, Some(4), 100).is_err());
        assert!(sent(&["hello"], false, Some(6), 100).is_err());
    }
}
