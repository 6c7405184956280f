//! What the gateway tells of itself: metrics, the access log, log names. Counts per worker, sums when read.

use crate::exchange::Outcome;

/// The series of one route.
#[derive(Debug, Default)]
pub struct RouteSeries {}

impl RouteSeries {
    /// Counts one exchange that is over, in the shard of `worker`.
    pub fn finish(&self, _worker: usize, _outcome: &Outcome) {}
}
