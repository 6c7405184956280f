//! A try with its span, where its exchange is traced: it ends with the last byte of the response. Knows what a try is, and
//! nothing of how it is made.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::attempt::{Attempt, Missed};
use crate::{
    error::{Error, Kind},
    exchange::{Body, OpenSpan, Request, Response},
    telemetry::trace,
};

impl Attempt<'_> {
    /// [`Attempt::make`], as a span of the exchange that it is made for.
    ///
    /// # Errors
    /// As of [`Attempt::make`].
    pub(super) async fn run(&self, request: &mut Request) -> Result<Response, Box<Missed>> {
        if request.exchange.spans.is_none() {
            return self.make(request).await;
        }
        // Boxed, because most exchanges are not traced and every call has room for it.
        Box::pin(self.traced(request)).await
    }

    async fn traced(&self, request: &mut Request) -> Result<Response, Box<Missed>> {
        let tries = if self.own { request.exchange.record.read(|record| record.attempts) } else { 0 };
        let address = &self.member.endpoint.key.address;
        let span = trace::begin_try(request, (&self.user.name, address), tries);
        let mut made = self.make(request).await;
        let Some(span) = span else { return made };
        let peer = request.exchange.record.read(|record| record.endpoint).filter(|_| self.own);
        match &mut made {
            Err(missed) => trace::end_try(span, peer, Err((missed.error.kind(), missed.error.to_string()))),
            Ok(response) => {
                let open = Open { span: Some(span), peer, status: response.head.status.as_u16() };
                if response.tunnel.is_none() && response.body.copy().is_none() {
                    response.body = Body::stream(Traced { body: response.body.take(), open });
                }
            }
        }
        made
    }
}

// A span whose try has an answer. It is over when this is dropped.
struct Open {
    span: Option<OpenSpan>,
    peer: Option<SocketAddr>,
    status: u16,
}

impl Open {
    fn end(&mut self, failure: Option<(Kind, String)>) {
        if let Some(span) = self.span.take() {
            trace::end_try(span, self.peer, failure.map_or(Ok(self.status), Err));
        }
    }
}

impl Drop for Open {
    // Whoever wants no more of a response has had an answer.
    fn drop(&mut self) {
        self.end(None);
    }
}

struct Traced {
    body: Body,
    open: Open,
}

impl http_body::Body for Traced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(error))) => {
                let failure = (error.kind(), error.to_string());
                self.open.end(Some(failure));
            }
            Poll::Ready(None) => self.open.end(None),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.open.end(None),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
