//! What a request wants of a cache. Pure.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, header};

use super::{control::Control, stored::Stored};
use crate::exchange::Request;

/// A request as a cache sees it.
#[derive(Debug)]
pub(super) enum Asked {
    /// For something that may be stored.
    Get(Box<Ask>),
    /// For a part of such a thing.
    Part(Box<Ask>),
    /// For a change of what the URI stands for.
    Change,
    /// For what a cache has no say in.
    Else,
}

/// A request for something that may be stored.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The URI.
    pub(super) key: String,
    /// Whether it is for the head alone.
    pub(super) only_head: bool,
    /// What it says.
    pub(super) control: Control,
    /// Whether it says who it is from.
    pub(super) authorized: bool,
}

/// What a stored response is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The answer.
    Fresh,
    /// The answer, though it is stale.
    Stale,
    /// The answer, though it is stale, while it is fetched anew.
    Meanwhile,
    /// To be asked about first: it is stale.
    Old,
    /// To be asked about first: the request says so.
    Unwanted,
}

impl Asked {
    /// What a request is.
    pub(super) fn of(request: &Request) -> Self {
        let (method, headers) = (&request.head.method, &request.head.headers);
        let only_head = method == Method::HEAD;
        if !only_head && method != Method::GET {
            return if method.is_safe() { Self::Else } else { Self::Change };
        }
        let bypasses = request.upgrade.is_some()
            || !request.body.is_empty()
            || PASSED_BY.iter().any(|name| headers.contains_key(name));
        let part = headers.contains_key(header::RANGE);
        // A head has no parts, and a condition on them is nothing without them.
        let bypasses = bypasses || part && only_head || headers.contains_key(header::IF_RANGE) && !part;
        if bypasses {
            return Self::Else;
        }
        let mut control = Control::of(headers);
        let pragma =
            || headers.get_all(header::PRAGMA).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
        control.no_cache |= !headers.contains_key(header::CACHE_CONTROL) && pragma();
        let authorized = headers.contains_key(header::AUTHORIZATION) || is_known(request);
        let ask = Box::new(Ask { key: key(request), only_head, control, authorized });
        if part { Self::Part(ask) } else { Self::Get(ask) }
    }
}

// Whether a step before has verified who it is from, and perhaps taken the proof away: `basic-auth`, or a plugin that
// says so as `key-auth` and `jwt-auth` do.
fn is_known(request: &Request) -> bool {
    let tells = |name: &str| name == BASIC_USER || name.ends_with(CONSUMER);
    request.exchange.attributes.borrow().iter().any(|(name, _)| tells(name))
}

/// The URI that a request is for (RFC 9111 section 2).
pub(super) fn key(request: &Request) -> String {
    let scheme = if request.exchange.secure { "https" } else { "http" };
    let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    format!("{scheme}://{}{target}", host(scheme, request.authority.as_str()))
}

/// The key of a URI that a response to this request refers to, where it is on the same host (RFC 9111 section 4.4).
pub(super) fn referred(base: &str, reference: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let (authority, _) = rest.split_once('/')?;
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.starts_with('/') && !reference.starts_with("//") {
        return Some(format!("{scheme}://{authority}{reference}"));
    }
    let (other, rest) = reference.split_once("://")?;
    let (host_of, path) = rest.find(['/', '?']).map_or((rest, ""), |end| rest.split_at(end));
    let same = other.eq_ignore_ascii_case(scheme) && host(scheme, &host_of.to_ascii_lowercase()) == authority;
    let slash = if path.starts_with('/') { "" } else { "/" };
    same.then(|| format!("{scheme}://{authority}{slash}{path}"))
}

fn host<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

impl Ask {
    /// What a stored response is to it (RFC 9111 section 4.2, 5.2.1; RFC 5861).
    pub(super) fn uses(&self, stored: &Stored, now: Instant) -> Use {
        let (age, terms, said) = (stored.age(now), &stored.terms, &self.control);
        if said.no_cache || said.no_store {
            return Use::Unwanted;
        }
        if terms.validate {
            return Use::Old;
        }
        let too_old = said.max_age.is_some_and(|max| age > max);
        if age < terms.lifetime && !too_old {
            let enough = said.min_fresh.is_none_or(|min| terms.lifetime - age >= min);
            return if enough { Use::Fresh } else { Use::Unwanted };
        }
        let lifetime = said.max_age.map_or(terms.lifetime, |max| max.min(terms.lifetime));
        let stale_for = age.saturating_sub(lifetime);
        if !terms.strict && said.max_stale.is_some_and(|max| stale_for <= max) {
            return Use::Stale;
        }
        if too_old || said.min_fresh.is_some() {
            return Use::Unwanted;
        }
        if stale_for < terms.while_revalidate { Use::Meanwhile } else { Use::Old }
    }
}

/// Whether a stale response may stand in where the upstream failed.
pub(super) fn stands_in(stored: &Stored, asked: &HeaderMap, now: Instant) -> bool {
    let own = Control::of(asked).stale_if_error.unwrap_or(Duration::ZERO);
    let allowed = if stored.terms.strict || stored.terms.validate { Duration::ZERO } else { own };
    stored.age(now).saturating_sub(stored.terms.lifetime) < stored.terms.if_error.max(allowed)
}

/// Conditions that only an origin may judge, or that no stored response meets.
static PASSED_BY: [header::HeaderName; 2] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
const BASIC_USER: &str = "basic-auth.user";
const CONSUMER: &str = ".consumer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing;

    #[test]
    fn who_was_verified_by_a_step_before_counts_as_authorized() {
        let cases = [
            (None, None, false),
            (Some("Bearer x"), None, true),
            (None, Some("basic-auth.user"), true),
            (None, Some("keys.consumer"), true),
            (None, Some("request.id"), false),
        ];
        for (field, attribute, expected) in cases {
            let mut request = testing::request(Method::GET, "/");
            if let Some(field) = field {
                request.head.headers.insert(header::AUTHORIZATION, field.parse().unwrap());
            }
            let noted = attribute.map(|name| (name.to_owned(), "alice".to_owned()));
            request.exchange.attributes.borrow_mut().extend(noted);
            let Asked::Get(ask) = Asked::of(&request) else { panic!("it is for a cache") };
            assert_eq!(ask.authorized, expected, "{field:?} {attribute:?}");
        }
    }

    #[test]
    fn references_on_the_same_host_are_found() {
        let base = "https://a.example/x?y";
        let cases = [
            ("/z?q#f", Some("https://a.example/z?q")),
            ("https://A.example:443/z", Some("https://a.example/z")),
            ("https://a.example", Some("https://a.example/")),
            ("https://a.example?q", Some("https://a.example/?q")),
            ("http://a.example/z", None),
            ("https://b.example/z", None),
            ("//a.example/z", None),
            ("z", None),
        ];
        for (reference, expected) in cases {
            assert_eq!(referred(base, reference).as_deref(), expected, "{reference}");
        }
    }
}
