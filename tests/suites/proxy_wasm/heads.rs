//! Heads that are held back alone while their body is shown, as plugins of Higress do it and those of Envoy where a
//! setting says so; and the actions that only Envoy's SDKs have names for.

use bytes::Bytes;
use http::Method;
use tidegate_tests::{
    Answer,
    proxy_wasm::{CONTINUE, PAUSE, callback, guest, on_request, request_headers, set},
    request, streamed,
    wire::digest,
};

use super::scene;

const SETTING: &str = ", proxy-wasm: {allow-on-headers-stop-iteration: true}";

fn post(body: &'static [u8]) -> http::Request<Bytes> {
    let mut post = request(Method::POST, "/path");
    *post.body_mut() = Bytes::from_static(body);
    post
}

/// Holds both heads back, and changes each when the whole of its body was seen.
fn holding() -> String {
    let wait = "(if (i32.eqz (local.get $end)) (then (return (i32.const 1))))";
    let request = format!(
        "{wait} (drop (call $replace (i32.const 0) @\"x-size\" (call $digits (local.get $size))))
         (drop (call $replace (i32.const 0) @\":path\" @\"/held\")) {CONTINUE}"
    );
    let response = format!(
        "{wait} {} (drop (call $replace (i32.const 2) @\":status\" @\"203\")) {CONTINUE}",
        set(2, "x-seen", "whole")
    );
    request_headers(PAUSE)
        + &callback("proxy_on_request_body", "$id $size $end", &request)
        + &callback("proxy_on_response_headers", "$id $fields $end", PAUSE)
        + &callback("proxy_on_response_body", "$id $size $end", &response)
}

#[tokio::test]
async fn a_head_waits_for_what_is_said_of_its_body() {
    for (version, setting) in [("0_2_100", ""), ("0_2_1", SETTING), ("0_1_0", SETTING)] {
        let (_origin, _dir, gateway) = scene(&guest(version, &holding()), setting).await;
        for mut client in [gateway.http1().await, gateway.http2().await] {
            let answer = client.send(post(b"body")).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-seen")), (203, "whole"), "{version}");
            assert_eq!((answer.echoed("x-size"), answer.echo()["target"].as_str()), (vec!["4".into()], Some("/held")));
            assert_eq!(answer.echo()["body_digest"], digest(b"body"));
        }
    }
}

#[tokio::test]
async fn a_head_that_pauses_holds_everything_back_where_nothing_else_is_said() {
    let limits = ", limits: {exchange-timeout: 200ms}";
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &holding()), limits).await;
    let answer = gateway.http1().await.send(post(b"body")).await;
    assert_eq!((answer.status.is_server_error(), origin.requests()), (true, 0));
}

#[tokio::test]
async fn an_answer_comes_before_the_head_went_on() {
    let body = format!("(drop (call $answer (i32.const 403) @\"\" @\"no\" @\"\" (i32.const -1))) {PAUSE}");
    let body = request_headers(PAUSE) + &callback("proxy_on_request_body", "$id $size $end", &body);
    let (origin, _dir, gateway) = scene(&guest("0_2_100", &body), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(post(b"body")).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..], origin.requests()), (403, &b"no"[..], 0));
    }
}

#[tokio::test]
async fn a_head_without_a_callback_for_bodies_goes_on_with_the_first_part() {
    let (_origin, _dir, gateway) = scene(&guest("0_2_100", &request_headers(PAUSE)), "").await;
    let answer = gateway.http1().await.send(post(b"body")).await;
    assert_eq!((answer.status.as_u16(), answer.echo()["body_digest"].clone()), (200, digest(b"body").into()));
}

#[tokio::test]
async fn what_a_body_callback_wants_nothing_kept_of_is_gone() {
    let body = format!(
        "(if (i32.eqz (local.get $end)) (then (return (i32.const 3))))
         (drop (call $set_buffer (i32.const 0) (i32.const -1) (i32.const 0) @\"end\")) {CONTINUE}"
    );
    let (_origin, _dir, gateway) =
        scene(&guest("0_2_1", &callback("proxy_on_request_body", "$id $size $end", &body)), "").await;
    let (sender, body) = streamed();
    let request = request(Method::POST, "/").map(|_| body);
    let mut client = gateway.http2().await;
    let sent = tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            sender.send(piece).await;
        }
    });
    let answer = Answer::read(client.open(request).await.unwrap()).await.unwrap();
    sent.await.unwrap();
    // The end may come with the last part, or alone.
    let found = answer.echo()["body_digest"].clone();
    assert!([&b"end"[..], b"threeend"].iter().any(|body| found == digest(body)), "{found}");
}

#[tokio::test]
async fn the_action_that_once_ended_a_stream_goes_on() {
    let (_origin, _dir, gateway) = scene(&on_request("(i32.const 2)"), "").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}
