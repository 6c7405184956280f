//! Bodies and trailers: read in parts, consumed or kept, replaced, passed on unread, and bounded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use tidegate_tests::{
    Answer, Client, Raw,
    http_wasm::{ANSWER, NEXT, features, guest, handlers, on_request, on_response, set},
    request, soon, streamed, wire,
};

use super::{scene, write};

fn post(body: impl Into<Bytes>) -> http::Request<Bytes> {
    let mut post = request(Method::POST, "/");
    *post.body_mut() = body.into();
    post
}

/// Reads `reads` bytes of the request, tells how many came and whether that was all, and goes on.
fn reads(bits: u32, bytes: u32) -> String {
    let does = format!(
        "(local $got i64)
         (local.set $got (call $read (i32.const 0) (i32.const 0x8000) (i32.const {bytes})))
         (call $tell (i32.const 0) @\"x-read\" (call $length (local.get $got)))
         (call $tell (i32.const 0) @\"x-eof\" (call $count (local.get $got)))
         {NEXT}"
    );
    let request = format!("(func (export \"handle_request\") (result i64) {does})");
    guest(&(features(bits) + &request + &on_response("")))
}

#[tokio::test]
async fn a_request_that_is_read_is_consumed_unless_it_is_buffered() {
    for (bits, bytes, read, eof, left) in [
        (0, 3, "3", "0", "lo body"),
        (1, 3, "3", "0", "hello body"),
        (0, 10, "10", "1", ""),
        (1, 10, "10", "1", "hello body"),
        (1, 64, "10", "1", "hello body"),
    ] {
        let left = if bits == 0 && bytes == 3 { "lo body" } else { left };
        let (_origin, _dir, gateway) = scene(&reads(bits, bytes), "").await;
        for mut client in [gateway.http1().await, gateway.http2().await] {
            for _ in 0..2 {
                let answer = client.send(post("hello body")).await;
                assert_eq!(
                    (answer.echoed("x-read").concat().as_str(), answer.echoed("x-eof").concat().as_str()),
                    (read, eof)
                );
                let echo = answer.echo();
                assert_eq!(echo["body_digest"], wire::digest(left.as_bytes()), "{bits} {bytes}");
                assert_eq!(answer.echoed("content-length"), [left.len().to_string()]);
            }
        }
    }
    // A request without a body is at its end.
    let (_origin, _dir, gateway) = scene(&reads(0, 9), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.echoed("x-read").concat(), answer.echoed("x-eof").concat()), ("0".into(), "1".into()));
}

#[tokio::test]
async fn the_first_part_that_is_written_takes_the_place_of_the_requests_body() {
    let does = format!(
        "(local.set $n (call $read_all (i32.const 0) (i32.const 3)))
         (call $write (i32.const 0) @\"[\")
         (call $write (i32.const 0) (i32.const 0x10000) (local.get $n))
         (call $write (i32.const 0) @\"]\") {NEXT}"
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(post("body")).await;
        assert_eq!(answer.echo()["body_digest"], wire::digest(b"[body]"));
        assert_eq!(answer.echoed("content-length"), ["6"]);
        assert_eq!(client.get("/").await.echo()["body_digest"], wire::digest(b"[]"));
    }
    // Of a body that comes in parts.
    let (sender, body) = streamed();
    let mut client = gateway.http2().await;
    let sent = tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            sender.send(piece).await;
        }
    });
    let asked = request(Method::POST, "/").map(|_| body);
    let answer = Answer::read(client.open(asked).await.unwrap()).await.unwrap();
    sent.await.unwrap();
    assert_eq!(answer.echo()["body_digest"], wire::digest(b"[one two three]"));
    // Nothing can be written, too.
    let (_origin, _dir, gateway) =
        scene(&handlers(&format!("(call $write (i32.const 0) (i32.const 0) (i32.const 0)) {NEXT}"), ""), "").await;
    assert_eq!(gateway.http1().await.send(post("body")).await.echo()["body_bytes"], 0);
}

