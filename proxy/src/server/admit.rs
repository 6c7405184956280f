//! What a request must be to become an exchange, whatever codec it came through: one host, a normal path, framing that
//! reads in one way. What the codecs and the HTTP/1 guard refuse already is checked here only where a second codec
//! would not. After it, the head is what is routed, what plugins see, and what is forwarded.

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request::Parts, uri::Scheme};
use hyper::ext::Protocol;
use std::{borrow::Cow, rc::Rc};

use super::{
    authority::{self, Known},
    fields,
    forwarded::is_told,
    path,
    session::Session,
};
use crate::{
    config::spec::Listener,
    error::{Error, Kind},
    exchange::{
        Told, is_of_connection,
        rpc::Rpc,
        trace::{self, TRACEPARENT, TRACESTATE, TraceContext},
    },
};

/// A request that may be routed.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The host that it is for, which goes out as `Host`.
    pub(super) known: Rc<Known>,
    /// Whether the client named it; otherwise only routes for any host match.
    pub(super) named: bool,
    /// The protocol that it asks to upgrade to.
    pub(super) upgrade: Option<HeaderValue>,
    /// Whether it is a call of gRPC.
    pub(super) rpc: Rpc,
    /// What the upstream is to be told, where that is not among the fields yet, and the client said nothing of its kind;
    /// until the exchange has it.
    pub(super) told: Option<Rc<Told>>,
}

impl Admitted {
    /// The host that routes are matched with: none where the client named none.
    pub(super) fn host(&self) -> &str {
        if self.named { &self.known.host } else { "" }
    }
}

/// Checks `head` and gives it the form in which it is routed and forwarded.
///
/// # Errors
/// Of the client's fault, with what is wrong.
pub(super) fn admit(
    session: &Session,
    listener: &Listener,
    head: &mut Parts,
    (ordinal, trace): (u64, &TraceContext),
) -> Result<Admitted, Error> {
    if head.method == Method::CONNECT {
        return Err(Error::new(Kind::MethodNotAllowed, "CONNECT is never forwarded"));
    }
    let seen = Seen::look(&head.headers);
    seen.check(head)?;
    let (known, named) = host(session, head, &seen)?;
    if head.uri.path().len() > listener.limits.uri_bytes_max {
        return Err(Error::new(Kind::UriTooLong, "the request target is over its limit"));
    }
    target(listener, head)?;
    let upgrade = match head.extensions.get::<Protocol>() {
        Some(protocol) => HeaderValue::try_from(protocol.as_str()).ok(),
        None => seen.upgrade.then(|| upgrade(session, head, ordinal)).flatten(),
    };
    let told = rewrite(session, head, &known, (trace, &seen));
    Ok(Admitted { known, named, upgrade, rpc: seen.rpc, told })
}

// What one pass over the fields finds.
#[derive(Default)]
struct Seen {
    hosts: u32,
    lengths: u32,
    cookies: u32,
    upgrade: bool,
    expects: bool,
    tracestate: bool,
    // Something that is the gateway's to tell.
    told: bool,
    rpc: Rpc,
}

impl Seen {
    fn look(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            match *name {
                header::HOST => seen.hosts += 1,
                header::CONTENT_LENGTH => seen.lengths += 1,
                header::COOKIE => seen.cookies += 1,
                header::UPGRADE => seen.upgrade = true,
                header::EXPECT => seen.expects = true,
                header::CONTENT_TYPE => seen.rpc = Rpc::of(value),
                ref other => match other.as_str().len() {
                    10 => seen.tracestate |= *other == TRACESTATE,
                    11 => seen.told |= *other == TRACEPARENT,
                    _ => seen.told |= is_told(other),
                },
            }
        }
        seen
    }

    fn check(&self, head: &mut Parts) -> Result<(), Error> {
        if self.hosts > 1 {
            return Err(malformed("more than one Host"));
        }
        if self.lengths > 1 {
            return Err(malformed("more than one Content-Length"));
        }
        if is_framed(head.version) {
            check_framed(&head.headers)?;
        }
        if head.version == Version::HTTP_3 {
            check_http3(head)?;
        }
        // Answered here (hyper sends 100 when the body is asked for), so it is not passed on.
        if self.expects
            && let Some(expectation) = head.headers.remove(header::EXPECT)
            && !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
        {
            return Err(Error::new(Kind::ExpectationFailed, "an expectation that is not 100-continue"));
        }
        Ok(())
    }
}

// Whether messages come in frames, and their heads as lists of fields.
fn is_framed(version: Version) -> bool {
    matches!(version, Version::HTTP_2 | Version::HTTP_3)
}

// What h2 refuses by itself and h3 lets through (RFC 9114 sections 4.2 and 4.3.1).
fn check_http3(head: &Parts) -> Result<(), Error> {
    if head.headers.keys().any(is_of_connection) {
        return Err(malformed("a field that belongs to a connection"));
    }
    if head.headers.get_all(header::TE).iter().any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        return Err(malformed("a TE other than trailers"));
    }
    if head.uri.scheme().is_none() {
        return Err(malformed("no :scheme"));
    }
    Ok(())
}

