//! The body of a request on its way out on a stream: a frame at a time, as far as flow control allows. That is the
//! back-pressure: what the endpoint does not take is not taken from the client. Knows no response.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::{
    error::{Error, Kind},
    exchange::Body,
};

/// A body that is being sent. Dropped before its end, it resets its stream.
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    pub(super) body: Body,
    // What of a declared length is still to come.
    left: Option<u64>,
    // Taken from the body and not sent yet, and whether it is the last of it.
    data: Bytes,
    last: bool,
    ended: bool,
    /// Whether anything was taken out of the body.
    pub(super) started: bool,
    /// Whether it is the body that is waited for, not the endpoint.
    pub(super) waiting: bool,
    /// Bytes handed over to be sent.
    pub(super) sent: u64,
}

impl Outgoing {
    /// Sends `body` on `stream`, of which `whole` says that nothing is left to be sent.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, whole: bool) -> Self {
        Self {
            stream,
            left: body.size_hint().exact(),
            body,
            data: Bytes::new(),
            last: false,
            ended: whole,
            started: false,
            waiting: false,
            sent: 0,
        }
    }

    /// Whether all of it was handed over, or the endpoint takes no more.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// The stream itself.
    pub(super) fn into_stream(self) -> SendStream<Bytes> {
        self.stream
    }

    /// Resets the stream: nobody waits for it any more.
    pub(super) fn cancel(&mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// Sends as far as body and endpoint allow; ready when all is handed over, or when the endpoint takes no more, which
    /// is no error: its answer says why.
    ///
    /// # Errors
    /// The body's own, or that it is not as long as it said.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.waiting = false;
        while !self.ended {
            if !self.data.is_empty() {
                ready!(self.poll_send(cx));
                continue;
            }
            // An endpoint that takes no more is noticed while the client is waited for.
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                self.waiting = true;
                if self.stream.poll_reset(cx).is_ready() {
                    self.refuse();
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            };
            self.started = true;
            match frame.transpose()?.map(Frame::into_data) {
                None => self.end(None)?,
                Some(Ok(data)) => self.data(data)?,
                Some(Err(other)) => self.end(other.into_trailers().ok())?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn data(&mut self, data: Bytes) -> Result<(), Error> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or_else(length_differs)?;
        }
        self.last = self.body.is_end_stream();
        if self.last && self.left.is_some_and(|left| left > 0) {
            return Err(length_differs());
        }
        self.data = data;
        if self.last && self.data.is_empty() {
            return self.end(None);
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.reserve_capacity(self.data.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.refuse();
                    return Poll::Ready(());
                }
            }
        }
        let piece = self.data.split_to(self.stream.capacity().min(self.data.len()));
        let end = self.last && self.data.is_empty();
        self.sent += piece.len() as u64;
        match self.stream.send_data(piece, end) {
            Ok(()) if end => self.ended = true,
            Ok(()) => {}
            Err(_) => self.refuse(),
        }
        Poll::Ready(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(length_differs());
        }
        self.ended = true;
        let sent = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        if sent.is_err() {
            self.refuse();
        }
        Ok(())
    }

    // The endpoint takes no more; its answer may still come.
    fn refuse(&mut self) {
        self.ended = true;
        self.data = Bytes::new();
        self.body = Body::empty();
    }
}

fn length_differs() -> Error {
    Error::new(Kind::Internal, "the body of the request is not as long as it said")
}
