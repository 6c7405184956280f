//! The series of one mirror: what became of its copies.

use super::shard::{Count, Sharded};

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// Answered, whatever the status.
    Answered,
    /// Not begun: as many as may be were under way.
    Crowded,
    /// Given up: the body was over the limit.
    TooLarge,
    /// Given up: the original ended before its body was whole.
    Cut,
    /// Sent, but not answered, or not in time.
    Failed,
}

impl MirrorOutcome {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Crowded, Self::TooLarge, Self::Cut, Self::Failed];

    /// The value of the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Crowded => "crowded",
            Self::TooLarge => "too_large",
            Self::Cut => "cut",
            Self::Failed => "failed",
        }
    }
}

/// The series of one mirror. The default one counts nothing.
#[derive(Debug, Default)]
pub struct MirrorSeries(Sharded<[Count; MirrorOutcome::ALL.len()]>);

impl MirrorSeries {
    /// A series for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> Self {
        Self(Sharded::new(workers))
    }

    /// Counts a copy, on the thread of `worker`.
    pub fn finish(&self, worker: usize, outcome: MirrorOutcome) {
        self.0.of(worker).inspect(|shard| shard[outcome as usize].add(1));
    }

    /// How many copies came to this.
    pub fn count(&self, outcome: MirrorOutcome) -> u64 {
        self.0.sum(|shard| &shard[outcome as usize])
    }
}
