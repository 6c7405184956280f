//! What is served, asked about, kept and forgotten, against an upstream that answers by a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderName, Method, StatusCode};
use http_body_util::BodyExt as _;

use super::*;
use crate::{
    error::{Error, Kind},
    exchange::{Body, Call, Request, Response, Worker, testing},
    filter::{Action, Chain, Origin, Step},
};

/// Status, fields and body, or why there is no answer.
type Told = Result<(u16, Vec<(&'static str, String)>, &'static str), Kind>;

/// Answers in turn, and notes what it was asked.
#[derive(Default)]
struct Upstream {
    answers: Mutex<VecDeque<Told>>,
    seen: Mutex<Vec<String>>,
}

impl Call for Upstream {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        let conditions = ["if-none-match", "if-modified-since"].map(|name| request.head.headers.get(name));
        let conditions: Vec<_> = conditions.into_iter().flatten().map(|value| value.to_str().unwrap()).collect();
        self.seen.lock().unwrap().push([&[request.head.method.as_str()], &conditions[..]].concat().join(" "));
        let answer = self.answers.lock().unwrap().pop_front().expect("nobody asks more than is answered");
        Box::pin(std::future::ready(answer.map_err(|kind| Error::new(kind, "upstream")).map(
            |(status, fields, body)| {
                let mut response = Response::empty(StatusCode::from_u16(status).unwrap());
                for (name, value) in fields {
                    response.head.headers.append(name, value.parse().unwrap());
                }
                response.body = Body::full(body);
                response
            },
        )))
    }
}

