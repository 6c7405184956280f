//! The request body on its way in, from whichever codec: counted, limited in size, and not waited for without end.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{alarm::Alarm, fields, http3, interim::Early, session::Session};
use crate::{
    error::{Error, Kind},
    exchange::Body,
};

/// A body as its codec yields it.
pub(super) enum Arriving {
    /// Over TCP.
    Hyper(Incoming),
    /// Over QUIC; boxed, because it is large.
    Http3(Box<http3::Body>),
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Arriving {
    /// Where interim responses wait for the stream of this body, where it has a task of its own.
    pub(super) fn early(&self) -> Option<Rc<Early>> {
        match self {
            Self::Hyper(_) => None,
            Self::Http3(body) => Some(body.early()),
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Broken;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(Broken::from),
            Self::Http3(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Http3(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Http3(body) => body.size_hint(),
        }
    }
}

/// What has arrived of a request body, and what may. Outlives the body.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Cell<u64>,
    bytes_max: Cell<u64>,
    promised: Option<u64>,
}

impl Received {
    /// Bytes of data.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Sets another limit.
    ///
    /// # Errors
    /// Where the body is known to be over it.
    pub(super) fn limit(&self, bytes_max: Option<u64>) -> Result<(), Error> {
        let bytes_max = bytes_max.unwrap_or(u64::MAX);
        self.bytes_max.set(bytes_max);
        if self.promised.unwrap_or_default().max(self.bytes.get()) > bytes_max {
            return Err(too_large(bytes_max));
        }
        Ok(())
    }
}

/// The body of the request with this ordinal, up to `bytes_max`; over it, and after `idle` without a byte, it fails.
pub(super) fn body(
    session: &Rc<Session>,
    ordinal: u64,
    incoming: Arriving,
    (bytes_max, idle): (Option<u64>, Duration),
) -> (Body, Option<Rc<Received>>) {
    if incoming.is_end_stream() {
        return (Body::empty(), None);
    }
    let received = Rc::new(Received {
        bytes: Cell::new(0),
        bytes_max: Cell::new(bytes_max.unwrap_or(u64::MAX)),
        promised: incoming.size_hint().exact(),
    });
    let inbound = Inbound {
        incoming,
        received: Rc::clone(&received),
        ordinal,
        idle,
        alarm: Alarm::new(Rc::clone(&session.timers)),
        waits_until: None,
        session: Rc::clone(session),
    };
    (Body::stream(inbound), Some(received))
}

struct Inbound {
    incoming: Arriving,
    received: Rc<Received>,
    ordinal: u64,
    idle: Duration,
    alarm: Alarm,
    waits_until: Option<Instant>,
    session: Rc<Session>,
}

impl Inbound {
    fn frame(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        self.waits_until = None;
        if let Some(data) = frame.data_ref() {
            let bytes = self.received.bytes.get().saturating_add(data.len() as u64);
            self.received.bytes.set(bytes);
            return if bytes > self.received.bytes_max.get() { Err(self.too_large()) } else { Ok(frame) };
        }
        Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                fields::strip_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })
    }

    fn too_large(&self) -> Error {
        self.session.spoil();
        too_large(self.received.bytes_max.get())
    }

    fn broken(&self, error: Broken) -> Error {
        self.session.spoil();
        let fault = self.session.take_fault(self.ordinal);
        if let Some(malformed) = error.downcast_ref::<http3::Malformed>() {
            return Error::new(Kind::MalformedRequest, malformed.to_string());
        }
        fault.unwrap_or_else(|| Error::because(Kind::ClientGone, "the request body broke off", error))
    }

    fn silent(&self) -> Error {
        self.session.spoil();
        Error::new(Kind::RequestTimeout, format!("no byte of the request body for {:?}", self.idle))
    }
}

/// The error of a body over its limit.
pub(super) fn too_large(bytes_max: u64) -> Error {
    Error::new(Kind::BodyTooLarge, format!("the request body is over {bytes_max} bytes"))
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.frame(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let idle = self.idle;
                let until = *self.waits_until.get_or_insert_with(|| Instant::now() + idle);
                self.alarm.poll_at(until, cx).map(|()| Some(Err(self.silent())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
