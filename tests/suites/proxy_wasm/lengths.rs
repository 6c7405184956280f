//! What heads promise of the length of bodies that a plugin changes without a word about it: `content-length` stays as the
//! plugin found it, and the gateway makes it true, or takes it out.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use tidegate_tests::{
    Answer, Client, Gateway,
    proxy_wasm::{CONTINUE, callback, guest},
    request, streamed,
    wire::digest,
};

use super::scene;

/// Calls `does` with each piece of a body that has a byte, and lets it go.
fn each(side: &str, does: &str) -> String {
    callback(
        &format!("proxy_on_{side}_body"),
        "$id $size $end",
        &format!("(if (local.get $size) (then {does})) {CONTINUE}"),
    )
}

/// Puts `text` before what is in the buffer, or behind it (`-1`).
fn put(buffer: u32, at: i32, text: &str) -> String {
    format!("(drop (call $set_buffer (i32.const {buffer}) (i32.const {at}) (i32.const 0) @\"{text}\"))")
}

/// Adds to the end of a body, with its last callback.
fn at_end(side: &str, buffer: u32) -> String {
    let does = format!("(if (local.get $end) (then {})) {CONTINUE}", put(buffer, -1, "+"));
    callback(&format!("proxy_on_{side}_body"), "$id $size $end", &does)
}

fn post(pieces: &'static str) -> http::Request<Bytes> {
    let mut post = request(Method::POST, "/");
    *post.body_mut() = Bytes::from_static(pieces.as_bytes());
    post
}

async fn both(gateway: &Gateway) -> [Client; 2] {
    [gateway.http1().await, gateway.http2().await]
}

#[tokio::test]
async fn a_body_that_comes_at_once_has_the_length_that_the_plugin_gave_it() {
    let longer = guest("0_2_1", &(each("request", &put(0, 0, "<")) + &each("response", &put(1, 0, "<"))));
    let (_origin, _dir, gateway) = scene(&longer, "").await;
    for mut client in both(&gateway).await {
        let answer = client.get("/bytes/3").await;
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("<xxx", "4"), "{client:?}");
        let answer = client.send(post("body")).await;
        let echo: serde_json::Value = serde_json::from_slice(&answer.body[1..]).unwrap();
        assert_eq!((&echo["body_digest"], &echo["body_bytes"]), (&digest(b"<body").into(), &5.into()), "{client:?}");
        let lengths = |name: &str| echo["headers"].as_array().unwrap().iter().any(|pair| pair[0] == name);
        assert!(lengths("content-length") && !lengths("transfer-encoding"), "{echo}");
    }
    let emptied = "(drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const -1) @\"\"))";
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &each("response", emptied)), "").await;
    for mut client in both(&gateway).await {
        let answer = client.get("/bytes/3").await;
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("", "0"), "{client:?}");
    }
}

#[tokio::test]
async fn a_body_whose_first_piece_changes_goes_on_without_a_length_and_streams() {
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &each("response", &put(1, 0, "<"))), "").await;
    let mut hold = origin.hold("/held");
    for mut client in both(&gateway).await {
        let (_, none) = streamed();
        let opened = tokio::spawn(async move {
            let head = client.open(request(Method::GET, "/held").map(|_| none)).await.unwrap();
            (head, client)
        });
        let mut held = hold.next().await;
        held.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        // The rest is not there yet.
        let (mut head, _client) = opened.await.unwrap();
        assert_eq!(head.headers().get("content-length"), None);
        let first = head.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "<abc");
        held.send("def").await;
        assert_eq!(head.into_body().collect().await.unwrap().to_bytes(), "<def");
    }
}

#[tokio::test]
async fn a_request_whose_first_piece_changes_goes_on_without_a_length() {
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &each("request", &put(0, 0, "<"))), "").await;
    let (sender, body) = streamed();
    let mut post = request(Method::POST, "/").map(|_| body);
    post.headers_mut().insert("content-length", 6.into());
    let mut client = gateway.http2().await;
    let sent = tokio::spawn(async move {
        sender.send("abc").await;
        sender.send("def").await;
    });
    let answer = Answer::read(client.open(post).await.unwrap()).await.unwrap();
    sent.await.unwrap();
    // As many as it came in.
    let found = answer.echo()["body_digest"].clone();
    assert!([&b"<abcdef"[..], b"<abc<def"].iter().any(|body| found == digest(body)), "{}", answer.text());
}

