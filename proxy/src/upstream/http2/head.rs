//! Heads of HTTP/2 (RFC 9113 section 8.3), pure: the request as it goes out on a stream, and what a response may be.
//! Knows no connection.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, uri::Authority, uri::PathAndQuery, uri::Scheme,
};

use crate::{
    exchange::{Request, is_of_connection},
    upstream::head::{Sending, decimal},
};

/// The head of `request` for a stream, to `authority`; its fields are copied, so that it can be sent again.
///
/// # Errors
/// What it has that HTTP/2 cannot say.
pub(super) fn request(
    request: &Request,
    authority: Authority,
    (secure, sending): (bool, Sending),
) -> Result<http::Request<()>, &'static str> {
    let mut head = http::Request::new(());
    *head.version_mut() = Version::HTTP_2;
    head.method_mut().clone_from(&request.head.method);
    *head.uri_mut() = target(&request.head.uri, authority, secure).ok_or("its target is no path")?;
    let mut fields = request.head.headers.clone();
    strip(&mut fields);
    say_length(&mut fields, &request.head.method, sending);
    *head.headers_mut() = fields;
    Ok(head)
}

/// The head of an extended CONNECT (RFC 8441 section 4) in place of a request that asks to switch to WebSocket.
///
/// # Errors
/// What it has that HTTP/2 cannot say.
pub(super) fn connect(
    request: &Request,
    authority: Authority,
    secure: bool,
) -> Result<http::Request<()>, &'static str> {
    let mut head = http::Request::new(());
    *head.version_mut() = Version::HTTP_2;
    *head.method_mut() = Method::CONNECT;
    *head.uri_mut() = target(&request.head.uri, authority, secure).ok_or("its target is no path")?;
    let mut fields = request.head.headers.clone();
    strip(&mut fields);
    fields.remove(header::CONTENT_LENGTH);
    // The stream itself proves what the key would (RFC 8441 section 5).
    fields.remove(header::SEC_WEBSOCKET_KEY);
    *head.headers_mut() = fields;
    head.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    Ok(head)
}

fn target(uri: &Uri, authority: Authority, secure: bool) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

// RFC 9113 section 8.2.2: fields of the connection do not exist in HTTP/2, but for `TE: trailers`. `Expect` is
// answered by the gateway's own server.
fn strip(fields: &mut HeaderMap) {
    let is_te = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"trailers");
    let te = fields.get(header::TE).is_some_and(|value| !is_te(value));
    fields.remove(header::HOST);
    for name in fields.keys().filter(|name| is_left_out(name)).cloned().collect::<smallvec::SmallVec<[_; 2]>>() {
        fields.remove(name);
    }
    if te {
        fields.remove(header::TE);
    }
}

// What is not sent in frames, and what the gateway answers itself.
fn is_left_out(name: &HeaderName) -> bool {
    is_of_connection(name) || *name == header::EXPECT || name.as_str() == "http2-settings"
}

// As HTTP/1 says it (RFC 9110 section 8.6): what is known, and that there is nothing where the method calls for
// content.
fn say_length(fields: &mut HeaderMap, method: &Method, sending: Sending) {
    let announced = fields.contains_key(header::CONTENT_LENGTH);
    match sending {
        Sending::Length(0) if !announced && !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
        Sending::Length(length) => {
            let mut digits = [0; 20];
            let digits = decimal(length, &mut digits);
            if fields.get(header::CONTENT_LENGTH).is_none_or(|value| value.as_bytes() != digits) {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        Sending::Chunked if announced => drop(fields.remove(header::CONTENT_LENGTH)),
        Sending::Chunked => {}
    }
}
