//! The examples that hosts of http-wasm ship (auth, config, log, nop, redact, router, wasi), written anew.

use http::Method;
use tidegate_tests::{
    ConfigDir, Gateway,
    http_wasm::{ANSWER, NEXT, at_start, guest, handlers, on_request, on_response, set},
    request, wire,
};

use super::{scene, write};

#[tokio::test]
async fn nop_changes_nothing() {
    let (_origin, _dir, gateway) = scene(&handlers(NEXT, ""), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/chunks/2").await;
        assert_eq!(answer.text(), "0123456789".repeat(2));
    }
    assert!(gateway.http2().await.get("/chunks/2").await.trailers.contains_key("x-digest"));
}

#[tokio::test]
async fn auth_lets_pass_who_is_known() {
    let expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    let does = format!(
        "(local $got i64)
         (local.set $got (call $values (i32.const 0) @\"authorization\" (i32.const 0x8000) (i32.const 64)))
         (if (i32.and (i32.eq (call $count (local.get $got)) (i32.const 1))
               (call $same (i32.const 0x8000) (call $length (local.get $got)) @\"{expected}\\00\"))
           (then (return {NEXT})))
         {}
         (call $set_status (i32.const 401)) {ANSWER}",
        set(1, "www-authenticate", "Basic realm=test")
    );
    let request_handler = format!("(func (export \"handle_request\") (result i64) {does})");
    let (origin, _dir, gateway) = scene(&guest(&(request_handler + &on_response(""))), "").await;
    let mut client = gateway.http1().await;
    for (value, status) in [(None, 401), (Some(""), 401), (Some(expected), 200), (Some("0"), 401)] {
        let mut asked = request(Method::GET, "/");
        if let Some(value) = value {
            asked.headers_mut().insert("authorization", value.parse().unwrap());
        }
        let answer = client.send(asked).await;
        assert_eq!(answer.status.as_u16(), status, "{value:?}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn config_enables_the_features_that_it_is_told() {
    // The configuration is a number; what is enabled is what was asked for, and nothing for nothing.
    let start = at_start(
        "(if (i32.ne (call $config (i32.const 0x8000) (i32.const 1)) (i32.const 1)) (then unreachable))
         (local.set $n (i32.sub (i32.load8_u (i32.const 0x8000)) (i32.const 48)))
         (if (i32.ne (call $features (local.get $n)) (local.get $n)) (then unreachable))",
    );
    let module = guest(&(start + &on_request(NEXT) + &on_response("nop")));
    let (_origin, dir, gateway) = scene(&module, ", config: '0'").await;
    for config in 1..8 {
        write(&dir, &format!(", config: '{config}'"));
        gateway.apply().await;
        let mut post = request(Method::POST, "/");
        *post.body_mut() = "{\"hello\": \"panda\"}".into();
        let answer = gateway.http1().await.send(post).await;
        assert_eq!(answer.echo()["body_digest"], wire::digest(b"{\"hello\": \"panda\"}"), "{config}");
    }
    write(&dir, ", config: long");
    assert_eq!(gateway.reload().await["outcome"], "refused");
}

#[tokio::test]
async fn log_tells_of_requests_and_responses() {
    let body = |kind: u32, log: &str| {
        format!(
            "(call $log (i32.const 0) @\"{log}\")
             (local.set $n (call $read_all (i32.const {kind}) (i32.const 2048)))
             (call $log (i32.const 0) (i32.const 0x10000) (local.get $n))"
        )
    };
    let module = guest(
        &(at_start("(drop (call $features (i32.const 7)))")
            + &on_request(&format!("{} {NEXT}", body(0, "before")))
            + &on_response(&body(1, "after"))),
    );
    let (_origin, _dir, gateway) = scene(&module, "").await;
    let mut post = request(Method::POST, "/");
    *post.body_mut() = "hello".into();
    let answer = gateway.http2().await.send(post).await;
    assert_eq!(answer.echo()["body_digest"], wire::digest(b"hello"));
}

#[tokio::test]
async fn redact_hides_a_secret_both_ways() {
    let redact = "
        (global $secret (mut i32) (i32.const 0))
        (func $redact (param $length i32) (result i32)
          (local $at i32) (local $found i32)
          (block $end
            (loop $next
              (br_if $end (i32.lt_u (local.get $length) (global.get $secret)))
              (if (call $same (i32.add (i32.const 0x10000) (local.get $at)) (global.get $secret) (i32.const 0xa000) (global.get $secret))
                (then
                  (local.set $found (i32.const 1))
                  (memory.fill (i32.add (i32.const 0x10000) (local.get $at)) (i32.const 35) (global.get $secret))))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (local.set $length (i32.sub (local.get $length) (i32.const 1)))
              (br $next)))
          (local.get $found))
        (func $body (param $kind i32)
          (local $n i32)
          (local.set $n (call $read_all (local.get $kind) (i32.const 512)))
          (if (call $redact (local.get $n))
            (then (call $write (local.get $kind) (i32.const 0x10000) (local.get $n)))))";
    let start = at_start(
        "(drop (call $features (i32.const 3)))
         (global.set $secret (call $config (i32.const 0xa000) (i32.const 64)))
         (if (i32.eqz (global.get $secret)) (then unreachable))",
    );
    let module = guest(
        &(redact.to_owned()
            + &start
            + &on_request(&format!("(call $body (i32.const 0)) {NEXT}"))
            + &on_response("(call $body (i32.const 1))")),
    );
    let (_origin, _dir, gateway) = scene(&module, ", config: 'open sesame'").await;
    let mut client = gateway.http1().await;
    for (body, sent) in [("hello world", "hello world"), ("say open sesame, open", "say ###########, open")] {
        let mut post = request(Method::POST, "/?open%20sesame");
        *post.body_mut() = body.into();
        assert_eq!(client.send(post).await.echo()["body_digest"], wire::digest(sent.as_bytes()));
    }
    let mut shown = request(Method::GET, "/");
    shown.headers_mut().insert("x-say", "open sesame".parse().unwrap());
    let answer = client.send(shown).await;
    assert_eq!(answer.echoed("x-say"), ["###########"], "in the response");
}

#[tokio::test]
async fn router_rewrites_what_it_knows_and_answers_the_rest() {
    let does = format!(
        "(local.set $n (call $uri (i32.const 0x8000) (i32.const 256)))
         (if (i32.and (i32.ge_u (local.get $n) (i32.const 5)) (i32.le_u (local.get $n) (i32.const 256)))
           (then (if (call $same (i32.const 0x8000) (i32.const 5) @\"/host\")
             (then (call $set_uri (i32.const 0x8005) (i32.sub (local.get $n) (i32.const 5))) (return {NEXT})))))
         {} (call $write (i32.const 1) @\"hello world\") {ANSWER}",
        set(1, "Content-Type", "text/plain")
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    let mut client = gateway.http1().await;
    let answer = client.get("/").await;
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("hello world", "text/plain"));
    assert_eq!(client.get("/host/a?b").await.echo()["target"], "/a?b");
    assert_eq!(client.get("/host").await.echo()["target"], "/");
}

#[tokio::test]
async fn a_plugin_is_inspected_and_what_it_lacks_is_named() {
    let dir = ConfigDir::new();
    dir.write("guest.wat", &handlers(NEXT, ""));
    dir.write(
        "draft.wat",
        "(module (import \"http_handler\" \"next\" (func)) (memory (export \"memory\") 1) (func (export \"handle\")))",
    );
    let inspect = |name: &str| {
        let said = tidegate_tests::tidegate(&["plugin", "inspect", &dir.path().join(name).display().to_string()]);
        (said.status.code(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    };
    let (code, said) = inspect("guest.wat");
    assert!(said.contains("abi: http-wasm\nform: core module") && said.contains("loads: yes"), "{said}");
    assert!(said.contains("http_handler#get_source_addr") && !said.contains("NOT PROVIDED"), "{said}");
    assert_eq!(code, Some(0));
    let (code, said) = inspect("draft.wat");
    assert!(said.contains("http_handler#next    NOT PROVIDED") && said.contains("http-wasm-guest-tinygo"), "{said}");
    assert_eq!(code, Some(1));
    // Beside it, a gateway runs with the one and refuses the other.
    let (_origin, dir, gateway) = scene(&handlers(NEXT, ""), "").await;
    dir.write("guest.wat", "(module (import \"http_handler\" \"next\" (func)) (memory (export \"memory\") 1))");
    let attempt = Gateway::reload(&gateway).await;
    assert_eq!(attempt["outcome"], "refused");
    assert!(attempt.to_string().contains("imports what is not provided: http_handler#next"), "{attempt}");
}
