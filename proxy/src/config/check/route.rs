//! Checks routes: hosts, and what else is no match and no target. Matches are in `matching`, targets in `target`.

use std::sync::Arc;

use super::{
    matching, middleware, retry,
    scope::{Scope, Value},
    target, values,
};
use crate::config::{
    document::Kind,
    raw::{self, Field},
    spec::{HostPattern, Part, Route, RouteTerms},
};

/// Checks a route.
pub(super) fn route(scope: &mut Scope<'_>) -> Option<Value> {
    let mut raw: raw::Route = scope.read()?;
    let (id, at) = (scope.name(), scope.at());
    if let Some((raw::Text(text), pos)) = std::mem::take(&mut raw.id).spot()
        && *text != *id
        && scope.is_named()
    {
        let message = format!("this route is called `{id}` and its `id` says `{text}`");
        scope.error("conflicting-fields", pos, message, "remove `id`: in a map of routes the key is the name");
    }
    let matches = matching::matches(scope, &mut raw);
    let listeners = raw.listeners.many();
    let listeners = listeners.into_iter().map(|(name, pos)| scope.mention(Kind::Listener, &name, pos)).collect();
    let hosts = hosts(scope, [raw.host, raw.hosts]);
    let middleware = middleware::one_or_many(scope, raw.middleware, &id);
    let (targets, aimless) = target::targets(scope, raw.upstream, raw.target, raw.targets);
    let period = |scope: &mut Scope<'_>, field: Field<raw::Period>| {
        field.pos().map(|_| values::period(scope, field, std::time::Duration::from_secs(1)))
    };
    let terms = RouteTerms {
        response_timeout: period(scope, raw.response_timeout),
        idle_timeout: period(scope, raw.idle_timeout),
        try_timeout: values::limited(scope, raw.try_timeout),
        retry: retry::retry(scope, raw.retry),
        hedge: retry::hedge(scope, raw.hedge),
    };
    let route = Route {
        id,
        listeners,
        hosts,
        matches,
        middleware,
        targets,
        timeout: raw.timeout.value().and_then(|raw::Limit(limit)| limit).map(|raw::Period(period)| period),
        terms,
        body_bytes_max: raw.body_bytes_max.value().map(|limit| limit.0.map_or(u64::MAX, |raw::Size(bytes)| bytes)),
        table: None,
    };
    let at = scope.place(at);
    let aimless = aimless.then(|| at.clone());
    Some(Value::Route(Arc::new(Part::new(at, route)), aimless))
}

/// What a field or its twin say of hosts; none stand for any.
pub(super) fn hosts(scope: &mut Scope<'_>, fields: [Field<raw::OneOrMany<String>>; 2]) -> Vec<HostPattern> {
    let [host, hosts] = fields;
    if let (Some(_), Some(pos)) = (host.pos(), hosts.pos()) {
        let hint = "both take a host or a list of hosts; keep one";
        scope.error("conflicting-fields", pos, "`host` and `hosts` are the same field", hint);
    }
    let mut patterns = Vec::new();
    let mut any = false;
    for (text, pos) in host.many().into_iter().chain(hosts.many()) {
        any |= text == "*";
        let pattern = if text == "*" { None } else { values::host_pattern(scope, &text, pos) };
        patterns.extend(pattern.filter(|pattern| !patterns.contains(pattern)));
    }
    if any { Vec::new() } else { patterns }
}
