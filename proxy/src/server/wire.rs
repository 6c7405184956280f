//! The socket below hyper: reads straight into hyper's own buffer, writes with a limit on how long a client may take
//! nothing. The one file of this room that needs `unsafe`, because hyper's read cursor is made of uninitialised bytes.
#![allow(unsafe_code, reason = "hyper::rt::ReadBufCursor hands out uninitialised memory and nothing else")]

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Session;
use crate::tls::WorkerSocket;

/// A client's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WorkerSocket,
    session: Rc<Session>,
    stalled_until: Option<Instant>,
}

impl Socket {
    /// The socket of `session`.
    pub(super) const fn new(stream: WorkerSocket, session: Rc<Session>) -> Self {
        Self { stream, session, stalled_until: None }
    }

    /// The connection that it belongs to.
    pub(super) const fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Whether it is encrypted.
    pub(super) const fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    /// The bare socket.
    pub(super) fn into_stream(self) -> WorkerSocket {
        self.stream
    }

    /// Reads into `cursor` and shows `inspect` what was read, which says how much of it hyper may see, counted from
    /// the front. Answers how much was read; 0 is the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
        inspect: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        // SAFETY: tokio's ReadBuf, like hyper's cursor, never marks as filled what it has not initialised, and
        // nothing here writes uninitialised bytes.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        let shown = inspect(buffer.filled()).min(read);
        // SAFETY: `shown` is at most what was read into the front of the cursor's memory just now.
        unsafe { cursor.advance(shown) };
        Poll::Ready(Ok(read))
    }

    /// Reads once, to the end of `into`; answers how much. 0 is the end.
    pub(super) fn poll_read_more(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut chunk = [0; READ_MORE_BYTES];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether all that was to be written was written.
    pub(super) const fn has_written(&self) -> bool {
        self.stalled_until.is_none()
    }

    /// Makes the end of the connection a reset, so that nobody takes what was sent for the whole.
    pub(super) fn break_off(&self) {
        if let Err(error) = self.stream.break_off() {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }

    /// Writes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, outcome)
    }

    /// Writes several pieces with one call. For a few bytes the kernel's way in for one piece is cheaper, copy included.
    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; JOINED_BYTES_MAX];
        let outcome = match join(pieces, &mut joined) {
            Some(joined) => Pin::new(&mut self.stream).poll_write(cx, joined),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, pieces),
        };
        self.unless_stalled(cx, outcome)
    }

    /// Sends what was written and is held back: of an encrypted connection, as a bare one holds nothing back.
    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.stream.is_secure() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0);
        self.unless_stalled(cx, outcome).map_ok(drop)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn unless_stalled(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled_until = None;
            return outcome;
        }
        let idle = || Instant::now() + self.session.limits(|limits| limits.write_idle_timeout);
        let until = *self.stalled_until.get_or_insert_with(idle);
        let stalled = |()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"));
        self.session.alarm.poll_at(until, cx).map(stalled)
    }
}

// The pieces one after the other, if they fit.
fn join<'a>(pieces: &[IoSlice<'_>], joined: &'a mut [u8; JOINED_BYTES_MAX]) -> Option<&'a [u8]> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let mut rest = joined.get_mut(..length)?;
    for piece in pieces {
        let (place, after) = rest.split_at_mut(piece.len());
        place.copy_from_slice(piece);
        rest = after;
    }
    Some(&joined[..length])
}

const READ_MORE_BYTES: usize = 4096;
const JOINED_BYTES_MAX: usize = 1024;
