//! The gateway's log. Messages are cut at the operator's `log-bytes-max`; beyond 100 a second and worker they are
//! dropped and counted.

use crate::host::log as host;

/// How grave a message is.
///
/// ```
/// # use tidegate_guest::{log::{self, Level}, testing::Host};
/// let host = Host::new();
/// host.run(|| log::write(Level::Warn, "the issuer is down"));
/// assert_eq!(host.logged()[0].level, Level::Warn);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What nobody needs but who hunts one error.
    Trace,
    /// For those who look for an error.
    Debug,
    /// What happens seldom and is in order.
    Info,
    /// What should not be, and goes on.
    Warn,
    /// What does not go on.
    Error,
}

/// Writes a message.
///
/// ```
/// # use tidegate_guest::{log::{self, Level}, testing::Host};
/// # Host::new().run(|| {
/// log::write(Level::Info, "two keys were fetched");
/// # });
/// ```
pub fn write(level: Level, message: &str) {
    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::write(level, message);
}

/// Writes a message at level `trace`.
///
/// ```
/// # use tidegate_guest::{log, testing::Host};
/// # Host::new().run(|| {
/// log::trace("no key has this id");
/// # });
/// ```
pub fn trace(message: &str) {
    write(Level::Trace, message);
}

/// Writes a message at level `debug`.
///
/// ```
/// # use tidegate_guest::{log, testing::Host};
/// # Host::new().run(|| {
/// log::debug("no key has this id");
/// # });
/// ```
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a message at level `info`.
///
/// ```
/// # use tidegate_guest::{log, testing::Host};
/// # Host::new().run(|| {
/// log::info("no key has this id");
/// # });
/// ```
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a message at level `warn`.
///
/// ```
/// # use tidegate_guest::{log, testing::Host};
/// # Host::new().run(|| {
/// log::warn("no key has this id");
/// # });
/// ```
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a message at level `error`.
///
/// ```
/// # use tidegate_guest::{log, testing::Host};
/// # Host::new().run(|| {
/// log::error("no key has this id");
/// # });
/// ```
pub fn error(message: &str) {
    write(Level::Error, message);
}
