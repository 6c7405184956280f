//! Bodies that a guest writes: its answer's, and those of its requests. One that a guest leaves unfinished because it
//! failed breaks off; its end is never made up.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiBody;

use super::{data::strip, errors::broken_off, guest::Guard, handling::Handling};
use crate::{
    error::Error,
    exchange::{self, Body},
    wasm::call::Fail,
};

/// See the module.
pub(super) struct Given {
    body: WasiBody,
    handling: Rc<Handling>,
    /// What is left of the length that the guest promised.
    left: Option<u64>,
    /// Of the answer: ends the guest when nobody reads any more.
    guard: Option<Guard>,
    /// What came of it before somebody asked.
    ahead: Option<Result<Frame<Bytes>, Error>>,
    over: bool,
    /// How it ends makes no difference to anybody.
    discarded: bool,
}

/// A guest's answer, whose body keeps the guest alive. To a request with HEAD there is none.
///
/// # Errors
/// Where its status is none that ends an exchange.
pub(super) fn answer(
    response: Response<WasiBody>,
    handling: &Rc<Handling>,
    (guard, head_only): (Option<Guard>, bool),
) -> Result<exchange::Response, Fail> {
    let (mut head, body) = response.into_parts();
    let status = head.status;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS || status.as_u16() > 599 {
        return Err(Fail::Contract("it answers with a status that ends no exchange"));
    }
    strip(&mut head.headers);
    let given = Given::new(body, &head.headers, handling, guard);
    let bodyless =
        head_only || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodyless { given.discarded() } else { Body::stream(given) };
    Ok(exchange::Response { head, body, tunnel: None })
}

impl Given {
    /// The body of a request that a guest sends.
    pub(super) fn sent(body: WasiBody, headers: &HeaderMap, handling: &Rc<Handling>) -> Self {
        Self::new(body, headers, handling, None)
    }

    /// The body as it is to be sent, once there is something of it or the guest waits: most have finished a body by then
    /// that is empty, and a request without one should look like it.
    pub(super) async fn settled(mut self) -> Body {
        while !self.over {
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut self).poll_frame(cx))).await {
                Poll::Ready(frame) => {
                    self.ahead = frame;
                    break;
                }
                Poll::Pending if self.handling.gives_way.get() => tokio::task::yield_now().await,
                Poll::Pending => break,
            }
        }
        Body::stream(self)
    }

    // Read by nobody but here, so that the guest comes to its end as if it was.
    fn discarded(mut self) -> Body {
        if !self.over {
            self.left = None;
            self.discarded = true;
            self.handling.linger();
            tokio::task::spawn_local(async move { while let Some(Ok(_)) = self.frame().await {} });
        }
        Body::empty()
    }

    fn new(body: WasiBody, headers: &HeaderMap, handling: &Rc<Handling>, guard: Option<Guard>) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut given = Self {
            ahead: None,
            over: false,
            discarded: false,
            left: length,
            handling: Rc::clone(handling),
            guard,
            body,
        };
        if given.body.is_end_stream() {
            given.end();
        }
        given
    }

    fn end(&mut self) {
        self.over = true;
        if let Some(guard) = self.guard.take() {
            self.handling.linger();
            guard.release();
        }
    }

    fn broken(&mut self, why: &str) -> Error {
        self.over = true;
        let error = broken_off(&self.handling.local.name, why);
        if self.guard.is_some() && !self.discarded {
            self.handling.exchange.record.fail(&error);
        }
        error
    }
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(frame));
        }
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let length = data.len() as u64;
                    self.left = self.left.map(|left| left.saturating_sub(length));
                } else {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(self.broken(&error.to_string())))),
            // A guest that failed leaves its bodies as if they were complete.
            None => match self.handling.broke_off() {
                Some(kind) => Poll::Ready(Some(Err(self.broken(kind.name())))),
                None if self.left.is_some_and(|left| left > 0) => {
                    Poll::Ready(Some(Err(self.broken("it is shorter than its `content-length`"))))
                }
                None => {
                    self.end();
                    Poll::Ready(None)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.ahead.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let ahead = ahead.map_or(0, |data| data.len() as u64);
        self.left.map(|left| left + ahead).map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
