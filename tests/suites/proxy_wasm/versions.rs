//! Functions that only some versions of the ABI have, and those that few guests call.

use tidegate_tests::proxy_wasm::{CONTINUE, PAUSE, callback, guest, on_request, request_headers, told};

use super::{calls::importing, scene};

fn import(name: &str, alias: &str, types: &str) -> String {
    format!("(import \"env\" \"{name}\" (func ${alias} {types}))\n")
}

#[tokio::test]
async fn the_first_version_has_functions_of_its_own() {
    let imports = import("proxy_get_configuration", "configuration", "(param i32 i32) (result i32)")
        + &import("proxy_continue_request", "request", "(result i32)")
        + &import("proxy_continue_response", "response", "(result i32)")
        + &import("proxy_clear_route_cache", "clear", "(result i32)");
    let state = "(global $stream (mut i32) (i32.const 0)) (global $bytes (mut i32) (i32.const 0))\n".to_owned();
    let configure = "(drop (call $configuration (i32.const 0x8000) (i32.const 0x8004)))
        (memory.copy (i32.const 0x9000) (call $given) (call $given_length))
        (global.set $bytes (call $given_length))
        (i32.eq (local.get $size) (call $given_length))";
    let request = format!(
        "(global.set $stream (local.get $id)) (drop (call $ticks (i32.const 5)))
         (call $tell @\"x-clear\" (call $clear))
         (drop (call $replace (i32.const 0) @\"x-config\" (i32.const 0x9000) (global.get $bytes)))
         {PAUSE}"
    );
    let tick = "(drop (call $effective (global.get $stream))) (drop (call $request)) (drop (call $response))";
    let body = state
        + &callback("proxy_on_configure", "$root $size", configure)
        + &callback("proxy_on_request_headers", "$id $fields", &request)
        + &callback("proxy_on_response_headers", "$id $fields", PAUSE)
        + &told("proxy_on_tick", "$root", tick);
    let (_origin, _dir, gateway) = scene(&importing(&imports, &guest("0_1_0", &body)), ", config: text").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.echoed("x-config")), (200, vec!["text".into()]));
    assert_eq!(answer.echoed("x-clear"), ["a"]);
}

#[tokio::test]
async fn sizes_levels_and_the_time_are_told() {
    let imports = import("proxy_get_buffer_status", "status", "(param i32 i32 i32) (result i32)")
        + &import("proxy_get_header_map_size", "map_size", "(param i32 i32) (result i32)")
        + &import("proxy_get_log_level", "level", "(param i32) (result i32)")
        + &import("proxy_get_current_time_nanoseconds", "time", "(param i32) (result i32)");
    // In 2020 it was later than that.
    let does = format!(
        "(call $tell @\"x-status\" (call $status (i32.const 7) (i32.const 0x8010) (i32.const 0x8014)))
         (drop (call $replace (i32.const 0) @\"x-bytes\" (call $digits (i32.load (i32.const 0x8010)))))
         (call $tell @\"x-map\" (call $map_size (i32.const 0) (i32.const 0x8010)))
         (drop (call $pairs (i32.const 0) (i32.const 0x8000) (i32.const 0x8004)))
         (drop (call $map_size (i32.const 0) (i32.const 0x8010)))
         (call $tell @\"x-same\" (i32.ne (i32.load (i32.const 0x8010)) (call $given_length)))
         (call $tell @\"x-level\" (call $level (i32.const 0x8010)))
         (call $tell @\"x-known\" (i32.gt_u (i32.load (i32.const 0x8010)) (i32.const 5)))
         (call $tell @\"x-time\" (call $time (i32.const 0x8018)))
         (call $tell @\"x-now\" (i64.lt_u (i64.load (i32.const 0x8018)) (i64.const 1577836800000000000)))
         {CONTINUE}"
    );
    let (_origin, _dir, gateway) = scene(&importing(&imports, &on_request(&does)), ", config: text").await;
    let answer = gateway.http1().await.get("/").await;
    let names = ["x-status", "x-map", "x-same", "x-level", "x-known", "x-time", "x-now"];
    assert_eq!(names.map(|name| answer.echoed(name).concat()), ["a"; 7]);
    assert_eq!(answer.echoed("x-bytes"), ["4"]);
}

#[tokio::test]
async fn a_stream_that_is_closed_fails() {
    let imports = import("proxy_close_stream", "close", "(param i32) (result i32)");
    for version in ["0_2_0", "0_2_1"] {
        let does = format!("(drop (call $close (i32.const 0))) {PAUSE}");
        let (origin, _dir, gateway) = scene(&importing(&imports, &guest(version, &request_headers(&does))), "").await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!((answer.status.is_server_error(), origin.requests()), (true, 0));
    }
}
