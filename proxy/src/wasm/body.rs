//! Bodies that a plugin sees whole: read up to a limit, and made a stream again. Knows no guest.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;

use crate::{error::Error, exchange::Body};

/// A body in memory.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// What became of an attempt to have a whole body.
pub(super) enum Collected {
    Whole(Whole),
    /// It is over the limit; here it is again, from its first byte.
    Over(Body),
}

/// Reads a body, up to `bytes_max`.
///
/// # Errors
/// The body's own.
pub(super) async fn collect(mut body: Body, bytes_max: usize) -> Result<Collected, Error> {
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    let mut trailers = None;
    if body.size_hint().lower() > bytes_max as u64 {
        return Ok(Collected::Over(body));
    }
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => {
                if more.is_empty() {
                    more.extend_from_slice(&first);
                }
                more.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if first.len().max(more.len()) > bytes_max {
            let read = if more.is_empty() { first } else { more.freeze() };
            let frames = VecDeque::from([Frame::data(read)]);
            return Ok(Collected::Over(Body::stream(Again { frames, rest: body })));
        }
    }
    let bytes = if more.is_empty() { first } else { more.freeze() };
    Ok(Collected::Whole(Whole { bytes, trailers }))
}

impl Whole {
    /// The body to send on.
    pub(super) fn into_body(self) -> Body {
        match self.trailers {
            None => Body::full(self.bytes),
            Some(trailers) => {
                let frames = VecDeque::from([Frame::data(self.bytes), Frame::trailers(trailers)]);
                Body::stream(Again { frames, rest: Body::empty() })
            }
        }
    }
}

/// Frames that were read before, and the rest.
struct Again {
    frames: VecDeque<Frame<Bytes>>,
    rest: Body,
}

impl http_body::Body for Again {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }
}
