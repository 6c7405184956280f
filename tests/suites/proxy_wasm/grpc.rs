//! Calls and streams of gRPC of plugins, to a server made with tonic.

use tidegate_tests::{
    ConfigDir, Gateway, Origin, WEB,
    grpc::Echo,
    proxy_wasm::{guest, request_headers, told},
};

use super::calls::importing;

const IMPORTS: &str = r#"
(import "env" "proxy_continue_stream" (func $go (param i32) (result i32)))
(import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_call"
  (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
(import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))"#;

// The callbacks leave a letter each, in the order in which they are made.
const STATE: &str = "(global $stream (mut i32) (i32.const 0))
(global $order (mut i32) (i32.const 0x9000))
(func $note (param $letter i32)
  (i32.store8 (global.get $order) (local.get $letter))
  (global.set $order (i32.add (global.get $order) (i32.const 1))))
";

/// A message in which `text` is said.
fn said(text: &str) -> String {
    format!("\\0a\\{:02x}{text}", text.len())
}

fn call(upstream: &str, text: &str, timeout_ms: u32) -> String {
    format!(
        "(global.set $stream (local.get $id))
         (call $tell @\"x-call\" (call $grpc_call @\"{upstream}\" @\"test.Echo\" @\"Say\" (i32.const 0) (i32.const 0)
            @\"{}\" (i32.const {timeout_ms}) (i32.const 0x8010)))
         (i32.eqz (i32.eqz (i32.load (i32.const 0x8010))))",
        said(text)
    )
}

fn module(on_request: &str) -> String {
    let heard = |letter: u8| format!("(call $note (i32.const {letter}))");
    let message = format!(
        "{} (drop (call $effective (global.get $stream)))
         (call $show (i32.const 0) @\"x-said\" (call $buffer (i32.const 5) (i32.const 2) (i32.const 99) (i32.const 0x8000) (i32.const 0x8004)))
         (if (i32.eq (i32.load8_u (i32.const 0x9001)) (i32.const 109)) (then
           (if (i32.eqz (i32.load8_u (i32.const 0x9002))) (then
             (call $tell @\"x-sent\" (call $grpc_send (local.get $token) @\"{}\" (i32.const 1))))))
           (else (drop (call $go (i32.const 0)))))",
        heard(b'm'),
        said("more")
    );
    let closed = format!(
        "{} (drop (call $effective (global.get $stream)))
         (call $tell @\"x-closed\" (local.get $status))
         (call $show (i32.const 0) @\"x-why\" (call $status (i32.const 0x8020) (i32.const 0x8000) (i32.const 0x8004)))
         (call $tell @\"x-gone\" (call $grpc_send (local.get $token) (i32.const 0) (i32.const 0) (i32.const 1)))
         (drop (call $replace (i32.const 0) @\"x-order\" (i32.const 0x9000) (i32.sub (global.get $order) (i32.const 0x9000))))
         (drop (call $go (i32.const 0)))",
        heard(b'c')
    );
    let body = STATE.to_owned()
        + &request_headers(on_request)
        + &told("proxy_on_grpc_receive_initial_metadata", "$root $token $fields", &heard(b'i'))
        + &told("proxy_on_grpc_receive", "$root $token $bytes", &message)
        + &told("proxy_on_grpc_receive_trailing_metadata", "$root $token $fields", &heard(b't'))
        + &told("proxy_on_grpc_close", "$root $token $status", &closed);
    importing(IMPORTS, &guest("0_2_1", &body))
}

async fn scene(guest: &str) -> (Origin, Echo, ConfigDir, Gateway) {
    let (origin, echo) = (Origin::start(), Echo::start().await);
    let dir = ConfigDir::new().with("origin", origin.address()).with("echo", echo.address);
    dir.write("guest.wat", guest);
    let yaml = format!(
        "{WEB}
upstreams:
  origin: {{endpoints: ['{{origin}}']}}
  echo: {{endpoints: ['{{echo}}'], protocol: h2c}}
  nobody: {{endpoints: ['127.0.0.1:1'], protocol: h2c}}
middleware:
  plugin: {{module: guest.wat, grants: {{upstreams: [echo, nobody]}}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    (origin, echo, dir, gateway)
}

#[tokio::test]
async fn a_call_is_answered_with_a_message_and_with_nothing_else() {
    // By name, and as Envoy's message for an upstream: `{envoy_grpc: {cluster_name: "echo"}}`.
    for upstream in ["echo", "\\0a\\06\\0a\\04echo"] {
        let (_origin, echo, _dir, gateway) = scene(&module(&call(upstream, "hello", 9000))).await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!((answer.echoed("x-call"), answer.echoed("x-said")), (vec!["a".into()], vec!["hello".into()]));
        assert_eq!((answer.echoed("x-closed").len(), echo.served()), (0, 1));
    }
}

#[tokio::test]
async fn a_call_without_a_message_is_closed_with_a_status_and_its_text() {
    // FAILED_PRECONDITION of the server, DEADLINE_EXCEEDED, UNAVAILABLE.
    let cases =
        [("echo", "fail", 9000, "j", "not so: 50%"), ("echo", "silent", 100, "e", ""), ("nobody", "x", 9000, "o", "")];
    for (upstream, text, timeout_ms, status, why) in cases {
        let (_origin, _echo, _dir, gateway) = scene(&module(&call(upstream, text, timeout_ms))).await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!(
            (answer.echoed("x-closed"), answer.echoed("x-order")),
            (vec![status.into()], vec!["c".into()]),
            "{text}"
        );
        let told = answer.echoed("x-why").concat();
        assert!(told.starts_with(why) && !told.is_empty(), "{text}: {told}");
        assert_eq!(answer.echoed("x-gone"), ["b"]);
    }
}

#[tokio::test]
async fn a_stream_is_told_of_its_head_its_messages_its_trailers_and_its_end() {
    let open = format!(
        "(global.set $stream (local.get $id))
         (call $tell @\"x-call\" (call $grpc_stream @\"echo\" @\"test.Echo\" @\"Chat\" (i32.const 0) (i32.const 0) (i32.const 0x8010)))
         (call $tell @\"x-first\" (call $grpc_send (i32.load (i32.const 0x8010)) @\"{}\" (i32.const 0)))
         (i32.const 1)",
        said("hello")
    );
    let (_origin, _echo, _dir, gateway) = scene(&module(&open)).await;
    let answer = gateway.http1().await.get("/").await;
    for (name, expected) in [
        ("x-call", "a"),
        ("x-first", "a"),
        ("x-sent", "a"),
        ("x-said", "more"),
        ("x-closed", "a"),
        ("x-order", "immtc"),
    ] {
        assert_eq!(answer.echoed(name), [expected], "{name}");
    }
}

#[tokio::test]
async fn misuse_is_told() {
    let does = format!(
        "{}
         (call $tell @\"x-on-call\" (call $grpc_send (i32.load (i32.const 0x8010)) (i32.const 0) (i32.const 0) (i32.const 0)))
         (call $tell @\"x-cancel\" (call $grpc_cancel (i32.load (i32.const 0x8010))))
         (call $tell @\"x-twice\" (call $grpc_cancel (i32.load (i32.const 0x8010))))
         (call $tell @\"x-send\" (call $grpc_send (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 0)))
         (call $tell @\"x-close\" (call $grpc_close (i32.const 77)))
         (call $tell @\"x-address\" (call $grpc_stream @\"echo\" @\"a\" @\"b\" (i32.const 0) (i32.const 0) (i32.const -1)))
         (call $tell @\"x-other\" (call $grpc_stream @\"origin\" @\"a\" @\"b\" (i32.const 0) (i32.const 0) (i32.const 0x8010)))
         (i32.const 0)",
        call("echo", "silent", 9000).replace("(i32.eqz (i32.eqz", "(drop (i32.eqz").replacen("x-call", "x-opened", 1)
    );
    let (_origin, _echo, _dir, gateway) = scene(&module(&does)).await;
    let answer = gateway.http1().await.get("/").await;
    for (name, expected) in [
        ("x-opened", "a"),
        ("x-on-call", "c"),
        ("x-cancel", "a"),
        ("x-twice", "b"),
        ("x-send", "b"),
        ("x-close", "b"),
        ("x-address", "g"),
        ("x-other", "e"),
    ] {
        assert_eq!(answer.echoed(name), [expected], "{name}");
    }
}
