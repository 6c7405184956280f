//! Calls of plugins to upstreams: granted by name, answered by a callback, in which a paused exchange goes on.

use tidegate_tests::{
    Origin,
    proxy_wasm::{callback, guest, request_headers, told},
};

use super::scene;

// `:method GET`, `:path /called`, `:authority a`.
const HEAD: &str = "\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\07\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00:method\\00GET\\00:path\\00/called\\00:authority\\00a\\00";

/// Calls `upstream` and pauses; the callback does `does`.
fn calling(upstream: &str, timeout_ms: u32, does: &str) -> String {
    calling_with(HEAD, upstream, timeout_ms, does)
}

fn calling_with(head: &str, upstream: &str, timeout_ms: u32, does: &str) -> String {
    let call = format!(
        "(global.set $stream (local.get $id))
         (call $tell @\"x-call\" (call $http_call @\"{upstream}\" @\"{head}\" (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const {timeout_ms}) (i32.const 0x8010)))
         (i32.eqz (i32.eqz (i32.load (i32.const 0x8010))))"
    );
    let answered = told("proxy_on_http_call_response", "$root $token $fields $bytes $trailers", does);
    let stream = "(global $stream (mut i32) (i32.const 0))\n".to_owned();
    let go = "(import \"env\" \"proxy_continue_stream\" (func $go (param i32) (result i32)))";
    importing(go, &guest("0_2_1", &(stream + &request_headers(&call) + &answered)))
}

/// Imports come first.
pub(crate) fn importing(import: &str, guest: &str) -> String {
    guest.replacen("(module\n", &format!("(module\n{import}\n"), 1)
}

#[tokio::test]
async fn a_paused_request_goes_on_when_its_call_is_answered() {
    let does = "(drop (call $effective (global.get $stream)))
        (call $show (i32.const 0) @\"x-status\" (call $get (i32.const 6) @\":status\" (i32.const 0x8000) (i32.const 0x8004)))
        (call $show (i32.const 0) @\"x-body\" (call $buffer (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 0x8000) (i32.const 0x8004)))
        (drop (call $go (i32.const 0)))";
    let (origin, _dir, gateway) = scene(&calling("origin", 9000, does), ", grants: {upstreams: [origin]}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!((answer.echoed("x-status"), answer.echoed("x-call")), (vec!["200".into()], vec!["a".into()]));
        // The call is part of the exchange's trace.
        let called = Origin::echoed(answer.echoed("x-body").concat().as_bytes(), "traceparent").concat();
        let traced = answer.echoed("traceparent").concat();
        assert_eq!((called.len(), called.get(..35)), (55, traced.get(..35)));
    }
    assert_eq!(origin.requests(), 4);
}

#[tokio::test]
async fn an_upstream_that_is_not_granted_is_not_called() {
    let (origin, _dir, gateway) = scene(&calling("origin", 9000, ""), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.echoed("x-call"), origin.requests()), (200, vec!["c".into()], 1));
}

#[tokio::test]
async fn a_module_may_have_names_of_its_own_for_upstreams_that_it_is_granted() {
    let name = "outbound|80||auth.example";
    let settings = |upstream: &str| {
        format!(", grants: {{upstreams: [origin]}}, proxy-wasm: {{clusters: {{'{name}': {upstream}}}}}")
    };
    let does = "(drop (call $effective (global.get $stream))) (drop (call $go (i32.const 0)))";
    let (origin, dir, gateway) = scene(&calling(name, 9000, does), &settings("origin")).await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.echoed("x-call"), origin.requests()), (vec!["a".into()], 2));
    super::write(&dir, &settings("other"));
    let refused = gateway.reload().await;
    assert_eq!(refused["diagnostics"][0]["code"], "not-granted", "{refused}");
}

#[tokio::test]
async fn a_call_that_names_no_host_has_its_upstreams_name() {
    // `:method GET`, `:path /called`, `:authority` and nothing.
    let head =
        HEAD.replace("\\0a\\00\\00\\00\\01", "\\0a\\00\\00\\00\\00").replace(":authority\\00a", ":authority\\00");
    let does = "(drop (call $effective (global.get $stream)))
        (call $show (i32.const 0) @\"x-body\" (call $buffer (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 0x8000) (i32.const 0x8004)))
        (drop (call $go (i32.const 0)))";
    let cluster = "outbound|80||auth.example";
    let settings = format!(", grants: {{upstreams: [origin]}}, proxy-wasm: {{clusters: {{'{cluster}': origin}}}}");
    for (name, host) in [("origin", "origin"), (cluster, "auth.example")] {
        let (_origin, _dir, gateway) = scene(&calling_with(&head, name, 9000, does), &settings).await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!(Origin::echoed(answer.echoed("x-body").concat().as_bytes(), "host"), [host], "{}", answer.text());
    }
}

#[tokio::test]
async fn a_call_with_a_negative_time_is_refused() {
    let (origin, _dir, gateway) = scene(&calling("origin", u32::MAX, ""), ", grants: {upstreams: [origin]}").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.echoed("x-call"), origin.requests()), (vec!["c".into()], 1));
}

#[tokio::test]
async fn a_call_that_is_not_answered_in_time_comes_back_as_a_504_and_the_plugin_decides() {
    let does = "(drop (call $effective (global.get $stream)))
        (if (local.get $fields) (then
          (drop (call $get (i32.const 6) @\":status\" (i32.const 0x8000) (i32.const 0x8004)))
          (drop (call $answer (i32.const 502) (i32.const 0) (i32.const 0) (call $given) (call $given_length) (i32.const 0) (i32.const 0) (i32.const -1)))))";
    let (origin, _dir, gateway) = scene(&calling("origin", 100, does), ", grants: {upstreams: [origin]}").await;
    let _held = origin.hold("/called");
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (502, "504"));
}

#[tokio::test]
async fn a_pause_that_nobody_ends_is_ended_by_the_plugins_time() {
    let guest = guest("0_2_1", &request_headers("(i32.const 1)"));
    let (origin, _dir, gateway) = scene(&guest, ", limits: {exchange-timeout: 20ms}").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 503);
    assert_eq!(origin.requests(), 0);
    let (_origin, _dir, gateway) = scene(&guest, ", limits: {exchange-timeout: 20ms}, on-failure: open").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_paused_response_goes_on_by_a_tick() {
    let body = "(global $stream (mut i32) (i32.const 0))\n".to_owned()
        + &callback("proxy_on_configure", "$root $size", "(drop (call $ticks (i32.const 5))) (i32.const 1)")
        + &callback(
            "proxy_on_response_headers",
            "$id $fields $end",
            "(global.set $stream (local.get $id)) (i32.const 1)",
        )
        + &told(
            "proxy_on_tick",
            "$root",
            "(if (global.get $stream) (then (drop (call $effective (global.get $stream)))
               (drop (call $replace (i32.const 2) @\"x-ticked\" @\"yes\")) (drop (call $go))
               (global.set $stream (i32.const 0))))",
        );
    let go = "(import \"env\" \"proxy_continue_response\" (func $go (result i32)))";
    let (_origin, _dir, gateway) = scene(&importing(go, &guest("0_1_0", &body)), "").await;
    assert_eq!(gateway.http1().await.get("/").await.header("x-ticked"), "yes");
}
