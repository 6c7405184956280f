//! Checks what is to be spoken to the endpoints of an upstream. Knows nothing of connections.

use super::{scope::Scope, values};
use crate::config::{
    raw::{self, Field},
    spec::{Protocol, UpstreamHttp2},
};

/// The protocol of an upstream that is reached with TLS or without.
pub(super) fn protocol(scope: &mut Scope<'_>, field: Field<raw::Protocol>, tls: bool) -> Protocol {
    let Some((raw, pos)) = field.spot() else { return Protocol::Auto };
    match raw {
        raw::Protocol::Auto => Protocol::Auto,
        raw::Protocol::Http1 => Protocol::Http1,
        raw::Protocol::H2 => {
            if !tls {
                let hint = "add `tls: {}`, or write `protocol: h2c` for HTTP/2 without TLS";
                scope.error("protocol-without-tls", pos, "`h2` is HTTP/2 over TLS, and this upstream has none", hint);
            }
            Protocol::H2
        }
        raw::Protocol::H2c => {
            if tls {
                let hint = "write `protocol: h2` for HTTP/2 over TLS";
                scope.error("protocol-with-tls", pos, "`h2c` is HTTP/2 without TLS, and this upstream has `tls`", hint);
            }
            Protocol::H2c
        }
    }
}

/// How HTTP/2 is spoken.
pub(super) fn http2(scope: &mut Scope<'_>, field: Field<raw::UpstreamHttp2>) -> UpstreamHttp2 {
    let default = UpstreamHttp2::default();
    let Some((raw, _)) = field.spot() else { return default };
    UpstreamHttp2 {
        streams_max: values::number(scope, raw.streams_max, 1, default.streams_max),
        ping_after: values::period(scope, raw.ping_after, default.ping_after),
        ping_timeout: values::period(scope, raw.ping_timeout, default.ping_timeout),
    }
}
