//! The socket as hyper sees it for HTTP/1: nothing reaches hyper that the guard has not passed. In the common case, a
//! whole head in one read, bytes go straight into hyper's buffer and are looked at there; only what is not whole yet
//! is kept here. A fault is put to hyper as a small request that is well-formed, so that it is answered in its turn
//! and in the one way in which errors are answered.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::{
    guard::{Bounds, Fault, Scanner, Then},
    session::Session,
    wire::Socket,
};
use crate::error::{Error, Kind};

/// A guarded socket.
#[derive(Debug)]
pub(super) struct Guarded {
    socket: Socket,
    scanner: Scanner,
    // Requests of the connection before it was guarded.
    before: u64,
    // Read and not handed over; the first `cleared` of them may be.
    held: BytesMut,
    cleared: usize,
    // Whether `held` is to be shown to the scanner again before more is read.
    unseen: bool,
    head_since: Option<Instant>,
    end: Option<End>,
}

// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    // The client closed.
    Closed,
    // The body at hand is broken, so hyper sees it end too early.
    BrokenBody,
    // The head that was faulty is being answered.
    BrokenHead,
}

impl Guarded {
    /// Guards `socket`, of which `first` was already read.
    pub(super) fn new(socket: Socket, first: BytesMut) -> Self {
        let bounds = socket.session().limits(|limits| Bounds {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            uri_bytes_max: limits.uri_bytes_max,
        });
        Self {
            scanner: Scanner::new(bounds),
            before: socket.session().begun(),
            socket,
            held: first,
            cleared: 0,
            unseen: true,
            head_since: None,
            end: None,
        }
    }

    /// Whether there is, or may be, something that the client sent and nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        match self.end {
            Some(End::Closed) => false,
            Some(End::BrokenBody | End::BrokenHead) => true,
            None => !self.held.is_empty() || !self.scanner.is_in_head(),
        }
    }

    /// The bare socket, and what was read of it for another protocol.
    pub(super) fn into_parts(self) -> (Socket, BytesMut) {
        (self.socket, self.held)
    }

    // Into hyper's buffer, looking at the bytes there.
    fn poll_direct(&mut self, cx: &mut Context<'_>, cursor: &mut ReadBufCursor<'_>) -> Poll<io::Result<bool>> {
        let (scanner, held) = (&mut self.scanner, &mut self.held);
        let mut verdict = None;
        let read = self.socket.poll_read(cx, cursor, |bytes| {
            let passed = scanner.feed(bytes);
            held.extend_from_slice(&bytes[passed.pass..]);
            verdict = Some(passed);
            passed.pass
        });
        match (read, verdict) {
            (Poll::Ready(Ok(1..)), Some(verdict)) => {
                self.follow(verdict.then);
                Poll::Ready(Ok(verdict.pass > 0))
            }
            (Poll::Ready(Ok(_)), _) => Poll::Ready(Ok(self.close())),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error)),
            (Poll::Pending, _) => self.poll_late(cx),
        }
    }

    // Behind what is held.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !std::mem::take(&mut self.unseen) {
            match self.socket.poll_read_more(cx, &mut self.held) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(self.close())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_late(cx),
            }
        }
        let verdict = self.scanner.feed(&self.held);
        self.cleared = verdict.pass;
        self.follow(verdict.then);
        Poll::Ready(Ok(false))
    }

    // Of the whole connection.
    const fn heads(&self) -> u64 {
        self.before + self.scanner.heads()
    }

    // The end is passed on: hyper knows whether it comes too early.
    fn close(&mut self) -> bool {
        self.end = Some(End::Closed);
        true
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::More if self.scanner.is_in_head() && self.held.len() > self.cleared => {
                self.head_since.get_or_insert_with(Instant::now);
            }
            Then::More => self.head_since = None,
            Then::Switch => {
                self.head_since = None;
                self.unseen = true;
                self.socket.session().hold(self.heads());
            }
            Then::Fault(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) {
        let in_head = self.scanner.is_in_head();
        let ordinal = self.heads() + u64::from(in_head);
        self.socket.session().refuse(ordinal, Error::new(fault.kind, fault.detail));
        self.held.truncate(self.cleared);
        self.head_since = None;
        if in_head {
            self.held.extend_from_slice(IN_PLACE_OF_A_BAD_HEAD);
            self.cleared = self.held.len();
        }
        self.end = Some(if in_head { End::BrokenHead } else { End::BrokenBody });
    }

    // Nothing is there to read: whether it has been so for too long. Bodies have their own clock.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let session = self.socket.session();
        let Some(idle_since) = session.idle_since().filter(|_| self.scanner.is_in_head()) else {
            return Poll::Pending;
        };
        let (head, idle) = session.limits(|limits| (limits.head_timeout, limits.keep_alive_timeout));
        let waits = self.head_since.is_none();
        let deadline = self.head_since.map_or(idle_since + idle, |since| since + head);
        // hyper looks for more before it has begun what it read.
        let is_still = self.held.is_empty() && self.heads() == session.begun() && self.socket.has_written();
        if waits && idle > REST_AFTER {
            if session.alarm.poll_at(idle_since + REST_AFTER, cx).is_pending() {
                return Poll::Pending;
            }
            if is_still {
                session.rest();
                return Poll::Pending;
            }
        }
        if session.alarm.poll_at(deadline, cx).is_pending() {
            return Poll::Pending;
        }
        if waits {
            return Poll::Ready(Ok(self.close()));
        }
        self.fail(Fault { kind: Kind::RequestTimeout, detail: "the head did not arrive in time" });
        Poll::Ready(Ok(false))
    }
}

/// Has the connection looked at once it was idle for as long as it takes to rest: when the last response was written, hyper does
/// not look for more, if it did before.
pub(super) fn look_again(session: &Session, cx: &mut Context<'_>) {
    if let Some(since) = session.idle_since() {
        // Looked at by `poll_late`, which comes first whenever the task is woken.
        let _is_over = session.alarm.poll_at(since + REST_AFTER, cx);
    }
}

impl Read for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.cleared > 0 {
                let piece = cursor.remaining().min(this.cleared);
                cursor.put_slice(&this.held[..piece]);
                this.held.advance(piece);
                this.cleared -= piece;
                return Poll::Ready(Ok(()));
            }
            match this.end {
                Some(End::BrokenHead) => return Poll::Pending,
                Some(End::Closed | End::BrokenBody) => return Poll::Ready(Ok(())),
                None if this.socket.session().is_held(cx.waker()) => return Poll::Pending,
                None => {}
            }
            let outcome = if this.held.is_empty() { this.poll_direct(cx, &mut cursor) } else { this.poll_behind(cx) };
            match outcome {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Write for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, bytes)
    }

    // hyper asks for it whenever it has nothing to write itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let session = Rc::clone(self.socket.session());
        ready!(session.interims.poll_write(cx, &mut self.socket))?;
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is closed next, which says the same; who has something unread is listened to for a while between.
        if !self.socket.is_secure() && !self.has_unread() {
            return Poll::Ready(Ok(()));
        }
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
        self.socket.poll_write_vectored(cx, pieces)
    }
}

// A client that asks again before has its codec waiting; building it anew costs about as much as one request.
const REST_AFTER: Duration = Duration::from_secs(1);
// Answered with the fault that stands in for it; see `Session::take_fault`.
const IN_PLACE_OF_A_BAD_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: invalid\r\nconnection: close\r\n\r\n";
