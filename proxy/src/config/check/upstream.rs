//! Checks upstreams.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    admission, protocol, retry,
    scope::{Scope, Value},
    tls, values,
};
use crate::config::{
    node::Pos,
    raw::{self, Field},
    spec::{Balance, Endpoint, HealthCheck, Part, Protocol, Upstream, UpstreamHttp2},
};

/// Checks an upstream.
pub(super) fn upstream(scope: &mut Scope<'_>) -> Option<Value> {
    let raw: raw::Upstream = scope.read()?;
    let at = scope.at();
    if raw.endpoints.is_absent() {
        scope.missing("endpoints", at, "list at least one, such as `endpoints: [10.0.1.20:8080]`");
    }
    let pos = raw.endpoints.pos().unwrap_or(at);
    let forms = raw.endpoints.value();
    if forms.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("the upstream `{}` has no endpoints", scope.name());
        scope.error("no-endpoints", pos, message, "list at least one, such as `endpoints: [10.0.1.20:8080]`");
    }
    let endpoints = endpoints(scope, forms.unwrap_or_default());
    let default = of_endpoints(Vec::new());
    let health_check = raw.health_check.spot().and_then(|(raw, pos)| health_check(scope, raw, pos));
    let tls = tls::upstream(scope, raw.tls);
    let (requests_max, queue) = admission::limits(scope, raw.requests_max, raw.queue);
    let upstream = Upstream {
        endpoints,
        protocol: protocol::protocol(scope, raw.protocol, tls.is_some()),
        http2: protocol::http2(scope, raw.http2),
        tls,
        balance: match raw.balance.value() {
            Some(raw::Balance::LeastRequest) => Balance::LeastRequest,
            Some(raw::Balance::RoundRobin) | None => Balance::RoundRobin,
        },
        health_check,
        connect_timeout: values::period(scope, raw.connect_timeout, default.connect_timeout),
        response_timeout: values::period(scope, raw.response_timeout, default.response_timeout),
        idle_timeout: values::period(scope, raw.idle_timeout, default.idle_timeout),
        try_timeout: values::limited(scope, raw.try_timeout).flatten(),
        retry: retry::retry(scope, raw.retry),
        hedge: retry::hedge(scope, raw.hedge),
        pool_idle_timeout: values::period(scope, raw.pool_idle_timeout, default.pool_idle_timeout),
        pool_idle_max: values::number(scope, raw.pool_idle_max, 0, default.pool_idle_max),
        connections_max: values::number(scope, raw.connections_max, 1, default.connections_max),
        requests_max,
        queue,
        breaker: admission::breaker(scope, raw.breaker),
        response_head_bytes_max: values::size(
            scope,
            raw.response_head_bytes_max,
            1024,
            default.response_head_bytes_max,
        ),
        preserve_host: raw.preserve_host.or(default.preserve_host),
    };
    let at = scope.place(at);
    Some(Value::Upstream(Arc::new(Part::new(at, upstream))))
}

/// An upstream of these endpoints with every default.
pub(super) fn of_endpoints(endpoints: Vec<Endpoint>) -> Upstream {
    Upstream {
        endpoints,
        tls: None,
        protocol: Protocol::Auto,
        http2: UpstreamHttp2::default(),
        balance: Balance::RoundRobin,
        health_check: None,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        try_timeout: None,
        retry: None,
        hedge: None,
        pool_idle_timeout: Duration::from_secs(60),
        pool_idle_max: 256,
        connections_max: 10_000,
        requests_max: None,
        queue: None,
        breaker: None,
        response_head_bytes_max: 64 << 10,
        preserve_host: true,
    }
}

fn endpoints(scope: &mut Scope<'_>, forms: Vec<Field<raw::EndpointForm>>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    let mut seen: HashMap<String, Pos> = HashMap::new();
    for (form, pos) in forms.into_iter().filter_map(Field::spot) {
        let (address, weight) = match form {
            raw::EndpointForm::Text(text) => (Field::Given(text, pos), 1),
            raw::EndpointForm::Map(map) => (map.address, map.weight.or(1)),
        };
        if address.is_absent() {
            scope.missing("address", pos, "an endpoint is `HOST:PORT`, or a map with `address` and `weight`");
        }
        let Some((text, pos)) = address.spot() else { continue };
        let Some(address) = values::address(scope, &text, pos) else { continue };
        if let Some(first) = seen.insert(address.clone(), pos) {
            let hint = "remove one of them; a larger share is a `weight`";
            scope.error("duplicate-endpoint", pos, format!("the endpoint `{address}` is listed twice"), hint);
            scope.relate(first, "first listed here");
            continue;
        }
        endpoints.push(Endpoint { address, weight });
    }
    endpoints
}

fn health_check(scope: &mut Scope<'_>, raw: raw::HealthCheck, pos: Pos) -> Option<HealthCheck> {
    if raw.path.is_absent() {
        scope.missing("path", pos, "say what to ask for, such as `path: /healthz`");
    }
    let path = raw.path.spot().and_then(|(text, pos)| {
        let valid = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !valid {
            scope.error("bad-path", pos, format!("`{text}` is not a path to ask for"), "write it as `/healthz`");
        }
        valid.then_some(text)
    });
    let positive = |scope: &mut Scope<'_>, field: Field<u32>, default| match field.spot() {
        Some((0, pos)) => {
            scope.error("out-of-range", pos, "0 results in a row decide nothing", "the least is 1");
            default
        }
        Some((number, _)) => number,
        None => default,
    };
    Some(HealthCheck {
        interval: values::period(scope, raw.interval, Duration::from_secs(5)),
        timeout: values::period(scope, raw.timeout, Duration::from_secs(1)),
        unhealthy_after: positive(scope, raw.unhealthy_after, 3),
        healthy_after: positive(scope, raw.healthy_after, 2),
        path: path?,
    })
}
