//! Checks the steps that decide who may pass. Knows nothing of what they do.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::{listener::networks, scope::Scope, steps::editable, values};
use crate::config::{
    document::Kind,
    node::Pos,
    raw::{self, Field, OneOrMany, Text},
    spec::{AllOr, AuthQuestion, Cors, ForwardAuth, IpAccess, Maintenance, Middleware, OriginPattern},
};

pub(super) fn cors(scope: &mut Scope<'_>, raw: raw::Cors, pos: Pos) -> Option<Middleware> {
    if raw.allow_origins.is_absent() {
        scope.missing("allow-origins", pos, "say whose pages may read responses, such as `https://app.example.com`");
    }
    let at = raw.allow_origins.pos().unwrap_or(pos);
    let origins: Vec<_> = raw.allow_origins.many().iter().filter_map(|(text, pos)| origin(scope, text, *pos)).collect();
    let credentials = raw.allow_credentials.or(false);
    if credentials && origins.contains(&OriginPattern::Any) {
        let message = "every page of every site may use its visitors' cookies here, and read what they get";
        scope.warning("any-origin-with-credentials", at, message, "name the origins that are meant");
    }
    let method = |scope: &mut Scope<'_>, text: &str, pos| match Method::from_bytes(text.as_bytes()) {
        Ok(method) if text.to_ascii_uppercase() == text => Some(method),
        _ => {
            let hint = "methods are case-sensitive and written in capitals, such as `PUT`; `*` is all of them";
            scope.error("bad-method", pos, format!("`{text}` is not a method that pages use"), hint);
            None
        }
    };
    let max_age = raw.max_age.value().map_or(MAX_AGE, |raw::Period(period)| period);
    Some(Middleware::Cors(Cors {
        origins,
        methods: all_or(scope, raw.allow_methods, method),
        headers: all_or(scope, raw.allow_headers, values::header_name),
        expose: all_or(scope, raw.expose_headers, values::header_name),
        credentials,
        max_age,
    }))
}

// The default of Fetch and of the Gateway API.
const MAX_AGE: Duration = Duration::from_secs(5);

