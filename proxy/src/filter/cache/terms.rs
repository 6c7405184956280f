//! What may be stored, and how long it is fresh (RFC 9111 sections 3, 4.2 and RFC 5861). Pure.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::control::Control;
use crate::config::spec;

/// What a stored response says of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// It is fresh for so long.
    pub(super) lifetime: Duration,
    /// It is never served without asking first.
    pub(super) validate: bool,
    /// It is not served stale, not even to who would take it.
    pub(super) strict: bool,
    /// When it is stale, it is served for so long while it is fetched anew.
    pub(super) while_revalidate: Duration,
    /// When it is stale, it is served for so long where the upstream fails.
    pub(super) if_error: Duration,
}

/// When a request was sent, and when the head of its response was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) asked: Instant,
    pub(super) received: Instant,
    pub(super) wall: SystemTime,
}

/// On which terms a response may be stored, if it may. `asked` is what the request said, `authorized` whether it said who
/// it is from.
pub(super) fn terms(
    (status, headers): (StatusCode, &HeaderMap),
    (asked, authorized): (&Control, bool),
    rules: &spec::Cache,
    wall: SystemTime,
) -> Option<Terms> {
    let said = Control::of(headers);
    let refuses = said.no_store && !(said.must_understand && is_understood(status));
    let unknown = said.must_understand && !is_understood(status);
    let partial = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
        || status.is_informational()
        || headers.contains_key(header::CONTENT_RANGE);
    // RFC 9111 section 3.5.
    let theirs = authorized && !(said.public || said.must_revalidate || said.s_maxage.is_some());
    // A cookie is one client's, whatever else is said (as section 7.3 warns).
    let cookie = headers.contains_key(header::SET_COOKIE);
    if asked.no_store || refuses || unknown || partial || said.private || theirs || cookie {
        return None;
    }
    let explicit = explicit(&said, headers, wall);
    if explicit.is_none() && !said.public && !is_heuristic(status) {
        return None;
    }
    let lifetime = explicit.unwrap_or_else(|| guessed(headers, rules, wall));
    let validators = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    (!lifetime.is_zero() || validators).then(|| Terms {
        lifetime,
        validate: said.no_cache,
        strict: said.must_revalidate || said.s_maxage.is_some(),
        while_revalidate: allowed(&said, said.stale_while_revalidate, rules.stale_while_revalidate),
        if_error: allowed(&said, said.stale_if_error, rules.stale_if_error),
    })
}

// What the response says of itself goes before what the step says of all of them; only that survives `s-maxage`.
fn allowed(said: &Control, own: Option<Duration>, default: Duration) -> Duration {
    match own {
        _ if said.must_revalidate || said.no_cache => Duration::ZERO,
        Some(own) => own,
        None if said.s_maxage.is_some() => Duration::ZERO,
        None => default,
    }
}

// RFC 9111 section 4.2.1.
fn explicit(said: &Control, headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let expires = || {
        headers.contains_key(header::EXPIRES).then(|| {
            // What is no date is in the past.
            let until = date(headers, &header::EXPIRES)?;
            until.duration_since(date(headers, &header::DATE).unwrap_or(wall)).ok()
        })
    };
    said.s_maxage.or(said.max_age).or_else(|| expires().map(Option::unwrap_or_default))
}

// RFC 9111 section 4.2.2.
fn guessed(headers: &HeaderMap, rules: &spec::Cache, wall: SystemTime) -> Duration {
    if !rules.default_max_age.is_zero() {
        return rules.default_max_age;
    }
    let unchanged = date(headers, &header::LAST_MODIFIED)
        .and_then(|changed| date(headers, &header::DATE).unwrap_or(wall).duration_since(changed).ok());
    unchanged.map_or(Duration::ZERO, |time| (time / 100 * rules.heuristic_percent).min(GUESSED_MAX))
}

