//! One socket on a ring: what came and was not read yet, what is to be sent, and what the kernel was asked for. Lives until the
//! kernel has answered all of it, longer than the [`super::Stream`] that it is for. Knows nothing of tasks.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    task::Waker,
    time::Duration,
};

use rustix::io::Errno;
use socket2::SockRef;

use super::{
    buffers::Lent,
    kernel::{Kernel, What},
};

/// A socket on a ring.
pub(super) struct Line {
    /// How the ring knows it.
    pub(super) key: usize,
    /// The socket, open for as long as the kernel was asked for something of it.
    pub(super) socket: TcpStream,
    /// What stands.
    pub(super) state: RefCell<State>,
}

/// What stands of a [`Line`].
#[derive(Default)]
pub(super) struct State {
    pub(super) inbox: VecDeque<Piece>,
    pub(super) inbox_bytes: usize,
    /// Why nothing more comes, after what is in the inbox.
    pub(super) ended: Option<Ended>,
    pub(super) outbox: Vec<u8>,
    pub(super) sending: bool,
    /// Why nothing more can be sent.
    pub(super) refused: Option<Errno>,
    /// Nothing is written any more.
    pub(super) shut: bool,
    /// Nobody holds its stream any more.
    pub(super) left: bool,
    /// It is one of those that still send then and are counted.
    pub(super) counted: bool,
    /// What is under way is to be thrown away with it.
    pub(super) broken: bool,
    /// Whether it is on the list of those that want something.
    pub(super) listed: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    receiving: Receiving,
    stops: u8,
    // What is on its way was told to stop.
    cut: bool,
    closed: bool,
}

/// Bytes that came, from `start` on.
pub(super) struct Piece {
    pub(super) bytes: Came,
    pub(super) start: usize,
}

/// Where bytes are that came.
pub(super) enum Came {
    /// In a buffer that the kernel gets back.
    Lent(Lent),
    /// In memory of their own, because buffers were scarce or they are few.
    Copied(Vec<u8>),
}

/// How the other end's stream ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Whole,
    Broken(Errno),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Receiving {
    #[default]
    Not,
    Yes,
    // Too much came that was not read.
    Stopping,
}

impl Line {
    pub(super) fn new(key: usize, socket: TcpStream) -> Self {
        Self { key, socket, state: RefCell::default() }
    }

