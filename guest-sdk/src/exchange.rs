//! The exchange that the present call belongs to. Not to be asked while a plugin is made: there is none then, and the
//! guest traps.

use crate::{Refused, Result, host::exchange as host};

/// The client's address, behind trusted proxies.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").client("192.0.2.7"), |_| {
/// assert_eq!(exchange::client_address(), "192.0.2.7");
/// # });
/// ```
pub fn client_address() -> String {
    host::client_address()
}

/// Whether the client's own request was encrypted.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").secure(true), |_| {
/// assert!(exchange::secure());
/// # });
/// ```
pub fn secure() -> bool {
    host::secure()
}

/// The protocol that the client speaks: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").protocol("HTTP/2.0"), |_| {
/// assert_eq!(exchange::protocol(), "HTTP/2.0");
/// # });
/// ```
pub fn protocol() -> String {
    host::protocol()
}

/// The listener's name.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").listener("web"), |_| {
/// assert_eq!(exchange::listener(), "web");
/// # });
/// ```
pub fn listener() -> String {
    host::listener()
}

/// The route's id, once there is a route.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").route("users"), |_| {
/// assert_eq!(exchange::route().as_deref(), Some("users"));
/// # });
/// ```
pub fn route() -> Option<String> {
    host::route()
}

/// The generation of the configuration that this exchange began on, and ends on.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/"), |_| {
/// assert_eq!(exchange::generation(), 1);
/// # });
/// ```
pub fn generation() -> u64 {
    host::generation()
}

/// The trace id, 32 hexadecimal digits (W3C Trace Context).
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/"), |_| {
/// assert_eq!(exchange::trace_id().len(), 32);
/// # });
/// ```
pub fn trace_id() -> String {
    host::trace_id()
}

/// What plugins and logs share, by full name: `<middleware>.<name>`.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/").attribute("key-auth.consumer", "jane"), |_| {
/// assert_eq!(exchange::attribute("key-auth.consumer").as_deref(), Some("jane"));
/// # });
/// ```
pub fn attribute(name: &str) -> Option<String> {
    host::attribute(name)
}

/// Sets `<own middleware name>.<name>`.
///
/// # Errors
/// [`Refused`]: over 4 KiB, or too many of them.
///
/// ```
/// # use tidegate_guest::{Refused, exchange, testing::{ClientRequest, Host}};
/// # Host::new().named("key-auth").with_request(ClientRequest::get("/"), |_| {
/// exchange::set_attribute("consumer", "jane")?;
/// assert_eq!(exchange::attribute("key-auth.consumer").as_deref(), Some("jane"));
/// # Ok::<(), Refused>(()) }).unwrap();
/// ```
pub fn set_attribute(name: &str, value: &str) -> Result<(), Refused> {
    Ok(host::set_attribute(name, value)?)
}

/// Keeps bytes for later phases of this plugin in this exchange; replaces what was kept.
///
/// # Errors
/// [`Refused::TooLarge`]: over the operator's `state-bytes-max`.
///
/// ```
/// # use tidegate_guest::{Refused, exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/"), |_| {
/// exchange::keep(b"seen at the request")?;
/// assert_eq!(exchange::kept().as_deref(), Some(&b"seen at the request"[..]));
/// # Ok::<(), Refused>(()) }).unwrap();
/// ```
pub fn keep(state: &[u8]) -> Result<(), Refused> {
    Ok(host::keep(state)?)
}

/// What was kept.
///
/// ```
/// # use tidegate_guest::{exchange, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/"), |_| {
/// assert_eq!(exchange::kept(), None);
/// # });
/// ```
pub fn kept() -> Option<Vec<u8>> {
    host::kept()
}
