//! One connection to an endpoint, driven by the exchange that uses it: no task of its own, so that an exchange costs
//! no hand-over between tasks, and dropping the exchange closes the connection. Knows nothing of routes and retries.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    head::{self, Head, Malformed, Reader},
    pool::{Facts, Keep, Pool},
    upload::{Output, Upload},
};
use crate::{
    error::Error,
    exchange::{Request, Told},
    state::Open,
    tls::{Socket, WorkerSocket},
};

/// A connection that is in use, or waits in a pool to be used.
pub(super) struct Wire {
    io: WorkerSocket,
    /// The other end.
    pub(super) peer: SocketAddr,
    /// What was read and not yet taken.
    pub(super) input: BytesMut,
    /// How it is kept when its exchange is over.
    pub(super) keep: Keep,
    /// The pool that it belongs to.
    pub(super) pool: Rc<Pool>,
    /// Whether another exchange used it before.
    pub(super) reused: bool,
    /// What it said of whose it is, where it did.
    pub(super) introduced: Option<Box<[u8]>>,
    output: Output,
    read_bytes: usize,
    // Whose exchange uses it.
    user: Option<Rc<Facts>>,
    // Who made it.
    maker: Rc<Facts>,
    _open: Open,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection ended; after `answered`, in the midst of an answer.
    Broken { cause: io::Error, answered: bool },
    /// The answer is not HTTP.
    Malformed(Malformed),
    /// The request's own body failed.
    Request(Error),
    /// There was no answer in time.
    Timeout,
}

impl Wire {
    /// A new connection.
    pub(super) fn new(io: WorkerSocket, peer: SocketAddr, pool: Rc<Pool>, maker: Rc<Facts>, open: Open) -> Self {
        maker.series.connected(pool.worker());
        Self {
            io,
            peer,
            input: BytesMut::new(),
            keep: Keep { idle_max: 0, sweeps: 0 },
            pool,
            reused: false,
            introduced: None,
            output: Output::default(),
            read_bytes: READ_BYTES_MIN,
            user: None,
            maker,
            _open: open,
        }
    }

    /// Counts it as in use for `user`, to be kept as `keep` says when that is over.
    pub(super) fn take(&mut self, user: Rc<Facts>, keep: Keep) {
        self.keep = keep;
        self.pool.gauges().begin(self.pool.worker());
        user.series.began(self.pool.worker());
        self.user = Some(user);
    }

    /// The upstream that uses it, as logs name it.
    pub(super) fn user(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.name)
    }

    /// Counts it as unused, ready for another exchange.
    pub(super) fn rest(&mut self) {
        self.end();
        self.reused = true;
        self.output.clear();
        self.read_bytes = READ_BYTES_MIN;
        if self.input.capacity() > READ_BYTES_MIN * 2 {
            self.input = BytesMut::new();
        }
    }

    fn end(&mut self) {
        if let Some(user) = self.user.take() {
            self.pool.gauges().end(self.pool.worker());
            user.series.ended(self.pool.worker());
        }
    }

    /// Whether an unused connection still stands, as far as the last look at the network knows.
    pub(super) fn is_alive(&mut self) -> bool {
        // Costs no system call unless something happened. Bytes that nobody asked for end it as well; those that TLS
        // sends for itself, such as session tickets, do not.
        match &mut self.io {
            WorkerSocket::Ring(io) => io.is_quiet(),
            WorkerSocket::Watched(Socket::Plain(io)) => {
                matches!(io.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            secure @ WorkerSocket::Watched(Socket::Secure(_)) => {
                let mut byte = [0];
                let mut byte = ReadBuf::new(&mut byte);
                Pin::new(secure).poll_read(&mut Context::from_waker(Waker::noop()), &mut byte).is_pending()
            }
        }
    }

    /// The same as of this moment, for one system call.
    pub(super) fn is_alive_now(&self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.io, &mut [0; 1], flags), Err(rustix::io::Errno::AGAIN))
            && !matches!(&self.io, WorkerSocket::Ring(io) if !io.is_quiet())
    }

    /// Puts the head of `request` into the output, and what it is to tell beside.
    pub(super) fn start(&mut self, request: &Request, told: Option<&Told>, host: &str, upload: &Upload) {
        self.output.clear();
        head::encode(&mut self.output.lines, request, told, host, upload.sending);
    }

    /// Sends what there is to send and reads until the head of the response is whole.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Upload,
        reader: &mut Reader,
        (method, fields): (&Method, &mut HeaderMap),
    ) -> Poll<Result<Head, Failure>> {
        if !self.is_sent(upload)
            && let Poll::Ready(Err(error)) = self.poll_upload(cx, upload)
        {
            return Poll::Ready(Err(Failure::Request(error)));
        }
        loop {
            if !self.input.is_empty()
                && let Some(head) = reader.read(&mut self.input, method, fields).map_err(Failure::Malformed)?
            {
                return Poll::Ready(Ok(head));
            }
            let cause = match ready!(self.poll_read(cx)) {
                Ok(0) => upload.refused.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => continue,
                Err(cause) => cause,
            };
            let answered = !self.input.is_empty() || reader.has_begun();
            return Poll::Ready(Err(Failure::Broken { cause, answered }));
        }
    }

    /// Whether all of the request was sent, or the upstream takes no more.
    pub(super) const fn is_sent(&self, upload: &Upload) -> bool {
        upload.ended() && self.output.is_empty()
    }

    /// Sends the request's body as far as body and socket allow; ready when it is sent, or when the upstream takes no
    /// more, which is no error: its answer says why.
    ///
    /// # Errors
    /// The body's own.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>, upload: &mut Upload) -> Poll<Result<(), Error>> {
        upload.waiting = false;
        loop {
            if !upload.ended() && !upload.waiting && self.output.wants_frame() {
                match upload.poll_fill(cx, &mut self.output) {
                    Poll::Ready(filled) => filled?,
                    Poll::Pending => upload.waiting = true,
                }
            }
            if self.output.is_empty() {
                if upload.ended() {
                    return Poll::Ready(Ok(()));
                } else if upload.waiting {
                    return Poll::Pending;
                }
                continue;
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(count)) => {
                    self.output.advance(count);
                    upload.sent += count as u64;
                }
                Poll::Ready(Err(error)) => {
                    upload.refuse(error);
                    self.output.clear();
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    upload.waiting = false;
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (slices, used) = self.output.slices();
        let io = Pin::new(&mut self.io);
        let written = match used {
            1 => io.poll_write(cx, &slices[0]),
            _ => io.poll_write_vectored(cx, &slices[..used]),
        };
        written.map(|written| match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        })
    }

    /// Reads once; 0 is the end. Reads more at a time while there is much to read.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.read_bytes / 2 {
            self.input.reserve(self.read_bytes);
        }
        let room = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        if count == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
        self.maker.series.disconnected(self.pool.worker());
    }
}

/// What is left of it after a 101.
impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input[..count]);
        self.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.peer)
    }
}

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
