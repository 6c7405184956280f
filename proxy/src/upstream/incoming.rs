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
    upload::Upload,
    wire::Wire,
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Timeout},
};

/// A body that is still being read.
pub(super) struct Incoming {
    // Taken when the body is over.
    wire: Option<Box<Wire>>,
    decoder: Decoder,
    // What came with the head.
    first: Option<Frame<Bytes>>,
    // The rest of the request, where the response began before its end.
    upload: Option<Upload>,
    keep_alive: bool,
    idle_timeout: Duration,
    timeout: Option<Timeout>,
    silent: bool,
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
        let upload = (!wire.is_sent(&upload)).then_some(upload);
        let over = decoder.is_over();
        let mut incoming =
            Self { wire: Some(wire), decoder, first, upload, keep_alive, idle_timeout, timeout: None, silent: false };
        if over {
            incoming.finish();
        }
        Ok(match incoming.first.take() {
            None if over => Body::empty(),
            Some(frame) if over && frame.is_data() => Body::full(frame.into_data().unwrap_or_default()),
            first => {
                incoming.first = first;
                Body::stream(incoming)
            }
        })
    }

    // The body is whole: the connection can serve again, unless something is left on it or in doubt. A request that
    // the upstream did not want to the end is not sent to its end.
    fn finish(&mut self) {
        let Some(wire) = self.wire.take() else { return };
        if self.keep_alive && self.upload.is_none() && wire.input.is_empty() {
            Pool::checkin(wire);
        }
    }

    fn fail(&mut self, kind: Kind, what: &'static str, cause: Option<io::Error>) -> Error {
        let wire = self.wire.take();
        let (user, peer) = wire.as_ref().map_or(("", None), |wire| (wire.user(), Some(wire.peer)));
        let peer = peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
        let text = format!("upstream {user}{peer}: {what}");
        match cause {
            Some(cause) => Error::because(kind, text, cause),
            None => Error::new(kind, text),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(Ok(())) };
        match wire.poll_read(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(match self.decoder.closed() {
                Ok(()) => {
                    self.keep_alive = false;
                    self.finish();
                    Ok(())
                }
                Err(Malformed(what)) => Err(self.fail(Kind::UpstreamReset, what, None)),
            }),
            Poll::Ready(Ok(_)) => {
                self.silent = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(cause)) => {
                Poll::Ready(Err(self.fail(Kind::UpstreamReset, "the connection failed", Some(cause))))
            }
            Poll::Pending => self.poll_silence(cx),
        }
    }

    // Time counts only while the reader waits for the upstream, not while the upstream waits for the reader.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(wire) = &self.wire else { return Poll::Ready(Ok(())) };
        let timeout = self.timeout.get_or_insert_with(|| wire.pool.timers.after(self.idle_timeout));
        if !self.silent {
            self.silent = true;
            timeout.reset(Instant::now() + self.idle_timeout);
        }
        match Pin::new(timeout).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(Err(self.fail(Kind::UpstreamTimeout, "it fell silent in the midst of a body", None)))
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if let (Some(wire), Some(upload)) = (&mut self.wire, &mut self.upload)
            && let Poll::Ready(sent) = wire.poll_upload(cx, upload)
        {
            // A request body that failed leaves the upstream without its end: its answer is void.
            let refused = upload.refused.is_some();
            self.keep_alive &= !refused;
            self.upload = None;
            sent.inspect_err(|_| self.wire = None)?;
        }
        Ok(())
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.poll_upload(cx)?;
        loop {
            let this = &mut *self;
            let Some(wire) = &mut this.wire else { return Poll::Ready(None) };
            let piece = this.decoder.take(&mut wire.input);
            let frame = match piece {
                Ok(Piece::More) => {
                    std::task::ready!(this.poll_more(cx))?;
                    continue;
                }
                Ok(Piece::Data(data)) => Some(Frame::data(data)),
                Ok(Piece::Trailers(trailers)) => Some(Frame::trailers(trailers)),
                Ok(Piece::End) => None,
                Err(Malformed(what)) => return Poll::Ready(Some(Err(this.fail(Kind::UpstreamMalformed, what, None)))),
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
        self.first.is_none() && self.wire.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        self.decoder.left().map(|left| SizeHint::with_exact(left + first)).unwrap_or_default()
    }
}
