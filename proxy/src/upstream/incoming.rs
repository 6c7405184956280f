//! The body of a response as the exchange reads it. Holds the connection until the end, and then gives it back to its
//! pool or closes it. Knows nothing of retries and balance.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    decode::{Decoder, Piece},
    head::Malformed,
    pool::Pool,
    pump::Pump,
    upload::Upload,
    wire::Wire,
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Timeout},
};

/// A body that is still being read.
pub(super) struct Incoming {
    line: Line,
    decoder: Decoder,
    // What came with the head.
    first: Option<Frame<Bytes>>,
    keep_alive: bool,
    idle_timeout: Duration,
    timeout: Option<Timeout>,
    // Whether the upstream is being waited for.
    silent: bool,
}

// The connection, until the body is over.
enum Line {
    Own(Box<Wire>),
    // The rest of the request is still on its way.
    Shared(Pump),
    Over,
}

impl Incoming {
    /// The body that follows a head on `wire`. A short one that came with the head is taken at once, and the
    /// connection given back.
    ///
    /// # Errors
    /// When what came with the head is not a body.
    pub(super) fn start(
        mut wire: Box<Wire>,
        mut decoder: Decoder,
        upload: Upload,
        keep_alive: bool,
        idle_timeout: Duration,
    ) -> Result<Body, Malformed> {
        let first = match decoder.take(&mut wire.input)? {
            Piece::Data(data) => Some(Frame::data(data)),
            Piece::Trailers(trailers) => Some(Frame::trailers(trailers)),
            Piece::More | Piece::End => None,
        };
        let whole = wire.is_sent(&upload);
        // An upstream that takes no more of a request will not take another one either.
        let keep_alive = keep_alive && upload.refused.is_none();
        if decoder.is_over() {
            release(wire, keep_alive && whole);
            return Ok(match first {
                None => Body::empty(),
                Some(frame) => match frame.into_data() {
                    Ok(data) => Body::full(data),
                    Err(trailers) => Body::stream(Self::of(Line::Over, decoder, Some(trailers), false, idle_timeout)),
                },
            });
        }
        let line = if whole { Line::Own(wire) } else { Line::Shared(Pump::start(wire, upload)) };
        Ok(Body::stream(Self::of(line, decoder, first, keep_alive, idle_timeout)))
    }

    const fn of(
        line: Line,
        decoder: Decoder,
        first: Option<Frame<Bytes>>,
        keep_alive: bool,
        idle_timeout: Duration,
    ) -> Self {
        Self { line, decoder, first, keep_alive, idle_timeout, timeout: None, silent: false }
    }

    // The body is whole. A request that the upstream did not want to the end is not sent to its end.
    fn finish(&mut self) {
        match std::mem::replace(&mut self.line, Line::Over) {
            Line::Own(wire) => release(wire, self.keep_alive),
            Line::Shared(pump) => drop(pump.end().map(|wire| release(wire, self.keep_alive))),
            Line::Over => {}
        }
    }

    #[cold]
    fn fail(&mut self, kind: Kind, what: &'static str, cause: Option<io::Error>) -> Error {
        let place = self.line.with(|wire| format!("{} at {}", wire.user(), wire.peer));
        self.line = Line::Over;
        let text = format!("upstream {}: {what}", place.ok().flatten().unwrap_or_default());
        match cause {
            Some(cause) => Error::because(kind, text, cause),
            None => Error::new(kind, text),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(polled) = self.line.with(|wire| wire.poll_read(cx)).inspect_err(|_| self.line = Line::Over)? else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(match polled {
            Poll::Ready(Ok(0)) => match self.decoder.closed() {
                Ok(()) => {
                    self.keep_alive = false;
                    self.finish();
                    Ok(())
                }
                Err(Malformed(what)) => Err(self.fail(Kind::UpstreamReset, what, None)),
            },
            Poll::Ready(Ok(_)) => {
                self.silent = false;
                Ok(())
            }
            Poll::Ready(Err(cause)) => Err(self.fail(Kind::UpstreamReset, "the connection failed", Some(cause))),
            Poll::Pending => return self.poll_silence(cx),
        })
    }

    // Time counts only while the reader waits for the upstream, not while the upstream waits for the reader.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Line::Shared(pump) = &self.line {
            pump.wake(cx.waker());
        }
        if !self.silent {
            self.silent = true;
            let at = Instant::now() + self.idle_timeout;
            match &mut self.timeout {
                Some(timeout) => timeout.reset(at),
                none => *none = self.line.with(|wire| wire.pool.timers.at(at))?,
            }
        }
        let Some(timeout) = &mut self.timeout else { return Poll::Pending };
        std::task::ready!(Pin::new(timeout).poll(cx));
        Poll::Ready(Err(self.fail(Kind::UpstreamIdleTimeout, "it fell silent in the midst of a body", None)))
    }
}

impl Line {
    fn with<T>(&mut self, use_it: impl FnOnce(&mut Wire) -> T) -> Result<Option<T>, Error> {
        match self {
            Self::Own(wire) => Ok(Some(use_it(wire))),
            Self::Shared(pump) => pump.with(use_it),
            Self::Over => Ok(None),
        }
    }
}

// The connection can serve again unless something is left on it.
fn release(wire: Box<Wire>, keep_alive: bool) {
    if keep_alive && wire.input.is_empty() {
        Pool::checkin(wire);
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let this = &mut *self;
        loop {
            let piece = this.line.with(|wire| this.decoder.take(&mut wire.input));
            let frame = match piece.inspect_err(|_| this.line = Line::Over)? {
                None => return Poll::Ready(None),
                Some(Ok(Piece::More)) => {
                    std::task::ready!(this.poll_more(cx))?;
                    continue;
                }
                Some(Ok(Piece::Data(data))) => Some(Frame::data(data)),
                Some(Ok(Piece::Trailers(trailers))) => Some(Frame::trailers(trailers)),
                Some(Ok(Piece::End)) => None,
                Some(Err(Malformed(what))) => {
                    return Poll::Ready(Some(Err(this.fail(Kind::UpstreamMalformed, what, None))));
                }
            };
            if this.decoder.is_over() {
                this.finish();
            }
            if let Some(frame) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && matches!(self.line, Line::Over)
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        self.decoder.left().map(|left| SizeHint::with_exact(left + first)).unwrap_or_default()
    }
}
