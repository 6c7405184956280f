//! Checks upstreams.

use std::{sync::Arc, time::Duration};

use super::{
    admission, balance, health, protocol, proxied, retry,
    scope::{Scope, Value},
    tls, values,
};
use crate::config::{
    raw::{self, Field},
    spec::{Part, Upstream},
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
    let endpoints = balance::endpoints(scope, forms.unwrap_or_default());
    let default = Upstream::of(Vec::new());
    let health_check = raw.health_check.spot().and_then(|(raw, pos)| health::health_check(scope, raw, pos));
    let tls = tls::upstream(scope, raw.tls);
    let (requests_max, queue) = admission::limits(scope, raw.requests_max, raw.queue);
    let protocol = protocol::protocol(scope, raw.protocol, tls.is_some());
    let (proxy_protocol, protocol) = proxied::version(scope, raw.proxy_protocol, protocol);
    let upstream = Upstream {
        endpoints,
        protocol,
        proxy_protocol,
        http2: protocol::http2(scope, raw.http2),
        tls,
        balance: balance::balance(scope, raw.balance),
        panic: balance::panic(scope, raw.panic_threshold),
        slow_start: raw
            .slow_start
            .spot()
            .map(|(time, pos)| values::period(scope, Field::Given(time, pos), Duration::ZERO)),
        zone_overflow_percent: balance::share(scope, raw.zone_overflow_below, default.zone_overflow_percent),
        ejection: raw.ejection.value().map(|raw| balance::ejection(scope, raw)),
        affinity: raw.affinity.value().and_then(|raw| balance::affinity(scope, raw)),
        dns: raw.dns.value().map(|raw| balance::dns(scope, raw)),
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
