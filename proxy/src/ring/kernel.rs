//! The kernel's side of a ring: what is asked of it and what it answers, and the memory that it reads and writes meanwhile.
//! With [`super::buffers`] all of this room that needs `unsafe`. What makes it sound is that nothing the kernel was told of is
//! anybody else's:
//!
//! - Bytes to send are given to [`Kernel::send`] whole and stay in `sending`, neither moved nor looked at, until the completion
//!   of that send, which is the kernel's last word about them.
//! - Bytes that come are written to the buffers of [`Buffers`], one allocation that lives as long as the ring. A buffer is the
//!   kernel's from [`Buffers::offer`] on until a completion names it, and ours from there until it is offered again: a
//!   [`Lent`] stands for that time, cannot be copied and is used up by giving it back.
//! - The ring goes before that memory does, and only when every operation has had its completion; where one has not, the memory
//!   is never freed.
//!
//! Sockets are named by number. A wrong number would be a wrong socket and never wrong memory; that it is right is for
//! [`super::line::Line`] to see to, which keeps its socket open until all it asked for is answered.
#![allow(unsafe_code, reason = "the kernel reads and writes memory that it was told of")]

use std::{
    collections::VecDeque,
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::atomic::{Ordering, fence},
};

use io_uring::{
    IoUring, cqueue, opcode, squeue,
    types::{CancelBuilder, Fd, Timespec},
};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::buffers::{BUFFERS, Buffers, Lent};

/// A ring of the thread that made it.
pub(super) struct Kernel {
    ring: IoUring,
    buffers: Buffers,
    sending: Vec<Option<Sending>>,
    // What did not fit into the queue.
    backlog: VecDeque<squeue::Entry>,
    // Operations whose last completion did not come yet.
    outstanding: usize,
    wakes: bool,
}

struct Sending {
    bytes: Vec<u8>,
    sent: usize,
    socket: RawFd,
    // Nothing of the rest is to be sent: a send that is stopped midway says how much it has sent, not that it was stopped.
    stopped: bool,
}

/// What the kernel says.
pub(super) struct Event {
    /// Of whom.
    pub(super) key: usize,
    /// About what.
    pub(super) what: What,
}

/// What an [`Event`] is about.
pub(super) enum What {
    /// Something came; nothing is the end of the stream. Whether more is to come without being asked for.
    Received(Result<Option<Lent>, Errno>, bool),
    /// What was to be sent was, or cannot be. Its memory is nobody's again.
    Sent(Result<(), Errno>, Vec<u8>),
    /// What was asked for with [`Kernel::stop_receiving`] or [`Kernel::stop_sending`] was looked at; whether it was found.
    Stopped(bool),
}

