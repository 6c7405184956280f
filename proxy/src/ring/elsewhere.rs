//! Stands for the ring where there is none: systems that are not Linux.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// None of these can be made.
#[derive(Clone, Debug)]
pub enum Ring {}

/// None of these can be made.
#[derive(Debug)]
pub enum Stream {}

#[expect(missing_docs, clippy::missing_errors_doc, reason = "as of the real one")]
impl Ring {
    pub fn start() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring is of Linux alone"))
    }

    pub async fn sent(&self) {
        match *self {}
    }

    pub fn adopt(&self, _: TcpStream) -> io::Result<Stream> {
        match *self {}
    }
}

#[expect(missing_docs, clippy::missing_errors_doc, reason = "as of the real one")]
impl Stream {
    pub fn is_quiet(&self) -> bool {
        match *self {}
    }

    pub fn break_off(&self) -> io::Result<()> {
        match *self {}
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
