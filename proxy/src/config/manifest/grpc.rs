//! Rules of GRPCRoutes as routes of the native form: a call is the path `/SERVICE/METHOD`. Services and methods that are
//! named exactly are templates, whose precedence is that of GRPCRoute: the service before the method.

use super::{
    backends::Backends,
    filters,
    findings::Findings,
    http::{conditions, put_steps, targets},
    inventory::Named,
    raw,
    write::{self, Map},
};
use crate::config::{
    node::{Node, Pos},
    raw::Field,
};

/// The route of one rule, without its listeners and hosts.
pub(super) fn rule(
    route: &Named<raw::GrpcRoute>,
    (rule, pos): (raw::GrpcRule, Pos),
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<Map> {
    let mut map = Map::at(pos);
    let (list, at) = rule.matches.spot().unwrap_or((Vec::new(), pos));
    let any = list.is_empty();
    let one = |(raw, pos)| matching(route, raw, pos, findings);
    let mut matches: Vec<_> = list.into_iter().filter_map(Field::spot).filter_map(one).collect();
    if any {
        matches.push(Map::at(at).with("path", every(at)).node());
    }
    if matches.is_empty() {
        return None;
    }
    map.put("matches", write::list(matches, at));
    let own = filters::steps(route, &rule.filters, backends, findings);
    put_steps(&mut map, own.steps, pos);
    if !own.answers || rule.backend_refs.pos().is_some() {
        let list = targets(route, (&rule.backend_refs, rule.session_persistence), pos, backends, findings);
        map.put("targets", list);
    }
    Some(map)
}

fn every(pos: Pos) -> Node {
    Map::at(pos).with("prefix", write::text("/", pos)).node()
}

fn matching(route: &Named<raw::GrpcRoute>, raw: raw::GrpcMatch, pos: Pos, findings: &mut Findings) -> Option<Node> {
    let mut map = Map::at(pos);
    map.put(
        "path",
        match raw.method.spot() {
            None => every(pos),
            Some((method, at)) => path(route, method, at, findings)?,
        },
    );
    map.maybe("headers", conditions(route, raw.headers, true, findings)?);
    Some(map.node())
}

fn path(route: &Named<raw::GrpcRoute>, raw: raw::MethodMatch, pos: Pos, findings: &mut Findings) -> Option<Node> {
    let named = |field: Field<String>| field.spot().filter(|(text, _)| !text.is_empty());
    let (service, method) = (named(raw.service), named(raw.method));
    let at = service.as_ref().or(method.as_ref()).map_or(pos, |(_, pos)| *pos);
    let one = |name: &str, text: String| Some(Map::at(pos).with(name, write::text(&text, at)).node());
    match (raw.r#type.spot(), service, method) {
        (_, None, None) => Some(every(pos)),
        (Some((kind, _)), service, method) if kind == "RegularExpression" => {
            let part =
                |part: Option<(String, Pos)>| part.map_or_else(|| "[^/]+".into(), |(text, _)| format!("(?:{text})"));
            one("regex", format!("/{}/{}", part(service), part(method)))
        }
        (Some((kind, at)), ..) if kind != "Exact" => {
            let message = format!("this match matches nothing: `{kind}` is no type of method match");
            findings.about(route, "unsupported", at, &message, "`Exact` or `RegularExpression`");
            None
        }
        (_, Some((service, _)), Some((method, _))) => one("exact", format!("/{service}/{method}")),
        (_, Some((service, _)), None) => one("template", format!("/{service}/{{method}}")),
        (_, None, Some((method, _))) => one("template", format!("/{{service}}/{method}")),
    }
}
