//! Checks the built-in steps. Knows nothing of what they do.

use http::{HeaderName, HeaderValue, StatusCode};

use super::{scope::Scope, values};
use crate::config::{
    document::Kind,
    node::Pos,
    raw::{self, Entries, Field, OneOrMany, Text},
    spec::{HeaderEdits, Middleware, Mirror, PathEdit, Redirect, Respond, Rewrite},
};

pub(super) fn headers(scope: &mut Scope<'_>, raw: raw::Headers) -> Middleware {
    Middleware::Headers { request: edits(scope, raw.request, true), response: edits(scope, raw.response, false) }
}

fn edits(scope: &mut Scope<'_>, field: Field<raw::HeaderEdits>, is_request: bool) -> HeaderEdits {
    let Some(raw) = field.value() else { return HeaderEdits::default() };
    let removed = raw.remove.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    let remove = removed.filter_map(|(text, pos)| editable(scope, &text, pos, is_request)).collect();
    let set = raw.set.value().map_or_else(Vec::new, |Entries(entries)| {
        let one = |(name, pos, value): (String, Pos, Field<Text>)| match value {
            Field::Given(text, at) => (name, pos, Field::Given(OneOrMany::Text(text), at)),
            Field::Absent | Field::Invalid => (name, pos, Field::Invalid),
        };
        fields(scope, Entries(entries.into_iter().map(one).collect()), is_request)
    });
    let add = raw.add.value().map_or_else(Vec::new, |entries| fields(scope, entries, is_request));
    HeaderEdits { remove, set, add }
}

fn fields(scope: &mut Scope<'_>, raw: Entries<OneOrMany<Text>>, is_request: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::new();
    for (name, pos, value) in raw.0 {
        let Some(name) = editable(scope, &name, pos, is_request) else { continue };
        for (text, pos) in value.many() {
            if let Some(value) = values::header_value(scope, &text, pos) {
                fields.push((name.clone(), value));
            }
        }
    }
    fields
}

/// The name of a field that middleware may change: those that frame a message or belong to a hop are the gateway's.
pub(super) fn editable(scope: &mut Scope<'_>, text: &str, pos: Pos, is_request: bool) -> Option<HeaderName> {
    let name = values::header_name(scope, text, pos)?;
    let hint = match name.as_str() {
        "host" if is_request => "change the host with `rewrite: {host: …}`",
        "connection" | "content-length" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" => "the gateway sets it by itself; leave it out",
        _ => return Some(name),
    };
    scope.error("forbidden-header", pos, format!("the header field `{name}` cannot be changed"), hint);
    None
}

pub(super) fn redirect(scope: &mut Scope<'_>, raw: raw::Redirect, pos: Pos) -> Option<Middleware> {
    if raw.scheme.is_absent() && raw.host.is_absent() && raw.port.is_absent() && raw.path.is_absent() {
        let hint = "give it at least one of `scheme`, `host`, `port`, `path`";
        scope.error("endless-redirect", pos, "this redirects to where the request already is", hint);
    }
    let scheme = raw.scheme.spot().and_then(|(text, pos)| {
        let known = matches!(&*text, "http" | "https");
        if !known {
            scope.error(
                "bad-scheme",
                pos,
                format!("a redirect cannot lead to the scheme `{text}`"),
                "`http` or `https`",
            );
        }
        known.then_some(text)
    });
    let host = raw.host.spot().and_then(|(text, pos)| values::host(scope, &text, pos));
    let path = raw.path.spot().and_then(|(form, pos)| path_edit(scope, form, pos));
    let port = raw.port.spot().and_then(|(port, pos)| {
        if port == 0 {
            scope.error("bad-port", pos, "0 is not a port to redirect to", "1 to 65535");
        }
        (port > 0).then_some(port)
    });
    let (status, at) = raw.status.spot().unwrap_or((302, pos));
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        let message = format!("{status} is not the status of a redirect");
        scope.error("bad-status", at, message, "use 301, 302, 303, 307 or 308");
    }
    Some(Middleware::Redirect(Redirect { scheme, host, port, path, status: StatusCode::from_u16(status).ok()? }))
}

pub(super) fn rewrite(scope: &mut Scope<'_>, raw: raw::Rewrite, pos: Pos) -> Option<Middleware> {
    if raw.host.is_absent() && raw.path.is_absent() {
        let hint = "give it `host`, `path` or both";
        scope.error("missing-field", pos, "this rewrites nothing", hint);
    }
    let host = raw.host.spot().and_then(|(text, pos)| values::host(scope, &text, pos));
    let path = raw.path.spot().and_then(|(form, pos)| path_edit(scope, form, pos));
    Some(Middleware::Rewrite(Rewrite { host, path }))
}

fn path_edit(scope: &mut Scope<'_>, form: raw::PathEditForm, pos: Pos) -> Option<PathEdit> {
    let map = match form {
        raw::PathEditForm::Text(text) => return values::path(scope, &text, pos).map(PathEdit::Full),
        raw::PathEditForm::Map(map) => map,
    };
    match (map.full, map.prefix) {
        (Field::Given(text, pos), Field::Absent) => values::path(scope, &text, pos).map(PathEdit::Full),
        (Field::Absent, Field::Given(text, pos)) => values::path(scope, &text, pos).map(PathEdit::Prefix),
        (Field::Absent, Field::Absent) => {
            scope.error("missing-field", pos, "this changes no path", "give it `full` or `prefix`");
            None
        }
        (Field::Given(..), Field::Given(_, pos)) => {
            let hint = "`full` replaces the whole path, `prefix` what the route matched; keep one";
            scope.error("conflicting-fields", pos, "`full` and `prefix` exclude each other", hint);
            None
        }
        _ => None,
    }
}

pub(super) fn respond(scope: &mut Scope<'_>, raw: raw::Respond) -> Option<Middleware> {
    let status = match raw.status.spot() {
        None => StatusCode::OK,
        Some((number @ 200..=599, _)) => StatusCode::from_u16(number).ok()?,
        Some((number, pos)) => {
            scope.error("bad-status", pos, format!("{number} is not a status to answer with"), "200 to 599");
            return None;
        }
    };
    let headers = raw.headers.value().map_or_else(Vec::new, |entries| fields(scope, entries, false));
    let (Text(body), pos) = raw.body.spot().unwrap_or((Text(String::new()), Pos::default()));
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let message = format!("a response with status {} has no body", status.as_u16());
        scope.error("bad-body", pos, message, "remove `body`, or use another status");
    }
    let body = scope.reveal(&body, pos);
    Some(Middleware::Respond(Respond { status, headers, body }))
}

pub(super) fn mirror(scope: &mut Scope<'_>, raw: raw::Mirror, pos: Pos) -> Option<Middleware> {
    if raw.upstream.is_absent() {
        scope.missing("upstream", pos, "say where the copy goes");
    }
    let upstream = raw.upstream.spot().map(|(name, pos)| scope.mention(Kind::Upstream, &name, pos));
    let (percent, at) = raw.percent.spot().unwrap_or((100.0, pos));
    if !(0.0..=100.0).contains(&percent) {
        scope.error("out-of-range", at, format!("{percent} is not a share in percent"), "0 to 100");
    }
    let body_bytes_max = values::size(scope, raw.body_bytes_max, 0, 64 << 10);
    Some(Middleware::Mirror(Mirror { upstream: upstream?, percent, body_bytes_max }))
}
