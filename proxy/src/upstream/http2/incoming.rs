//! The body of a response on a stream as the exchange reads it. What it takes is what the endpoint may send anew: a
//! client that is slow to read slows its stream and no other. Knows nothing of retries and balance.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::{failure, line::Seat, outgoing::Outgoing};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Timeout},
};

/// A body that is still being read. Dropped before its end, it resets its stream.
pub(super) struct Incoming {
    // In this order: the stream is over before its place is free.
    stream: Option<RecvStream>,
    upload: Option<Upload>,
    seat: Option<Seat>,
    left: Option<u64>,
    idle_timeout: Duration,
    timeout: Option<Timeout>,
    // Whether the endpoint is being waited for.
    silent: bool,
}

// The rest of a request whose response has begun: sent by a task of its own, so that a client that is slow to read is
// not held up in what it sends. Dropped, it ends.
struct Upload {
    shared: Rc<RefCell<Shared>>,
    task: AbortHandle,
}

#[derive(Default)]
struct Shared {
    failed: Option<Error>,
    reader: Option<Waker>,
}

impl Incoming {
    /// The body that follows a head on `stream`, while the rest of the request is still `outgoing`. `length` is what the
    /// head says of it.
    pub(super) fn start(
        stream: RecvStream,
        outgoing: Outgoing,
        (seat, length): (Seat, Option<u64>),
        idle_timeout: Duration,
    ) -> Body {
        if stream.is_end_stream() {
            return Body::empty();
        }
        let upload = (!outgoing.ended()).then(|| Upload::start(outgoing));
        let incoming = Self {
            stream: Some(stream),
            upload,
            seat: Some(seat),
            left: length,
            idle_timeout,
            timeout: None,
            silent: false,
        };
        Body::stream(incoming)
    }

    // The response is whole. A request that the endpoint did not want to the end is not sent to its end.
    fn finish(&mut self) {
        self.stream = None;
        self.upload = None;
        self.seat = None;
    }

    #[cold]
    fn fail(&mut self, kind: Kind, what: &'static str, cause: Option<h2::Error>) -> Error {
        let place = self.seat.as_ref().map(|seat| format!("{} at {}", seat.user(), seat.line.peer));
        let text = format!("upstream {}: {what}", place.unwrap_or_default());
        self.finish();
        match cause {
            Some(cause) => Error::because(kind, text, cause),
            None => Error::new(kind, text),
        }
    }

    #[cold]
    fn broken(&mut self, error: h2::Error) -> Error {
        if failure::is_malformed(&error) {
            let what = failure::what(&error);
            return self.fail(Kind::UpstreamMalformed, what, Some(error));
        }
        self.fail(Kind::UpstreamReset, "the response broke off", Some(error))
    }

    // Time counts only while the reader waits for the endpoint.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(seat) = &self.seat else { return Poll::Pending };
        if !self.silent {
            self.silent = true;
            let at = Instant::now() + self.idle_timeout;
            match &mut self.timeout {
                Some(timeout) => timeout.reset(at),
                none => *none = Some(seat.pool.timers.at(at)),
            }
        }
        let Some(timeout) = &mut self.timeout else { return Poll::Pending };
        ready!(Pin::new(timeout).poll(cx));
        Poll::Ready(self.fail(Kind::UpstreamIdleTimeout, "it fell silent in the midst of a body", None))
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // It is the reader's from here on.
                let released = stream.flow_control().release_capacity(data.len());
                Poll::Ready(Some(released.map(|()| Frame::data(data))))
            }
            // After a response that needs no more of the request (RFC 9113 section 8.1).
            Some(Err(error)) if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(ready!(stream.poll_trailers(cx)).transpose().map(|polled| polled.map(Frame::trailers))),
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Some(failed) = this.upload.as_ref().and_then(|upload| upload.take_failure(cx)) {
            this.finish();
            return Poll::Ready(Some(Err(failed)));
        }
        let Poll::Ready(polled) = this.poll_stream(cx) else {
            return this.poll_silence(cx).map(|error| Some(Err(error)));
        };
        this.silent = false;
        this.seat.as_ref().inspect(|seat| seat.line.hear());
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                if frame.is_trailers() || this.stream.as_ref().is_some_and(RecvStream::is_end_stream) {
                    this.finish();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(this.broken(error))),
            None => {
                this.finish();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl Upload {
    fn start(mut outgoing: Outgoing) -> Self {
        let shared = Rc::<RefCell<Shared>>::default();
        let own = Rc::clone(&shared);
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = std::future::poll_fn(|cx| outgoing.poll(cx)).await {
                outgoing.cancel();
                let mut shared = own.borrow_mut();
                shared.failed = Some(error);
                shared.reader.take().inspect(Waker::wake_by_ref);
            }
        });
        Self { shared, task: task.abort_handle() }
    }

    // Why the request's body failed: then the response is void. If it did not, the reader is woken when it does.
    fn take_failure(&self, cx: &Context<'_>) -> Option<Error> {
        let mut shared = self.shared.borrow_mut();
        if shared.failed.is_none() {
            shared.reader = Some(cx.waker().clone());
        }
        shared.failed.take()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}
