//! Checks HTTP/3 of listeners.

use std::time::Duration;

use super::{scope::Scope, values};
use crate::config::{
    raw::{self, Field},
    spec::{Http3, ProxyProtocol},
};

/// HTTP/3 of a listener, which speaks TLS or does not; none where it is not given.
pub(super) fn http3(
    scope: &mut Scope<'_>,
    field: Field<raw::Http3>,
    (tls, proxied): (bool, Option<&ProxyProtocol>),
) -> Option<Http3> {
    let (raw, at) = field.spot()?;
    if !tls {
        let message = format!("the listener `{}` has `http3` and no `tls`", scope.name());
        scope.error("http3-without-tls", at, message, "QUIC is always encrypted: give the listener `tls`");
    }
    if proxied.is_some_and(|policy| policy.required) {
        let message =
            "PROXY protocol is of TCP, so connections over QUIC would come without the header that is required";
        scope.error("http3-behind-proxy", at, message, "make `proxy-protocol.mode` optional, or leave `http3` out");
    }
    let port = values::number(scope, raw.advertised_port, 1, 0_u16);
    Some(Http3 {
        advertise: raw.advertise.or(true),
        advertised_port: (port > 0).then_some(port),
        max_age: values::period(scope, raw.max_age, Duration::from_secs(86_400)),
    })
}
