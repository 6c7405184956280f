//! The gateway's log. Messages are cut at the operator's `log-bytes-max`; beyond 100 a second and worker they are
//! dropped and counted.

use crate::bindings::tidegate::plugin::log::{self as host, Level};

/// Writes a message at level `trace`.
pub fn trace(message: &str) {
    host::write(Level::Trace, message);
}

/// Writes a message at level `debug`.
pub fn debug(message: &str) {
    host::write(Level::Debug, message);
}

/// Writes a message at level `info`.
pub fn info(message: &str) {
    host::write(Level::Info, message);
}

/// Writes a message at level `warn`.
pub fn warn(message: &str) {
    host::write(Level::Warn, message);
}

/// Writes a message at level `error`.
pub fn error(message: &str) {
    host::write(Level::Error, message);
}