/// How old a response was when it came (RFC 9111 section 4.2.3).
pub(super) fn initial_age(headers: &HeaderMap, times: Times) -> Duration {
    let apparent = date(headers, &header::DATE).and_then(|date| times.wall.duration_since(date).ok());
    let said = headers.get(header::AGE).and_then(|value| value.to_str().ok());
    let said =
        said.and_then(|text| text.split(',').next()?.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let delay = times.received.saturating_duration_since(times.asked);
    apparent.unwrap_or_default().max(said.saturating_add(delay)).min(super::control::FOREVER)
}

/// A date in a field, where it is one.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

// RFC 9110 section 15.1.
const fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

const fn is_understood(status: StatusCode) -> bool {
    is_heuristic(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

const GUESSED_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn wall() -> SystemTime {
        httpdate::parse_http_date(DATE).unwrap()
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    fn rules() -> spec::Cache {
        spec::Cache::default()
    }

    // Seconds of freshness; `None` where it is not stored.
    fn lifetime(status: u16, fields: &[(&str, &str)], rules: &spec::Cache) -> Option<u64> {
        let status = StatusCode::from_u16(status).unwrap();
        let terms = terms((status, &headers(fields)), (&Control::default(), false), rules, wall());
        terms.map(|terms| terms.lifetime.as_secs())
    }

    #[test]
    fn what_is_said_decides_whether_it_is_stored_and_for_how_long() {
        const ETAG: (&str, &str) = ("etag", "\"v\"");
        let cc = |value: &'static str| ("cache-control", value);
        type Case = (u16, Vec<(&'static str, &'static str)>, Option<u64>);
        let cases: Vec<Case> = vec![
            (200, vec![cc("max-age=60")], Some(60)),
            (200, vec![cc("max-age=60, s-maxage=5")], Some(5)),
            (200, vec![cc("max-age=60"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (200, vec![("date", DATE), ("expires", "Sun, 06 Nov 1994 08:51:37 GMT")], Some(120)),
            (
                200,
                vec![("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("expires", "Sun, 06 Nov 1994 08:49:37 GMT")],
                Some(10),
            ),
            (200, vec![("expires", "0")], None),
            (200, vec![("expires", "0"), ETAG], Some(0)),
            (200, vec![], None),
            (200, vec![ETAG], Some(0)),
            (200, vec![cc("no-store, max-age=60")], None),
            (200, vec![cc("private, max-age=60")], None),
            (200, vec![cc("no-cache"), ETAG], Some(0)),
            (200, vec![cc("no-store, must-understand, max-age=60")], Some(60)),
            (299, vec![cc("must-understand, max-age=60")], None),
            (200, vec![cc("max-age=60"), ("set-cookie", "a=b")], None),
            (206, vec![cc("max-age=60"), ("content-range", "bytes 0-1/2")], None),
            (304, vec![cc("max-age=60")], None),
            (302, vec![cc("max-age=60")], Some(60)),
            (302, vec![("location", "/x"), ETAG], None),
            (404, vec![cc("max-age=60")], Some(60)),
            (503, vec![cc("max-age=60")], Some(60)),
            (503, vec![ETAG], None),
        ];
        for (status, fields, expected) in cases {
            assert_eq!(lifetime(status, &fields, &rules()), expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn nothing_is_guessed_unless_it_is_asked_for() {
        let changed = ("last-modified", "Sun, 06 Nov 1994 08:33:57 GMT");
        assert_eq!(lifetime(200, &[changed], &rules()), Some(0));
        let tenth = spec::Cache { heuristic_percent: 10, ..rules() };
        assert_eq!(lifetime(200, &[changed], &tenth), Some(94));
        assert_eq!(
            lifetime(200, &[("last-modified", "Sun, 06 Nov 1904 08:49:37 GMT")], &tenth),
            Some(0),
            "no such date"
        );
        assert_eq!(lifetime(200, &[("last-modified", "Thu, 06 Nov 1980 08:49:37 GMT")], &tenth), Some(86_400));
        let fixed = spec::Cache { default_max_age: Duration::from_secs(7), ..rules() };
        assert_eq!((lifetime(200, &[], &fixed), lifetime(500, &[], &fixed)), (Some(7), None));
        assert_eq!(lifetime(200, &[("cache-control", "max-age=1")], &fixed), Some(1));
    }

    #[test]
    fn who_said_who_they_are_shares_only_what_may_be_shared() {
        let stored = |control: &str, asked: &Control| {
            let headers = headers(&[("cache-control", control)]);
            terms((StatusCode::OK, &headers), (asked, true), &rules(), wall()).is_some()
        };
        let cases = [
            ("max-age=60", false),
            ("max-age=60, public", true),
            ("s-maxage=60", true),
            ("max-age=60, must-revalidate", true),
        ];
        for (control, expected) in cases {
            assert_eq!(stored(control, &Control::default()), expected, "{control}");
        }
        assert!(!stored("public, max-age=60", &Control { no_store: true, ..Control::default() }));
    }

    #[test]
    fn stale_answers_are_allowed_by_the_response_before_the_step() {
        let rules = spec::Cache { stale_if_error: Duration::from_secs(9), ..rules() };
        let of = |control: &str| {
            let headers = headers(&[("cache-control", control)]);
            let terms = terms((StatusCode::OK, &headers), (&Control::default(), false), &rules, wall()).unwrap();
            (terms.while_revalidate.as_secs(), terms.if_error.as_secs(), terms.strict)
        };
        assert_eq!(of("max-age=1"), (0, 9, false));
        assert_eq!(of("max-age=1, stale-while-revalidate=3, stale-if-error=4"), (3, 4, false));
        assert_eq!(of("s-maxage=1"), (0, 0, true));
        assert_eq!(of("s-maxage=1, stale-while-revalidate=3"), (3, 0, true));
        assert_eq!(of("max-age=1, must-revalidate, stale-if-error=4"), (0, 0, true));
    }

    #[test]
    fn age_counts_what_was_before_and_the_way() {
        let asked = Instant::now();
        let times = Times { asked, received: asked + Duration::from_secs(2), wall: wall() };
        let age = |fields: &[(&str, &str)]| initial_age(&headers(fields), times).as_secs();
        assert_eq!(age(&[]), 2);
        assert_eq!(age(&[("age", "10")]), 12);
        assert_eq!(age(&[("age", "10, 20")]), 12);
        assert_eq!(age(&[("age", "x")]), 2);
        assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "10")]), 30);
        assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:59:07 GMT")]), 2, "a clock that is ahead");
    }
}
