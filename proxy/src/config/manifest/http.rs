//! Rules of HTTPRoutes as routes of the native form.

use std::collections::BTreeSet;

use super::{
    backends::{Backend, Backends, Reference},
    filters,
    findings::Findings,
    inventory::Named,
    raw::{self, List},
    sessions,
    write::{self, Map},
};
use crate::config::{
    node::{Node, Pos},
    raw::{Field, Period},
};

/// The route of one rule, without its listeners and hosts.
pub(super) fn rule(
    route: &Named<raw::HttpRoute>,
    (rule, pos): (raw::HttpRule, Pos),
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<Map> {
    let mut map = Map::at(pos);
    map.put("matches", matches(route, rule.matches, pos, findings)?);
    let own = filters::steps(route, &rule.filters, backends, findings);
    put_steps(&mut map, own.steps, pos);
    if !own.answers || rule.backend_refs.pos().is_some() {
        let list = targets(route, (&rule.backend_refs, rule.session_persistence), pos, backends, findings);
        map.put("targets", list);
    }
    if let Some((timeouts, _)) = rule.timeouts.spot() {
        map.maybe("timeout", limit(timeouts.request));
        map.maybe("try-timeout", limit(timeouts.backend_request));
    }
    if let Some((raw, at)) = rule.retry.spot() {
        map.put("retry", retry(raw, at));
    }
    Some(map)
}

/// The steps, if there are any.
pub(super) fn put_steps(map: &mut Map, steps: Vec<Node>, pos: Pos) {
    if !steps.is_empty() {
        map.put("middleware", write::list(steps, pos));
    }
}

/// The targets of a rule; one that fails where there are none.
pub(super) fn targets<S>(
    route: &Named<S>,
    (refs, session): (&List<raw::BackendRef>, Field<raw::SessionPersistence>),
    pos: Pos,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Node {
    let (list, at) = refs.clone().spot().unwrap_or((Vec::new(), pos));
    let mut targets = Vec::new();
    let at_session = session.pos();
    let session = sessions::session(route, session, findings);
    if session.is_some() && list.len() > 1 {
        let message = "clients are bound to an endpoint of each backend, and to no backend";
        let hint = "give the rule one backend, or an upstream of the native form with the endpoints of all";
        findings.about(route, "unsupported", at_session.unwrap_or(pos), message, hint);
    }
    for (backend, pos) in list.into_iter().filter_map(Field::spot) {
        let reference = Reference::of_backend(&backend, pos);
        let own = filters::steps(route, &backend.filters, backends, findings);
        let mut target = Map::at(pos);
        match backends.resolve(route, &reference, session.as_ref()) {
            Backend::Upstream(name) => target.put("upstream", write::text(&name, pos)),
            // Whoever is sent elsewhere needs nothing to be there.
            Backend::Fails(..) if own.answers => {}
            Backend::Fails(status, why) => {
                let message = format!("this share of its requests is answered with {status}: {why}");
                findings.about(route, "unresolved", pos, &message, "correct the reference, or add what it names");
                target.put("fails", write::number(status.into(), pos));
                target.put("because", write::text(&why, pos));
            }
        }
        target.maybe("weight", backend.weight.spot().map(|(weight, pos)| write::number(weight.into(), pos)));
        put_steps(&mut target, own.steps, pos);
        targets.push(target.node());
    }
    if targets.is_empty() {
        let none = Map::at(pos).with("fails", write::number(500, pos));
        targets.push(none.with("because", write::text("the rule has no backend", pos)).node());
    }
    write::list(targets, at)
}

// A duration of 0 is no limit.
fn limit(field: Field<Period>) -> Option<Node> {
    let (Period(period), pos) = field.spot().filter(|(Period(period), _)| !period.is_zero())?;
    Some(write::text(&format!("{}ms", period.as_millis()), pos))
}

// A connection that never stood and a request that was refused unprocessed are tried again, and so is a try that ran out of
// its time; the answers that it names, whatever the method, and nothing else.
fn retry(raw: raw::Retry, pos: Pos) -> Node {
    let mut map = Map::at(pos);
    let mut on: Vec<Node> = ["connect-failure", "refused-stream", "timeout"].map(|it| write::text(it, pos)).into();
    let codes = raw.codes.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    on.extend(codes.map(|(code, pos)| write::text(&code.to_string(), pos)));
    map.put("on", write::list(on, pos));
    map.maybe("attempts", raw.attempts.spot().map(|(attempts, pos)| write::number(attempts.into(), pos)));
    map.put("methods", write::text("all", pos));
    if let Some((Period(base), pos)) = raw.backoff.spot() {
        let (base, most) = (base.as_millis().max(1), base.as_millis().saturating_mul(10).max(250));
        let back_off = Map::at(pos).with("base", write::text(&format!("{base}ms"), pos));
        map.put("back-off", back_off.with("max", write::text(&format!("{most}ms"), pos)).node());
    }
    map.node()
}

fn matches<S>(route: &Named<S>, field: List<raw::HttpMatch>, pos: Pos, findings: &mut Findings) -> Option<Node> {
    let (list, pos) = field.spot().unwrap_or((Vec::new(), pos));
    if list.is_empty() {
        return Some(write::list(vec![Map::at(pos).with("path", prefix("/", pos)).node()], pos));
    }
    let one = |(raw, pos)| matching(route, raw, pos, findings);
    let matches: Vec<_> = list.into_iter().filter_map(Field::spot).filter_map(one).collect();
    (!matches.is_empty()).then(|| write::list(matches, pos))
}

fn matching<S>(route: &Named<S>, raw: raw::HttpMatch, pos: Pos, findings: &mut Findings) -> Option<Node> {
    let mut map = Map::at(pos);
    let (path, at) = raw.path.spot().unwrap_or_else(|| (raw::PathMatch::default(), pos));
    let value = path.value.spot().unwrap_or_else(|| ("/".into(), at));
    map.put(
        "path",
        match path.r#type.spot() {
            None => prefix(&value.0, value.1),
            Some((kind, at)) => match &*kind {
                "PathPrefix" => prefix(&value.0, value.1),
                "Exact" => Map::at(at).with("exact", write::text(&value.0, value.1)).node(),
                "RegularExpression" => Map::at(at).with("regex", write::text(&value.0, value.1)).node(),
                other => {
                    let message = format!("this match matches nothing: `{other}` is no type of path match");
                    let hint = "`Exact`, `PathPrefix` or `RegularExpression`";
                    findings.about(route, "unsupported", at, &message, hint);
                    return None;
                }
            },
        },
    );
    if let Some((method, at)) = raw.method.spot() {
        if matches!(&*method, "CONNECT" | "TRACE") {
            let message = format!("this match matches nothing: {method} is never forwarded");
            findings.about(route, "unsupported", at, &message, "remove it: such requests are answered with 405");
            return None;
        }
        map.put("method", write::text(&method, at));
    }
    map.maybe("headers", conditions(route, raw.headers, true, findings)?);
    map.maybe("query", conditions(route, raw.query_params, false, findings)?);
    Some(map.node())
}

fn prefix(path: &str, pos: Pos) -> Node {
    let trimmed = path.trim_end_matches('/');
    Map::at(pos).with("prefix", write::text(if trimmed.is_empty() { "/" } else { trimmed }, pos)).node()
}

/// Conditions on fields; of equal names the first counts. None at all where one is of no known type.
#[expect(clippy::option_option, reason = "no conditions and no match are two things")]
pub(super) fn conditions<S>(
    route: &Named<S>,
    field: List<raw::FieldMatch>,
    is_header: bool,
    findings: &mut Findings,
) -> Option<Option<Node>> {
    let Some((list, pos)) = field.spot() else { return Some(None) };
    let (mut map, mut seen) = (Map::at(pos), BTreeSet::new());
    for (raw, pos) in list.into_iter().filter_map(Field::spot) {
        let (Some((name, _)), Some((value, at))) = (raw.name.spot(), raw.value.spot()) else { continue };
        let name = if is_header { name.to_ascii_lowercase() } else { name };
        if !seen.insert(name.clone()) {
            continue;
        }
        let pattern = match raw.r#type.value().as_deref() {
            None | Some("Exact") => "exact",
            Some("RegularExpression") => "regex",
            Some(other) => {
                let message = format!("this match matches nothing: `{other}` is no type of match");
                findings.about(route, "unsupported", pos, &message, "`Exact` or `RegularExpression`");
                return None;
            }
        };
        map.put(&name, Map::at(at).with(pattern, write::text(&value.0, at)).node());
    }
    Some((!map.is_empty()).then(|| map.node()))
}