struct Stage {
    chain: Chain,
    upstream: Arc<Upstream>,
    end: Arc<dyn Call>,
    worker: Rc<Worker>,
    local: tokio::task::LocalSet,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new(rules: spec::Cache) -> Self {
        let cache = Cache::new(&rules, Arc::new(Cache::state()), Arc::default());
        let step = Step { name: "c".into(), origin: Origin::Route, action: Action::Around(Arc::new(cache)) };
        let upstream = Arc::new(Upstream::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let end = Arc::clone(&upstream) as Arc<dyn Call>;
        Self {
            chain: Chain::new([step]),
            upstream,
            end,
            worker: Rc::default(),
            local: tokio::task::LocalSet::new(),
            runtime,
        }
    }

    fn answer(&self, status: u16, fields: &[(&'static str, &str)], body: &'static str) -> &Self {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.upstream.answers.lock().unwrap().push_back(Ok((status, fields, body)));
        self
    }

    fn send(&self, method: Method, uri: &str, fields: &[(&'static str, &str)]) -> (u16, http::HeaderMap, Bytes) {
        let mut request = testing::request_on(testing::exchange_on(&self.worker), method, uri);
        for (name, value) in fields {
            request.head.headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        self.local.block_on(&self.runtime, async {
            let response = self.chain.run(request, &self.end).await;
            let body = response.body.collect().await.unwrap().to_bytes();
            (response.head.status.as_u16(), response.head.headers, body)
        })
    }

    // Status, body and what the cache says.
    fn get(&self, uri: &str, fields: &[(&'static str, &str)]) -> String {
        let (status, headers, body) = self.send(Method::GET, uri, fields);
        let said = headers.get("cache-status").map_or("", |value| value.to_str().unwrap());
        format!("{status} {} {}", String::from_utf8_lossy(&body), said.trim_start_matches("tidegate;"))
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.upstream.seen.lock().unwrap())
    }
}

fn stage() -> Stage {
    Stage::new(spec::Cache::default())
}

#[test]
fn what_is_fresh_is_served_and_what_is_stale_is_asked_about() {
    let stage = stage();
    stage.answer(200, &[("cache-control", "max-age=60"), ("etag", "\"1\"")], "one");
    assert_eq!(stage.get("/a", &[]), "200 one fwd=uri-miss;stored");
    assert_eq!(stage.get("/a", &[]), "200 one hit;ttl=60");
    assert_eq!(stage.seen(), ["GET"]);
    stage.answer(304, &[("cache-control", "max-age=90"), ("x-new", "1")], "");
    assert_eq!(stage.get("/a", &[("cache-control", "no-cache")]), "200 one fwd=request;fwd-status=304;stored");
    assert_eq!(stage.seen(), ["GET \"1\""]);
    let (_, headers, _) = stage.send(Method::GET, "/a", &[]);
    assert_eq!(
        ["cache-status", "x-new", "age"].map(|name| headers[name].to_str().unwrap()),
        ["tidegate;hit;ttl=90", "1", "0"]
    );
    stage.answer(200, &[("cache-control", "max-age=0"), ("etag", "\"2\"")], "two");
    assert_eq!(stage.get("/a", &[("cache-control", "max-age=0")]), "200 two fwd=request;stored");
    stage.answer(304, &[("etag", "\"2\"")], "");
    assert_eq!(stage.get("/a", &[]), "200 two fwd=stale;fwd-status=304;stored");
    assert_eq!(stage.seen(), ["GET \"1\"", "GET \"2\""]);
    // About something else than was asked about.
    stage.answer(304, &[("etag", "\"3\"")], "");
    assert_eq!(stage.send(Method::GET, "/a", &[]).0, 502);
    stage.answer(200, &[], "new");
    assert_eq!(stage.get("/a", &[]), "200 new fwd=uri-miss");
}

#[test]
fn conditions_of_clients_are_answered() {
    let stage = stage();
    let changed = "Sun, 06 Nov 1994 08:49:37 GMT";
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("last-modified", changed),
        ("content-type", "text/plain"),
    ];
    stage.answer(200, &fields, "one").get("/a", &[]);
    let cases = [
        (vec![("if-none-match", "\"1\"")], 304),
        (vec![("if-none-match", "\"0\", W/\"1\"")], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"0\"")], 200),
        (vec![("if-none-match", "\"0\""), ("if-modified-since", changed)], 200),
        (vec![("if-modified-since", changed)], 304),
        (vec![("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], 200),
        (vec![("if-modified-since", "yesterday")], 200),
    ];
    for (fields, status) in cases {
        let (got, headers, body) = stage.send(Method::GET, "/a", &fields);
        assert_eq!(
            (got, body.is_empty(), headers.contains_key("content-type")),
            (status, status == 304, status == 200),
            "{fields:?}"
        );
        assert!(headers.contains_key("etag") && headers.contains_key("age"));
    }
    let (status, headers, body) = stage.send(Method::HEAD, "/a", &[]);
    assert_eq!((status, headers["content-length"].to_str().unwrap(), body.len()), (200, "3", 0));
    assert_eq!(stage.seen(), ["GET"]);
    // A client's own condition is the upstream's to judge where nothing is kept.
    stage.answer(304, &[], "");
    assert_eq!(stage.get("/b", &[("if-none-match", "\"x\"")]), "304  fwd=uri-miss");
    assert_eq!(stage.seen(), ["GET \"x\""]);
}

#[test]
fn variants_are_told_apart_by_the_fields_that_vary_names() {
    let stage = stage();
    let fields = [("cache-control", "max-age=60"), ("vary", "accept-language, X-Other")];
    stage.answer(200, &fields, "en").answer(200, &fields, "de").answer(
        200,
        &[("cache-control", "max-age=60"), ("vary", "*")],
        "any",
    );
    assert_eq!(stage.get("/a", &[("accept-language", "en, fr")]), "200 en fwd=uri-miss;stored");
    assert_eq!(stage.get("/a", &[("accept-language", "de")]), "200 de fwd=vary-miss;stored");
    assert_eq!(stage.get("/a", &[("accept-language", "en ,fr")]), "200 en hit;ttl=60");
    assert_eq!(stage.get("/a", &[("accept-language", "de"), ("x-unrelated", "1")]), "200 de hit;ttl=60");
    assert_eq!(stage.get("/b", &[]), "200 any fwd=uri-miss");
}

#[test]
fn requests_say_what_they_take() {
    let stage = stage();
    stage.answer(200, &[("cache-control", "max-age=60"), ("age", "20")], "one").get("/a", &[]);
    for (said, expected) in [
        ("max-age=30", "200 one hit;ttl=40"),
        ("min-fresh=30", "200 one hit;ttl=40"),
        ("only-if-cached", "200 one hit;ttl=40"),
        ("max-age=10, max-stale=15", "200 one hit;ttl=40"),
        ("only-if-cached, max-age=10", "504 nothing is kept of this detail=only-if-cached"),
        ("only-if-cached, min-fresh=50", "504 nothing is kept of this detail=only-if-cached"),
        ("only-if-cached, no-cache", "504 nothing is kept of this detail=only-if-cached"),
    ] {
        assert_eq!(stage.get("/a", &[("cache-control", said)]), expected, "{said}");
    }
    assert_eq!(
        stage.get("/none", &[("cache-control", "only-if-cached")]),
        "504 nothing is kept of this detail=only-if-cached"
    );
    stage.answer(200, &[("cache-control", "max-age=5"), ("age", "20")], "old").get("/old", &[]);
    assert_eq!(stage.get("/old", &[("cache-control", "max-stale=20")]), "200 old hit;ttl=-15");
    assert_eq!(stage.get("/old", &[("cache-control", "max-stale")]), "200 old hit;ttl=-15");
    assert!(stage.get("/old", &[("cache-control", "max-stale=10, only-if-cached")]).starts_with("504"));
    stage.answer(200, &[("cache-control", "max-age=5, must-revalidate"), ("age", "20")], "strict").get("/strict", &[]);
    assert!(stage.get("/strict", &[("cache-control", "max-stale, only-if-cached")]).starts_with("504"));
    stage.answer(200, &[("cache-control", "max-age=60")], "secret");
    assert_eq!(stage.get("/b", &[("cache-control", "no-store")]), "200 secret fwd=uri-miss");
    assert!(stage.get("/b", &[("cache-control", "only-if-cached")]).starts_with("504"));
}

#[test]
fn changes_forget_what_is_kept_of_the_uri_and_of_those_they_name() {
    let stage = stage();
    for uri in ["/a", "/b", "/c"] {
        stage.answer(200, &[("cache-control", "max-age=60")], "one").get(uri, &[]);
    }
    stage.answer(500, &[], "");
    assert_eq!(stage.send(Method::POST, "/a", &[]).0, 500);
    assert!(stage.get("/a", &[]).contains("hit"), "it failed");
    stage.answer(200, &[], "");
    stage.send(Method::OPTIONS, "/a", &[]);
    assert!(stage.get("/a", &[]).contains("hit"), "it is safe");
    let named = [("location", "/b"), ("content-location", "http://elsewhere.example/c")];
    stage.answer(201, &named, "");
    let (_, headers, _) = stage.send(Method::PUT, "/a", &[]);
    assert_eq!(headers["cache-status"], "tidegate;fwd=method");
    stage.answer(200, &[], "").answer(200, &[], "");
    assert_eq!(["/a", "/b", "/c"].map(|uri| stage.get(uri, &[]).contains("hit")), [false, false, true]);
}

#[test]
fn a_stale_response_stands_in_where_the_upstream_fails_if_it_may() {
    let stage = stage();
    stage.answer(200, &[("cache-control", "max-age=1, stale-if-error=60"), ("age", "2")], "old").get("/a", &[]);
    stage.answer(503, &[], "down");
    assert_eq!(stage.get("/a", &[]), "200 old fwd=stale;fwd-status=503");
    stage.upstream.answers.lock().unwrap().push_back(Err(Kind::UpstreamConnect));
    assert_eq!(stage.get("/a", &[]), "200 old fwd=stale;fwd-status=502");
    stage.answer(404, &[], "gone");
    assert_eq!(stage.get("/a", &[]), "404 gone fwd=stale");
    stage.answer(200, &[("cache-control", "max-age=1"), ("age", "2")], "old").get("/b", &[]);
    stage.answer(503, &[], "down").answer(503, &[], "down");
    assert_eq!(stage.get("/b", &[]), "503 down fwd=stale");
    assert_eq!(stage.get("/b", &[("cache-control", "stale-if-error=60")]), "200 old fwd=stale;fwd-status=503");
}

#[test]
fn a_stale_response_is_served_while_it_is_fetched_aside() {
    let stage = stage();
    let fields = [("cache-control", "max-age=1, stale-while-revalidate=60"), ("age", "2"), ("etag", "\"1\"")];
    stage.answer(200, &fields, "old").get("/a", &[]);
    stage.answer(200, &[("cache-control", "max-age=60")], "new");
    assert_eq!(stage.get("/a", &[]), "200 old hit;ttl=-1");
    stage.local.block_on(&stage.runtime, async {
        while stage.upstream.seen.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
    });
    assert_eq!(stage.get("/a", &[]), "200 new hit;ttl=60");
    assert_eq!(stage.seen(), ["GET", "GET \"1\""]);
}

#[test]
fn what_is_too_large_or_not_for_a_cache_passes() {
    let rules = spec::Cache { entry_bytes_max: 4, ..spec::Cache::default() };
    let stage = Stage::new(rules);
    let fresh = [("cache-control", "max-age=60")];
    stage.answer(200, &fresh, "12345").answer(200, &fresh, "1234");
    assert_eq!(stage.get("/a", &[]), "200 12345 fwd=uri-miss");
    assert_eq!(stage.get("/a", &[]), "200 1234 fwd=uri-miss;stored");
    assert_eq!(stage.get("/a", &[]), "200 1234 hit;ttl=60");
    stage.answer(206, &[("content-range", "bytes 0-1/4")], "12");
    assert_eq!(stage.get("/p", &[("range", "bytes=0-1")]), "206 12 fwd=bypass");
    assert_eq!(stage.get("/a", &[("range", "bytes=0-1")]), "206 12 hit;ttl=60");
    stage.answer(200, &fresh, "auth").answer(200, &fresh, "auth");
    let who = [("authorization", "Basic eDp5")];
    assert_eq!([stage.get("/b", &who), stage.get("/b", &who)], ["200 auth fwd=uri-miss"; 2]);
    let silent = Stage::new(spec::Cache { status_header: false, ..spec::Cache::default() });
    silent.answer(200, &fresh, "one");
    assert_eq!([silent.get("/a", &[]), silent.get("/a", &[])], ["200 one "; 2]);
}
