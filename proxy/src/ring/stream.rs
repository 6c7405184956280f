//! A connection whose bytes go over a ring. To who reads and writes it is a socket whose buffers are somewhat larger: what was
//! written is on its way, in order, also when the stream is dropped; an error is told at the next write.

use std::{
    fmt,
    io::{self, IoSlice, Write as _},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    core::Core,
    kernel::Kernel,
    line::{Came, Ended, Line, State},
};

/// A connection over a ring.
pub struct Stream {
    core: Rc<Core>,
    pub(super) line: Rc<Line>,
}

impl Stream {
    pub(super) fn new(core: &Rc<Core>, socket: std::net::TcpStream) -> Self {
        Self { core: Rc::clone(core), line: core.line(socket) }
    }

    /// Whether nothing came that was not read and the other end is still there, as far as the kernel has said already.
    pub fn is_quiet(&self) -> bool {
        self.core.hear();
        let state = self.line.state.borrow();
        state.inbox.is_empty() && state.ended.is_none() && state.refused.is_none()
    }

    /// Makes the end of the connection a reset, which throws away what is on its way.
    ///
    /// # Errors
    /// The socket's.
    pub fn break_off(&self) -> io::Result<()> {
        self.line.break_off(&mut self.line.state.borrow_mut())
    }

    fn list(&self, state: &mut State) {
        self.core.list(&self.line, state);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.socket.as_fd()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.line.state.borrow_mut();
        let empty = state.inbox.is_empty();
        if !empty {
            take(state, &mut self.core.kernel.borrow_mut(), buffer);
        }
        if state.wants_more() && !state.listed {
            self.list(state);
        }
        match state.ended {
            _ if !empty || buffer.remaining() == 0 => Poll::Ready(Ok(())),
            Some(Ended::Whole) => Poll::Ready(Ok(())),
            Some(Ended::Broken(error)) => Poll::Ready(Err(error.into())),
            None => {
                wait(&mut state.reader, cx);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.line.state.borrow_mut();
        if let Some(error) = state.refused.or_else(|| state.shut.then_some(Errno::PIPE)) {
            return Poll::Ready(Err(error.into()));
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        // Much at once is worth a call of its own, which spares a copy.
        if total >= DIRECT_BYTES_MIN && !state.sending && state.outbox.is_empty() {
            match (&self.line.socket).write_vectored(pieces) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                outcome => return Poll::Ready(outcome),
            }
        }
        if state.outbox.len() >= OUTBOX_BYTES_MAX {
            wait(&mut state.writer, cx);
            return Poll::Pending;
        }
        if state.outbox.capacity() == 0 {
            state.outbox = self.core.spare();
        }
        let before = state.outbox.len();
        for piece in pieces {
            let room = OUTBOX_BYTES_MAX - state.outbox.len();
            state.outbox.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let taken = state.outbox.len() - before;
        // What is on its way says when it has arrived, and takes this along.
        if !state.sending {
            self.list(state);
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is on its way: nothing needs to be waited for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.line.state.borrow().refused.map_or(Ok(()), |error| Err(error.into())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.line.state.borrow_mut();
        if !std::mem::replace(&mut state.shut, true) {
            self.list(state);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.line.state.borrow_mut();
        let wakers = (state.reader.take(), state.writer.take());
        if !self.core.leave(&self.line, &mut state) && !self.line.send_at_once(&mut state) {
            // A socket that cannot be told is over all the same: nothing more is sent.
            drop(self.line.break_off(&mut state));
        }
        // Nothing is borrowed any more, whatever goes with them.
        drop(state);
        drop(wakers);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.line.key)
    }
}

// As much of what came as fits.
fn take(state: &mut State, kernel: &mut Kernel, buffer: &mut ReadBuf<'_>) {
    while let Some(piece) = state.inbox.front_mut() {
        let bytes = match &piece.bytes {
            Came::Lent(lent) => kernel.bytes(lent),
            Came::Copied(bytes) => bytes,
        };
        let rest = &bytes[piece.start..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        piece.start += count;
        state.inbox_bytes -= count;
        if count < rest.len() || count == 0 {
            return;
        }
        if let Some(Came::Lent(lent)) = state.inbox.pop_front().map(|piece| piece.bytes) {
            kernel.give_back(lent);
        }
    }
}

fn wait(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

// What is to be sent and is not on its way, of one connection; as much may be on its way.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;
const DIRECT_BYTES_MIN: usize = 16 * 1024;
