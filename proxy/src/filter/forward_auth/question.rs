//! The sub-request in HTTP: its target, its fields, and of the request's body as much as it is sent.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{
    config::spec::{self, AuthQuestion},
    error::{Error, Kind},
    exchange::{Body, Request, is_framing},
};

/// What is asked about `request`.
pub(super) fn of(spec: &spec::ForwardAuth, request: &Request, body: Bytes) -> Result<Box<Request>, Error> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    let own = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let target = match &spec.asks {
        AuthQuestion::Path(path) => Uri::try_from(path),
        AuthQuestion::Own(prefix) => Uri::try_from(format!("{prefix}{own}")),
        AuthQuestion::Check => Ok(Uri::default()),
    };
    head.uri =
        target.map_err(|error| Error::because(Kind::Internal, "forward-auth: a checked path is a target", error))?;
    // A tunnel is asked about as what it is for.
    let same = matches!(spec.asks, AuthQuestion::Own(_)) && request.head.method != Method::CONNECT;
    head.method = if same { request.head.method.clone() } else { Method::GET };
    for (name, value) in request.head.headers.iter().filter(|(name, _)| passes(spec, name)) {
        head.headers.try_append(name, value.clone()).map_err(full)?;
    }
    let asked = [(&FORWARDED_METHOD, request.head.method.as_str()), (&FORWARDED_URI, own)];
    for (name, text) in asked {
        let value = HeaderValue::from_str(text)
            .map_err(|error| Error::because(Kind::MalformedRequest, "forward-auth: the target", error))?;
        head.headers.try_insert(name, value).map_err(full)?;
    }
    let (authority, exchange) = (request.authority.clone(), Rc::clone(&request.exchange));
    Ok(Box::new(Request { head, authority, body: Body::full(body), upgrade: None, exchange }))
}

/// Whether a field of the request goes with the question.
pub(super) fn passes(spec: &spec::ForwardAuth, name: &HeaderName) -> bool {
    let of_the_body = spec.body_bytes_max > 0 && matches!(*name, header::CONTENT_TYPE | header::CONTENT_ENCODING);
    match &spec.request_headers {
        Some(named) => named.contains(name) || ALWAYS.contains(name),
        None => !is_framing(name) && (of_the_body || !OF_THE_RESOURCE.contains(name)),
    }
}

/// The request's body, which stays with it, in memory; nothing, and nothing is read, where it is not to be asked about.
pub(super) async fn held(request: &mut Request, bytes_max: usize) -> Result<Bytes, Error> {
    if bytes_max == 0 || request.body.is_empty() {
        return Ok(Bytes::new());
    }
    let whole = Limited::new(request.body.take(), bytes_max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Error::new(Kind::BodyTooLarge, format!("forward-auth: the body is over {bytes_max} bytes"));
        }
        match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::new(Kind::Internal, format!("forward-auth: reading the body: {error}")),
        }
    })?;
    let trailers = whole.trailers().cloned();
    let bytes = whole.to_bytes();
    let body = Body::full(bytes.clone());
    request.body = match trailers {
        None => body,
        Some(trailers) => Body::stream(body.with_trailers(std::future::ready(Some(Ok(trailers))))),
    };
    Ok(bytes)
}

/// More fields than a head can have.
pub(super) fn full(full: header::MaxSizeReached) -> Error {
    Error::because(Kind::HeadTooLarge, "forward-auth: too many fields", full)
}

static FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// What tells of the request itself goes with every sub-request.
static ALWAYS: [HeaderName; 5] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("traceparent"),
];

/// What is meant for the resource: an answer of 304 or 206 to the sub-request would say nothing.
static OF_THE_RESOURCE: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];
