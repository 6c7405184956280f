//! Checks the PROXY protocol of listeners.

use std::time::Duration;

use super::{listener, scope::Scope, values};
use crate::config::{
    raw::{self, Field},
    spec::{Protocol, ProxyProtocol, ProxyVersion},
};

/// The PROXY protocol of a listener; none where it is not given, or wrong and reported.
pub(super) fn proxy_protocol(scope: &mut Scope<'_>, field: Field<raw::ProxyProtocol>) -> Option<ProxyProtocol> {
    let (raw, at) = field.spot()?;
    let hint = "list the networks of the proxies, such as `from: [10.0.0.0/8]`";
    if raw.from.is_absent() {
        scope.missing("from", at, hint);
    } else if let Field::Given(list, pos) = &raw.from
        && list.is_empty()
    {
        scope.error("no-network", *pos, "nobody's PROXY header would be believed", hint);
    }
    Some(ProxyProtocol {
        required: !matches!(raw.mode.value(), Some(raw::ProxyMode::Optional)),
        from: listener::networks(scope, raw.from),
        header_timeout: values::period(scope, raw.header_timeout, Duration::from_secs(3)),
        // The longest line of version 1, which also is what the addresses of version 2 need and more.
        header_bytes_max: values::size(scope, raw.header_bytes_max, 107, 4096),
    })
}

/// Whether endpoints are told whose connections are; `protocol` is what is spoken to them, which has to be HTTP/1.1 then.
pub(super) fn version(
    scope: &mut Scope<'_>,
    field: Field<raw::ProxyVersion>,
    protocol: Protocol,
) -> (Option<ProxyVersion>, Protocol) {
    let Some((raw, pos)) = field.spot() else { return (None, protocol) };
    if matches!(protocol, Protocol::H2 | Protocol::H2c) {
        let message = "connections that say whose they are serve one client each, so HTTP/2 is of no use on them";
        scope.error("proxy-protocol-over-http2", pos, message, "write `protocol: http1`, or leave it out");
    }
    let version = match raw {
        raw::ProxyVersion::V1 => ProxyVersion::V1,
        raw::ProxyVersion::V2 => ProxyVersion::V2,
    };
    (Some(version), Protocol::Http1)
}
