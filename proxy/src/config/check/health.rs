//! Checks health checks. Knows nothing of how they are made.

use std::time::Duration;

use http::{HeaderName, Method};

use super::{balance, scope::Scope, values};
use crate::config::{
    node::Pos,
    raw::{self, Field},
    spec::{HealthCheck, Probe},
};

pub(super) fn health_check(scope: &mut Scope<'_>, raw: raw::HealthCheck, pos: Pos) -> Option<HealthCheck> {
    let port = raw.port.spot().and_then(|(port, pos)| {
        if port == 0 {
            scope.error(
                "bad-port",
                pos,
                "`0` is not a port, which is 1 to 65535",
                "leave it out for the endpoint's own",
            );
        }
        (port > 0).then_some(port)
    });
    let interval = values::period(scope, raw.interval, Duration::from_secs(5));
    let unhealthy_interval = values::period(scope, raw.unhealthy_interval, interval);
    let timeout = values::period(scope, raw.timeout, Duration::from_secs(1));
    let unhealthy_after = positive(scope, raw.unhealthy_after, 3);
    let healthy_after = positive(scope, raw.healthy_after, 2);
    let jitter_percent = balance::share(scope, raw.jitter, 10);
    let initially_healthy = !matches!(raw.initially.value(), Some(raw::Initially::Unhealthy));
    let given = Given { path: raw.path, method: raw.method, host: raw.host, status: raw.status, headers: raw.headers };
    let probe = probe(scope, (raw.grpc, raw.tcp), given, pos)?;
    Some(HealthCheck {
        probe,
        port,
        interval,
        unhealthy_interval,
        jitter_percent,
        timeout,
        unhealthy_after,
        healthy_after,
        initially_healthy,
    })
}

struct Given {
    path: Field<String>,
    method: Field<String>,
    host: Field<String>,
    status: Field<raw::OneOrMany<raw::Text>>,
    headers: Field<raw::Entries<raw::Text>>,
}

fn probe(
    scope: &mut Scope<'_>,
    (grpc, tcp): (Field<raw::GrpcCheck>, Field<bool>),
    given: Given,
    pos: Pos,
) -> Option<Probe> {
    let tcp_at = tcp.pos();
    let tcp = tcp.or(false);
    if grpc.is_absent() && !tcp {
        return http(scope, given, pos);
    }
    let of_http = [
        ("path", given.path.pos()),
        ("method", given.method.pos()),
        ("status", given.status.pos()),
        ("headers", given.headers.pos()),
        ("host", given.host.pos().filter(|_| tcp)),
        ("tcp", tcp_at.filter(|_| tcp && !grpc.is_absent())),
    ];
    for (field, pos) in of_http {
        if let Some(pos) = pos {
            let hint = "a check is one of HTTP (`path`), `grpc` and `tcp`";
            scope.error("conflicting-fields", pos, format!("`{field}` does not go with this kind of check"), hint);
        }
    }
    if tcp {
        return Some(Probe::Tcp);
    }
    let host = given.host.spot().and_then(|(text, pos)| authority(scope, &text, pos));
    Some(Probe::Grpc { service: grpc.value()?.service.or(String::new()), host })
}

fn http(scope: &mut Scope<'_>, given: Given, pos: Pos) -> Option<Probe> {
    if given.path.is_absent() {
        scope.missing("path", pos, "say what to ask for, such as `path: /healthz`");
    }
    let path = given.path.spot().and_then(|(text, pos)| {
        let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !valid {
            scope.error("bad-path", pos, format!("`{text}` is not a path to ask for"), "write it as `/healthz`");
        }
        valid.then_some(text)
    });
    let method = given.method.spot().map_or(Some(Method::GET), |(text, pos)| {
        let method = Method::from_bytes(text.as_bytes()).ok().filter(|method| *method != Method::CONNECT);
        if method.is_none() {
            scope.error("bad-method", pos, format!("`{text}` is not a method to ask with"), "write `GET` or `HEAD`");
        }
        method
    });
    let host = given.host.spot().and_then(|(text, pos)| authority(scope, &text, pos));
    let status: Vec<_> = given.status.many().into_iter().filter_map(|(text, pos)| range(scope, &text.0, pos)).collect();
    let status = if status.is_empty() { vec![(200, 399)] } else { status };
    let mut headers = Vec::new();
    for (name, pos, value) in given.headers.value().unwrap_or_default().0 {
        let Some(name) = values::header_name(scope, &name, pos).filter(|name| is_own(scope, name, pos)) else {
            continue;
        };
        if let Some((value, pos)) = value.spot() {
            headers.extend(values::header_value(scope, &value, pos).map(|value| (name, value)));
        }
    }
    Some(Probe::Http { path: path?, method: method?, host, status, headers })
}

fn is_own(scope: &mut Scope<'_>, name: &HeaderName, pos: Pos) -> bool {
    let taken = ["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"];
    let taken = taken.contains(&name.as_str());
    if taken {
        let hint = "leave it out; the host is `host`";
        scope.error("forbidden-header", pos, format!("the check sets the field `{name}` by itself"), hint);
    }
    !taken
}

fn authority(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let valid = text.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    if !valid {
        let hint = "write it as `users.example.com`, or with a port";
        scope.error("bad-host", pos, format!("`{text}` is not a host to ask for"), hint);
    }
    valid.then(|| text.to_owned())
}

// `200`, or `200-299`.
fn range(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..600).contains(status));
    let range = status(from).zip(status(to)).filter(|(from, to)| from <= to);
    if range.is_none() {
        let hint = "write one as `200`, or a range as `200-299`";
        scope.error("bad-status", pos, format!("`{text}` is no status and no range of them"), hint);
    }
    range
}

fn positive(scope: &mut Scope<'_>, field: Field<u32>, default: u32) -> u32 {
    match field.spot() {
        Some((0, pos)) => {
            scope.error("out-of-range", pos, "0 results in a row decide nothing", "the least is 1");
            default
        }
        Some((number, _)) => number,
        None => default,
    }
}
