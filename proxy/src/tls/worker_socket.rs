//! The socket of a connection that a worker serves: one that the worker's runtime watches, or one whose bytes go over the worker's
//! io_uring, which other threads have no use for.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;
use crate::ring::{Ring, Stream};

/// A connection of a worker to somebody.
#[derive(Debug)]
pub enum WorkerSocket {
    /// The worker's runtime watches it.
    Watched(Socket),
    /// Not encrypted, over the worker's io_uring.
    Ring(Stream),
}

impl WorkerSocket {
    /// `socket` over `ring`, where there is one and nothing is encrypted.
    ///
    /// # Errors
    /// Those of [`Ring::adopt`].
    #[inline]
    pub fn new(socket: Socket, ring: Option<&Ring>) -> io::Result<Self> {
        match (ring, socket) {
            (Some(ring), Socket::Plain(stream)) => ring.adopt(stream).map(Self::Ring),
            (_, socket) => Ok(Self::Watched(socket)),
        }
    }

    /// Whether it is encrypted.
    pub const fn is_secure(&self) -> bool {
        matches!(self, Self::Watched(socket) if socket.is_secure())
    }

    /// Whether both ends agreed on HTTP/2 by ALPN (RFC 7301); `None` where they could not, as nothing is encrypted.
    pub fn agreed_on_http2(&self) -> Option<bool> {
        match self {
            Self::Watched(socket) => socket.agreed_on_http2(),
            Self::Ring(_) => None,
        }
    }

    /// Makes the end of the connection a reset, so that nobody takes what was sent for the whole.
    ///
    /// # Errors
    /// The socket's.
    pub fn break_off(&self) -> io::Result<()> {
        match self {
            Self::Watched(socket) => SockRef::from(socket.tcp()).set_linger(Some(Duration::ZERO)),
            Self::Ring(stream) => stream.break_off(),
        }
    }
}

/// The TCP connection below.
impl AsFd for WorkerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Watched(socket) => socket.tcp().as_fd(),
            Self::Ring(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for WorkerSocket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Ring(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for WorkerSocket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Watched(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Ring(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Watched(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Ring(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(socket) => Pin::new(socket).poll_flush(cx),
            Self::Ring(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Ring(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
