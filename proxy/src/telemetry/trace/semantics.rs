//! What spans say: attributes, names and status by OpenTelemetry's semantic conventions for HTTP (1.27 and later), and
//! ours below `tidegate.`. Called on workers, for what is traced only. Knows no collector.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderValue, Method, Version};

use crate::{
    error::Kind,
    exchange::{Exchange, OpenSpan, ParentSpan, Request, Span, SpanFailure, SpanKind, SpanValue, trace::TRACEPARENT},
    telemetry::access::Line,
};

type Attributes = Vec<(&'static str, SpanValue)>;

/// The span of an exchange that is over.
pub fn exchange(line: &Line<'_>) -> Span {
    let Line { exchange, outcome, .. } = line;
    let route = exchange.route().filter(|route| !route.id.is_empty());
    let mut attributes = Vec::with_capacity(24);
    method(&mut attributes, line.method);
    let (path, query) = line.path.split_once('?').map_or((line.path, None), |(path, query)| (path, Some(query)));
    text(&mut attributes, "url.path", path);
    if let Some(query) = query {
        attributes.push(("url.query", redacted(query).into()));
    }
    attributes.push(("url.scheme", if exchange.secure { "https" } else { "http" }.into()));
    attributes.push(("http.response.status_code", i64::from(outcome.status).into()));
    if let Some(route) = &route {
        attributes.push(("http.route", Arc::clone(&route.pattern).into()));
        attributes.push(("tidegate.route", Arc::clone(&route.id).into()));
    }
    places(&mut attributes, line);
    attributes.push(("network.protocol.version", version(exchange.version).into()));
    if let Some(agent) = line.user_agent.map(HeaderValue::as_bytes) {
        text(&mut attributes, "user_agent.original", &String::from_utf8_lossy(agent));
    }
    attributes.push(("http.request.body.size", number(outcome.request_bytes)));
    attributes.push(("http.response.body.size", number(outcome.response_bytes)));
    attributes.push(("tidegate.generation", number(exchange.generation())));
    attributes.push(("tidegate.listener", Arc::clone(&exchange.connection.listener).into()));
    let failure = failure(&mut attributes, exchange, outcome.error, outcome.status);
    let verb = if is_known(line.method) { line.method.as_str() } else { "HTTP" };
    Span {
        id: exchange.trace.span_id,
        parent: exchange.trace.parent_id,
        kind: SpanKind::Server,
        name: route.map_or_else(|| verb.to_owned(), |route| format!("{verb} {}", route.pattern)),
        began: exchange.started,
        ended: exchange.started + outcome.duration,
        attributes,
        failure,
    }
}

/// Begins the span of a try to reach `address` (`HOST:PORT`) for `upstream`, below the call that it is part of, and
/// makes it the parent of what the endpoint does.
#[inline]
pub fn begin_try(request: &mut Request, (upstream, address): (&Arc<str>, &str), tries: u32) -> Option<OpenSpan> {
    if request.exchange.spans.is_none() { None } else { open_try(request, (upstream, address), tries) }
}

#[cold]
fn open_try(request: &mut Request, (upstream, address): (&Arc<str>, &str), tries: u32) -> Option<OpenSpan> {
    let verb = if is_known(&request.head.method) { request.head.method.as_str() } else { "HTTP" };
    let parent = request.head.extensions.get().map(|ParentSpan(parent)| *parent);
    let mut span = request.exchange.span(SpanKind::Client, parent, || verb.to_owned())?;
    let mut attributes = Vec::with_capacity(10);
    method(&mut attributes, &request.head.method);
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    text(&mut attributes, "server.address", host);
    if let Ok(port) = port.parse::<u16>() {
        attributes.push(("server.port", i64::from(port).into()));
    }
    let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    text(&mut attributes, "url.path", path);
    if let Some(query) = query {
        attributes.push(("url.query", redacted(query).into()));
    }
    attributes.push(("tidegate.upstream", Arc::clone(upstream).into()));
    if tries > 0 {
        attributes.push(("http.request.resend_count", i64::from(tries).into()));
    }
    attributes.into_iter().for_each(|(name, value)| span.set(name, value));
    // What a head of more than 24,000 fields cannot take, the endpoint is not told.
    drop(request.head.headers.try_insert(&TRACEPARENT, span.trace().traceparent(span.id())));
    Some(span)
}

/// Ends the span of a try: with the status of its answer, or with what failed.
#[cold]
pub fn end_try(mut span: OpenSpan, peer: Option<SocketAddr>, outcome: Result<u16, (Kind, String)>) {
    if let Some(peer) = peer {
        span.set("network.peer.address", peer.ip().to_string());
        span.set("network.peer.port", i64::from(peer.port()));
    }
    let failure = match outcome {
        Ok(status) => {
            span.set("http.response.status_code", i64::from(status));
            (status >= 400).then(|| SpanFailure { kind: status.to_string(), detail: None })
        }
        Err((kind, detail)) => Some(SpanFailure { kind: kind.name().to_owned(), detail: Some(detail) }),
    };
    if let Some(failure) = &failure {
        span.set("error.type", failure.kind.clone());
    }
    span.settle(failure);
}

/// Begins the span of one call of a plugin, or of a table.
#[inline]
pub fn begin_plugin(exchange: &Exchange, name: &Arc<str>, phase: &'static str) -> Option<OpenSpan> {
    let mut span = exchange.span(SpanKind::Internal, None, || format!("{name} {phase}"))?;
    span.set("tidegate.plugin", Arc::clone(name));
    span.set("tidegate.plugin.phase", phase);
    Some(span)
}

/// Ends it: it returned, or it failed.
#[inline]
pub fn end_plugin(span: Option<OpenSpan>, failed: impl FnOnce() -> Option<(Kind, String)>) {
    let Some(mut span) = span else { return };
    let failure = failed().map(|(kind, detail)| SpanFailure { kind: kind.name().to_owned(), detail: Some(detail) });
    if let Some(failure) = &failure {
        span.set("error.type", failure.kind.clone());
    }
    span.settle(failure);
}

// Whom it came from, and whom it was for.
fn places(attributes: &mut Attributes, line: &Line<'_>) {
    let connection = &line.exchange.connection;
    let authority: Option<http::uri::Authority> = line.authority.parse().ok();
    match authority {
        Some(authority) => {
            text(attributes, "server.address", authority.host());
            let usual = if line.exchange.secure { 443 } else { 80 };
            attributes.push(("server.port", i64::from(authority.port_u16().unwrap_or(usual)).into()));
        }
        None => {
            attributes.push(("server.address", connection.local.ip().to_string().into()));
            attributes.push(("server.port", i64::from(connection.local.port()).into()));
        }
    }
    attributes.push(("client.address", line.exchange.client.to_string().into()));
    attributes.push(("network.peer.address", connection.peer.ip().to_string().into()));
    attributes.push(("network.peer.port", i64::from(connection.peer.port()).into()));
}

// A client's mistake is no failure of the server's span; whatever the gateway or its upstreams did is.
fn failure(attributes: &mut Attributes, exchange: &Exchange, error: Option<Kind>, status: u16) -> Option<SpanFailure> {
    let recorded = exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, text)| (*kind, text.clone())));
    let failed = recorded.map(|(kind, text)| (kind, Some(text))).or(error.map(|kind| (kind, None)));
    if let Some((kind, _)) = &failed {
        attributes.push(("tidegate.error", kind.name().into()));
    }
    let failure = match failed {
        Some((kind, detail)) if kind.status().is_server_error() => {
            Some(SpanFailure { kind: kind.name().to_owned(), detail })
        }
        _ => (status >= 500).then(|| SpanFailure { kind: status.to_string(), detail: None }),
    };
    if let Some(failure) = &failure {
        attributes.push(("error.type", failure.kind.clone().into()));
    }
    failure
}