    /// Asks the kernel for what is wanted now, and hands over who waited for room. Answers whether the line is over: nobody's,
    /// and the kernel does nothing about it any more.
    pub(super) fn attend(&self, kernel: &mut Kernel, woken: &mut Vec<Waker>) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.listed = false;
        if state.left {
            self.leave(state, kernel);
        } else if state.wants_more() {
            kernel.receive(self.key, self.socket.as_fd());
            state.receiving = Receiving::Yes;
        }
        if !state.sending && !state.outbox.is_empty() {
            kernel.send(self.key, self.socket.as_fd(), std::mem::take(&mut state.outbox));
            state.sending = true;
            woken.extend(state.writer.take());
        }
        if state.shut && !state.closed && !state.sending {
            state.closed = true;
            // One that is broken already cannot be shut, and need not be.
            drop(self.socket.shutdown(Shutdown::Write));
        }
        state.left && !state.sending && state.receiving == Receiving::Not && state.stops == 0
    }

    /// Takes in what the kernel says, and hands over who waited for it. Answers whether the line wants to be attended to.
    pub(super) fn hear(&self, what: What, kernel: &mut Kernel, woken: &mut Vec<Waker>) -> Option<Heard> {
        let state = &mut *self.state.borrow_mut();
        match what {
            What::Received(result, more) => {
                if !more {
                    state.receiving = Receiving::Not;
                }
                self.take_in(result, state, kernel);
                woken.extend(state.reader.take_if(|_| !state.inbox.is_empty() || state.ended.is_some()));
                (state.left || state.wants_more()).then_some(Heard::Wants)
            }
            What::Sent(result, bytes) => {
                state.sending = false;
                // Otherwise there is no more room than before until `attend` takes what waits.
                if let Err(error) = result {
                    state.refused = Some(error);
                    state.outbox.clear();
                    woken.extend(state.writer.take());
                }
                let wants = state.left || state.shut || !state.outbox.is_empty();
                Some(Heard::Sent { bytes, wants })
            }
            What::Stopped(found) => {
                state.stops -= 1;
                // What was to be stopped may have ended by itself, and may not; then it is for what comes next.
                if !found && state.receiving == Receiving::Stopping {
                    state.receiving = Receiving::Yes;
                }
                // The send was just at it: it is told again.
                if !found && state.sending {
                    state.cut = false;
                }
                state.left.then_some(Heard::Wants)
            }
        }
    }

    /// Makes its end a reset, which throws away what is on its way.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn break_off(&self, state: &mut State) -> io::Result<()> {
        state.broken = true;
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))
    }

    /// Sends what waits without the ring. Answers whether that was all there is to send.
    pub(super) fn send_at_once(&self, state: &mut State) -> bool {
        let whole =
            !state.sending && (&self.socket).write(&state.outbox).is_ok_and(|count| count == state.outbox.len());
        if whole {
            state.outbox.clear();
        }
        whole
    }

    fn take_in(&self, result: Result<Option<Lent>, Errno>, state: &mut State, kernel: &mut Kernel) {
        match result {
            Ok(Some(lent)) if state.left => kernel.give_back(lent),
            Ok(Some(lent)) => {
                let few = kernel.bytes(&lent).len() < LENT_BYTES_MIN;
                state.inbox_bytes += kernel.bytes(&lent).len();
                // Who reads slowly or not at all must not keep what all others read into, nor much memory for little.
                if kernel.has_plenty() && (state.inbox.is_empty() || !few) {
                    state.inbox.push_back(Piece { bytes: Came::Lent(lent), start: 0 });
                } else {
                    state.copy(kernel.bytes(&lent));
                    kernel.give_back(lent);
                }
                if state.inbox_bytes > INBOX_BYTES_MAX {
                    self.stop_receiving(state, kernel);
                }
            }
            Ok(None) => state.ended = Some(Ended::Whole),
            // Buffers were scarce for a moment, or enough had come.
            Err(Errno::NOBUFS | Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => state.ended = Some(Ended::Broken(error)),
        }
    }

    fn leave(&self, state: &mut State, kernel: &mut Kernel) {
        self.stop_receiving(state, kernel);
        for piece in state.inbox.drain(..) {
            if let Came::Lent(lent) = piece.bytes {
                kernel.give_back(lent);
            }
        }
        if state.is_sending() {
            // As from a socket's own buffer what was written goes out when nobody holds it any more, but not to who takes
            // nothing of it.
            drop(SockRef::from(&self.socket).set_tcp_user_timeout(Some(LEFT_MAX)));
        }
        if state.broken {
            state.outbox.clear();
            if state.sending && !std::mem::replace(&mut state.cut, true) {
                state.stops += 1;
                kernel.stop_sending(self.key);
            }
        }
    }

    fn stop_receiving(&self, state: &mut State, kernel: &mut Kernel) {
        if state.receiving == Receiving::Yes {
            state.receiving = Receiving::Stopping;
            state.stops += 1;
            kernel.stop_receiving(self.key);
        }
    }
}

/// What is to be done after [`Line::hear`].
pub(super) enum Heard {
    /// It wants to be attended to.
    Wants,
    /// These bytes were sent, and whether it wants to be attended to.
    Sent { bytes: Vec<u8>, wants: bool },
}

impl State {
    /// Whether something that was written is on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.sending || !self.outbox.is_empty()
    }

    /// Whether the kernel is to be asked for what comes.
    pub(super) fn wants_more(&self) -> bool {
        self.receiving == Receiving::Not && self.ended.is_none() && self.inbox_bytes < INBOX_BYTES_MIN && !self.left
    }

    // To what was copied last, where none of that was read: what was stays until all is.
    fn copy(&mut self, bytes: &[u8]) {
        if let Some(Piece { bytes: Came::Copied(copied), start: 0 }) = self.inbox.back_mut() {
            copied.extend_from_slice(bytes);
        } else {
            self.inbox.push_back(Piece { bytes: Came::Copied(bytes.to_vec()), start: 0 });
        }
    }
}

// What came and was not read: the kernel is told to stop above the one, and asked again below the other. What it had in hand
// when it was told comes on top of that, 32 buffers at most.
const INBOX_BYTES_MAX: usize = 64 * 1024;
const INBOX_BYTES_MIN: usize = 16 * 1024;
// What is worth a buffer that others cannot have meanwhile.
const LENT_BYTES_MIN: usize = 4096;
const LEFT_MAX: Duration = Duration::from_secs(30);
