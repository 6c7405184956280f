//! Bodies on their way through a plugin: chunk by chunk, or whole. A chunk is asked for when the reader asks for one,
//! so that a slow reader slows the sender.

use std::{
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;

use super::{
    call::{Fail, Visit},
    filter::local_response,
    native::types::BodyVerdict,
    policy::{attempt, judge},
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Response},
};

/// What a plugin is given at a time.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A body that a plugin sees in chunks.
pub(super) struct Streamed {
    source: Body,
    side: Side,
    visit: Rc<Visit>,
    /// What came from the source and was not shown yet.
    waiting: Bytes,
    call: Option<LocalBoxFuture<'static, Result<Bytes, Error>>>,
    trailers: Option<HeaderMap>,
    /// The source is at its end.
    ended: bool,
    /// The plugin has seen the last chunk.
    last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl Streamed {
    /// The body of a request.
    pub(super) fn request(visit: &Rc<Visit>, source: Body) -> Self {
        Self::new(visit, source, Side::Request)
    }

    /// The body of a response.
    pub(super) fn response(visit: &Rc<Visit>, source: Body) -> Self {
        Self::new(visit, source, Side::Response)
    }

    fn new(visit: &Rc<Visit>, source: Body, side: Side) -> Self {
        Self {
            source,
            side,
            visit: Rc::clone(visit),
            waiting: Bytes::new(),
            call: None,
            trailers: None,
            ended: false,
            last: false,
        }
    }

    // Shows the next chunk to the plugin, if there is one to show.
    fn show(&mut self) -> bool {
        if self.waiting.is_empty() && !self.ended {
            return false;
        }
        let chunk = self.waiting.split_to(self.waiting.len().min(CHUNK_BYTES_MAX));
        self.last = self.waiting.is_empty() && (self.ended || self.source.is_end_stream());
        self.call = Some(Box::pin(see(Rc::clone(&self.visit), self.side, chunk, self.last)));
        true
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match ready!(Pin::new(&mut self.source).poll_frame(cx)).transpose()? {
            None => self.ended = true,
            Some(frame) => match frame.into_data() {
                Ok(data) => self.waiting = data,
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.ended = true;
                }
            },
        }
        Poll::Ready(Ok(()))
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(call) = &mut self.call {
                let seen = ready!(call.as_mut().poll(cx));
                self.call = None;
                match seen {
                    Ok(chunk) if chunk.is_empty() => continue,
                    seen => return Poll::Ready(Some(seen.map(Frame::data))),
                }
            }
            if self.last {
                // A source that said that it is at its end may have trailers all the same.
                if !self.ended {
                    ready!(self.poll_source(cx))?;
                    continue;
                }
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if self.show() {
                continue;
            }
            ready!(self.poll_source(cx))?;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none() && self.last && self.ended && self.trailers.is_none()
    }
}

// What becomes of one chunk.
async fn see(visit: Rc<Visit>, side: Side, chunk: Bytes, last: bool) -> Result<Bytes, Error> {
    let bytes = chunk.to_vec();
    let verdict = attempt(
        &visit,
        |exports| match side {
            Side::Request => exports.on_request_chunk,
            Side::Response => exports.on_response_chunk,
        },
        |plugin| (plugin, bytes, last),
    )
    .await;
    let verdict = match verdict {
        Ok(Some(BodyVerdict::Respond(_))) if side == Side::Response => {
            let begun = Fail::Contract("it answers in the middle of a response's body");
            judge(&visit, begun).map(|()| None)
        }
        Ok(Some(BodyVerdict::Respond(answer))) => match local_response(answer) {
            Ok(response) => return Err(break_off(&visit, Ok(response))),
            Err(fail) => judge(&visit, fail).map(|()| None),
        },
        other => other,
    };
    match verdict {
        Ok(Some(BodyVerdict::Replace(bytes))) => Ok(bytes.into()),
        Ok(_) => Ok(chunk),
        Err(error) if side == Side::Request => Err(break_off(&visit, Err(error))),
        Err(error) => {
            visit.exchange.record.fail(&error);
            Err(error)
        }
    }
}

// Ends a request's body so that the filter answers with `midway`, whatever the upstream makes of it.
fn break_off(visit: &Visit, midway: Result<Response, Error>) -> Error {
    let kind = midway.as_ref().map_or_else(Error::kind, |_| Kind::PluginFailed);
    visit.midway.replace(Some(Box::new(midway)));
    Error::new(kind, "the plugin ended the request's body")
}

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
