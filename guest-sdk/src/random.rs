//! Random bytes, fit for keys.

use crate::bindings::tidegate::plugin::random as host;

/// This many of them, 4096 at most.
pub fn bytes(count: u32) -> Vec<u8> {
    host::bytes(count)
}

/// A number.
pub fn number() -> u64 {
    host::number()
}
