//! The body of a request over HTTP/3, with its trailers: as long as its `Content-Length` says, where it has one (RFC 9114
//! section 4.1.2).

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{error::Code, server::RequestStream};
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};

use super::{frames::Empty, quic};
use crate::server::interim::Early;

type Stream = RequestStream<quic::RecvStream, Bytes>;
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A body.
pub(in crate::server) struct Body {
    stream: Stream,
    state: State,
    // Taken in before anybody asked.
    early: Option<Bytes>,
    // Bytes that the head promised and that did not come yet.
    left: Option<u64>,
    // How many ends of the body that were none have come, and how many were taken for that.
    empty: Empty,
    passed_over: u32,
    // Set when somebody asks for the body, where the client waits for that.
    wanted: Option<Rc<Cell<bool>>>,
    interims: Rc<Early>,
}

/// A body that is none, of a client that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

impl Body {
    /// The body behind a head with these fields; `empty` counts its pieces without a byte, and `wanted` is set when it is
    /// asked for.
    pub(super) fn new(stream: Stream, headers: &HeaderMap, empty: Empty, wanted: Option<Rc<Cell<bool>>>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let interims = Rc::default();
        Self { stream, state: State::Data, early: None, left: length, empty, passed_over: 0, wanted, interims }
    }

    /// Where interim responses wait for the stream's task.
    pub(in crate::server) fn early(&self) -> Rc<Early> {
        Rc::clone(&self.interims)
    }

    /// Looks whether there is a body at all, which no head says. Ready when that is known.
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == State::Data && self.early.is_none() {
            match ready!(self.poll_data(cx)) {
                Ok(Some(bytes)) => self.early = Some(bytes),
                Ok(None) => self.state = State::Trailers,
                // Whoever reads it is told.
                Err(_) => return Poll::Ready(()),
            }
        }
        // A body without a byte that promised none, and has no trailers, is none.
        if self.state == State::Trailers && self.left.unwrap_or(0) == 0 && self.stream.poll_recv_trailers(cx).is_ready()
        {
            self.state = State::Ended;
        }
        Poll::Ready(())
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            let read = ready!(self.stream.poll_recv_data(cx))?;
            // The codec says the same of a piece without a byte as of the end.
            if read.is_none() && self.passed_over < self.empty.get() {
                self.passed_over += 1;
                continue;
            }
            return Poll::Ready(Ok(read.map(|mut data| data.copy_to_bytes(data.remaining()))));
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, Broken> {
        if let Some(left) = &mut self.left {
            *left =
                left.checked_sub(bytes.len() as u64).ok_or(Malformed("the body is longer than its Content-Length"))?;
        }
        Ok(Frame::data(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(wanted) = self.wanted.take() {
            wanted.set(true);
            // The stream's own task sends what is waited for.
            cx.waker().wake_by_ref();
        }
        if let Some(early) = self.early.take() {
            return Poll::Ready(Some(self.take(early)));
        }
        if self.state == State::Data {
            match ready!(self.poll_data(cx)) {
                Ok(Some(bytes)) => return Poll::Ready(Some(self.take(bytes))),
                Ok(None) => self.state = State::Trailers,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        if self.left.unwrap_or(0) > 0 {
            return Poll::Ready(Some(Err(Malformed("the body is shorter than its Content-Length").into())));
        }
        let trailers = ready!(self.stream.poll_recv_trailers(cx));
        self.state = State::Ended;
        Poll::Ready(trailers.map_err(Broken::from).transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // RFC 9114 section 4.1: the rest of a request may be left unread without a fault of the client's.
        if self.state != State::Ended {
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}
