//! Memory for guests: small pieces come from lists of what was given back, one list a size. A phase takes and gives back
//! some ten texts of a few bytes, and each costs a few instructions this way where the allocator of `std` takes three
//! hundred. What was once used for pieces of a size stays theirs: a guest
//! is as large as all sizes were at their largest, taken together.

#![allow(unsafe_code, reason = "an allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr,
};

/// See the module. For one thread, as guests have.
pub(crate) struct Pooled {
    // The first free piece of each size; each says in its own first bytes which is the next.
    free: [Cell<*mut u8>; SIZES],
}

/// The smallest size, and how many there are, each twice the one before.
const SMALLEST: usize = 16;
const SIZES: usize = 7;
const LARGEST: usize = SMALLEST << (SIZES - 1);
/// What the allocator of `std` gives without being asked for more.
const ALIGN: usize = 8;

// SAFETY: modules of `wasm32-unknown-unknown` have one thread.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl Sync for Pooled {}

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: Pooled = Pooled::new();

impl Pooled {
    const fn new() -> Self {
        Self { free: [const { Cell::new(ptr::null_mut()) }; SIZES] }
    }
}

// Which of the sizes a layout takes, if it is small.
#[inline]
const fn size(layout: Layout) -> Option<usize> {
    if layout.size() > LARGEST || layout.align() > ALIGN {
        return None;
    }
    let over = layout.size().saturating_sub(1) / SMALLEST;
    Some((usize::BITS - over.leading_zeros()) as usize)
}

#[inline]
const fn piece(size: usize) -> Layout {
    match Layout::from_size_align(SMALLEST << size, ALIGN) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

// SAFETY: a piece is on one list at most, and on none while it is given out; which list is said by its layout alone, which
// is the same when it comes back. Pieces are of their size or more, and aligned as the largest of them has to be.
unsafe impl GlobalAlloc for Pooled {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(size) = size(layout) else { return unsafe { System.alloc(layout) } };
        let free = &self.free[size];
        let first = free.get();
        if first.is_null() {
            return unsafe { System.alloc(piece(size)) };
        }
        free.set(unsafe { first.cast::<*mut u8>().read() });
        first
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(size) = size(layout) else { return unsafe { System.dealloc(at, layout) } };
        let free = &self.free[size];
        unsafe { at.cast::<*mut u8>().write(free.get()) };
        free.set(at);
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is one that a layout may have.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (size(layout), size(wanted)) {
            (None, None) => unsafe { System.realloc(at, layout, bytes) },
            (Some(now), Some(then)) if now == then => at,
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(at, moved, layout.size().min(bytes));
                    self.dealloc(at, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 1).unwrap()
    }

    #[test]
    fn every_layout_takes_the_smallest_size_that_holds_it() {
        let cases = [(0, 16), (1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (513, 1024), (1024, 1024)];
        for (bytes, held) in cases {
            assert_eq!(size(layout(bytes)).map(|size| piece(size).size()), Some(held), "{bytes}");
        }
        assert_eq!(size(layout(1025)), None);
        assert_eq!(size(Layout::from_size_align(8, 16).unwrap()), None);
    }

    #[test]
    fn what_comes_back_is_given_out_again_and_nothing_twice() {
        let pooled = Pooled::new();
        let mut held = Vec::new();
        for round in 0..3_usize {
            for bytes in [1, 16, 17, 100, 1024, 1025, 5000] {
                for _ in 0..4 {
                    let at = unsafe { pooled.alloc(layout(bytes)) };
                    unsafe { ptr::write_bytes(at, bytes as u8, bytes) };
                    held.push((at, bytes));
                }
            }
            let mut places: Vec<_> = held.iter().map(|(at, _)| *at).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), held.len(), "round {round}");
            for (at, bytes) in held.drain(..) {
                assert!(unsafe { std::slice::from_raw_parts(at, bytes) }.iter().all(|byte| *byte == bytes as u8));
                unsafe { pooled.dealloc(at, layout(bytes)) };
            }
        }
        let first = unsafe { pooled.alloc(layout(20)) };
        unsafe { pooled.dealloc(first, layout(20)) };
        let again = unsafe { pooled.alloc(layout(30)) };
        assert_eq!(again, first);
        unsafe { pooled.dealloc(again, layout(30)) };
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_bytes() {
        let pooled = Pooled::new();
        let (mut at, mut bytes) = (unsafe { pooled.alloc(layout(10)) }, 10);
        unsafe { ptr::copy_nonoverlapping(b"0123456789".as_ptr(), at, 10) };
        for next in [12, 200, 1024, 3000, 9000, 700, 10] {
            at = unsafe { pooled.realloc(at, layout(bytes), next) };
            bytes = next;
            assert_eq!(unsafe { std::slice::from_raw_parts(at, 10) }, b"0123456789", "{next}");
        }
        unsafe { pooled.dealloc(at, layout(bytes)) };
    }
}
