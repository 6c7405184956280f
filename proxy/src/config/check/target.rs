//! Checks where a route leads: upstreams, addresses, shares that fail, and the steps on the way to one of them.

use std::sync::Arc;

use super::{middleware, scope::Scope, values};
use crate::config::{
    document::Kind,
    node::Pos,
    raw::{self, Field},
    spec::{Destination, Endpoint, Name, Part, Target, Upstream, UpstreamTls},
};

/// The targets by weight, and whether none were written.
pub(super) fn targets(
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
        found.push(Target::of(scope.mention(Kind::Upstream, &name, pos)));
    }
    if let Some(pos) = target.pos() {
        found.extend(addresses(scope, target.many(), pos).map(Target::of));
    }
    if let Some((list, pos)) = targets.spot() {
        if list.is_empty() {
            scope.error("missing-field", pos, "`targets` is empty", "list at least one target, or leave it out");
        }
        let count = list.len();
        for (number, (raw, pos)) in (1..).zip(list.into_iter().map(Field::spot)).filter_map(|(n, it)| Some((n, it?))) {
            found.extend(weighted(scope, raw, pos, number));
        }
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

fn weighted(scope: &mut Scope<'_>, raw: raw::Target, pos: Pos, number: usize) -> Option<Target> {
    let prefix = format!("{}/target{number}", scope.name());
    let steps = !raw.middleware.is_absent();
    let middleware = middleware::one_or_many(scope, raw.middleware, &prefix);
    let because =
        raw.because.value().map_or_else(|| String::from("this target is set to fail"), |raw::Text(text)| text);
    let given = [("upstream", raw.upstream.pos()), ("address", raw.address.pos()), ("fails", raw.fails.pos())];
    let mut given = given.into_iter().filter_map(|(name, pos)| pos.map(|pos| (name, pos)));
    if let (Some((first, _)), Some((second, pos))) = (given.next(), given.next()) {
        let hint = "list them as two targets, or keep one";
        scope.error("conflicting-fields", pos, format!("`{first}` and `{second}` exclude each other"), hint);
        return None;
    }
    let to = match (raw.upstream, raw.address, raw.fails) {
        (Field::Given(name, pos), ..) => Destination::Upstream(scope.mention(Kind::Upstream, &name, pos)),
        (_, Field::Given(text, pos), _) => Destination::Upstream(addresses(scope, vec![(text, pos)], pos)?),
        (.., Field::Given(status, pos)) => {
            if !matches!(status, 500 | 503) {
                scope.error("bad-status", pos, format!("a target cannot fail with {status}"), "500 or 503");
            }
            Destination::Nowhere { status, because }
        }
        // Its steps are to answer.
        (Field::Absent, Field::Absent, Field::Absent) if steps => {
            Destination::Nowhere { status: 500, because: "no step of this target answered".into() }
        }
        (Field::Absent, Field::Absent, Field::Absent) => {
            scope.missing("upstream", pos, "a target is an `upstream`, an `address`, or a share that `fails`");
            return None;
        }
        _ => return None,
    };
    Some(Target { to, weight: raw.weight.or(1), middleware })
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
            endpoints.push(Endpoint::new(address));
        }
    }
    if endpoints.is_empty() {
        return None;
    }
    Some(in_place(scope, endpoints, secure == Some(true), pos))
}

/// Defines the upstream of these endpoints, called after them.
pub(super) fn in_place(scope: &mut Scope<'_>, endpoints: Vec<Endpoint>, secure: bool, pos: Pos) -> Name {
    let scheme = if secure { "https://" } else { "" };
    let names: Vec<String> = endpoints.iter().map(|endpoint| format!("{scheme}{}", endpoint.address)).collect();
    let name: Name = names.join(",").into();
    let place = scope.place(pos);
    let tls = secure.then(|| UpstreamTls::of_system(place.clone()));
    let part = Arc::new(Part::new(place, Upstream { tls, ..Upstream::of(endpoints) }));
    scope.outcome.upstreams.push((Arc::clone(&name), part));
    name
}
