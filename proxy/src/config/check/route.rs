//! Checks routes: hosts, targets, and what else is not a match. Matches are in `matching`.

use std::sync::Arc;

use super::{
    matching, middleware, retry,
    scope::{Scope, Value},
    upstream, values,
};
use crate::config::{
    document::Kind,
    node::Pos,
    raw::{self, Field},
    spec::{Endpoint, HostPattern, Name, Part, Route, RouteTerms, Target, Upstream, UpstreamTls},
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
    let (targets, aimless) = targets(scope, raw.upstream, raw.target, raw.targets);
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
        let pattern = match text.strip_prefix("*.") {
            _ if text == "*" => {
                any = true;
                continue;
            }
            Some(suffix) => values::host(scope, suffix, pos).map(HostPattern::Wildcard),
            None => values::host(scope, &text, pos).map(HostPattern::Exact),
        };
        patterns.extend(pattern.filter(|pattern| !patterns.contains(pattern)));
    }
    if any { Vec::new() } else { patterns }
}

/// The targets by weight, and whether none were written.
fn targets(
    scope: &mut Scope<'_>,
    upstream: Field<String>,
    target: Field<raw::OneOrMany<String>>,
    targets: Field<Vec<Field<raw::Target>>>,
) -> (Vec<Target>, bool) {
    let given = [upstream.pos(), target.pos(), targets.pos()];
    let mut given =
        given.into_iter().zip(["upstream", "target", "targets"]).filter_map(|(pos, name)| pos.map(|pos| (pos, name)));
    let aimless = upstream.is_absent() && target.is_absent() && targets.is_absent();
    if let (Some((_, first)), Some((pos, second))) = (given.next(), given.next()) {
        let hint = "a route leads to one of them; several targets by weight go into `targets`";
        scope.error("conflicting-fields", pos, format!("`{first}` and `{second}` exclude each other"), hint);
        return (Vec::new(), false);
    }
    let mut found = Vec::new();
    if let Some((name, pos)) = upstream.spot() {
        found.push(Target { upstream: scope.mention(Kind::Upstream, &name, pos), weight: 1 });
    }
    if let Some(pos) = target.pos() {
        found.extend(addresses(scope, target.many(), pos).map(|upstream| Target { upstream, weight: 1 }));
    }
    if let Some((list, pos)) = targets.spot() {
        if list.is_empty() {
            scope.error("missing-field", pos, "`targets` is empty", "list at least one target, or leave it out");
        }
        let count = list.len();
        found.extend(list.into_iter().filter_map(Field::spot).filter_map(|(raw, pos)| weighted(scope, raw, pos)));
        if count > 0 && found.len() == count && found.iter().all(|target| target.weight == 0) {
            scope.warning(
                "no-weight",
                pos,
                "every target has weight 0, so this route answers 500",
                "give one a weight",
            );
        }
    }
    (found, aimless)
}

fn weighted(scope: &mut Scope<'_>, raw: raw::Target, pos: Pos) -> Option<Target> {
    let weight = raw.weight.or(1);
    let upstream = match (raw.upstream, raw.address) {
        (Field::Given(name, pos), Field::Absent) => scope.mention(Kind::Upstream, &name, pos),
        (Field::Absent, Field::Given(text, pos)) => addresses(scope, vec![(text, pos)], pos)?,
        (Field::Absent, Field::Absent) => {
            scope.missing("upstream", pos, "a target is an `upstream` or an `address`");
            return None;
        }
        (Field::Given(..), Field::Given(_, pos)) => {
            let hint = "list them as two targets, or keep one";
            scope.error("conflicting-fields", pos, "`upstream` and `address` exclude each other", hint);
            return None;
        }
        _ => return None,
    };
    Some(Target { upstream, weight })
}

/// The upstream of these addresses, called after them.
fn addresses(scope: &mut Scope<'_>, list: Vec<(String, Pos)>, pos: Pos) -> Option<Name> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut secure: Option<bool> = None;
    if list.is_empty() {
        scope.error("missing-field", pos, "`target` is empty", "write an address, such as `10.0.1.20:8080`");
    }
    for (text, pos) in list {
        let (address, is_secure) = values::target(scope, &text, pos)?;
        if *secure.get_or_insert(is_secure) != is_secure {
            let hint = "write all of them as `https://HOST:PORT`, or none; for anything else define upstreams";
            scope.error("mixed-schemes", pos, "one target is spoken to over TLS and another one is not", hint);
            return None;
        }
        if !endpoints.iter().any(|endpoint| endpoint.address == address) {
            endpoints.push(Endpoint { address, weight: 1 });
        }
    }
    let scheme = if secure == Some(true) { "https://" } else { "" };
    let names: Vec<String> = endpoints.iter().map(|endpoint| format!("{scheme}{}", endpoint.address)).collect();
    let name: Name = names.join(",").into();
    if endpoints.is_empty() {
        return None;
    }
    let place = scope.place(pos);
    let tls = (secure == Some(true)).then(|| UpstreamTls::of_system(place.clone()));
    let part = Arc::new(Part::new(place, Upstream { tls, ..upstream::of_endpoints(endpoints) }));
    scope.outcome.upstreams.push((Arc::clone(&name), part));
    Some(name)
}
