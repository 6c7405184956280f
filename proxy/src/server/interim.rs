//! Interim responses (RFC 9110 section 15.2) on their way to the client. For one of HTTP/1.1, hyper sends none but its own
//! 100, so they are written beside it, while it has nothing to write. HTTP/2 clients get none, because h2 is out of reach
//! there. Those of HTTP/3 wait for the task of their stream.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BytesMut};
use http::response;

use super::{fields, wire::Socket};

/// Those of one connection that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Interims {
    waiting: Cell<bool>,
    bytes: RefCell<BytesMut>,
    // Who waits until they are written.
    waker: RefCell<Option<Waker>>,
}

/// Those of one stream of HTTP/3 that are not written yet. Upstreams send few, which their end counts.
#[derive(Debug, Default)]
pub(super) struct Early(RefCell<VecDeque<response::Parts>>);

impl Early {
    /// Queues one.
    pub(super) fn push(&self, mut head: response::Parts) {
        fields::strip(&mut head.headers);
        self.0.borrow_mut().push_back(head);
    }

    /// The next one, if there is one.
    pub(super) fn pop(&self) -> Option<response::Parts> {
        self.0.borrow_mut().pop_front()
    }
}

impl Interims {
    /// Queues one.
    pub(super) fn push(&self, mut head: response::Parts) {
        fields::strip(&mut head.headers);
        let mut out = self.bytes.borrow_mut();
        let reason = head.status.canonical_reason().unwrap_or_default();
        for piece in ["HTTP/1.1 ", head.status.as_str(), " ", reason, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        for (name, value) in &head.headers {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(piece);
            }
        }
        out.extend_from_slice(b"\r\n");
        self.waiting.set(true);
    }

    /// Waits until all are written: what follows must not overtake them.
    #[inline]
    pub(super) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting.get() {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes them to `socket`, to which nobody else has anything to write.
    #[inline]
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        if self.waiting.get() { self.write(cx, socket) } else { Poll::Ready(Ok(())) }
    }

    fn write(&self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        let mut bytes = self.bytes.borrow_mut();
        while !bytes.is_empty() {
            let written = ready!(socket.poll_write(cx, &bytes))?;
            bytes.advance(written);
        }
        self.waiting.set(false);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}
