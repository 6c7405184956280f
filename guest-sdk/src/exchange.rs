//! The exchange that the present call belongs to. Not to be asked while a plugin is made: there is none then, and the
//! guest traps.

use crate::{Refused, Result, bindings::tidegate::plugin::exchange as host};

/// The client's address, behind trusted proxies.
pub fn client_address() -> String {
    host::client_address()
}

/// Whether the client's own request was encrypted.
pub fn secure() -> bool {
    host::secure()
}

/// The protocol that the client speaks: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
pub fn protocol() -> String {
    host::protocol()
}

/// The listener's name.
pub fn listener() -> String {
    host::listener()
}

/// The route's id, once there is a route.
pub fn route() -> Option<String> {
    host::route()
}

/// The generation of the configuration that this exchange began on, and ends on.
pub fn generation() -> u64 {
    host::generation()
}

/// The trace id, 32 hexadecimal digits (W3C Trace Context).
pub fn trace_id() -> String {
    host::trace_id()
}

/// What plugins and logs share, by full name: `<middleware>.<name>`.
pub fn attribute(name: &str) -> Option<String> {
    host::attribute(name)
}

/// Sets `<own middleware name>.<name>`.
///
/// # Errors
/// [`Refused`]: over 4 KiB, or too many of them.
pub fn set_attribute(name: &str, value: &str) -> Result<(), Refused> {
    Ok(host::set_attribute(name, value)?)
}

/// Keeps bytes for later phases of this plugin in this exchange; replaces what was kept.
///
/// # Errors
/// [`Refused::TooLarge`]: over the operator's `state-bytes-max`.
pub fn keep(state: &[u8]) -> Result<(), Refused> {
    Ok(host::keep(state)?)
}

/// What was kept.
pub fn kept() -> Option<Vec<u8>> {
    host::kept()
}
