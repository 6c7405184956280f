//! Fields that belong to one connection and not to the message (RFC 9110 section 7.6.1), taken off in both directions,
//! and fields that may not stand in trailers. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

/// Takes off what belongs to the connection alone, and what `Connection` names. `TE: trailers` stays, because it
/// holds end to end for those who understand it (gRPC).
pub(super) fn strip(headers: &mut HeaderMap) {
    // Most messages have none of them: one pass over the names that are there is cheaper than a look for each.
    if headers.keys().any(is_hop_by_hop) {
        strip_found(headers);
    }
}

fn strip_found(headers: &mut HeaderMap) {
    let named: SmallVec<[HeaderName; 4]> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_protected(name))
        .collect();
    let trailers = headers.get_all(header::TE).iter().any(wants_trailers);
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes off the fields that a trailer section may not carry, because they would change how the message is framed,
/// routed or trusted (RFC 9110 section 6.5.1).
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in ABOUT_THE_MESSAGE.iter().chain(&[header::SET_COOKIE, header::TRAILER]) {
        trailers.remove(name);
    }
}

/// Whether a list of tokens has this one, in any case.
pub(super) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let mut tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn wants_trailers(value: &HeaderValue) -> bool {
    has_token(value, "trailers")
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // Asked of every field of every message: most are told by their length.
    matches!(name.as_str().len(), 2 | 7 | 10 | 16..=19) && HOP_BY_HOP.contains(name)
}

// `Connection` may not take away what frames, addresses or authenticates a message.
fn is_protected(name: &HeaderName) -> bool {
    ABOUT_THE_MESSAGE.contains(name) || matches!(*name, header::CACHE_CONTROL | header::TE)
}

// Statics, because a constant of names is made anew, and dropped, wherever it is used.
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

// What frames, addresses or authenticates a message.
static ABOUT_THE_MESSAGE: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> HeaderMap {
        let pairs = text.lines().filter_map(|line| line.trim().split_once(": "));
        pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_belongs_to_the_connection_goes() {
        let mut headers = fields(
            "host: a
             connection: keep-alive, X-Drop , host,content-length
             keep-alive: timeout=5
             x-drop: 1
             content-length: 3
             te: gzip, trailers
             upgrade: h2c
             x-keep: 2",
        );
        strip(&mut headers);
        assert_eq!(headers, fields("host: a\ncontent-length: 3\nx-keep: 2\nte: trailers"));
    }

    #[test]
    fn each_of_them_goes_also_where_it_comes_alone() {
        for name in &HOP_BY_HOP {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            strip(&mut headers);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn trailers_cannot_reframe_or_authorise() {
        let mut trailers = fields("grpc-status: 0\ncontent-length: 1\ntransfer-encoding: chunked\nauthorization: x");
        strip_trailers(&mut trailers);
        assert_eq!(trailers, fields("grpc-status: 0"));
    }
}