// What h2 and h3 let through and HTTP/1.1 could not carry (RFC 9113 section 8.2.1), and a length that is no number.
fn check_framed(headers: &HeaderMap) -> Result<(), Error> {
    let blank = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    for (name, value) in headers {
        let bytes = value.as_bytes();
        if blank(bytes.first()) || blank(bytes.last()) {
            return Err(malformed("a field value with white space around it"));
        }
        if *name == header::CONTENT_LENGTH && (bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit)) {
            return Err(malformed("a Content-Length that is no number"));
        }
    }
    Ok(())
}

// The host, and whether the client named it.
fn host(session: &Session, head: &Parts, seen: &Seen) -> Result<(Rc<Known>, bool), Error> {
    let field = if seen.hosts == 0 { None } else { head.headers.get(header::HOST) };
    let local;
    let (sent, named) = match (head.uri.authority(), field) {
        (None, Some(field)) => (field.as_bytes(), true),
        (Some(authority), None) if is_framed(head.version) => (authority.as_str().as_bytes(), true),
        (Some(authority), Some(field)) => {
            let scheme = head.uri.scheme_str();
            if !authority::is_same(authority.as_str().as_bytes(), field.as_bytes(), scheme) {
                return Err(malformed("Host and the request target name different authorities"));
            }
            (authority.as_str().as_bytes(), true)
        }
        _ if head.version < Version::HTTP_11 => {
            local = session.connection.local.to_string();
            (local.as_bytes(), false)
        }
        _ => return Err(malformed("no Host")),
    };
    if let Some(known) = session.known.borrow().as_ref().filter(|known| known.is(sent)) {
        return Ok((Rc::clone(known), named));
    }
    let known = Known::new(sent, &session.trust.borrow()).ok_or_else(|| malformed("an invalid Host"))?;
    let known = Rc::new(known);
    *session.known.borrow_mut() = Some(Rc::clone(&known));
    Ok((known, named))
}

// Brings the target to origin form (or `*`) and its path to its normal form.
fn target(listener: &Listener, head: &mut Parts) -> Result<(), Error> {
    if head.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(malformed("a request target whose scheme is neither http nor https"));
    }
    let path = head.uri.path();
    if path == "*" {
        return if head.method == Method::OPTIONS { Ok(()) } else { Err(malformed("a request target of *")) };
    }
    if !path.starts_with('/') {
        return Err(malformed("a request target that does not begin with a slash"));
    }
    let normal = path::normalize(path, &listener.path).map_err(malformed)?;
    match normal {
        Cow::Borrowed(_) if head.uri.authority().is_none() => {}
        // `http://a?x` has an empty path, which is `/`.
        Cow::Borrowed(path) => {
            let target = head.uri.path_and_query().cloned().filter(|target| target.as_str().starts_with('/'));
            head.uri = match (target, head.uri.query()) {
                (Some(target), _) => Uri::from(target),
                (None, Some(query)) => with_query(path.to_owned(), query)?,
                (None, None) => Uri::from_static("/"),
            };
        }
        Cow::Owned(path) => {
            head.uri = match head.uri.query() {
                Some(query) => with_query(path, query)?,
                None => uri(path)?,
            };
        }
    }
    Ok(())
}

fn with_query(mut path: String, query: &str) -> Result<Uri, Error> {
    path.push('?');
    path.push_str(query);
    uri(path)
}

fn uri(target: String) -> Result<Uri, Error> {
    Uri::try_from(target).map_err(|_| malformed("a request target that is no URI"))
}

// Only where the guard stopped reading for it: HTTP/1.1, without a body, not to HTTP/2.
fn upgrade(session: &Session, head: &Parts, ordinal: u64) -> Option<HeaderValue> {
    let asked = head.headers.get(header::UPGRADE).filter(|_| head.method == Method::GET);
    asked.filter(|_| session.may_switch(ordinal)).cloned()
}

// What goes on: no field of the client's connection, what the upstream is to know of the client, our span.
// Answers what is left to be told.
fn rewrite(
    session: &Session,
    head: &mut Parts,
    known: &Known,
    (trace, seen): (&TraceContext, &Seen),
) -> Option<Rc<Told>> {
    let headers = &mut head.headers;
    fields::strip(headers);
    if headers.get(header::HOST) != Some(&known.field) {
        headers.insert(header::HOST, known.field.clone());
    }
    // RFC 9113 section 8.2.3: crumbs are one field again on their way to HTTP/1.1.
    if seen.cookies > 1 && is_framed(head.version) {
        let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, cookie);
        }
    }
    // W3C Trace Context section 3.3.1: a state without its parent, or one that is malformed, goes no further.
    if seen.tracestate && (trace.parent_id.is_none() || !trace::is_state(headers)) {
        headers.remove(&TRACESTATE);
    }
    let trust = session.trust.borrow();
    if trust.is_plain() && !seen.told {
        return Some(known.told(&trust, head.version));
    }
    trust.tell(headers, known, head.version);
    headers.insert(&TRACEPARENT, trace.traceparent(trace.span_id));
    None
}

pub(super) fn malformed(detail: &'static str) -> Error {
    Error::new(Kind::MalformedRequest, detail)
}
