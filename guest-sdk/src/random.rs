//! Random bytes, fit for keys.

use crate::host::random as host;

/// This many of them, 4096 at most.
///
/// ```
/// # use tidegate_guest::{random, testing::Host};
/// # Host::new().run(|| {
/// assert_eq!(random::bytes(16).len(), 16);
/// # });
/// ```
pub fn bytes(count: u32) -> Vec<u8> {
    host::bytes(count)
}

/// A number.
///
/// ```
/// # use tidegate_guest::{random, testing::Host};
/// # Host::new().run(|| {
/// assert_ne!(random::number(), random::number());
/// # });
/// ```
pub fn number() -> u64 {
    host::number()
}
