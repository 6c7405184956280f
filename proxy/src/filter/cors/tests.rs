//! Tests of what is shared, as tables: origins, preflights, responses.

use futures_util::FutureExt;

use super::*;
use crate::exchange::testing;

fn spec(origins: &[&str], credentials: bool) -> spec::Cors {
    let origin = |text: &&str| match text.split_once('*') {
        Some(("", "")) => OriginPattern::Any,
        Some((before, after)) => OriginPattern::Wildcard(before.into(), after.into()),
        None => OriginPattern::Exact((*text).into()),
    };
    spec::Cors {
        origins: origins.iter().map(origin).collect(),
        methods: AllOr { all: false, named: vec![Method::PUT, Method::DELETE] },
        headers: AllOr { all: false, named: vec![header::CONTENT_TYPE, header::AUTHORIZATION] },
        expose: AllOr { all: false, named: vec![header::ETAG] },
        credentials,
        max_age: std::time::Duration::from_secs(60),
    }
}

// With `*` for methods, headers and exposed fields.
fn all(origins: &[&str], credentials: bool) -> spec::Cors {
    let all = || AllOr { all: true, named: Vec::new() };
    spec::Cors {
        methods: AllOr { all: true, named: Vec::new() },
        headers: all(),
        expose: all(),
        ..spec(origins, credentials)
    }
}

fn fields(text: &str) -> HeaderMap {
    let pairs = text.split("; ").filter_map(|field| field.split_once(": "));
    pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn said(headers: &HeaderMap) -> String {
    let mut said: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    said.sort();
    said.join("; ").replace("access-control-", "")
}

// The answer to a request, from an origin server with these response fields.
fn through(spec: &spec::Cors, method: Method, asked: &str, answered: &str) -> (bool, String) {
    let mut request = testing::request(method, "/");
    request.head.headers = fields(asked);
    let visit = Cors::new(spec).begin(&request.exchange);
    let flow = Rc::clone(&visit).request(request).settle().now_or_never().unwrap().unwrap();
    match flow {
        ControlFlow::Break(response) => {
            assert_eq!(response.head.status, StatusCode::OK);
            (true, said(&response.head.headers))
        }
        ControlFlow::Continue(_) => {
            let mut response = Response::empty(StatusCode::OK);
            response.head.headers = fields(answered);
            (false, said(&visit.response(response).settle().now_or_never().unwrap().unwrap().head.headers))
        }
    }
}

#[test]
fn origins_are_compared_as_they_are_serialised() {
    let rules = Rules::new(&spec(&["https://a.test", "https://*.b.test", "http://*:3000", "http://[::1]:81"], false));
    let cases = [
        ("https://a.test", true),
        ("http://a.test", false),
        ("https://a.test:8443", false),
        ("https://A.test", false),
        ("https://x.a.test", false),
        ("https://x.b.test", true),
        ("https://x.y.b.test", true),
        ("https://b.test", false),
        ("https://.b.test", false),
        ("https://evil.test/.b.test", false),
        ("https://evil.test:1.b.test", false),
        ("https://x.b.test.evil.test", false),
        ("http://anything:3000", true),
        ("http://[::2]:3000", true),
        ("http://anything", false),
        ("http://[::1]:81", true),
        ("null", false),
        ("", false),
    ];
    for (origin, expected) in cases {
        assert_eq!(rules.allows(&HeaderValue::from_static(origin)), expected, "{origin}");
    }
    assert!(Rules::new(&spec(&["*"], false)).allows(&HeaderValue::from_static("null")));
}

#[test]
fn preflights_are_answered() {
    let vary = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    let named = "allow-headers: content-type, authorization; allow-methods: PUT, DELETE; allow-origin: https://a.test; \
                 expose-headers: etag; max-age: 60";
    let ask = "origin: https://a.test; access-control-request-method: PUT";
    let cases = [
        (spec(&["https://a.test"], false), ask, named.to_owned()),
        (spec(&["https://a.test"], true), ask, format!("allow-credentials: true; {named}")),
        (spec(&["https://b.test"], true), ask, String::new()),
        (spec(&["*"], false), ask, named.replace("https://a.test", "*")),
        (spec(&["*"], true), ask, format!("allow-credentials: true; {named}")),
        (
            all(&["*"], false),
            ask,
            "allow-headers: *; allow-methods: *; allow-origin: *; expose-headers: *; max-age: 60".into(),
        ),
        (
            all(&["*"], true),
            ask,
            "allow-credentials: true; allow-methods: PUT; allow-origin: https://a.test; max-age: 60".into(),
        ),
        (
            all(&["*"], true),
            "origin: null; access-control-request-method: PUT; access-control-request-headers: x-a,x-b",
            "allow-credentials: true; allow-headers: x-a,x-b; allow-methods: PUT; allow-origin: null; max-age: 60"
                .into(),
        ),
    ];
    for (spec, asked, expected) in cases {
        let expected = if expected.is_empty() { vary.into() } else { format!("{expected}; {vary}") };
        assert_eq!(through(&spec, Method::OPTIONS, asked, ""), (true, expected), "{spec:?}");
    }
}

#[test]
fn responses_say_who_may_read_them_whatever_the_upstream_says() {
    let from = "origin: https://a.test";
    let one = spec(&["https://a.test"], false);
    let cases = [
        (&one, Method::GET, from, "", "allow-origin: https://a.test; expose-headers: etag; vary: Origin"),
        (&one, Method::GET, "", "", "vary: Origin"),
        (&one, Method::GET, "origin: https://b.test", "access-control-allow-origin: *", "vary: Origin"),
        (&one, Method::GET, "origin: https://a.test; origin: https://b.test", "", "vary: Origin"),
        (&one, Method::GET, "", "vary: accept", "vary: Origin; vary: accept"),
        (&one, Method::GET, "", "vary: accept, origin", "vary: accept, origin"),
        (&one, Method::GET, "", "vary: *", "vary: *"),
        // No preflight: no method is asked for, or no origin asks.
        (&one, Method::OPTIONS, from, "", "allow-origin: https://a.test; expose-headers: etag; vary: Origin"),
        (&one, Method::OPTIONS, "access-control-request-method: PUT", "", "vary: Origin"),
        (&spec(&["*"], false), Method::GET, "", "", "allow-origin: *; expose-headers: etag"),
        (&spec(&["*"], false), Method::GET, from, "", "allow-origin: *; expose-headers: etag"),
        (
            &spec(&["*"], true),
            Method::GET,
            from,
            "access-control-allow-credentials: false",
            "allow-credentials: true; allow-origin: https://a.test; expose-headers: etag; vary: Origin",
        ),
        (
            &all(&["*"], true),
            Method::GET,
            from,
            "x-a: 1",
            "allow-credentials: true; allow-origin: https://a.test; expose-headers: x-a, vary; vary: Origin; x-a: 1",
        ),
    ];
    for (spec, method, asked, answered, expected) in cases {
        assert_eq!(through(spec, method, asked, answered), (false, expected.into()), "{spec:?} {asked} {answered}");
    }
}

#[test]
fn it_says_what_it_does() {
    let step = Cors::new(&spec(&["https://a.test", "https://*.b.test"], true));
    assert_eq!(step.describe(), "share with https://a.test, https://*.b.test, with credentials");
}