fn method(attributes: &mut Attributes, method: &Method) {
    if is_known(method) {
        return text(attributes, "http.request.method", method.as_str());
    }
    attributes.push(("http.request.method", "_OTHER".into()));
    text(attributes, "http.request.method_original", method.as_str());
}

fn is_known(method: &Method) -> bool {
    const QUERY: &str = "QUERY";
    let standard = [&Method::GET, &Method::POST, &Method::PUT, &Method::DELETE, &Method::HEAD, &Method::OPTIONS];
    let others = [&Method::PATCH, &Method::CONNECT, &Method::TRACE];
    standard.contains(&method) || others.contains(&method) || method.as_str() == QUERY
}

// Of the signatures that clouds put into URLs, as the conventions have it.
fn redacted(query: &str) -> String {
    const SECRET: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if SECRET.contains(&name) => format!("{name}=REDACTED"),
        _ => pair.to_owned(),
    };
    shorten(&query.split('&').map(shown).collect::<Vec<_>>().join("&")).to_owned()
}

fn text(attributes: &mut Attributes, name: &'static str, value: &str) {
    attributes.push((name, shorten(value).to_owned().into()));
}

// A span of a request with a long target is not to be the reason why its batch is refused.
const TEXT_BYTES_MAX: usize = 4 << 10;

fn shorten(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn number(number: u64) -> SpanValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_not_shown() {
        for (query, shown) in [
            ("a=1&sig=abc&b", "a=1&sig=REDACTED&b"),
            ("Signature=x&X-Goog-Signature=y", "Signature=REDACTED&X-Goog-Signature=REDACTED"),
            ("signature=kept", "signature=kept"),
            ("", ""),
        ] {
            assert_eq!(redacted(query), shown);
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        assert_eq!(shorten(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(shorten(&long[2..]).chars().filter(|c| *c != 'ä').count(), 0);
    }
}