#[tokio::test]
async fn a_response_is_read_and_replaced_and_an_unread_one_passes_as_it_comes() {
    let wrap = "(local.set $n (call $read_all (i32.const 1) (i32.const 7)))
        (call $write (i32.const 1) @\"[\")
        (call $write (i32.const 1) (i32.const 0x10000) (local.get $n))
        (call $write (i32.const 1) @\"]\")";
    let body = features(2) + &on_request(NEXT) + &on_response(wrap);
    let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/bytes/20").await;
        assert_eq!((answer.text(), answer.header("content-length")), (format!("[{}]", "x".repeat(20)), "22"));
        assert_eq!(client.get("/chunks/3").await.text(), format!("[{}]", "0123456789".repeat(3)));
        // What has no body gets none, and the connection goes on.
        let head = client.send(request(Method::HEAD, "/bytes/20")).await;
        assert_eq!((head.status.as_u16(), head.text().as_str()), (200, ""));
        assert_eq!(client.get("/status/204").await.text(), "");
        assert_eq!(client.get("/bytes/1").await.text(), "[x]");
    }
    let body = features(2) + &on_request(NEXT) + &on_response(&set(1, "x-by", "plugin"));
    let (origin, _dir, gateway) = scene(&guest(&body), "").await;
    let mut hold = origin.hold("/stream");
    let mut client = Raw::connect(gateway.web()).await;
    client.send("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut held = hold.next().await;
    held.begin(200, "").await;
    held.chunk("first").await;
    let head = client.head().await;
    assert_eq!(head.field("x-by").as_deref(), Some("plugin"));
    assert_eq!(client.exactly(10).await, b"5\r\nfirst\r\n", "before the upstream is at its end");
    held.end("").await;
}

#[tokio::test]
async fn a_guests_own_answer_can_be_read_back() {
    let does = format!(
        "(call $write (i32.const 1) @\"answer\")
         (local.set $n (call $read_all (i32.const 1) (i32.const 4)))
         (call $tell (i32.const 1) @\"x-read\" (local.get $n)) {ANSWER}"
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str(), answer.header("x-read")), (200, "answer", "6"));
    // Where it goes on after all, what it wrote comes first.
    let (_origin, _dir, gateway) =
        scene(&handlers(&format!("(call $write (i32.const 1) @\"first, \") {NEXT}"), ""), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/bytes/3").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "first, xxx"));
    }
}

#[tokio::test]
async fn trailers_are_seen_and_changed_where_they_are_enabled() {
    let see = "(drop (call $read_all (i32.const 0) (i32.const 64)))
         (local.set $n (call $length (call $values (i32.const 2) @\"x-sum\" (i32.const 0x8000) (i32.const 64))))
         (call $show (i32.const 0) @\"x-seen\" (local.get $n))
         (call $tell (i32.const 0) @\"x-count\" (call $count (call $names (i32.const 2) (i32.const 0) (i32.const 0))))";
    for (bits, seen, more) in [(1, "", String::new()), (5, "7,", set(2, "x-more", "added"))] {
        let body = features(bits) + &on_request(&format!("{see} {more} {NEXT}")) + &on_response("");
        let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
        let (sender, body) = streamed();
        let mut client = gateway.http2().await;
        let sent = tokio::spawn(async move {
            sender.send("body").await;
            sender.trailer("x-sum", "7").await;
        });
        let mut asked = request(Method::POST, "/").map(|_| body);
        asked.headers_mut().insert("te", "trailers".parse().unwrap());
        let answer = Answer::read(client.open(asked).await.unwrap()).await.unwrap();
        sent.await.unwrap();
        assert_eq!(answer.echoed("x-seen").concat(), seen);
        assert_eq!(answer.echoed("x-count").concat(), if bits == 5 { "1" } else { "0" });
        let trailers = answer.echo()["trailers"].to_string();
        assert!(trailers.contains("x-sum") && trailers.contains("x-more") == (bits == 5), "{trailers}");
    }
    let change =
        "(local.set $n (call $length (call $values (i32.const 3) @\"x-digest\" (i32.const 0x8000) (i32.const 128))))
        (call $show (i32.const 1) @\"x-seen\" (local.get $n))
        (call $remove (i32.const 3) @\"x-digest\") (call $add (i32.const 3) @\"x-more\" @\"added\")";
    let body = features(6) + &on_request(NEXT) + &on_response(change);
    let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
    let answer = gateway.http2().await.get("/chunks/3").await;
    assert_eq!(answer.text(), "0123456789".repeat(3));
    assert_eq!(
        answer.header("x-seen").trim_end_matches(','),
        wire::digest("0123456789".repeat(3).as_bytes()).to_string()
    );
    assert!(!answer.trailers.contains_key("x-digest"));
    assert_eq!(answer.trailers.get("x-more").map(|value| value.as_bytes()), Some(&b"added"[..]));
    // A body with a length gets trailers, too.
    assert!(gateway.http2().await.get("/bytes/5").await.trailers.contains_key("x-more"));
    // And so does an answer of the guest's own.
    let own = format!("(call $write (i32.const 1) @\"own\") {} {ANSWER}", set(3, "x-own", "1"));
    let body = features(4) + &on_request(&own) + &on_response("");
    let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
    let answer = gateway.http2().await.get("/").await;
    assert_eq!((answer.text().as_str(), answer.trailers.contains_key("x-own")), ("own", true));
    // Where the client takes no trailers, the body comes without them.
    assert_eq!(gateway.http1().await.get("/").await.text(), "own");
}

#[tokio::test]
async fn no_more_is_held_than_the_limit_and_what_passes_unread_has_none() {
    let read = format!("(drop (call $read_all (i32.const 0) (i32.const 5))) {NEXT}");
    let body = features(1) + &on_request(&read) + &on_response("");
    let (origin, _dir, gateway) = scene(&guest(&body), ", limits: {buffer-bytes-max: 16}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        assert_eq!(client.send(post("x".repeat(16))).await.status, 200);
        assert_eq!(client.send(post("x".repeat(17))).await.status, 413);
    }
    assert_eq!(origin.requests(), 2);
    let body = features(2) + &on_request(NEXT) + &on_response("(drop (call $read_all (i32.const 1) (i32.const 5)))");
    let (_origin, dir, gateway) = scene(&guest(&body), ", limits: {buffer-bytes-max: 16}").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/bytes/16").await.text().len(), 16);
    assert_eq!(client.get("/bytes/17").await.status, 503);
    write(&dir, ", on-failure: open, limits: {buffer-bytes-max: 16}");
    gateway.apply().await;
    let answer = client.get("/bytes/1000").await;
    assert_eq!((answer.status.as_u16(), answer.text().len()), (200, 1000), "nothing of it is lost");
    let write_much = format!("(loop $on (call $write (i32.const 1) @\"more\") (br $on)) {ANSWER}");
    let (_origin, _dir, gateway) = scene(&handlers(&write_much, ""), ", limits: {buffer-bytes-max: 1KiB}").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 503);
    // Unread, a response of any length passes.
    let body = features(2) + &on_request(NEXT) + &on_response("nop");
    let (_origin, _dir, gateway) = scene(&guest(&body), ", limits: {buffer-bytes-max: 16}").await;
    assert_eq!(gateway.http1().await.get("/bytes/100000").await.text().len(), 100_000);
}

#[tokio::test]
async fn time_in_which_a_guest_waits_for_a_body_is_not_its_own() {
    let read = format!("(drop (call $read_all (i32.const 0) (i32.const 64))) {NEXT}");
    let body = features(1) + &on_request(&read) + &on_response("");
    let (_origin, _dir, gateway) = scene(&guest(&body), ", limits: {call-timeout: 50ms, exchange-timeout: 60ms}").await;
    let (sender, body) = streamed();
    let mut client = gateway.http2().await;
    let asked = tokio::spawn(async move {
        let asked = request(Method::POST, "/").map(|_| body);
        Answer::read(client.open(asked).await.unwrap()).await.unwrap()
    });
    for piece in ["a", "b"] {
        assert!(sender.send(piece).await);
        let since = Instant::now();
        soon("time passes", async || since.elapsed() > Duration::from_millis(100)).await;
    }
    drop(sender);
    assert_eq!(asked.await.unwrap().echo()["body_digest"], wire::digest(b"ab"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_the_plugins_fault() {
    let read = format!("(drop (call $read_all (i32.const 0) (i32.const 64))) {NEXT}");
    let body = features(3) + &on_request(&read) + &on_response("(drop (call $read_all (i32.const 1) (i32.const 64)))");
    let (origin, _dir, gateway) = scene(&guest(&body), "").await;
    for _ in 0..3 {
        let mut client = Raw::connect(gateway.web()).await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
        client.reset();
        let mut hold = origin.hold("/half");
        let address = gateway.web();
        let asked = tokio::spawn(async move { Client::http1(address).await.get("/half").await.status.as_u16() });
        let mut held = hold.next().await;
        held.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        held.reset();
        assert_eq!(asked.await.unwrap(), 502);
    }
    assert_eq!(gateway.http1().await.send(post("whole")).await.status, 200);
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await, 0.0);
}
