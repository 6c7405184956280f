//! Bodies and trailers: seen in parts, held back, replaced, and bounded.

use bytes::Bytes;
use http::Method;
use tidegate_tests::{
    Answer,
    proxy_wasm::{CONTINUE, callback, guest, request_headers},
    request, streamed,
};

use super::scene;

/// Holds a body back to its end, and then puts `with` in its place, between brackets.
fn whole(side: &str, buffer: u32) -> String {
    callback(
        &format!("proxy_on_{side}_body"),
        "$id $size $end",
        &format!(
            "(if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
             (drop (call $set_buffer (i32.const {buffer}) (i32.const 0) (i32.const 0) @\"[\"))
             (drop (call $set_buffer (i32.const {buffer}) (i32.const -1) (i32.const 0) @\"]\"))
             {CONTINUE}"
        ),
    )
}

fn without_length(side: &str, map: u32) -> String {
    let does = format!("(drop (call $remove (i32.const {map}) @\"content-length\")) {CONTINUE}");
    callback(&format!("proxy_on_{side}_headers"), "$id $fields $end", &does)
}

fn post(body: &'static [u8]) -> http::Request<Bytes> {
    let mut post = request(Method::POST, "/");
    *post.body_mut() = Bytes::from_static(body);
    post
}

#[tokio::test]
async fn a_whole_request_body_is_read_and_changed() {
    let (_origin, _dir, gateway) =
        scene(&guest("0_2_1", &(without_length("request", 0) + &whole("request", 0))), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(post(b"body")).await;
        assert_eq!(answer.echo()["body_digest"], tidegate_tests::wire::digest(b"[body]"));
    }
    let (sender, body) = streamed();
    let mut request = request(Method::POST, "/").map(|_| body);
    request.headers_mut().insert("x", "y".parse().unwrap());
    let mut client = gateway.http2().await;
    let sent = tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            sender.send(piece).await;
        }
    });
    let answer = Answer::read(client.open(request).await.unwrap()).await.unwrap();
    sent.await.unwrap();
    assert_eq!(answer.echo()["body_digest"], tidegate_tests::wire::digest(b"[one two three]"));
}

#[tokio::test]
async fn a_whole_response_body_is_read_and_changed_and_its_trailers_are_seen() {
    let trailers = callback(
        "proxy_on_response_trailers",
        "$id $fields",
        &format!("(drop (call $add (i32.const 3) @\"x-more\" @\"added\")) {CONTINUE}"),
    );
    // With trailers the body's callback is not told of its end: what is held back goes on with them.
    let body = without_length("response", 2) + &whole("response", 1) + &trailers;
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    assert_eq!(gateway.http1().await.get("/bytes/3").await.text(), "[xxx]");
    let answer = gateway.http2().await.get("/chunks/3").await;
    assert_eq!(answer.text(), "0123456789".repeat(3));
    assert!(answer.trailers.contains_key("x-digest"));
    assert_eq!(answer.trailers.get("x-more").map(|value| value.as_bytes()), Some(&b"added"[..]));
}

#[tokio::test]
async fn a_body_passes_in_parts_as_it_comes() {
    let part = callback(
        "proxy_on_response_body",
        "$id $size $end",
        &format!(
            "(if (local.get $size) (then (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 1) @\"-\")))) {CONTINUE}"
        ),
    );
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &part), "").await;
    let mut client = gateway.http1().await;
    // Its length stays, and so does the promise of it.
    let answer = client.get("/bytes/5").await;
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("-xxxx", "5"));
    let answer = gateway.http2().await.get("/chunks/2").await;
    assert!(answer.trailers.contains_key("x-digest"));
    assert_eq!(answer.body.len(), 20);
}

#[tokio::test]
async fn a_body_is_held_back_up_to_a_limit() {
    let guest = guest("0_2_1", &(without_length("request", 0) + &whole("request", 0)));
    let (_origin, _dir, gateway) = scene(&guest, ", limits: {buffer-bytes-max: 1KiB}").await;
    let (sender, body) = streamed();
    let mut client = gateway.http2().await;
    let sent = tokio::spawn(async move { while sender.send(vec![b'x'; 512]).await {} });
    let response = client.open(request(Method::POST, "/").map(|_| body)).await.unwrap();
    assert_eq!(response.status(), 413);
    drop((response, client));
    sent.abort();
}

#[tokio::test]
async fn a_plugin_answers_while_a_body_comes() {
    let refuse = callback(
        "proxy_on_request_body",
        "$id $size $end",
        "(drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) @\"no\" (i32.const 0) (i32.const 0) (i32.const -1)))
         (i32.const 1)",
    );
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &refuse), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(post(b"body")).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (403, "no"));
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_head_says_whether_a_body_follows() {
    let tell = request_headers(&format!("(call $tell @\"x-end\" (local.get $end)) {CONTINUE}"));
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &tell), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        assert_eq!(client.get("/").await.echoed("x-end"), ["b"]);
        assert_eq!(client.send(post(b"body")).await.echoed("x-end"), ["a"]);
    }
}
