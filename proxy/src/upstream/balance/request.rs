//! What the choice of an endpoint looks at of a request, and what it adds to the answer: keys and cookies. Knows no
//! policy.

use std::{net::IpAddr, num::NonZeroU64};

use http::{HeaderMap, HeaderValue, header};
use xxhash_rust::xxh3::xxh3_64;

use super::{Roster, Turn};
use crate::{
    config::spec::{Affinity, Balance, HashKey},
    exchange::Request,
};

impl Turn<'_> {
    /// Takes note of the request's key and of the member that its client is bound to.
    pub(super) fn read(&mut self, request: &Request) {
        let spec = &self.means.spec;
        if let Balance::Hash { keys, .. } = &spec.balance {
            let hash = keys.iter().find_map(|key| hash(key, request));
            self.key = hash.map(|hash| NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN));
        }
        if let Some(affinity) = &spec.affinity {
            let cookies = cookies(&request.head.headers, &affinity.cookie);
            let bound = cookies.filter_map(|value| self.standing().roster.bound(value)).next();
            self.bound = bound.map(|position| position as u32);
        }
    }
}

// The hash of one key; nothing where the request does not have it, or it is empty.
fn hash(key: &HashKey, request: &Request) -> Option<u64> {
    let filled = |value: &[u8]| (!value.is_empty()).then(|| xxh3_64(value));
    match key {
        HashKey::Header(name) if *name == header::HOST => filled(request.authority.as_str().as_bytes()),
        HashKey::Header(name) => filled(request.head.headers.get(name)?.as_bytes()),
        HashKey::Cookie(name) => cookies(&request.head.headers, name).find_map(|value| filled(value.as_bytes())),
        HashKey::Query(name) => {
            let mut pairs = request.head.uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            filled(pairs.find(|(found, _)| found == name)?.1.as_bytes())
        }
        HashKey::ClientIp => Some(match request.exchange.client.to_canonical() {
            IpAddr::V4(address) => xxh3_64(&address.octets()),
            IpAddr::V6(address) => xxh3_64(&address.octets()),
        }),
        HashKey::Path => filled(request.head.uri.path().as_bytes()),
    }
}

// RFC 6265 section 4.2.1. HTTP/2 may divide the field (RFC 9113 section 8.2.3).
fn cookies<'a>(fields: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value.trim_matches('"'))
}

/// Adds the cookie that binds the client of `request` to the member at `position`.
pub(super) fn bind(affinity: &Affinity, roster: &Roster, position: usize, request: &Request, fields: &mut HeaderMap) {
    let Some(value) = roster.cookie(position) else { return };
    let secure = affinity.secure.unwrap_or(request.exchange.secure);
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("{}={value}{}{secure}", affinity.cookie, affinity.attributes);
    if let Ok(line) = HeaderValue::try_from(line) {
        fields.append(header::SET_COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::exchange::testing;

    #[test]
    fn a_key_is_where_it_is_said_to_be() {
        let mut request = testing::request(Method::GET, "http://users.example/a/b?x=&id=7&id=8");
        let fields = &mut request.head.headers;
        fields.insert("x-user", HeaderValue::from_static("ann"));
        fields.append("cookie", HeaderValue::from_static("a=1; session=\"xyz\""));
        fields.append("cookie", HeaderValue::from_static("session=second; empty="));
        let header = |name: &'static str| HashKey::Header(http::HeaderName::from_static(name));
        let cases: [(HashKey, Option<&[u8]>); 12] = [
            (header("x-user"), Some(b"ann")),
            (header("x-other"), None),
            (header("host"), Some(b"users.example")),
            (HashKey::Cookie("session".into()), Some(b"xyz")),
            (HashKey::Cookie("a".into()), Some(b"1")),
            (HashKey::Cookie("empty".into()), None),
            (HashKey::Cookie("A".into()), None),
            (HashKey::Query("id".into()), Some(b"7")),
            (HashKey::Query("x".into()), None),
            (HashKey::Query("none".into()), None),
            (HashKey::Path, Some(b"/a/b")),
            (HashKey::ClientIp, Some(&[127, 0, 0, 1])),
        ];
        for (key, value) in cases {
            assert_eq!(hash(&key, &request), value.map(xxh3_64), "{key:?}");
        }
    }
}
