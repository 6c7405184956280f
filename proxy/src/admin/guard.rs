//! Who may ask what. A web page in an operator's browser can reach loopback, so a foreign `Host` (a name that an
//! attacker made resolve here) and a foreign `Origin` are refused before anything else is looked at. Decides from the
//! head alone.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, StatusCode, header, request::Parts, uri::Authority};
use sha2::{Digest, Sha256};

use crate::config::spec::Secret;

/// How a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Over the Unix socket, which only its owner may open.
    Unix,
    /// Over TCP, from this address.
    Tcp(IpAddr),
}

/// What an endpoint asks of whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Whether the gateway lives and is ready: anyone, so that any probe can.
    Probe,
    /// Anyone on this machine, or with the token.
    See,
    /// Over the socket, or with the token, or on this machine where that is trusted.
    Change,
}

/// A refusal: the status, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

/// The rules of one process.
#[derive(Debug)]
pub(super) struct Guard {
    // The token itself is not kept: equal hashes are compared in constant time, whatever the lengths.
    token: Option<[u8; 32]>,
    trust_loopback: bool,
}

impl Guard {
    pub(super) fn new(token: Option<&Secret>, trust_loopback: bool) -> Self {
        Self { token: token.map(|token| hash(token.0.as_bytes())), trust_loopback }
    }

    /// Whether the request may come from where it says it comes from.
    pub(super) fn origin(head: &Parts, via: Via) -> Result<(), Refusal> {
        let mut hosts = head.headers.get_all(header::HOST).iter();
        let host = match (hosts.next().map(|host| host.to_str()), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(Refusal(StatusCode::BAD_REQUEST, "a request has one Host")),
        };
        if via != Via::Unix && !is_ours(host) {
            return Err(Refusal(
                StatusCode::FORBIDDEN,
                "foreign Host: ask the admin endpoint by IP address, by `localhost` or over its Unix socket",
            ));
        }
        let origin = head.headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
        let site = head.headers.get(HeaderName::from_static("sec-fetch-site")).map(|site| site.as_bytes());
        let same = origin.is_none_or(|origin| origin == format!("http://{host}").as_bytes());
        if !same || !matches!(site, None | Some(b"same-origin" | b"none")) {
            return Err(Refusal(StatusCode::FORBIDDEN, "foreign Origin: web pages may not use the admin endpoint"));
        }
        Ok(())
    }

    /// Whether whoever asks has `right`.
    pub(super) fn allow(&self, head: &Parts, via: Via, right: Right) -> Result<(), Refusal> {
        let token = self.token_of(&head.headers)?;
        let here = via == Via::Unix || matches!(via, Via::Tcp(peer) if is_here(peer) && !was_forwarded(&head.headers));
        let allowed = match right {
            Right::Probe => true,
            Right::See => token || here,
            Right::Change => token || via == Via::Unix || here && self.trust_loopback,
        };
        match (allowed, self.token.is_some()) {
            (true, _) => Ok(()),
            (false, true) => Err(Refusal(StatusCode::UNAUTHORIZED, "this needs the admin token, or the Unix socket")),
            (false, false) => Err(Refusal(
                StatusCode::FORBIDDEN,
                "this changes something: use the admin's Unix socket, or configure a token or `trust-loopback`",
            )),
        }
    }

    // Whether the right token was shown. A wrong one is refused, wherever it comes from: it is a mistake to be told.
    fn token_of(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else { return Ok(false) };
        let bearer = shown.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let equal = bearer.zip(self.token).is_some_and(|((_, shown), token)| same(&hash(shown.trim_ascii()), &token));
        if equal { Ok(true) } else { Err(Refusal(StatusCode::UNAUTHORIZED, "this is not the admin token")) }
    }
}

