//! Counters that each worker writes in a shard of its own. Knows nothing of what is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A value on cache lines of its own: 128 bytes, because processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct Padded<T>(pub T);

/// A position in a rotation for each worker.
#[derive(Debug)]
pub struct Sequence(Box<[Padded<AtomicU64>]>);

impl Sequence {
    /// For `workers` workers; each begins at another position, so that they do not all choose the same first.
    pub fn new(workers: usize) -> Self {
        Self((0..workers as u64).map(|worker| Padded(AtomicU64::new(worker))).collect())
    }

    /// The next position of `worker`.
    #[inline]
    pub fn next(&self, worker: usize) -> u64 {
        // Only its own worker writes a shard, so a load and a store are enough.
        let position = self.0[worker].0.load(Relaxed);
        self.0[worker].0.store(position.wrapping_add(1), Relaxed);
        position
    }
}
