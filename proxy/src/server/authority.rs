//! Which host a request is for: `Host` and `:authority` checked, lower-cased, and remembered, because a connection
//! mostly asks for the same one. Pure.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Version};

use super::forwarded::Trust;
use crate::exchange::{Authority, Told};

/// An authority that was asked for, in the forms that a request needs.
#[derive(Debug)]
pub(super) struct Known {
    sent: Box<[u8]>,
    /// Lower-case.
    pub(super) authority: Authority,
    /// Its host alone.
    pub(super) host: Box<str>,
    /// The same as a field value.
    pub(super) field: HeaderValue,
    /// The element of `Forwarded` (RFC 7239) for this peer and host.
    pub(super) forwarded: HeaderValue,
    // What is told of the peer in a request of a version, once one was.
    told: RefCell<Option<(Version, Rc<Told>)>>,
}

impl Known {
    /// Checks and keeps `sent`.
    pub(super) fn new(sent: &[u8], trust: &Trust) -> Option<Self> {
        if !is_valid(sent) {
            return None;
        }
        let lower = Bytes::from(sent.to_ascii_lowercase());
        let authority = Authority::from_maybe_shared(lower.clone()).ok()?;
        let field = HeaderValue::from_maybe_shared(lower).ok()?;
        let forwarded = trust.element(&authority);
        let host = authority.host().into();
        Some(Self { sent: sent.into(), authority, host, field, forwarded, told: RefCell::default() })
    }

    /// What the upstream is told of the peer in a request of `version`; `trust` must be what this was made with.
    pub(super) fn told(&self, trust: &Trust, version: Version) -> Rc<Told> {
        let mut told = self.told.borrow_mut();
        match &*told {
            Some((of, told)) if *of == version => Rc::clone(told),
            _ => Rc::clone(&told.insert((version, Rc::new(trust.told(self, version)))).1),
        }
    }

    /// Whether this is what `sent` says.
    pub(super) fn is(&self, sent: &[u8]) -> bool {
        *self.sent == *sent
    }
}

/// Whether `sent` is `host[:port]` as an `http` URI may have it (RFC 9110 section 4.2, RFC 3986 section 3.2):
/// no user information, no empty host. Of the characters that RFC 3986 allows in a registered name, those that no
/// name resolves with, and that other parsers trip over, are refused.
pub(super) fn is_valid(sent: &[u8]) -> bool {
    let (host_is_valid, port) = match sent {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let address =
                std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<std::net::Ipv6Addr>().ok());
            (address.is_some(), &rest[end + 1..])
        }
        _ => {
            let end = memchr::memchr(b':', sent).unwrap_or(sent.len());
            (end > 0 && sent[..end].iter().all(|byte| is_name(*byte)), &sent[end..])
        }
    };
    let port_is_valid = match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    host_is_valid && port_is_valid
}

/// Whether two authorities of `http` or `https` URIs are the same, the scheme's own port written or not.
pub(super) fn is_same(one: &[u8], other: &[u8], scheme: Option<&str>) -> bool {
    let default: &[u8] =
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) { b":443" } else { b":80" };
    let bare = |authority: &'_ [u8]| authority.strip_suffix(default).map_or(authority.len(), <[u8]>::len);
    one[..bare(one)].eq_ignore_ascii_case(&other[..bare(other)])
}

fn is_port(digits: &[u8]) -> bool {
    let value = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) && value.is_some()
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_hosts_and_nothing_else() {
        let good = ["a", "a.example:80", "A.Example", "127.0.0.1:8080", "[::1]", "[::1]:80", "a_b-c~d", "a:65535"];
        for text in good {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        let bad = [
            "", ":80", "a:", "a:b", "a:65536", "a:123456", "a@b", "a/b", "a b", "a,b", "a%41", "[::1", "[x]", "::1",
            "a:1:2", "a?", "a#", "[::1]x", "[v1.a]", "a\\b", "a\tb", "a:+80", "é",
        ];
        for text in bad {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn compares_without_case_and_default_port() {
        for (one, other, scheme, same) in [
            ("a.example", "A.EXAMPLE", Some("http"), true),
            ("a.example:80", "a.example", Some("http"), true),
            ("a.example:443", "a.example", Some("https"), true),
            ("a.example:443", "a.example", Some("http"), false),
            ("a.example:8080", "a.example", Some("http"), false),
            ("a.example", "b.example", None, false),
        ] {
            assert_eq!(is_same(one.as_bytes(), other.as_bytes(), scheme), same, "{one} {other}");
        }
    }
}
