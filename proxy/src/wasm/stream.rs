//! Bodies that a plugin sees in chunks on their way. A chunk is asked for when the reader asks for one, so that a slow
//! reader slows the sender. A plugin is called with each chunk, or asks for further ones within a call (`pull`).

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::{
    call::{Fail, Visit},
    filter::local_response,
    native::{Exports, OnChunk, types::BodyVerdict},
    policy::{attempted, judge},
    pull::{Pulled, Step},
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
    call: Option<LocalBoxFuture<'static, Seen>>,
    /// The call that waits for the next chunk.
    open: Option<Pulled<BodyVerdict>>,
    /// What follows is not to be shown.
    rest_passes: bool,
    /// Why the source broke off, while the open call is told.
    broken: Option<Error>,
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

impl Side {
    // How spans call the phase.
    const fn phase(self) -> &'static str {
        match self {
            Self::Request => "request-chunk",
            Self::Response => "response-chunk",
        }
    }
}

/// What became of a chunk.
struct Seen {
    /// What passes in its place.
    passes: Result<Bytes, Error>,
    /// The call that waits for the next one.
    open: Option<Pulled<BodyVerdict>>,
    rest_passes: bool,
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
            open: None,
            rest_passes: false,
            broken: None,
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
        let (visit, open) = (Rc::clone(&self.visit), self.open.take());
        self.call = Some(Box::pin(see(visit, self.side, open, chunk, self.last)));
        true
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match ready!(Pin::new(&mut self.source).poll_frame(cx)).transpose() {
            Ok(None) => self.ended = true,
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => self.waiting = data,
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.ended = true;
                }
            },
            Err(error) => {
                let Some(open) = self.open.take() else { return Poll::Ready(Err(error)) };
                self.call = Some(Box::pin(tell(Rc::clone(&self.visit), open, error.kind())));
                self.broken = Some(error);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.waiting.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.waiting)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.source).poll_frame(cx)
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(call) = &mut self.call {
                let Seen { passes, open, rest_passes } = ready!(call.as_mut().poll(cx));
                self.call = None;
                if let Some(broken) = self.broken.take() {
                    return Poll::Ready(Some(Err(broken)));
                }
                self.open = open;
                self.rest_passes |= rest_passes;
                match passes {
                    Ok(chunk) if chunk.is_empty() => continue,
                    passes => return Poll::Ready(Some(passes.map(Frame::data))),
                }
            }
            if self.rest_passes {
                return self.poll_passing(cx);
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

// What becomes of one chunk: the call that waits for it goes on, or there is a new one.
async fn see(visit: Rc<Visit>, side: Side, open: Option<Pulled<BodyVerdict>>, chunk: Bytes, last: bool) -> Seen {
    let bytes = chunk.to_vec();
    let call = match open {
        Some(open) => {
            open.give(Ok((bytes, last)));
            open
        }
        None => {
            let visit = Rc::clone(&visit);
            let export = move |exports: &Exports| on_chunk(exports, side);
            Pulled::new(
                side.phase(),
                async move { visit.call_guest(export, |plugin| (plugin, bytes, last)).await },
                last,
            )
        }
    };
    let pass = |replaced: Option<Vec<u8>>| Ok(replaced.map_or_else(|| chunk.clone(), Bytes::from));
    let (answer, replaced, rest_passes) = match attempted(&visit, call.step(&visit)).await {
        Ok(Some(Step::Waits { replaced, call })) => {
            return Seen { passes: pass(replaced), open: Some(call), rest_passes: false };
        }
        Ok(Some(Step::Returned { answer, replaced, rest_passes })) => (Ok(answer), replaced, rest_passes),
        // Skipped.
        Ok(None) => (Ok(BodyVerdict::Pass), None, false),
        Err(error) => (Err(error), None, false),
    };
    let passes = match answer.map_err(Stop::Failed).and_then(|verdict| decide(&visit, side, verdict)) {
        Ok(Some(replaced)) => Ok(replaced),
        Ok(None) => pass(replaced),
        Err(Stop::Answered(response)) => Err(break_off(&visit, Ok(*response))),
        Err(Stop::Failed(error)) if side == Side::Request => Err(break_off(&visit, Err(error))),
        Err(Stop::Failed(error)) => {
            visit.exchange.record.fail(&error);
            Err(error)
        }
    };
    Seen { passes, open: None, rest_passes }
}

const fn on_chunk(exports: &Exports, side: Side) -> Option<OnChunk> {
    match side {
        Side::Request => exports.on_request_chunk,
        Side::Response => exports.on_response_chunk,
    }
}

// Tells a call that the body broke off, and lets it come to its end: so its guest can be used again.
async fn tell(visit: Rc<Visit>, open: Pulled<BodyVerdict>, why: Kind) -> Seen {
    open.give(Err(why.name().to_owned()));
    // What it says now changes nothing, and an error that it passes on is no failure of its own.
    if let Err(fail @ (Fail::Trap(_) | Fail::Timeout(_))) = open.step(&visit).await {
        drop(judge(&visit, fail));
    }
    Seen { passes: Ok(Bytes::new()), open: None, rest_passes: false }
}

/// Why nothing more of a body passes.
enum Stop {
    Answered(Box<Response>),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

// What a verdict puts in the place of a chunk; `None` leaves it to what the call did before.
fn decide(visit: &Visit, side: Side, verdict: BodyVerdict) -> Result<Option<Bytes>, Stop> {
    match verdict {
        BodyVerdict::Pass => Ok(None),
        BodyVerdict::Replace(bytes) => Ok(Some(bytes.into())),
        BodyVerdict::Respond(_) if side == Side::Response => {
            judge(visit, Fail::Contract("it answers in the middle of a response's body"))?;
            Ok(None)
        }
        BodyVerdict::Respond(answer) => match local_response(answer) {
            Ok(response) => Err(Stop::Answered(Box::new(response))),
            Err(fail) => {
                judge(visit, fail)?;
                Ok(None)
            }
        },
    }
}

// Ends a request's body so that the filter answers with `midway`, whatever the upstream makes of it.
fn break_off(visit: &Visit, midway: Result<Response, Error>) -> Error {
    let kind = midway.as_ref().map_or_else(Error::kind, |_| Kind::PluginFailed);
    visit.midway.replace(Some(Box::new(midway)));
    Error::new(kind, "the plugin ended the request's body")
}
