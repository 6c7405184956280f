//! Clocks, and waiting.

use std::time::Duration;

use crate::host::clock as host;

/// Since some time that stays the same in the life of the gateway; never goes back.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_guest::{clock, testing::Host};
/// # let host = Host::new();
/// let began = host.run(clock::monotonic);
/// host.advance(Duration::from_secs(1));
/// assert_eq!(host.run(clock::monotonic) - began, Duration::from_secs(1));
/// ```
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic_ns())
}

/// Since 1970-01-01T00:00:00Z.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_guest::{clock, testing::Host};
/// # let host = Host::new();
/// host.set_wall(Duration::from_secs(1_800_000_000));
/// assert_eq!(host.run(clock::wall).as_secs(), 1_800_000_000);
/// ```
pub fn wall() -> Duration {
    Duration::from_nanos(host::wall_ns())
}

/// Waits, at most until the call's deadline, which then ends the call. Only this exchange waits.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_guest::{clock, testing::Host};
/// # Host::new().run(|| {
/// clock::sleep(Duration::from_millis(20));
/// # });
/// ```
pub fn sleep(duration: Duration) {
    host::sleep(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}
