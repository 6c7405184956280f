//! Modules of Proxy-Wasm as exchanges meet them: what they see and change of heads and bodies, how they pause, call and
//! go on, what they share, and what becomes of exchanges when they fail. Every guest is text, made for its test.

mod bodies;
pub(crate) mod calls;
mod containment;
mod foreign;
mod grpc;
mod heads;
mod lengths;
mod published;
mod redis;
mod rerouting;
mod sdks;
mod sharing;
mod statuses;
mod versions;

use tidegate_tests::{
    ConfigDir, Gateway, Origin, WEB,
    proxy_wasm::{CONTINUE, callback, guest, on_request, request_headers, set, told},
};

/// A gateway with the middleware `plugin`, whose module is `guest`, before an origin; `more` are further settings of it.
pub(crate) async fn scene(guest: &str, more: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("guest.wat", guest);
    write(&dir, more);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

/// Writes its configuration anew.
pub(crate) fn write(dir: &ConfigDir, more: &str) {
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  plugin: {{module: guest.wat{more}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
}

#[tokio::test]
async fn each_version_sees_and_changes_heads_of_both_directions() {
    for version in ["0_1_0", "0_2_0", "0_2_1"] {
        // The first version has no flag for the end of the stream.
        let params = if version == "0_1_0" { "$id $fields" } else { "$id $fields $end" };
        let request = format!(
            "(drop (call $get (i32.const 0) @\"user-agent\" (i32.const 0x8000) (i32.const 0x8004)))
             (drop (call $replace (i32.const 0) @\"x-agent\" (call $given) (call $given_length)))
             (drop (call $add (i32.const 0) @\"x-many\" @\"1\")) (drop (call $add (i32.const 0) @\"x-many\" @\"2\"))
             (drop (call $remove (i32.const 0) @\"x-secret\"))
             (drop (call $replace (i32.const 0) @\":path\" @\"/other?a\"))
             {CONTINUE}"
        );
        let response = format!(
            "{}(drop (call $replace (i32.const 2) @\":status\" @\"203\")) {CONTINUE}",
            set(2, "x-by", "plugin")
        );
        let body = callback("proxy_on_request_headers", params, &request)
            + &callback("proxy_on_response_headers", params, &response);
        let (_origin, _dir, gateway) = scene(&guest(version, &body), "").await;
        for mut client in [gateway.http1().await, gateway.http2().await] {
            let mut request = tidegate_tests::request(http::Method::GET, "/path");
            request.headers_mut().insert("user-agent", "me".parse().unwrap());
            request.headers_mut().insert("x-secret", "s".parse().unwrap());
            let answer = client.send(request).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-by")), (203, "plugin"), "{version}");
            assert_eq!(
                (answer.echoed("x-agent"), answer.echoed("x-many")),
                (vec!["me".into()], vec!["1".into(), "2".into()])
            );
            assert_eq!((answer.echoed("x-secret").len(), answer.echo()["target"].as_str()), (0, Some("/other?a")));
        }
    }
}

#[tokio::test]
async fn a_plugin_is_configured_with_a_text_as_it_is_and_with_anything_else_as_json() {
    let keep = "(local $status i32)
        (local.set $status (call $buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0x8000) (i32.const 0x8004)))
        (memory.copy (i32.const 0x9000) (call $given) (call $given_length))
        (global.set $bytes (call $given_length))
        (i32.and (i32.eqz (local.get $status)) (i32.eq (local.get $size) (call $given_length)))";
    let vm = "(i32.eqz (i32.ne (local.get $size) (i32.const 2)))";
    let show =
        format!("(drop (call $replace (i32.const 0) @\"x-config\" (i32.const 0x9000) (global.get $bytes))) {CONTINUE}");
    let body = "(global $bytes (mut i32) (i32.const 0))\n".to_owned()
        + &callback("proxy_on_vm_start", "$root $size", vm)
        + &callback("proxy_on_configure", "$root $size", keep)
        + &request_headers(&show);
    let vm = ", proxy-wasm: {vm-config: vm}";
    let (_origin, dir, gateway) = scene(&guest("0_2_1", &body), &format!(", config: 'plain: text'{vm}")).await;
    assert_eq!(gateway.http1().await.get("/").await.echoed("x-config"), ["plain: text"]);
    write(&dir, &format!(", config: {{a: [1, ü]}}{vm}"));
    gateway.apply().await;
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
    let shown = &gateway.http1().await.get("/").await.echoed("x-config")[0];
    assert_eq!(serde_json::from_str::<serde_json::Value>(shown).unwrap(), serde_json::json!({ "a": [1, "ü"] }));
    // A VM that wants another configuration refuses the tree, and says what it logged.
    write(&dir, ", config: x, proxy-wasm: {vm-config: long}");
    let attempt = gateway.reload().await;
    assert_eq!(attempt["outcome"], "refused");
    assert!(attempt.to_string().contains("proxy_on_vm_start returns false"), "{attempt}");
}

#[tokio::test]
async fn modules_of_two_abis_and_built_in_steps_share_a_chain() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let order = format!("(drop (call $add (i32.const 0) @\"x-order\" @\"proxy-wasm\")) {CONTINUE}");
    dir.write("guest.wat", &on_request(&order));
    dir.write("header.wat", tidegate_tests::guests::HEADER);
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  one: {{module: guest.wat}}
  two: {{module: header.wat}}
  three: {{headers: {{request: {{add: {{x-order: built-in}}}}}}}}
routes: [{{id: all, path: /*, middleware: [three, one, two, one], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!(answer.echoed("x-order"), ["built-in", "proxy-wasm", "proxy-wasm"]);
    assert_eq!(answer.echoed("x-bench"), ["seen"]);
}

#[tokio::test]
async fn a_plugin_answers_in_the_upstreams_place_and_its_response_callback_sees_the_answer() {
    let pairs = "\\01\\00\\00\\00\\04\\00\\00\\00\\01\\00\\00\\00x-by\\00w\\00";
    let answer = format!(
        "(drop (call $answer (i32.const 418) (i32.const 0) (i32.const 0) @\"teapot\" @\"{pairs}\" (i32.const -1)))
         ;; There is one answer to a request.
         (drop (call $answer (i32.const 500) (i32.const 0) (i32.const 0) @\"no\" (i32.const 0) (i32.const 0) (i32.const -1)))
         (i32.const 1)"
    );
    let seen = format!("{}{CONTINUE}", set(2, "x-seen", "yes"));
    let body = request_headers(&answer) + &callback("proxy_on_response_headers", "$id $fields $end", &seen);
    let (origin, _dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (418, "teapot"));
        assert_eq!(
            (answer.header("x-by"), answer.header("x-seen"), answer.header("content-type")),
            ("w", "yes", "text/plain")
        );
    }
    // A gRPC client reads status and message from fields.
    let mut request = tidegate_tests::request(http::Method::POST, "/service/method");
    request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    let answer = gateway.http2().await.send(request).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("grpc-status"), answer.header("grpc-message")),
        (200, "2", "teapot")
    );
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_plugin_answers_in_the_place_of_a_response() {
    let answer = "(drop (call $answer (i32.const 502) (i32.const 0) (i32.const 0) @\"hidden\" (i32.const 0) (i32.const 0) (i32.const -1)))
         (i32.const 1)";
    let body = callback("proxy_on_response_headers", "$id $fields $end", answer);
    let (origin, _dir, gateway) = scene(&guest("0_2_0", &body), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str(), origin.requests()), (502, "hidden", 1));
}

#[tokio::test]
async fn contexts_live_as_long_as_their_exchange_and_are_told_of_its_end() {
    // Letters of callbacks go into shared data; a request for /seen reads them.
    let note = |letter: &str| {
        format!(
            "(if (call $shared @\"seen\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)) (then
               (i32.store (i32.const 0x8000) (i32.const 0x9000)) (i32.store (i32.const 0x8004) (i32.const 0))))
             (memory.copy (i32.const 0x9100) (call $given) (call $given_length))
             (i32.store8 (i32.add (i32.const 0x9100) (call $given_length)) (i32.const {}))
             (drop (call $share @\"seen\" (i32.const 0x9100) (i32.add (call $given_length) (i32.const 1)) (i32.const 0)))",
            letter.as_bytes()[0]
        )
    };
    let show = format!(
        "(call $show (i32.const 0) @\"x-seen\" (call $shared @\"seen\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
         {}{CONTINUE}",
        note("r")
    );
    let body =
        told("proxy_on_context_create", "$id $parent", &format!("(if (local.get $parent) (then {}))", note("c")))
            + &request_headers(&show)
            + &callback("proxy_on_done", "$id", &format!("{} (i32.const 1)", note("d")))
            + &told("proxy_on_log", "$id", &note("l"))
            + &told("proxy_on_delete", "$id", &note("e"));
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    let mut client = gateway.http1().await;
    client.get("/").await;
    tidegate_tests::soon("the end of the first exchange was told", async || {
        let seen = client.get("/").await.echoed("x-seen").concat();
        seen.contains("crdle")
    })
    .await;
}

#[tokio::test]
async fn a_context_may_ask_for_time_after_its_end_and_give_it_back() {
    // The tick says that the context which asked for time is done.
    let body = "(global $late (mut i32) (i32.const 0)) (global $logged (mut i32) (i32.const 0))\n".to_owned()
        + &callback("proxy_on_configure", "$root $size", "(drop (call $ticks (i32.const 5))) (i32.const 1)")
        + &callback("proxy_on_done", "$id", "(global.set $late (local.get $id)) (i32.const 0)")
        + &told("proxy_on_tick", "$root", "(if (global.get $late) (then
             (drop (call $effective (global.get $late))) (drop (call $done)) (global.set $late (i32.const 0))))")
        + &told("proxy_on_log", "$id", "(global.set $logged (i32.const 1))
             (drop (call $share @\"logged\" @\"yes\" (i32.const 0)))")
        + &request_headers(&format!(
            "(call $show (i32.const 0) @\"x-logged\" (call $shared @\"logged\" (i32.const 0x8000) (i32.const 0x8004) (i32.const 0x8008)))
             (call $tell @\"x-done\" (call $done)) {CONTINUE}"
        ));
    let (_origin, _dir, gateway) = scene(&guest("0_2_1", &body), "").await;
    let mut client = gateway.http1().await;
    // Nobody is done who did not ask for time.
    assert_eq!(client.get("/").await.echoed("x-done"), ["b"]);
    tidegate_tests::soon("the context was logged", async || client.get("/").await.echoed("x-logged") == ["yes"]).await;
}
