//! The series of one response cache: what became of requests, and how much is kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::shard::{Count, Sharded};

/// What became of a request that came to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Answered with what is kept and fresh.
    Hit,
    /// Answered with what is kept and stale.
    Stale,
    /// Answered with what is kept, of which the upstream says that it is still so.
    Revalidated,
    /// Answered by the upstream.
    Miss,
    /// Not for the cache.
    Bypass,
}

impl CacheOutcome {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Revalidated, Self::Miss, Self::Bypass];

    /// The value of the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// The series of one cache. The default one counts no requests.
#[derive(Debug, Default)]
pub struct CacheSeries {
    requests: Sharded<[Count; CacheOutcome::ALL.len()]>,
    // Shared by workers: they change when a response is kept, which costs more.
    bytes: AtomicU64,
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl CacheSeries {
    /// A series for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> Self {
        Self { requests: Sharded::new(workers), ..Self::default() }
    }

    /// Counts a request, on the thread of `worker`.
    pub fn finish(&self, worker: usize, outcome: CacheOutcome) {
        self.requests.of(worker).inspect(|shard| shard[outcome as usize].add(1));
    }

    /// Says how much is kept, and how much made room so far.
    pub fn hold(&self, bytes: usize, entries: usize, evicted: u64) {
        self.bytes.store(bytes as u64, Relaxed);
        self.entries.store(entries as u64, Relaxed);
        self.evicted.store(evicted, Relaxed);
    }

    /// How many requests came to this.
    pub fn count(&self, outcome: CacheOutcome) -> u64 {
        self.requests.sum(|shard| &shard[outcome as usize])
    }

    /// Bytes and URIs that are kept, and how many URIs made room.
    pub fn held(&self) -> (u64, u64, u64) {
        (self.bytes.load(Relaxed), self.entries.load(Relaxed), self.evicted.load(Relaxed))
    }
}
