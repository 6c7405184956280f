//! The response cache, from outside. What is stale is so at once: its upstream says that it is old (`Age`), so nothing
//! waits for time to pass.

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tidegate_tests::{
    Answer, Client, ConfigDir, Gateway, Origin, WEB,
    origin::{Held, Hold},
    request, soon, streamed,
};

const CONFIGURATION: &str = "
upstreams:
  origin: {endpoints: ['{origin}']}
  nobody: {endpoints: ['127.0.0.1:1']}
middleware:
  pages: {cache: {}}
  small: {cache: {bytes-max: 64KiB, entry-bytes-max: 16KiB}}
  few: {cache: {wait-timeout: 50ms}}
  kind: {cache: {stale-if-error: 1h}}
  staff: {basic-auth: {users: ['alice:$2b$04$yeKvDYzQWYijGcIpYGcDRe0GMy/.kOC9UyTIeH9W/QIBESjmQCbHC']}}
  gzip: {compress: {codings: gzip, body-bytes-min: 0}}
routes:
  - {id: pages, path: /*, middleware: [pages], upstream: origin}
  - {id: canary, path: /*, headers: {x-canary: '1'}, middleware: [pages], upstream: origin}
  - {id: small, path: /small/*, middleware: [small], upstream: origin}
  - {id: few, path: /few, middleware: [few], upstream: origin}
  - {id: kind, path: /kind, middleware: [kind], upstream: origin}
  - {id: gzip, path: /gzip, middleware: [gzip, pages], upstream: origin}
";

async fn scene() -> (Origin, ConfigDir, Gateway) {
    Gateway::in_front_of_origin(CONFIGURATION).await
}

fn asked(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<Bytes> {
    let mut ask = request(method, path);
    for (name, value) in fields {
        ask.headers_mut().append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    ask
}

// Answers the next request with these fields (lines) and this body.
async fn serve(hold: &mut Hold, status: u16, fields: &str, body: &str) -> Held {
    let mut held = hold.next().await;
    let lines = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
    let length = if status == 304 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    held.send(format!("HTTP/1.1 {status} X\r\n{lines}{length}\r\n{body}")).await;
    held
}

// A request and what the origin answers to it.
async fn through(client: &mut Client, ask: Request<Bytes>, hold: &mut Hold, fields: &str, body: &str) -> Answer {
    let (answer, held) = tokio::join!(client.send(ask), serve(hold, 200, fields, body));
    held.keep();
    answer
}

fn said(answer: &Answer) -> (u16, String, &str) {
    (answer.status.as_u16(), answer.text(), answer.header("cache-status").trim_start_matches("tidegate;"))
}

#[tokio::test]
async fn what_is_fresh_is_served_to_everyone_without_the_upstream() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let fields = "cache-control: max-age=600\r\netag: \"v1\"\r\nx-kind: page\r\nage: 7";
    let first = through(&mut gateway.http1().await, request(Method::GET, "/page"), &mut hold, fields, "hello").await;
    assert_eq!(said(&first), (200, "hello".into(), "fwd=uri-miss;stored"));
    // On whichever worker, in whichever protocol.
    for number in 0..6 {
        let mut client = if number % 2 == 0 { gateway.http1().await } else { gateway.http2().await };
        let answer = client.get("/page").await;
        let age: u64 = answer.header("age").parse().unwrap();
        assert!((7..100).contains(&age), "{age}");
        assert_eq!((answer.text().as_str(), answer.header("x-kind")), ("hello", "page"));
        assert!(answer.header("cache-status").starts_with("tidegate;hit;ttl=5"), "{answer:?}");
        assert!(!answer.header("date").is_empty());
        let head = client.send(request(Method::HEAD, "/page")).await;
        assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, "5", 0));
        let known = client.send(asked(Method::GET, "/page", &[("if-none-match", "W/\"v1\"")])).await;
        assert_eq!((known.status.as_u16(), known.header("etag"), known.body.len()), (304, "\"v1\"", 0));
    }
    assert_eq!(origin.requests(), 1);
    // Another URI, another host, another route: each is another response.
    let mut client = gateway.http1().await;
    for ask in [
        request(Method::GET, "/page?x=1"),
        request(Method::GET, "http://other.example/page"),
        asked(Method::GET, "/page", &[("x-canary", "1")]),
    ] {
        let answer = through(&mut client, ask, &mut hold, fields, "other").await;
        assert_eq!(answer.text(), "other");
    }
    let counted = async |outcome: &str| gateway.metric("tidegate_cache_requests_total", outcome).await;
    soon("they are counted", async || counted("hit").await == 18.0 && counted("miss").await == 4.0).await;
    assert!(gateway.metric("tidegate_cache_bytes", "pages").await > 20.0);
    assert_eq!(gateway.metric("tidegate_cache_entries", "pages").await, 3.0);
}

#[tokio::test]
async fn a_reload_keeps_what_is_kept() {
    let (origin, dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let mut client = gateway.http1().await;
    through(&mut client, request(Method::GET, "/page"), &mut hold, "cache-control: max-age=600", "hello").await;
    dir.write(
        "gateway.yaml",
        &format!("{WEB}{}", CONFIGURATION.replace("pages: {cache: {}}", "pages: {cache: {bytes-max: 32MiB}}")),
    );
    let generation = gateway.apply().await;
    let answer = client.get("/page").await;
    assert_eq!((answer.text().as_str(), answer.generation()), ("hello", generation));
    assert!(answer.header("cache-status").starts_with("tidegate;hit"));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn what_is_stale_is_asked_about() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let mut client = gateway.http1().await;
    let stale = "cache-control: max-age=1\r\nage: 60\r\netag: \"v1\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    through(&mut client, request(Method::GET, "/page"), &mut hold, stale, "hello").await;
    let ask = client.send(asked(Method::GET, "/page", &[("if-none-match", "\"mine\"")]));
    let (answer, held) = tokio::join!(ask, serve(&mut hold, 304, "cache-control: max-age=600\r\nx-fresh: 1", ""));
    assert_eq!(said(&answer), (200, "hello".into(), "fwd=stale;fwd-status=304;stored"));
    let conditions = ["if-none-match", "if-modified-since"].map(|name| held.head.field(name).unwrap_or_default());
    assert_eq!(conditions, ["\"v1\"", "Sun, 06 Nov 1994 08:49:37 GMT"]);
    held.keep();
    let answer = client.get("/page").await;
    assert_eq!((answer.text().as_str(), answer.header("x-fresh")), ("hello", "1"));
    assert!(answer.header("cache-status").starts_with("tidegate;hit;ttl="));
    // A client may ask for it anew, and a new response takes the place of the old one.
    let anew = asked(Method::GET, "/page", &[("cache-control", "no-cache")]);
    let answer = through(&mut client, anew, &mut hold, "cache-control: max-age=600", "new").await;
    assert_eq!(said(&answer), (200, "new".into(), "fwd=request;stored"));
    assert_eq!(client.get("/page").await.text(), "new");
    let forced = client.send(asked(Method::GET, "/other", &[("cache-control", "only-if-cached")])).await;
    assert_eq!(forced.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn of_many_who_want_it_one_asks() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let clients = (0..8).map(|_| async {
        let mut client = gateway.http1().await;
        client.get("/page").await
    });
    let all = futures_util::future::join_all(clients);
    let serve = async {
        let mut held = hold.next().await;
        held.begin(200, "cache-control: max-age=600\r\n").await;
        // Those who come while it is on its way wait for it, too.
        let late = async { gateway.http1().await.get("/page").await };
        let rest = async {
            for piece in ["hel", "lo"] {
                held.chunk(piece).await;
            }
            held.end("").await;
            held.keep();
        };
        tokio::join!(late, rest).0
    };
    let (answers, late) = tokio::join!(all, serve);
    assert!(answers.iter().chain([&late]).all(|answer| answer.text() == "hello"));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn who_waits_for_what_is_not_kept_goes_on_alone() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/few");
    // Longer than it waits.
    let one = async { gateway.http1().await.get("/few").await };
    let two = async { gateway.http1().await.get("/few").await };
    let serve_both = async {
        let first = hold.next().await;
        let second = hold.next().await;
        for mut held in [second, first] {
            held.answer(200, "private").await;
            held.keep();
        }
    };
    let (one, two, ()) = tokio::join!(one, two, serve_both);
    assert_eq!([one.text(), two.text()], ["private", "private"]);
    // And the head of an answer that is not kept lets everyone go at once, however long its body takes.
    let mut hold = origin.hold("/page");
    let one = async { gateway.http1().await.get("/page").await };
    let two = async { gateway.http1().await.get("/page").await };
    let serve_both = async {
        let mut first = hold.next().await;
        first.begin(200, "cache-control: private\r\n").await;
        let mut second = hold.next().await;
        second.answer(200, "two").await;
        second.keep();
        first.chunk("one").await;
        first.end("").await;
        first.keep();
    };
    let (one, two, ()) = tokio::join!(one, two, serve_both);
    let mut texts = [one.text(), two.text()];
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test]
async fn a_stale_response_is_served_while_it_is_fetched_anew() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let mut client = gateway.http1().await;
    let stale = "cache-control: max-age=1, stale-while-revalidate=600\r\nage: 60\r\netag: \"v1\"";
    through(&mut client, request(Method::GET, "/page"), &mut hold, stale, "old").await;
    // Nobody waits for the upstream.
    for _ in 0..3 {
        let answer = client.get("/page").await;
        assert_eq!(answer.text(), "old");
        assert!(answer.header("cache-status").starts_with("tidegate;hit;ttl=-"), "{answer:?}");
    }
    let held = serve(&mut hold, 200, "cache-control: max-age=600", "new").await;
    assert_eq!(held.head.field("if-none-match").as_deref(), Some("\"v1\""));
    held.keep();
    soon("the new one is served", async || client.get("/page").await.text() == "new").await;
    assert_eq!(origin.requests(), 2, "one asked for all");
}

#[tokio::test]
async fn a_stale_response_stands_in_where_the_upstream_fails() {
    let (origin, dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut hold = origin.hold("/page");
    let stale = "cache-control: max-age=1, stale-if-error=600\r\nage: 60";
    through(&mut client, request(Method::GET, "/page"), &mut hold, stale, "old").await;
    let (answer, held) = tokio::join!(client.get("/page"), serve(&mut hold, 503, "", "down"));
    assert_eq!(said(&answer), (200, "old".into(), "fwd=stale;fwd-status=503"));
    held.keep();
    // As the step says, where the response does not.
    let mut hold = origin.hold("/kind");
    through(&mut client, request(Method::GET, "/kind"), &mut hold, "cache-control: max-age=1\r\nage: 60", "old").await;
    let moved = CONFIGURATION.replace(
        "path: /kind, middleware: [kind], upstream: origin",
        "path: /kind, middleware: [kind], upstream: nobody",
    );
    dir.write("gateway.yaml", &format!("{WEB}{moved}"));
    gateway.apply().await;
    let answer = client.get("/kind").await;
    assert_eq!(said(&answer), (200, "old".into(), "fwd=stale;fwd-status=502"));
}

#[tokio::test]
async fn what_is_one_clients_is_not_shared() {
    let (origin, dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut hold = origin.hold("/page");
    let who = [("authorization", "Bearer a")];
    for (asks, fields) in [
        (&who[..], "cache-control: max-age=600"),
        (&[], "cache-control: private, max-age=600"),
        (&[], "cache-control: no-store"),
        (&[], "cache-control: max-age=600\r\nset-cookie: a=b"),
        (&[], "cache-control: max-age=600\r\nvary: *"),
        (&[("cache-control", "no-store")], "cache-control: max-age=600"),
        (&[("range", "bytes=0-1")], "cache-control: max-age=600"),
    ] {
        for body in ["one", "two"] {
            let answer = through(&mut client, asked(Method::GET, "/page", asks), &mut hold, fields, body).await;
            assert_eq!(answer.text(), body, "{asks:?} {fields}");
        }
    }
    // Where the response says that it may be.
    let answer =
        through(&mut client, asked(Method::GET, "/page", &who), &mut hold, "cache-control: s-maxage=600", "all").await;
    assert_eq!(answer.text(), "all");
    assert_eq!(client.get("/page").await.text(), "all");
    // A step before that verifies who it is, and takes the proof away, changes nothing.
    let known = CONFIGURATION.replace("path: /few, middleware: [few]", "path: /few, middleware: [staff, few]");
    dir.write("gateway.yaml", &format!("{WEB}{known}"));
    gateway.apply().await;
    let mut hold = origin.hold("/few");
    let alice = [("authorization", "Basic YWxpY2U6c2VjcmV0")];
    let answer = client.send(asked(Method::GET, "/few", &[])).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    for body in ["one", "two"] {
        let ask = client.try_send(asked(Method::GET, "/few", &alice));
        let serve = async {
            let held = serve(&mut hold, 200, "cache-control: max-age=600", body).await;
            held.keep();
        };
        let (answer, ()) = tokio::join!(ask, serve);
        assert_eq!(answer.unwrap().text(), body);
    }
}

#[tokio::test]
async fn variants_and_encodings_are_kept_apart() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut hold = origin.hold("/page");
    let fields = "cache-control: max-age=600\r\nvary: accept-language";
    for language in ["en", "de"] {
        let ask = asked(Method::GET, "/page", &[("accept-language", language)]);
        through(&mut client, ask, &mut hold, fields, language).await;
    }
    for language in ["en", "de", "en"] {
        assert_eq!(client.send(asked(Method::GET, "/page", &[("accept-language", language)])).await.text(), language);
    }
    assert_eq!(origin.requests(), 2);
    // What is kept plain is compressed for who likes it so.
    let mut hold = origin.hold("/gzip");
    let fields = "cache-control: max-age=600\r\ncontent-type: text/plain\r\netag: \"v1\"";
    let plain = through(&mut client, request(Method::GET, "/gzip"), &mut hold, fields, "hello").await;
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), ("hello", ""));
    let packed = client.send(asked(Method::GET, "/gzip", &[("accept-encoding", "gzip")])).await;
    assert_eq!((packed.header("content-encoding"), packed.header("etag")), ("gzip", "W/\"v1\""));
    let known = asked(Method::GET, "/gzip", &[("accept-encoding", "gzip"), ("if-none-match", "W/\"v1\"")]);
    assert_eq!(client.send(known).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn a_change_forgets_what_is_kept() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut hold = origin.hold("/page");
    through(&mut client, request(Method::GET, "/page"), &mut hold, "cache-control: max-age=600", "old").await;
    assert_eq!(client.get("/page").await.text(), "old");
    let (answer, held) = tokio::join!(client.send(request(Method::POST, "/page")), serve(&mut hold, 204, "", ""));
    assert_eq!((answer.status.as_u16(), answer.header("cache-status")), (204, "tidegate;fwd=method"));
    held.keep();
    let answer =
        through(&mut client, request(Method::GET, "/page"), &mut hold, "cache-control: max-age=600", "new").await;
    assert_eq!(said(&answer), (200, "new".into(), "fwd=uri-miss;stored"));
}

#[tokio::test]
async fn what_was_asked_for_before_a_change_is_not_kept_after_it() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let (mut reader, mut writer) = (gateway.http1().await, gateway.http1().await);
    let read = async {
        let mut old = hold.next().await;
        let (changed, held) = tokio::join!(writer.send(request(Method::PUT, "/page")), serve(&mut hold, 204, "", ""));
        assert_eq!(changed.status.as_u16(), 204);
        held.keep();
        old.send("HTTP/1.1 200 X\r\ncache-control: max-age=600\r\ncontent-length: 3\r\n\r\nold").await;
        old.keep();
    };
    let (answer, ()) = tokio::join!(reader.get("/page"), read);
    assert_eq!(answer.text(), "old");
    let answer =
        through(&mut reader, request(Method::GET, "/page"), &mut hold, "cache-control: max-age=600", "new").await;
    assert_eq!(said(&answer), (200, "new".into(), "fwd=uri-miss;stored"));
    assert_eq!(reader.get("/page").await.text(), "new");
}

#[tokio::test]
async fn memory_has_a_bound_and_what_does_not_fit_passes() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut serve_page = async |number: usize, length: usize| {
        let path = format!("/small/{number}");
        let mut hold = origin.hold(&path);
        let body = "x".repeat(length);
        let answer =
            through(&mut client, request(Method::GET, &path), &mut hold, "cache-control: max-age=600", &body).await;
        assert_eq!(answer.body.len(), length);
        answer.header("cache-status").ends_with("stored")
    };
    for number in 0..30 {
        assert!(serve_page(number, 8 << 10).await);
        assert!(gateway.metric("tidegate_cache_bytes", "small").await <= f64::from(64 << 10));
    }
    assert!(gateway.metric("tidegate_cache_evictions_total", "small").await >= 20.0);
    assert!(!serve_page(100, 17 << 10).await, "one that is too large");
    assert!(gateway.metric("tidegate_cache_entries", "small").await >= 3.0);
}

#[tokio::test]
async fn what_breaks_off_or_is_not_read_to_its_end_is_not_kept() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let mut client = gateway.http1().await;
    let cut = async {
        let mut held = hold.next().await;
        held.begin(200, "cache-control: max-age=600\r\n").await;
        held.chunk("hal").await;
        held.reset();
    };
    let (answer, ()) = tokio::join!(client.try_send(request(Method::GET, "/page")), cut);
    assert!(answer.is_err());
    // A client that leaves.
    let (sender, body) = streamed();
    drop(sender);
    let mut leaving = gateway.http1().await;
    let begin = async {
        let mut held = hold.next().await;
        held.begin(200, "cache-control: max-age=600\r\n").await;
        held.chunk("hal").await;
        held
    };
    let (response, mut held) = tokio::join!(leaving.open(request(Method::GET, "/page").map(|_| body)), begin);
    let mut body = response.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hal", "it streams while it is stored");
    drop((body, leaving));
    held.gone().await;
    let answer = through(
        &mut gateway.http1().await,
        request(Method::GET, "/page"),
        &mut hold,
        "cache-control: max-age=600",
        "whole",
    )
    .await;
    assert_eq!(said(&answer), (200, "whole".into(), "fwd=uri-miss;stored"));
}

#[tokio::test]
async fn a_part_of_what_is_kept_is_served_and_one_of_what_is_not_is_the_upstreams() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let mut hold = origin.hold("/film");
    let part = |fields: &[(&str, &str)]| asked(Method::GET, "/film", fields);
    // Nothing is kept yet: the part is the upstream's to answer, and is not kept.
    for _ in 0..2 {
        let play = async {
            let mut held = hold.next().await;
            assert_eq!(held.head.field("range").as_deref(), Some("bytes=0-3"));
            held.send("HTTP/1.1 206 P\r\ncache-control: max-age=60\r\ncontent-range: bytes 0-3/10\r\ncontent-length: 4\r\n\r\n0123").await;
            held.keep();
        };
        let (answer, ()) = tokio::join!(client.send(part(&[("range", "bytes=0-3")])), play);
        assert_eq!(said(&answer), (206, "0123".into(), "fwd=bypass"));
    }
    let fields = "cache-control: max-age=600\r\netag: \"v1\"\r\ncontent-type: text/plain";
    through(&mut client, request(Method::GET, "/film"), &mut hold, fields, "0123456789").await;
    // What is asked for, and what comes.
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str, &'a str);
    let cases: [Case<'_>; 8] = [
        (&[("range", "bytes=0-3")], 206, "0123", "bytes 0-3/10"),
        (&[("range", "bytes=8-")], 206, "89", "bytes 8-9/10"),
        (&[("range", "bytes=-1")], 206, "9", "bytes 9-9/10"),
        (&[("range", "bytes=10-")], 416, "", "bytes */10"),
        (&[("range", "bytes=0-1,4-5")], 200, "0123456789", ""),
        (&[("range", "bytes=4-5"), ("if-range", "\"v1\"")], 206, "45", "bytes 4-5/10"),
        (&[("range", "bytes=4-5"), ("if-range", "\"v0\"")], 200, "0123456789", ""),
        (&[("range", "bytes=4-5"), ("if-none-match", "\"v1\"")], 304, "", ""),
    ];
    for (fields, status, body, range) in cases {
        let answer = client.send(part(fields)).await;
        assert_eq!((answer.status.as_u16(), &*answer.text(), answer.header("content-range")), (status, body, range));
        assert!(answer.header("cache-status").contains("hit"), "{fields:?}");
        assert_eq!(answer.header("etag"), "\"v1\"", "{fields:?}");
        if status == 206 {
            assert_eq!(answer.header("content-length"), body.len().to_string());
            assert_eq!(answer.header("content-type"), "text/plain");
        }
    }
    assert_eq!(origin.requests(), 3);
}
