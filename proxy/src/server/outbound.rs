//! The response on its way out: framed right for its method and status, counted, bounded by the exchange's deadline.
//! Its body holds the exchange, so that the exchange ends with its last byte. One that breaks off must never look
//! complete to the client.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header, response};
use http_body::{Body as _, Frame, SizeHint};

use super::{call, fields, forwarded, life::Life};
use crate::{
    error::Error,
    exchange::{Body, Exchange, Response},
};

/// The body that hyper sends.
#[derive(Debug)]
pub(super) struct Outbound {
    body: Body,
    // `None` once the exchange is over, or where there is none.
    life: Option<Box<Life>>,
}

impl Outbound {
    /// A body of no exchange.
    pub(super) const fn plain(body: Body) -> Self {
        Self { body, life: None }
    }
}

/// Makes what hyper sends of what the chain answered to a request with this method.
pub(super) fn respond(response: Response, method: &Method, mut life: Box<Life>) -> http::Response<Outbound> {
    let Response { mut head, mut body, .. } = response;
    head.version = Version::HTTP_11;
    fields::strip(&mut head.headers);
    if is_bodiless(method, head.status) {
        body = Body::empty();
    } else {
        life.promised = length(&mut head, &body);
    }
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    head.headers.append(header::VIA, forwarded::via(Version::HTTP_11));
    if life.session.is_closing() && !life.session.is_multiplexed() {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    life.status = head.status.as_u16();
    http::Response::from_parts(head, Outbound { body, life: Some(life) })
}

/// Makes what hyper sends of an agreement to switch to another protocol: the upstream's word for it, else the client's.
pub(super) fn switch(response: Response, asked: HeaderValue, mut life: Box<Life>) -> http::Response<Outbound> {
    let Response { mut head, .. } = response;
    let protocol = head.headers.remove(header::UPGRADE).unwrap_or(asked);
    head.version = Version::HTTP_11;
    fields::strip(&mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, protocol);
    head.headers.append(header::VIA, forwarded::via(Version::HTTP_11));
    life.status = head.status.as_u16();
    http::Response::from_parts(head, Outbound { body: Body::empty(), life: Some(life) })
}

/// Makes what hyper sends of an agreement to turn a stream into a tunnel (RFC 8441 section 5): 200 in place of 101.
pub(super) fn connected(response: Response, mut life: Box<Life>) -> http::Response<Outbound> {
    let Response { mut head, .. } = response;
    head.status = StatusCode::OK;
    fields::strip(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.append(header::VIA, forwarded::via(Version::HTTP_11));
    life.status = head.status.as_u16();
    http::Response::from_parts(head, Outbound { body: Body::empty(), life: Some(life) })
}

// RFC 9110 section 6.4.1: these end with their head, whatever `Content-Length` says.
fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

// The length that the body will have, if it can be known. `Content-Length` is made to agree with it: a step that
// changed the body may have left the old one.
fn length(head: &mut response::Parts, body: &Body) -> Option<u64> {
    let claimed = head.headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().ok()?.parse::<u64>().ok());
    match (claimed, body.size_hint().exact()) {
        (None, actual) => actual,
        (Some(claimed), None) if claimed.is_some() => claimed,
        (Some(_), None) => {
            head.headers.remove(header::CONTENT_LENGTH);
            None
        }
        (Some(claimed), Some(actual)) => {
            if claimed != Some(actual) {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(actual));
            }
            Some(actual)
        }
    }
}

impl Outbound {
    fn frame(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(data) = frame.data_ref() {
            if let Some(life) = &mut self.life {
                life.sent += data.len() as u64;
                if let Some(handed) = &life.handed {
                    handed.set(Some(Instant::now()));
                }
            }
            return frame;
        }
        match frame.into_trailers() {
            Ok(mut trailers) => {
                fields::strip_trailers(&mut trailers);
                if let Some(life) = &self.life {
                    call::note_status(&life.exchange, &trailers);
                }
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }
    }

    /// The exchange that it belongs to.
    pub(super) fn exchange(&self) -> Option<Rc<Exchange>> {
        self.life.as_ref().map(|life| Rc::clone(&life.exchange))
    }

    /// Whether the time of the exchange is over while its client takes nothing, so that nobody asks for more; if not, the
    /// task is woken when it is.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(life) = &self.life else { return Poll::Pending };
        life.poll_overdue(cx).map(|error| drop(self.fail(error)))
    }

    // A call of gRPC ends with trailers that say what failed, everything else without an end.
    fn fail(&mut self, error: Error) -> Result<Frame<Bytes>, Error> {
        let Some(life) = &self.life else { return Err(error) };
        life.exchange.record.fail(&error);
        tracing::debug!(route = ?life.exchange.route(), %error, "a response broke off");
        if let Some(trailers) = call::broken_off(&life.exchange, &error) {
            self.body = Body::empty();
            return Ok(Frame::trailers(trailers));
        }
        life.session.break_off();
        Err(error)
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(handed) = self.life.as_ref().and_then(|life| life.handed.as_ref()) {
            handed.set(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(self.frame(frame)))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(self.fail(error))),
            Poll::Ready(None) => {
                if let Some(life) = &mut self.life {
                    life.complete = true;
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(life) = &self.life else { return Poll::Pending };
                life.poll_overdue(cx).map(|error| Some(self.fail(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        // hyper stops asking when it has all that the head promised.
        if let Some(life) = &mut self.life {
            life.complete |= self.body.is_end_stream() || life.promised == Some(life.sent);
        }
    }
}
