//! What a watched directory counts, for telemetry. Knows nothing of how it is printed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counters of one file source since it was opened. Read them with [`SourceStats::snapshot`].
#[derive(Debug, Default)]
pub struct SourceStats {
    pub(super) events: AtomicU64,
    pub(super) rescans: AtomicU64,
    pub(super) overflows: AtomicU64,
    pub(super) fallbacks: AtomicU64,
    pub(super) suppressed: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) files_read: AtomicU64,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Events that concerned the source.
    pub events: u64,
    /// Times that the whole directory was listed.
    pub rescans: u64,
    /// Times that the system said that it lost events, or that there were more than are kept apart.
    pub overflows: u64,
    /// Times that a watch was refused and polling took over.
    pub fallbacks: u64,
    /// Times that events came and no content had changed.
    pub suppressed: u64,
    /// Changes that no event announced and the net found.
    pub missed: u64,
    /// Files whose content was read.
    pub files_read: u64,
}

impl SourceStats {
    /// All counters now.
    pub fn snapshot(&self) -> SourceCounts {
        SourceCounts {
            events: self.events.load(Relaxed),
            rescans: self.rescans.load(Relaxed),
            overflows: self.overflows.load(Relaxed),
            fallbacks: self.fallbacks.load(Relaxed),
            suppressed: self.suppressed.load(Relaxed),
            missed: self.missed.load(Relaxed),
            files_read: self.files_read.load(Relaxed),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
