//! How many requests an upstream takes, and when it takes none, configured. Knows nothing of requests.

use std::time::Duration;

use serde::Serialize;

use super::Conditions;

/// Where requests wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// How many at most. Over it: 503.
    pub requests_max: usize,
    /// How long each at most. Over it: 503.
    pub timeout: Duration,
}

/// When an upstream is spared for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breaker {
    /// What counts as a failure.
    pub on: Conditions,
    /// Opens when so many of a hundred requests in the window failed.
    pub error_percent: Option<u32>,
    /// Requests in the window, below which no share is looked at.
    pub requests_min: u32,
    /// What is looked back on.
    pub window: Duration,
    /// Opens after so many failures in a row.
    pub consecutive_errors: Option<u32>,
    /// How long it refuses everything.
    pub open_time: Duration,
    /// How many requests must then succeed.
    pub probes: u32,
}
