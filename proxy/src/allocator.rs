//! The process's allocator: mimalloc, asked for plain blocks wherever those are aligned enough, because its function for
//! aligned ones costs several times as much. The one `unsafe` of the binary. Knows nothing of what is allocated.
#![allow(unsafe_code, reason = "an allocator is a promise about raw memory")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// See the module.
pub(crate) struct Mimalloc;

/// Gives pages of the calling thread that nothing uses back to the system, but for those freed a moment ago.
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, by any thread.
    unsafe { mi_collect(false) }
}

/// The alignment in bytes of every block that is at least as long (`MI_MAX_ALIGN_SIZE` of mimalloc).
const NATURAL_BYTES: usize = 16;

const fn is_natural(bytes: usize, align: usize) -> bool {
    align <= NATURAL_BYTES && align <= bytes
}

// SAFETY: mimalloc's blocks do not overlap, stay until they are freed, and are as long and aligned as asked for: by its
// functions for aligned blocks in every case, by the others as `is_natural` says. It frees and moves the blocks of either
// alike, and it is null that it answers with where there is no memory; it does not unwind.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: any size and any power of two will do.
        unsafe { if is_natural(bytes, align) { mi_malloc(bytes) } else { mi_malloc_aligned(bytes, align) } }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe { if is_natural(bytes, align) { mi_zalloc(bytes) } else { mi_zalloc_aligned(bytes, align) } }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's promise is that the block is one of ours and that it is not used again.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let align = layout.align();
        let block = block.cast();
        // SAFETY: as in `dealloc`, and the new block is as in `alloc`.
        unsafe {
            if is_natural(bytes, align) { mi_realloc(block, bytes) } else { mi_realloc_aligned(block, bytes, align) }
        }
        .cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_asked_for_also_when_they_grow() {
        for align in (0..8).map(|power| 1 << power) {
            for bytes in [1, 7, 8, 15, 16, 17, 100, 1_000, 5_000, 100_000] {
                let layout = Layout::from_size_align(bytes, align).unwrap();
                let aligned = |block: *mut u8| !block.is_null() && block.addr().is_multiple_of(align);
                // SAFETY: the layouts are valid and of some bytes; the block is freed with the layout that it has.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(aligned(block));
                    block.write_bytes(7, bytes);
                    let grown = Mimalloc.realloc(block, layout, 3 * bytes);
                    assert!(aligned(grown) && (0..bytes).all(|at| *grown.add(at) == 7));
                    Mimalloc.dealloc(grown, Layout::from_size_align(3 * bytes, align).unwrap());
                    let zeroed = Mimalloc.alloc_zeroed(layout);
                    assert!(aligned(zeroed) && (0..bytes).all(|at| *zeroed.add(at) == 0));
                    Mimalloc.dealloc(zeroed, layout);
                }
            }
        }
    }
}
