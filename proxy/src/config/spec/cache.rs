//! The response cache, configured. Knows nothing of what it does.

use std::time::Duration;

use serde::Serialize;

/// A response cache (RFC 9111).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// All that is kept, in the whole process.
    pub bytes_max: usize,
    /// URIs.
    pub entries_max: usize,
    /// One response's body.
    pub entry_bytes_max: usize,
    /// How long responses are fresh that say nothing of it; zero where they are not.
    pub default_max_age: Duration,
    /// The share of the time since a response last changed for which it is taken to be fresh; 0 where it is not.
    pub heuristic_percent: u32,
    /// RFC 5861, for responses that say nothing of it.
    pub stale_while_revalidate: Duration,
    /// RFC 5861, for responses that say nothing of it.
    pub stale_if_error: Duration,
    /// How long a request waits for another one's answer.
    pub wait_timeout: Duration,
    /// Whether responses carry `Cache-Status` (RFC 9211).
    pub status_header: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            entries_max: 16_384,
            entry_bytes_max: 1 << 20,
            default_max_age: Duration::ZERO,
            heuristic_percent: 0,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            wait_timeout: Duration::from_secs(5),
            status_header: true,
        }
    }
}
