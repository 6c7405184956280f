//! The series of one concurrency limit: what became of those who came to it.

use super::shard::{Count, Sharded};

/// What became of an exchange that came to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateOutcome {
    /// Under way at once.
    Passed,
    /// Under way after a wait.
    Waited,
    /// Turned away: the queue was full.
    Refused,
    /// Turned away: it waited for too long.
    Late,
}

impl GateOutcome {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Waited, Self::Refused, Self::Late];

    /// The value of the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Waited => "waited",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }
}

/// The series of one limit. The default one counts nothing.
#[derive(Debug, Default)]
pub struct GateSeries(Sharded<[Count; GateOutcome::ALL.len()]>);

impl GateSeries {
    /// A series for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> Self {
        Self(Sharded::new(workers))
    }

    /// Counts an exchange, on the thread of `worker`.
    pub fn finish(&self, worker: usize, outcome: GateOutcome) {
        self.0.of(worker).inspect(|shard| shard[outcome as usize].add(1));
    }

    /// How many exchanges came to this.
    pub fn count(&self, outcome: GateOutcome) -> u64 {
        self.0.sum(|shard| &shard[outcome as usize])
    }
}
