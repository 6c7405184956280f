//! The body of a response that must be over at some moment. Knows nothing of who sends it.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{
    error::Error,
    exchange::{Body, Timeout, Timers},
};

/// `body`, which fails with what `late` says when it is not over at `at`.
pub(super) fn until(body: Body, at: Instant, timers: &Rc<Timers>, late: impl FnOnce() -> Error + 'static) -> Body {
    // What is in memory is over already.
    if body.copy().is_some() {
        return body;
    }
    Body::stream(Until { body, timeout: timers.at(at), late: Some(Box::new(late)) })
}

struct Until {
    body: Body,
    timeout: Timeout,
    late: Option<Box<dyn FnOnce() -> Error>>,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match &this.late {
            Some(_) => std::task::ready!(Pin::new(&mut this.timeout).poll(cx)),
            None => return Poll::Ready(None),
        }
        // The connection ends with the body.
        this.body = Body::empty();
        Poll::Ready(this.late.take().map(|late| Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
