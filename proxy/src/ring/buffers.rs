//! The memory of a ring that the kernel writes to what comes: one allocation, of which every buffer is either the kernel's or
//! ours. What makes that sound stands in [`super::kernel`]. Must not know what the kernel was asked for.
#![allow(unsafe_code, reason = "the kernel writes memory that it was told of")]

use std::{
    alloc::{self, Layout},
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;

/// What bytes come into: at the front the ring by which buffers are offered, then the buffers.
pub(super) struct Buffers {
    base: NonNull<u8>,
    offered: u16,
    // With us.
    lent: u16,
    leaked: bool,
}

/// Bytes that came, in a buffer of the ring.
pub(super) struct Lent {
    id: u16,
    length: usize,
}

impl Buffers {
    /// None of them is with the kernel yet.
    pub(super) fn new() -> Self {
        // SAFETY: its size is not zero.
        let place = unsafe { alloc::alloc_zeroed(LAYOUT) };
        let base = NonNull::new(place).unwrap_or_else(|| alloc::handle_alloc_error(LAYOUT));
        Self { base, offered: 0, lent: 0, leaked: false }
    }

    /// Where the kernel finds them.
    pub(super) fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Once, when the kernel knows where they are.
    pub(super) fn offer_all(&mut self) {
        (0..BUFFERS).for_each(|id| self.offer(id));
    }

    /// The one that the kernel named, with so much in it.
    pub(super) fn lend(&mut self, id: u16, length: usize) -> Lent {
        self.lent += 1;
        Lent { id, length: length.min(BUFFER_BYTES) }
    }

    /// The kernel may use it again.
    pub(super) fn give_back(&mut self, lent: Lent) {
        self.lent -= 1;
        self.offer(lent.id);
    }

    /// Whether more are with the kernel than are not.
    pub(super) const fn has_plenty(&self) -> bool {
        self.lent < BUFFERS / 2
    }

    /// They are never freed: the kernel may still write there.
    pub(super) const fn leak(&mut self) {
        self.leaked = true;
    }

    /// What is in one.
    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        // SAFETY: the buffer is ours while `lent` is there, the region is initialised, and `length` is at most a buffer's.
        unsafe { std::slice::from_raw_parts(self.place(lent.id).as_ptr(), lent.length) }
    }

    fn offer(&mut self, id: u16) {
        let ring = self.base.cast::<BufRingEntry>();
        // SAFETY: the entry lies in the region, since its index is below BUFFERS, and the kernel does not look at it before
        // the tail has passed it. It may look at the tail at any time, which therefore is written as an atomic.
        unsafe {
            let entry = ring.add(usize::from(self.offered % BUFFERS)).as_mut();
            entry.set_addr(self.place(id).as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            self.offered = self.offered.wrapping_add(1);
            let tail = BufRingEntry::tail(ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.offered, Ordering::Release);
        }
    }

    fn place(&self, id: u16) -> NonNull<u8> {
        // SAFETY: every id is below BUFFERS: only those were offered, and the kernel names no other.
        unsafe { self.base.add(RING_BYTES + usize::from(id % BUFFERS) * BUFFER_BYTES) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated so. The kernel has no operation left that could write there (`Kernel::drop`).
            unsafe { alloc::dealloc(self.base.as_ptr(), LAYOUT) };
        }
    }
}

/// How many there are, a power of two.
pub(super) const BUFFERS: u16 = 256;
const BUFFER_BYTES: usize = 8 * 1024;
const RING_BYTES: usize = BUFFERS as usize * size_of::<BufRingEntry>();
// Aligned to the largest page of all systems.
const LAYOUT: Layout = match Layout::from_size_align(RING_BYTES + BUFFERS as usize * BUFFER_BYTES, 64 * 1024) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};
