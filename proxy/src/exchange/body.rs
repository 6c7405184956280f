//! Bodies: streamed, with trailers, never buffered by default. Neutral of where the bytes come from.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::error::Error;

/// Anything that yields frames on one worker.
pub type BodyStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error>>>;

/// The body of a request or response. Back-pressure is the reader's: a frame is produced when it is polled for.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Stream(BodyStream),
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// A body that is in memory already.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }

    /// A streamed body.
    pub fn stream(stream: impl http_body::Body<Data = Bytes, Error = Error> + 'static) -> Self {
        if stream.is_end_stream() { Self::empty() } else { Self(Inner::Stream(Box::pin(stream))) }
    }

    /// Whether there is certainly no body.
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, Inner::Empty)
    }

    /// Its bytes, where it is in memory.
    pub const fn in_memory(&self) -> Option<&Bytes> {
        if let Inner::Full(bytes) = &self.0 { Some(bytes) } else { None }
    }

    /// The same body once more, where it is in memory or empty.
    pub fn copy(&self) -> Option<Self> {
        match &self.0 {
            Inner::Empty => Some(Self::empty()),
            Inner::Full(bytes) => Some(Self(Inner::Full(bytes.clone()))),
            Inner::Stream(_) => None,
        }
    }

    /// Takes the body out, leaving an empty one.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Empty => "Body::Empty",
            Inner::Full(_) => "Body::Full",
            Inner::Stream(_) => "Body::Stream",
        })
    }
}