// By address no name can be made to point here, and `localhost` is ours by RFC 6761.
fn is_ours(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    !host.contains('@') && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

const fn is_here(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

// A proxy on this machine makes every stranger look like loopback.
fn was_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        request.into_parts().0
    }

    #[test]
    fn hosts_and_origins() {
        let here = Via::Tcp(IpAddr::from([127, 0, 0, 1]));
        type Case = (&'static [(&'static str, &'static str)], Via, u16);
        let cases: &[Case] = &[
            (&[("host", "127.0.0.1:9901")], here, 200),
            (&[("host", "LocalHost")], here, 200),
            (&[("host", "[::1]:9901")], here, 200),
            (&[("host", "10.1.2.3:9901")], here, 200),
            (&[("host", "evil.example")], here, 403),
            (&[("host", "localhost.evil.example")], here, 403),
            (&[("host", "evil.example@127.0.0.1")], here, 403),
            (&[("host", "127.0.0.1.nip.io:9901")], here, 403),
            (&[("host", "")], here, 403),
            (&[], here, 400),
            (&[("host", "127.0.0.1"), ("host", "evil.example")], here, 400),
            (&[("host", "evil.example")], Via::Unix, 200),
            (&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")], here, 200),
            (&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:2")], here, 403),
            (&[("host", "127.0.0.1:1"), ("origin", "https://evil.example")], here, 403),
            (&[("host", "127.0.0.1:1"), ("origin", "null")], here, 403),
            (&[("host", "x"), ("origin", "https://evil.example")], Via::Unix, 403),
            (&[("host", "127.0.0.1:1"), ("sec-fetch-site", "cross-site")], here, 403),
            (&[("host", "127.0.0.1:1"), ("sec-fetch-site", "none")], here, 200),
        ];
        for (fields, via, status) in cases {
            let answered = Guard::origin(&head(fields), *via).map_or_else(|refusal| refusal.0.as_u16(), |()| 200);
            assert_eq!(answered, *status, "{fields:?} {via:?}");
        }
    }

    // Configured token, trust; what is shown; from where; the statuses of probe, see and change.
    #[test]
    fn who_may_do_what() {
        let (here, mapped) = (IpAddr::from([127, 0, 0, 1]), "::ffff:127.0.0.1".parse().expect("an address"));
        let away = IpAddr::from([10, 0, 0, 9]);
        let (none, right, wrong) = (None, Some("Bearer s3cret"), Some("Bearer s3cre"));
        type Case = (bool, bool, Option<&'static str>, Via, [u16; 3]);
        let cases: [Case; 15] = [
            (false, false, none, Via::Unix, [200, 200, 200]),
            (false, false, none, Via::Tcp(here), [200, 200, 403]),
            (false, true, none, Via::Tcp(here), [200, 200, 200]),
            (false, true, none, Via::Tcp(mapped), [200, 200, 200]),
            (false, true, none, Via::Tcp(away), [200, 403, 403]),
            (false, false, right, Via::Tcp(here), [401, 401, 401]),
            (true, false, none, Via::Unix, [200, 200, 200]),
            (true, false, none, Via::Tcp(here), [200, 200, 401]),
            (true, true, none, Via::Tcp(here), [200, 200, 200]),
            (true, false, right, Via::Tcp(here), [200, 200, 200]),
            (true, false, right, Via::Tcp(away), [200, 200, 200]),
            (true, false, none, Via::Tcp(away), [200, 401, 401]),
            (true, true, none, Via::Tcp(away), [200, 401, 401]),
            (true, true, wrong, Via::Tcp(here), [401, 401, 401]),
            (true, false, Some("Basic czNjcmV0"), Via::Unix, [401, 401, 401]),
        ];
        for (number, (token, trust, shown, via, statuses)) in cases.into_iter().enumerate() {
            let secret = Secret("s3cret".into());
            let guard = Guard::new(token.then_some(&secret), trust);
            let fields: Vec<_> = shown.iter().map(|shown| ("authorization", *shown)).collect();
            let answered = [Right::Probe, Right::See, Right::Change].map(|right| {
                let allowed = guard.allow(&head(&fields), via, right);
                allowed.map_or_else(|refusal| refusal.0.as_u16(), |()| 200)
            });
            assert_eq!(answered, statuses, "case {number}");
        }
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_from_here() {
        let guard = Guard::new(None, true);
        let here = Via::Tcp(IpAddr::from([127, 0, 0, 1]));
        assert!(guard.allow(&head(&[]), here, Right::Change).is_ok());
        assert!(guard.allow(&head(&[("x-forwarded-for", "10.0.0.1")]), here, Right::Change).is_err());
    }
}
