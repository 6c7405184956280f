//! Clocks, and waiting.

use std::time::Duration;

use crate::bindings::tidegate::plugin::clock as host;

/// Since some time that stays the same in the life of the gateway; never goes back.
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic_ns())
}

/// Since 1970-01-01T00:00:00Z.
pub fn wall() -> Duration {
    Duration::from_nanos(host::wall_ns())
}

/// Waits, at most until the call's deadline, which then ends the call. Only this exchange waits.
pub fn sleep(duration: Duration) {
    host::sleep(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}