#[tokio::test]
async fn a_whole_body_that_was_held_back_has_its_length() {
    let whole = callback(
        "proxy_on_response_body",
        "$id $size $end",
        &format!("(if (i32.eqz (local.get $end)) (then (return (i32.const 1)))) {} {CONTINUE}", put(1, 0, "whole: ")),
    );
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &whole), "").await;
    let mut hold = origin.hold("/held");
    for mut client in both(&gateway).await {
        let asked = tokio::spawn(async move { client.get("/held").await });
        let mut held = hold.next().await;
        held.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        held.send("def").await;
        let answer = asked.await.unwrap();
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("whole: abcdef", "13"));
    }
}

#[tokio::test]
async fn a_plugin_that_changes_a_length_late_breaks_one_body_off_and_no_other() {
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &at_end("response", 1)), "").await;
    let mut hold = origin.hold("/held");
    let mut ask = async |mut client: Client| {
        let (_, none) = streamed();
        let opened = tokio::spawn(async move {
            let head = client.open(request(Method::GET, "/held").map(|_| none)).await.unwrap();
            (head, client)
        });
        let mut held = hold.next().await;
        held.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        let (mut head, _client) = opened.await.unwrap();
        let length = head.headers().get("content-length").cloned();
        let first = head.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        held.send("def").await;
        let rest = head.into_body().collect().await.map(|rest| rest.to_bytes());
        (length, first, rest.ok())
    };
    // What was seen of the first piece promised the length that the origin gave.
    let (length, first, rest) = ask(gateway.http1().await).await;
    assert_eq!((length, first, rest), (Some(6.into()), "abc".into(), None));
    // From then on none is promised before the body is whole, on whichever worker.
    for client in [gateway.http1().await, gateway.http1().await, gateway.http2().await, gateway.http1().await] {
        assert_eq!(ask(client).await, (None, "abc".into(), Some("def+".into())));
    }
    let answer = gateway.http1().await.get("/bytes/3").await;
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("xxx+", "4"));
}

#[tokio::test]
async fn a_head_waits_for_nothing_where_no_length_is_promised_or_none_can_change() {
    let changes = guest("0_2_1", &each("response", &put(1, 0, "<")));
    let watches = guest("0_2_1", &each("response", "")).replace("proxy_set_buffer_bytes", "proxy_get_buffer_bytes");
    for (guest, length) in [(changes, ""), (watches, "content-length: 6\r\n")] {
        let (origin, _dir, gateway) = scene(&guest, "").await;
        let mut hold = origin.hold("/held");
        for mut client in both(&gateway).await {
            let (_, none) = streamed();
            let opened = tokio::spawn(async move {
                let head = client.open(request(Method::GET, "/held").map(|_| none)).await.unwrap();
                (head, client)
            });
            let mut held = hold.next().await;
            // What is not read of a request resets the connection when it is closed.
            held.whole().await.unwrap();
            held.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{length}connection: close\r\n\r\n"
            ))
            .await;
            let (head, _client) = opened.await.unwrap();
            assert_eq!(head.headers().contains_key("content-length"), !length.is_empty());
            held.send("data\n\n").await;
            drop(held);
            let body = head.into_body().collect().await.unwrap().to_bytes();
            assert!(body.ends_with(b"data\n\n"), "{body:?}");
        }
    }
}

#[tokio::test]
async fn a_head_without_its_body_promises_no_length_once_the_plugin_changed_one() {
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &each("response", &put(1, 0, "<"))), "").await;
    let mut client = gateway.http1().await;
    let head = client.send(request(Method::HEAD, "/bytes/3")).await;
    assert_eq!(head.header("content-length"), "3");
    assert_eq!(client.get("/bytes/3").await.header("content-length"), "4");
    for mut client in both(&gateway).await {
        let head = client.send(request(Method::HEAD, "/bytes/3")).await;
        assert_eq!((head.status.as_u16(), head.headers.get("content-length")), (200, None), "{client:?}");
        for status in [204, 304] {
            let answer = client.get(&format!("/status/{status}")).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
        }
        assert_eq!(client.get("/bytes/0").await.header("content-length"), "0");
    }
}

#[tokio::test]
async fn what_fails_in_the_first_piece_is_answered_with_a_status() {
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &each("response", "unreachable")), "").await;
    for mut client in both(&gateway).await {
        assert_eq!(client.get("/bytes/3").await.status, 503);
    }
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &each("response", &put(1, 0, "<"))), "").await;
    let mut hold = origin.hold("/held");
    let mut client = gateway.http1().await;
    let asked = tokio::spawn(async move { client.get("/held").await.status.as_u16() });
    let mut held = hold.next().await;
    held.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").await;
    held.reset();
    assert_eq!(asked.await.unwrap(), 502);
}
