//! HTTP/2 on a connection: h2's settings, abuse bounded, an end that tells the client which streams were served.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use hyper::{
    body::Incoming,
    rt::{Executor, Read, ReadBufCursor, Write},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;

use super::{
    exchange,
    frames::{Breach, Budget, ENHANCE_YOUR_CALM, Frames},
    inbound::Arriving,
    session::Session,
    wire::Socket,
};
use crate::error::Kind;

/// Serves a connection of which `first` was already read.
pub(super) async fn serve(socket: Socket, first: BytesMut, session: Rc<Session>) {
    session.multiplex();
    let service = {
        let session = Rc::clone(&session);
        // Boxed, because hyper moves what it is given four times until it runs as a task of its own.
        service_fn(move |request: http::Request<Incoming>| {
            Box::pin(exchange::serve(Rc::clone(&session), request.map(Arriving::Hyper)))
        })
    };
    let wire = Counted::new(socket, first);
    let mut connection = builder(&session).serve_connection(wire, service);
    let mut told = false;
    let stall = session.limits(|limits| limits.write_idle_timeout);
    let mut look = Instant::now() + stall;
    let outcome = poll_fn(|cx| {
        session.resident().attend(cx);
        if !told && (session.heed() || session.is_closing() || is_idle(&session, cx)) {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(outcome);
        }
        while session.alarm.poll_at(look, cx).is_ready() {
            if has_stalled(&session, look - stall, told) {
                return Poll::Ready(Ok(()));
            }
            look = Instant::now() + stall;
        }
        Poll::Pending
    })
    .await;
    if let Err(error) = outcome {
        tracing::debug!(listener = &*session.door.name, peer = %session.connection.peer, %error, "connection ended");
    }
}

/// Whether no stream was open for too long.
pub(super) fn is_idle(session: &Session, cx: &mut Context<'_>) -> bool {
    let idle = session.limits(|limits| limits.keep_alive_timeout);
    session.idle_since().is_some_and(|since| session.alarm.poll_at(since + idle, cx).is_ready())
}

// Whether the client has taken nothing since `then` of a response, or of the rest of a connection that is to end. It is
// looked at once in each such time, so a stall lasts twice as long at most.
fn has_stalled(session: &Session, then: Instant, told: bool) -> bool {
    let stalled = session.has_stalled(then) || (told && session.idle_since().is_some_and(|since| since <= then));
    if stalled {
        tracing::debug!(listener = &*session.door.name, peer = %session.connection.peer, "the client takes nothing");
    }
    stalled
}

fn builder(session: &Session) -> http2::Builder<LocalExec> {
    let mut builder = http2::Builder::new(LocalExec);
    session.limits(|limits| {
        builder
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(usize::try_from(limits.resets_max).unwrap_or(usize::MAX))
            .max_local_error_reset_streams(usize::try_from(limits.resets_max).unwrap_or(usize::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
    });
    builder
}

/// Runs streams on the worker that accepted their connection.
#[derive(Clone, Copy, Debug)]
struct LocalExec;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

/// The socket as hyper sees it.
struct Counted {
    socket: Socket,
    first: BytesMut,
    frames: Frames,
    // Whether all that h2 wanted to write was written.
    between_frames: bool,
}

impl Counted {
    fn new(socket: Socket, first: BytesMut) -> Self {
        let budget = socket
            .session()
            .limits(|limits| Budget { control_frames_max: limits.control_frames_max, resets_max: limits.resets_max });
        Self { socket, first, frames: Frames::new(budget, Instant::now()), between_frames: true }
    }
}

impl Counted {
    // h2 says nothing where reading failed. A client that does not take this at once goes without.
    fn part(&mut self, cx: &mut Context<'_>, checked: Result<(), Breach>) -> io::Result<()> {
        let Err(Breach { what, code }) = checked else { return Ok(()) };
        if self.between_frames {
            let mut goaway = GOAWAY;
            goaway[16] = code;
            drop(self.socket.poll_write(cx, &goaway));
        }
        Err(io::Error::other(what))
    }

    // h2 hands over whole frames.
    fn note_written(&mut self, wanted: usize, outcome: &Poll<io::Result<usize>>) {
        self.between_frames = matches!(outcome, Poll::Ready(Ok(written)) if *written == wanted);
    }
}

// Ends the connection when the client sends what it may not, or makes too much of what asks for nothing.
fn check(frames: &mut Frames, session: &Session, bytes: &[u8]) -> Result<(), Breach> {
    frames.feed(bytes, Instant::now(), session.ended_well()).inspect_err(|Breach { what, code }| {
        let (listener, peer) = (&*session.door.name, session.connection.peer);
        if *code == ENHANCE_YOUR_CALM {
            tracing::warn!(listener, %peer, flood = what, "HTTP/2 abuse");
            session.door.hall.series.refused(session.door.worker.index, Kind::Overloaded);
        } else {
            tracing::debug!(listener, %peer, what, "an HTTP/2 connection is broken off");
        }
    })
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let piece = this.first.split_to(cursor.remaining().min(this.first.len()));
            let checked = check(&mut this.frames, this.socket.session(), &piece);
            cursor.put_slice(&piece);
            return Poll::Ready(this.part(cx, checked));
        }
        let mut checked = Ok(());
        let Self { socket, frames, .. } = this;
        let session = Rc::clone(socket.session());
        ready!(socket.poll_read(cx, &mut cursor, |bytes| {
            checked = check(frames, &session, bytes);
            bytes.len()
        }))?;
        Poll::Ready(this.part(cx, checked))
    }
}

impl Write for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.socket.poll_write(cx, bytes);
        self.note_written(bytes.len(), &outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.socket.poll_write_vectored(cx, pieces);
        self.note_written(pieces.iter().map(|piece| piece.len()).sum(), &outcome);
        outcome
    }
}

// GOAWAY, without its code (RFC 9113 section 6.8); any stream may have been served.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
// What a client may send on one stream, and on all of them, before it is read.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
// What is kept of one stream's response until the client takes it.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
// A peer that is gone without a word is noticed after the sum of both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
