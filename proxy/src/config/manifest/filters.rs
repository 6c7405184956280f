//! Filters of routes and backends as steps of the native form, in the order written.

use super::{
    auth,
    backends::{Backend, Backends, Reference},
    findings::Findings,
    inventory::Named,
    raw::{self, List},
    write::{self, Map},
};
use crate::config::{
    node::{Node, Pos},
    raw::Field,
};

/// The steps of a list of filters, and whether one of them answers.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Node>,
    pub(super) answers: bool,
}

/// The steps that `filters` are.
pub(super) fn steps<S>(
    route: &Named<S>,
    filters: &List<raw::Filter>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Steps {
    let mut steps = Steps::default();
    for (filter, pos) in filters.clone().value().unwrap_or_default().into_iter().filter_map(Field::spot) {
        let kind = filter.r#type.clone().value().unwrap_or_default();
        steps.answers |= matches!(&*kind, "RequestRedirect" | "DirectResponse");
        match step(route, &kind, filter, backends, findings) {
            Ok(step) => steps.steps.extend(step),
            Err(why) => {
                // Never skipped: a request that the filter was to see must not pass without it.
                let hint = "remove the filter, or name a middleware of the native form with an `extensionRef`";
                let message = format!("{why}, so its requests are answered with 500");
                findings.about(route, "unsupported", pos, &message, hint);
                steps.steps.push(step_of("respond", Map::at(pos).with("status", write::number(500, pos)).node()));
                steps.answers = true;
            }
        }
    }
    steps
}

fn step<S>(
    route: &Named<S>,
    kind: &str,
    filter: raw::Filter,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Result<Option<Node>, String> {
    let empty = || format!("a filter of the type `{kind}` says nothing");
    Ok(match kind {
        "RequestHeaderModifier" => Some(headers("request", filter.request_header_modifier.spot().ok_or_else(empty)?)),
        "ResponseHeaderModifier" => {
            Some(headers("response", filter.response_header_modifier.spot().ok_or_else(empty)?))
        }
        "RequestRedirect" => Some(redirect(filter.request_redirect.spot().ok_or_else(empty)?)),
        "URLRewrite" => Some(rewrite(filter.url_rewrite.spot().ok_or_else(empty)?)),
        "RequestMirror" => mirror(route, filter.request_mirror.spot().ok_or_else(empty)?, backends, findings),
        "CORS" => cors(filter.cors.spot().ok_or_else(empty)?),
        "DirectResponse" => Some(respond(filter.direct_response.spot().ok_or_else(empty)?)),
        "ExternalAuth" => Some(auth::step(route, filter.external_auth.spot().ok_or_else(empty)?, backends)?),
        "ExtensionRef" => Some(extension(filter.extension_ref.spot().ok_or_else(empty)?)?),
        other => return Err(format!("the gateway has no filter of the type `{other}`")),
    })
}

pub(super) fn step_of(name: &str, node: Node) -> Node {
    Map::at(node.pos).with(name, node).node()
}

fn headers(of: &str, (raw, pos): (raw::HeaderModifier, Pos)) -> Node {
    let mut edits = Map::at(pos);
    for (field, list) in [("set", raw.set), ("add", raw.add)] {
        let mut map = Map::at(list.pos().unwrap_or(pos));
        let values = list.value().unwrap_or_default().into_iter().filter_map(Field::value);
        for header in values {
            if let (Some((name, _)), Some((value, at))) = (header.name.spot(), header.value.spot()) {
                // Of equal names the first counts.
                map.put(&name.to_ascii_lowercase(), write::plain(&value.0, at));
            }
        }
        if !map.is_empty() {
            edits.put(field, map.node());
        }
    }
    edits.maybe("remove", texts(raw.remove));
    step_of("headers", Map::at(pos).with(of, edits.node()).node())
}

pub(super) fn texts(list: List<String>) -> Option<Node> {
    let (list, pos) = list.spot()?;
    let texts = list.into_iter().filter_map(Field::spot).map(|(text, pos)| write::text(&text, pos));
    Some(write::list(texts.collect(), pos))
}

fn redirect((raw, pos): (raw::RequestRedirect, Pos)) -> Node {
    let mut map = Map::at(pos);
    map.maybe("scheme", raw.scheme.spot().map(|(text, pos)| write::text(&text, pos)));
    map.maybe("host", raw.hostname.spot().map(|(text, pos)| write::text(&text, pos)));
    map.maybe("port", raw.port.spot().map(|(port, pos)| write::number(port.into(), pos)));
    map.maybe("path", path(raw.path));
    map.maybe("status", raw.status_code.spot().map(|(status, pos)| write::number(status.into(), pos)));
    step_of("redirect", map.node())
}

fn rewrite((raw, pos): (raw::UrlRewrite, Pos)) -> Node {
    let mut map = Map::at(pos);
    map.maybe("host", raw.hostname.spot().map(|(text, pos)| write::text(&text, pos)));
    map.maybe("path", path(raw.path));
    step_of("rewrite", map.node())
}

fn path(field: Field<raw::PathModifier>) -> Option<Node> {
    let (raw, pos) = field.spot()?;
    let (name, (text, at)) = match (raw.replace_full_path.spot(), raw.replace_prefix_match.spot()) {
        (Some(full), _) => ("full", full),
        (None, Some(prefix)) => ("prefix", prefix),
        (None, None) => return None,
    };
    // An empty prefix takes the matched one away.
    let text = if text.is_empty() { "/" } else { &text };
    Some(Map::at(pos).with(name, write::text(text, at)).node())
}

fn mirror<S>(
    route: &Named<S>,
    (raw, pos): (raw::RequestMirror, Pos),
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<Node> {
    let (reference, at) = raw.backend_ref.spot()?;
    let name = match backends.resolve(route, &Reference::of_object(&reference, at), None) {
        Backend::Upstream(name) => name,
        Backend::Fails(_, why) => {
            let message = format!("requests are not mirrored: {why}");
            findings.about(route, "unresolved", at, &message, "correct the reference, or add what it names");
            return None;
        }
    };
    let mut map = Map::at(pos).with("upstream", write::text(&name, at));
    let fraction = raw.fraction.value().map(|fraction| {
        let denominator = fraction.denominator.value().unwrap_or(100).max(1);
        f64::from(fraction.numerator.value().unwrap_or_default()) * 100.0 / f64::from(denominator)
    });
    let percent = raw.percent.value().map(f64::from).or(fraction);
    map.maybe("percent", percent.map(|percent| write::real(percent, pos)));
    Some(step_of("mirror", map.node()))
}

fn cors((raw, pos): (raw::Cors, Pos)) -> Option<Node> {
    let origins = texts(raw.allow_origins)?;
    let mut map = Map::at(pos).with("allow-origins", origins);
    map.maybe("allow-methods", texts(raw.allow_methods));
    map.maybe("allow-headers", texts(raw.allow_headers));
    map.maybe("expose-headers", texts(raw.expose_headers));
    map.maybe("allow-credentials", raw.allow_credentials.spot().map(|(allow, pos)| write::boolean(allow, pos)));
    map.maybe("max-age", raw.max_age.spot().map(|(seconds, pos)| write::text(&format!("{seconds}s"), pos)));
    Some(step_of("cors", map.node()))
}

fn respond((raw, pos): (raw::DirectResponse, Pos)) -> Node {
    let (status, at) = raw.status_code.spot().unwrap_or((200, pos));
    let mut map = Map::at(pos).with("status", write::number(status.into(), at));
    let body = raw.body.value().and_then(|body| body.string.spot());
    map.maybe("body", body.map(|(text, pos)| write::plain(&text.0, pos)));
    step_of("respond", map.node())
}

/// A middleware of the native form, by its name.
fn extension((raw, _): (raw::ObjectRef, Pos)) -> Result<Node, String> {
    let (group, kind) = (raw.group.value().unwrap_or_default(), raw.kind.value().unwrap_or_default());
    match raw.name.spot() {
        Some((name, pos)) if group == "tidegate" && kind == "Middleware" => Ok(write::text(&name, pos)),
        _ => Err(format!("an extension is a `Middleware` of the group `tidegate`, and no `{kind}` of `{group}`")),
    }
}
