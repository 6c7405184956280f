//! Checks listeners.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    http3, middleware, proxied,
    scope::{Scope, Value},
    section, tls, values,
};
use crate::config::{
    node::Pos,
    raw::{self, Field},
    spec::{Limits, Listener, Part, PathPolicy, Treatment},
};

/// Checks a listener.
pub(super) fn listener(scope: &mut Scope<'_>) -> Option<Value> {
    let raw: raw::Listener = scope.read()?;
    let at = scope.at();
    if raw.address.is_absent() {
        scope.missing("address", at, "give it one, such as `address: 0.0.0.0:8080`");
    }
    let address = raw.address.spot().and_then(|(text, pos)| socket_address(scope, &text, pos));
    let prefix = format!("listener:{}", scope.name());
    let middleware = middleware::steps(scope, raw.middleware, &prefix);
    let trusted_proxies = networks(scope, raw.trusted_proxies);
    let speaks_tls = !raw.tls.is_absent();
    let tls = tls::listener(scope, raw.tls);
    let proxy_protocol = proxied::proxy_protocol(scope, raw.proxy_protocol);
    let http3 = http3::http3(scope, raw.http3, (speaks_tls, proxy_protocol.as_ref()));
    let public_port = raw.public_port.spot().and_then(|(port, pos)| {
        if port == 0 {
            scope.error("bad-port", pos, "0 is not a port to connect to", "1 to 65535");
        }
        (port > 0).then_some(port)
    });
    let sections = section::sections(scope, raw.sections);
    let listener = Listener {
        address: address?,
        public_port,
        sections,
        tls,
        http3,
        proxy_protocol,
        middleware,
        trusted_proxies,
        generation_header: raw.generation_header.or(false),
        path: path_policy(raw.path.value().unwrap_or_default()),
        limits: limits(scope, raw.limits.value().unwrap_or_default()),
    };
    let at = scope.place(at);
    Some(Value::Listener(Arc::new(Part::new(at, listener))))
}

/// `IP:PORT`.
pub(super) fn socket_address(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<SocketAddr> {
    let address = text.parse::<SocketAddr>();
    if address.is_err() {
        let hint = match text.strip_prefix(':') {
            Some(port) if port.parse::<u16>().is_ok() => format!("for every address write `0.0.0.0:{port}`"),
            _ => "write `IP:PORT`, such as `0.0.0.0:8080` or `[::]:8080`".into(),
        };
        scope.error("bad-address", pos, format!("`{text}` is not an address to listen on"), hint);
    }
    address.ok()
}

/// Networks, or single addresses.
pub(super) fn networks(scope: &mut Scope<'_>, field: Field<Vec<Field<String>>>) -> Vec<IpNet> {
    let networks = field.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    networks
        .filter_map(|(text, pos)| {
            let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            if network.is_none() {
                let hint = "write it as `10.0.0.0/8`, `2001:db8::/32`, or one address";
                scope.error("bad-network", pos, format!("`{text}` is not a network"), hint);
            }
            network
        })
        .collect()
}

fn path_policy(raw: raw::PathPolicy) -> PathPolicy {
    let default = PathPolicy::default();
    let treatment = |field: Field<raw::Treatment>, default| match field.value() {
        Some(raw::Treatment::Normalize) => Treatment::Normalize,
        Some(raw::Treatment::Reject) => Treatment::Reject,
        Some(raw::Treatment::Keep) => Treatment::Keep,
        None => default,
    };
    PathPolicy {
        dot_segments: treatment(raw.dot_segments, default.dot_segments),
        empty_segments: treatment(raw.empty_segments, default.empty_segments),
        encoded_slashes: treatment(raw.encoded_slashes, default.encoded_slashes),
        encoded_controls: treatment(raw.encoded_controls, default.encoded_controls),
    }
}

fn limits(scope: &mut Scope<'_>, raw: raw::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        connections_max: values::number(scope, raw.connections_max, 1, default.connections_max),
        head_bytes_max: values::size(scope, raw.head_bytes_max, 1024, default.head_bytes_max),
        headers_max: values::number(scope, raw.headers_max, 1, default.headers_max),
        uri_bytes_max: values::size(scope, raw.uri_bytes_max, 1, default.uri_bytes_max),
        body_bytes_max: raw.body_bytes_max.value().and_then(|raw::Limit(limit)| limit).map(|raw::Size(bytes)| bytes),
        head_timeout: values::period(scope, raw.head_timeout, default.head_timeout),
        body_idle_timeout: values::period(scope, raw.body_idle_timeout, default.body_idle_timeout),
        write_idle_timeout: values::period(scope, raw.write_idle_timeout, default.write_idle_timeout),
        keep_alive_timeout: values::period(scope, raw.keep_alive_timeout, default.keep_alive_timeout),
        requests_per_connection_max: raw
            .requests_per_connection_max
            .value()
            .and_then(|raw::Limit(limit)| limit)
            .map(|raw::Count(count)| count.max(1)),
        tunnel_idle_timeout: values::period(scope, raw.tunnel_idle_timeout, default.tunnel_idle_timeout),
        streams_max: values::number(scope, raw.streams_max, 1, default.streams_max),
        resets_max: values::number(scope, raw.resets_max, 0, default.resets_max),
        control_frames_max: values::number(scope, raw.control_frames_max, 1, default.control_frames_max),
    }
}