impl Kernel {
    /// # Errors
    /// When the kernel permits no ring, or is too old for one of this kind.
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        let ring = builder.setup_submit_all().setup_clamp().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)?;
        let mut buffers = Buffers::new();
        // SAFETY: the region begins with BUFFERS entries, aligned to every size of page, and is freed after the ring is.
        unsafe {
            let place = buffers.address();
            ring.submitter().register_buf_ring_with_flags(place, BUFFERS, GROUP, 0)?;
        }
        buffers.offer_all();
        Ok(Self { ring, buffers, sending: Vec::new(), backlog: VecDeque::new(), outstanding: 0, wakes: true })
    }

    /// What is readable when the ring [is due](Self::is_due), watched by the runtime that this is called in. The ring itself would
    /// not say it of what waits for a call.
    ///
    /// # Errors
    /// When a descriptor more is one too many.
    pub(super) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        self.ring.submitter().register_eventfd(event.as_raw_fd())?;
        // SAFETY: an `OwnedFd` is open as long as it is there and always the same.
        let watch = unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) };
        watch.map_err(|refused| refused.into_parts().1)
    }

    /// Whether the kernel says that the ring is due; who looks anyway need not be told. What came between two looks shows in
    /// [`Kernel::is_due`].
    pub(super) fn wake(&mut self, wake: bool) {
        if wake == self.wakes || !(wake || HUSHES) {
            return;
        }
        self.wakes = wake;
        match wake {
            true => self.ring.completion().enable_eventfd(),
            false => self.ring.completion().disable_eventfd(),
        }
        // Before the next look at what is due.
        fence(Ordering::SeqCst);
    }

    /// Asks for all that comes to `socket` from now on.
    pub(super) fn receive(&mut self, key: usize, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.push(entry.user_data(tag(key, Kind::Receive)));
    }

    /// Sends `bytes`, as the only ones of `key` at this time.
    pub(super) fn send(&mut self, key: usize, socket: BorrowedFd<'_>, bytes: Vec<u8>) {
        if self.sending.len() <= key {
            self.sending.resize_with(key + 1, || None);
        }
        debug_assert!(self.sending[key].is_none(), "one at a time");
        self.sending[key] = Some(Sending { bytes, sent: 0, socket: socket.as_raw_fd(), stopped: false });
        self.push_send(key);
    }

    /// Ends [`Kernel::receive`]: its last completion comes soon.
    pub(super) fn stop_receiving(&mut self, key: usize) {
        self.push(opcode::AsyncCancel::new(tag(key, Kind::Receive)).build().user_data(tag(key, Kind::Stop)));
    }

    /// Ends [`Kernel::send`] early: its completion comes soon.
    pub(super) fn stop_sending(&mut self, key: usize) {
        self.sending[key].iter_mut().for_each(|sending| sending.stopped = true);
        self.push(opcode::AsyncCancel::new(tag(key, Kind::Send)).build().user_data(tag(key, Kind::Stop)));
    }

    /// Tells the kernel all that was asked for, with one call, and lets it finish what waits for that. No call where
    /// there is nothing of both.
    ///
    /// # Errors
    /// When the kernel takes nothing now.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        while self.fill() || self.is_called() {
            match self.ring.submit() {
                Ok(_) if self.backlog.is_empty() => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the kernel waits for [`Kernel::enter`], or has answers.
    pub(super) fn is_due(&mut self) -> bool {
        self.is_called() || !self.ring.completion().is_empty() || !self.ring.submission().is_empty()
    }

    /// The next answer, where there is one already.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let entry = self.ring.completion().next()?;
            if let Some(event) = self.read(&entry) {
                return Some(event);
            }
        }
    }

    /// What came.
    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffers.bytes(lent)
    }

    /// The kernel may use the buffer again.
    pub(super) fn give_back(&mut self, lent: Lent) {
        self.buffers.give_back(lent);
    }

    /// Whether more buffers are with the kernel than are not.
    pub(super) const fn has_plenty(&self) -> bool {
        self.buffers.has_plenty()
    }

    // Whether there is anything to tell the kernel.
    fn fill(&mut self) -> bool {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: as of `push`.
            if unsafe { queue.push(&entry) }.is_err() {
                self.backlog.push_front(entry);
                break;
            }
        }
        !queue.is_empty()
    }

    fn is_called(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.outstanding += 1;
        // SAFETY: an entry names no memory of ours (a receive, a cancel), or bytes in `sending`, which stay as they are until
        // its completion was read.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    fn push_send(&mut self, key: usize) {
        let Some(Some(Sending { bytes, sent, socket, .. })) = self.sending.get(key) else { return };
        let rest = &bytes[*sent..];
        let entry = opcode::Send::new(Fd(*socket), rest.as_ptr(), u32::try_from(rest.len()).unwrap_or(u32::MAX));
        // Once more where there was room for a part only, without asking.
        let flags = (rustix::net::SendFlags::NOSIGNAL.bits() | WAIT_ALL).cast_signed();
        self.push(entry.flags(flags).build().user_data(tag(key, Kind::Send)));
    }

    // None of a send that goes on.
    fn read(&mut self, entry: &cqueue::Entry) -> Option<Event> {
        let more = cqueue::more(entry.flags());
        if !more {
            self.outstanding -= 1;
        }
        let (key, kind) = untag(entry.user_data());
        let result = match entry.result() {
            failed @ ..0 => Err(Errno::from_raw_os_error(-failed)),
            count => Ok(count.unsigned_abs() as usize),
        };
        let what = match kind {
            Kind::Receive => What::Received(self.received(result, entry.flags()), more),
            Kind::Send => self.sent(key, result)?,
            Kind::Stop => What::Stopped(result.is_ok()),
        };
        Some(Event { key, what })
    }

    fn received(&mut self, result: Result<usize, Errno>, flags: u32) -> Result<Option<Lent>, Errno> {
        let mut lent = cqueue::buffer_select(flags).map(|id| self.buffers.lend(id, result.unwrap_or(0)));
        if let Some(empty) = lent.take_if(|lent| self.buffers.bytes(lent).is_empty()) {
            self.give_back(empty);
        }
        result.map(|_| lent)
    }

    fn sent(&mut self, key: usize, result: Result<usize, Errno>) -> Option<What> {
        let sending = self.sending.get_mut(key)?.as_mut()?;
        let outcome = match result {
            Ok(0) => Err(Errno::PIPE),
            Ok(count) => {
                sending.sent += count;
                if sending.sent < sending.bytes.len() { Err(Errno::AGAIN) } else { Ok(()) }
            }
            Err(error) => Err(error),
        };
        if matches!(outcome, Err(Errno::INTR | Errno::AGAIN)) && !sending.stopped {
            self.push_send(key);
            return None;
        }
        let sending = self.sending[key].take()?;
        Some(What::Sent(outcome, sending.bytes))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // What was written last goes out as far as there is room for it, as from a socket's own buffer; then everything ends.
        for attempt in 0..ATTEMPTS {
            if self.enter().is_err() {
                break;
            }
            while self.next().is_some() {}
            if self.outstanding == 0 {
                return;
            }
            if attempt > 0 {
                let second = Timespec::new().sec(1);
                // That nothing is left to cancel is no failure, and any other one shows in `outstanding`.
                drop(self.ring.submitter().register_sync_cancel(Some(second), CancelBuilder::any()));
            }
        }
        // The kernel may still write there.
        self.buffers.leak();
        mem::forget(mem::take(&mut self.sending));
        tracing::error!(left = self.outstanding, "an io_uring did not let go of its memory");
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Receive,
    Send,
    Stop,
}

const fn tag(key: usize, kind: Kind) -> u64 {
    (key as u64) << 2 | kind as u64
}

const fn untag(tag: u64) -> (usize, Kind) {
    let kind = match tag & 3 {
        0 => Kind::Receive,
        1 => Kind::Send,
        _ => Kind::Stop,
    };
    ((tag >> 2) as usize, kind)
}

// The kernel says first that it has work and looks then whether to wake; elsewhere a processor may do the one before the other.
const HUSHES: bool = cfg!(target_arch = "x86_64");
// Entries that one call tells the kernel of.
const SUBMISSIONS: u32 = 256;
// Answers that wait; the kernel keeps what does not fit.
const COMPLETIONS: u32 = 4096;
const GROUP: u16 = 0;
// MSG_WAITALL, which rustix knows of receiving only.
const WAIT_ALL: u32 = 0x100;
const ATTEMPTS: usize = 8;
