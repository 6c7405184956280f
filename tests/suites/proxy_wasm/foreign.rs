//! Foreign functions: Envoy's, where they mean something to a gateway, by their names and arguments.

use tidegate_tests::proxy_wasm::{CONTINUE, on_request};

use super::scene;

const AT: &str = "(i32.const 0x8000) (i32.const 0x8004)";
const NOWHERE: &str = "(i32.const 0) (i32.const 0)";

#[tokio::test]
async fn bytes_are_compressed_and_come_back() {
    let text = "again and again and again and again";
    let does = format!(
        "(call $tell @\"x-compressed\" (call $foreign @\"compress\" @\"{text}\" {AT}))
         (call $tell @\"x-smaller\" (i32.lt_u (call $given_length) (i32.const {})))
         (call $show (i32.const 0) @\"x-back\" (call $foreign @\"uncompress\" (call $given) (call $given_length) {AT}))
         (call $tell @\"x-none\" (call $foreign @\"uncompress\" @\"no zlib\" {AT}))
         (call $tell @\"x-nowhere\" (call $foreign @\"compress\" @\"{text}\" {NOWHERE}))
         {CONTINUE}",
        text.len()
    );
    let (_origin, _dir, gateway) = scene(&on_request(&does), "").await;
    let answer = gateway.http1().await.get("/").await;
    let found = ["x-compressed", "x-smaller", "x-back", "x-none", "x-nowhere"].map(|name| answer.echoed(name).concat());
    assert_eq!(found, ["a", "b", text, "d", "a"]);
}

#[tokio::test]
async fn properties_are_declared_and_set_by_envoys_functions() {
    // Messages of Protocol Buffers: `{name: "once", readonly: true}`, and `{path: "key", value: "value"}`.
    let does = format!(
        "(call $tell @\"x-declared\" (call $foreign @\"declare_property\" @\"\\0a\\04once\\10\\01\" {NOWHERE}))
         (call $tell @\"x-first\" (call $set_property @\"once\" @\"1\"))
         (call $tell @\"x-second\" (call $set_property @\"once\" @\"2\"))
         (call $show (i32.const 0) @\"x-once\" (call $property @\"once\" {AT}))
         (call $tell @\"x-again\" (call $foreign @\"declare_property\" @\"\\0a\\04once\" {NOWHERE}))
         (call $tell @\"x-state\" (call $foreign @\"set_envoy_filter_state\" @\"\\0a\\03key\\12\\05value\" {NOWHERE}))
         (call $show (i32.const 0) @\"x-key\" (call $property @\"filter_state\\00key\" {AT}))
         (call $tell @\"x-route\" (call $foreign @\"clear_route_cache\" {NOWHERE} {NOWHERE}))
         (call $tell @\"x-malformed\" (call $foreign @\"declare_property\" @\"\\0a\\ff\" {NOWHERE}))
         (call $tell @\"x-unknown\" (call $foreign @\"expr_create\" @\"1\" {NOWHERE}))
         {CONTINUE}"
    );
    let (_origin, _dir, gateway) = scene(&on_request(&does), "").await;
    let answer = gateway.http1().await.get("/").await;
    let expected = [
        ("x-declared", "a"),
        ("x-first", "a"),
        ("x-second", "c"),
        ("x-once", "1"),
        ("x-again", "c"),
        ("x-state", "a"),
        ("x-key", "value"),
        ("x-route", "a"),
        ("x-malformed", "c"),
        ("x-unknown", "b"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.echoed(name), [value], "{name}");
    }
}