fn all_or<T>(
    scope: &mut Scope<'_>,
    field: Field<OneOrMany<String>>,
    read: impl Fn(&mut Scope<'_>, &str, Pos) -> Option<T>,
) -> AllOr<T> {
    let mut list = AllOr { all: false, named: Vec::new() };
    for (text, pos) in field.many() {
        match &*text {
            "*" => list.all = true,
            _ => list.named.extend(read(scope, &text, pos)),
        }
    }
    list
}

fn origin(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<OriginPattern> {
    if text == "*" {
        return Some(OriginPattern::Any);
    }
    let hint =
        "write it as browsers send it: `https://app.example.com`, `http://localhost:3000`; `*` may begin the host";
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        scope.error(
            "bad-origin",
            pos,
            format!("`{text}` is not an origin: it begins neither with `http://` nor with `https://`"),
            hint,
        );
        return None;
    };
    let (host, port) = match rest.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let number = port.map(|port| port.parse::<u16>().ok().filter(|number| *number > 0));
    if number == Some(None) {
        let message = format!("`{text}` is not an origin: `{}` is not a port", port.unwrap_or_default());
        scope.error("bad-origin", pos, message, hint);
        return None;
    }
    let own = if scheme == "http" { 80 } else { 443 };
    let port = number.flatten().filter(|number| *number != own).map_or(String::new(), |number| format!(":{number}"));
    match host.strip_prefix('*') {
        Some(end) => {
            if !end.is_empty() {
                values::host(scope, end.trim_start_matches('.'), pos)?;
            }
            Some(OriginPattern::Wildcard(format!("{scheme}://"), format!("{end}{port}")))
        }
        None => {
            let host = values::host(scope, host, pos)?;
            Some(OriginPattern::Exact(format!("{scheme}://{host}{port}")))
        }
    }
}

pub(super) fn ip_access(scope: &mut Scope<'_>, raw: raw::IpAccess, pos: Pos) -> Option<Middleware> {
    if raw.allow.is_absent() && raw.deny.is_absent() {
        let hint = "give it `allow`, `deny` or both, such as `allow: [10.0.0.0/8]`";
        scope.error("missing-field", pos, "this lets everyone pass", hint);
    }
    let given = raw.allow.pos();
    if let Field::Given(listed, pos) = &raw.allow
        && listed.is_empty()
    {
        let pos = *pos;
        scope.error("missing-field", pos, "this list is empty: nobody could pass", "name networks, or remove `allow`");
    }
    let (allow, deny) = (networks(scope, raw.allow), networks(scope, raw.deny));
    Some(Middleware::IpAccess(IpAccess { allow: given.map(|_| allow), deny }))
}

pub(super) fn forward_auth(scope: &mut Scope<'_>, raw: raw::ForwardAuth, pos: Pos) -> Option<Middleware> {
    if raw.upstream.is_absent() {
        scope.missing("upstream", pos, "say who is asked");
    }
    let upstream = raw.upstream.spot().map(|(name, pos)| scope.mention(Kind::Upstream, &name, pos));
    let forms =
        [raw.path.pos(), raw.path_prefix.pos(), raw.grpc.clone().spot().filter(|(on, _)| *on).map(|(_, at)| at)];
    if let [_, pos, ..] = forms.into_iter().flatten().collect::<Vec<_>>()[..] {
        let hint = "keep one: `path`, `path-prefix` or `grpc`";
        scope.error("two-questions", pos, "this is asked in two ways", hint);
    }
    let asks = match (raw.grpc.or(false), raw.path_prefix.spot(), raw.path.spot()) {
        (true, ..) => AuthQuestion::Check,
        (_, Some((text, pos)), _) => {
            let prefix = values::path(scope, &text, pos).unwrap_or_default();
            AuthQuestion::Own(prefix.trim_end_matches('/').to_owned())
        }
        (.., None) => AuthQuestion::Path("/".to_owned()),
        (.., Some((text, pos))) => AuthQuestion::Path(target(scope, &text, pos).unwrap_or_default()),
    };
    let body_bytes_max = values::size(scope, raw.body_bytes_max, 0, 0);
    let all = raw.request_headers.is_absent();
    let request_headers = names(scope, raw.request_headers, false);
    let timeout = values::period(scope, raw.timeout, FORWARD_TIMEOUT);
    let upstream_headers = all_or(scope, raw.upstream_headers, |scope, text, pos| editable(scope, text, pos, true));
    let client_headers = names(scope, raw.client_headers, false);
    let request_headers = (!all).then_some(request_headers);
    let upstream = upstream?;
    let auth =
        ForwardAuth { upstream, asks, body_bytes_max, timeout, request_headers, upstream_headers, client_headers };
    Some(Middleware::ForwardAuth(auth))
}

const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

// A path, with a query perhaps.
fn target(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<String> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let path = values::path(scope, path, pos)?;
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    if target.parse::<http::uri::PathAndQuery>().is_err() || target.contains('#') {
        let hint = "write it as `/verify` or `/verify?strict=1`, percent-encoded where it must be";
        scope.error("bad-path", pos, format!("`{text}` is not a path that can be asked for"), hint);
        return None;
    }
    Some(target)
}

fn names(scope: &mut Scope<'_>, field: Field<OneOrMany<String>>, is_request: bool) -> Vec<HeaderName> {
    field.many().into_iter().filter_map(|(text, pos)| editable(scope, &text, pos, is_request)).collect()
}

pub(super) fn maintenance(scope: &mut Scope<'_>, raw: raw::Maintenance) -> Option<Middleware> {
    let page = raw.body.spot();
    let default = HeaderValue::from_static(if page.is_some() { HTML } else { PLAIN });
    let content_type = raw.content_type.spot();
    let content_type = content_type.map_or(Some(default), |(text, pos)| values::header_value(scope, &text, pos));
    let body = page.map_or(SENTENCE.into(), |(Text(body), pos)| scope.reveal(&body, pos));
    let allow = networks(scope, raw.allow);
    let enabled = raw.enabled.or(true);
    let retry_after = raw.retry_after.value().map(|raw::Period(period)| period);
    let content_type = content_type?;
    Some(Middleware::Maintenance(Maintenance { enabled, retry_after, allow, content_type, body }))
}

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const SENTENCE: &str = "the service is down for maintenance\n";
