//! Heads: what handlers see of requests and responses, what they change, when they may, and what they are told.

use http::{Method, Request};
use tidegate_tests::{
    http_wasm::{ANSWER, NEXT, features, guest, handlers, on_request, on_response, set},
    request, soon,
};

use super::{scene, write};

#[tokio::test]
async fn a_guest_sees_and_changes_the_head_of_a_request() {
    let does = format!(
        "(local.set $n (call $method (i32.const 0x8000) (i32.const 64)))
         (call $show (i32.const 0) @\"x-method\" (local.get $n))
         (local.set $n (call $uri (i32.const 0x8000) (i32.const 64)))
         (call $show (i32.const 0) @\"x-uri\" (local.get $n))
         (local.set $n (call $length (call $values (i32.const 0) @\"Host\" (i32.const 0x8000) (i32.const 64))))
         (call $show (i32.const 0) @\"x-host\" (local.get $n))
         (call $remove (i32.const 0) @\"X-Secret\")
         {}{}
         (call $set_method @\"PUT\") (call $set_uri @\"/other?b\") (call $set (i32.const 0) @\"host\" @\"Else.test:81\")
         {NEXT}",
        set(0, "x-set", "a\\0d\\0ab"),
        set(0, "content-length", "7"),
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let mut asked = request(Method::GET, "http://some.test/path?a=%20");
        asked.headers_mut().insert("x-secret", "s".parse().unwrap());
        let answer = client.send(asked).await;
        let echoed = |name: &str| answer.echoed(name).join("|");
        assert_eq!((echoed("x-method").as_str(), echoed("x-uri").as_str()), ("GET", "/path?a=%20"));
        assert_eq!((echoed("x-host").as_str(), echoed("x-secret").as_str()), ("some.test,", ""));
        assert_eq!((echoed("x-set").as_str(), echoed("host").as_str()), ("a  b", "else.test:81"));
        let echo = answer.echo();
        assert_eq!((echo["method"].as_str(), echo["target"].as_str()), (Some("PUT"), Some("/other?b")));
        assert_eq!(echo["body_bytes"], 0);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_not_written_and_its_length_is_told_all_the_same() {
    let does = format!(
        "(i32.store (i32.const 0x8000) (i32.const 0x2e2e2e2e))
         (call $tell (i32.const 0) @\"x-length\" (call $uri (i32.const 0x8000) (i32.const 4)))
         (call $tell (i32.const 0) @\"x-count\" (call $count (call $values (i32.const 0) @\"x-a\" (i32.const 0x8000) (i32.const 3))))
         (call $tell (i32.const 0) @\"x-both\" (call $length (call $values (i32.const 0) @\"x-a\" (i32.const 0x8000) (i32.const 0))))
         (call $tell (i32.const 0) @\"x-nothing\" (call $uri (i32.const -1) (i32.const 0)))
         (call $show (i32.const 0) @\"x-memory\" (i32.const 4))
         (drop (call $uri (i32.const 0x8000) (i32.const 5)))
         (call $show (i32.const 0) @\"x-then\" (i32.const 5))
         {NEXT}"
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    let mut asked = request(Method::GET, "/path");
    asked.headers_mut().append("x-a", "1".parse().unwrap());
    asked.headers_mut().append("x-a", "2".parse().unwrap());
    let answer = gateway.http1().await.send(asked).await;
    let echoed = |name: &str| answer.echoed(name).concat();
    assert_eq!((echoed("x-length"), echoed("x-nothing")), ("5".into(), "5".into()));
    assert_eq!((echoed("x-count"), echoed("x-both")), ("2".into(), "4".into()));
    assert_eq!((echoed("x-memory"), echoed("x-then")), ("....".into(), "/path".into()));
}

#[tokio::test]
async fn names_come_once_in_lower_case_with_the_host() {
    let does = format!(
        "(local.set $n (call $length (call $names (i32.const 0) (i32.const 0x8000) (i32.const 2048))))
         (call $show (i32.const 1) @\"x-names\" (local.get $n)) {ANSWER}"
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    let mut asked = request(Method::GET, "/");
    asked.headers_mut().append("X-Many", "1".parse().unwrap());
    asked.headers_mut().append("X-Many", "2".parse().unwrap());
    let answer = gateway.http1().await.send(asked).await;
    let names: Vec<_> = answer.header("x-names").split_terminator(',').collect();
    let times = |name: &str| names.iter().filter(|known| **known == name).count();
    assert_eq!((times("host"), times("x-many")), (1, 1), "{names:?}");
}

#[tokio::test]
async fn a_guest_answers_in_the_upstreams_place() {
    let does = format!(
        "(call $set_status (i32.const 418)) {}
         (call $add (i32.const 1) @\"x-many\" @\"1\") (call $add (i32.const 1) @\"x-many\" @\"2\")
         (call $write (i32.const 1) @\"tea\") (call $write (i32.const 1) @\"pot\") {ANSWER}",
        set(1, "content-type", "text/tea")
    );
    let (origin, _dir, gateway) = scene(&handlers(&does, "unreachable"), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (418, "teapot"));
        assert_eq!((answer.header("content-type"), answer.header("content-length")), ("text/tea", "6"));
        assert_eq!(answer.headers.get_all("x-many").iter().count(), 2);
    }
    // Nothing at all is 200.
    let (_origin, _dir, gateway) = scene(&handlers(ANSWER, ""), "").await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str(), origin.requests()), (200, "", 0));
}

#[tokio::test]
async fn what_is_said_of_a_response_before_there_is_one_holds_when_it_comes() {
    let does = format!(
        "{} (call $add (i32.const 1) @\"x-origin\" @\"and plugin\") (call $remove (i32.const 1) @\"content-type\") {NEXT}",
        set(1, "x-by", "plugin"),
    );
    let (_origin, _dir, gateway) = scene(&handlers(&does, ""), "").await;
    let answer = gateway.http1().await.get("/").await;
    let origins: Vec<_> = answer.headers.get_all("x-origin").iter().collect();
    assert_eq!((answer.header("x-by"), answer.header("content-type"), origins.len()), ("plugin", "", 2));
    // Without the feature a status holds, too; with it, the response's own does.
    for (bits, status) in [(0, 202), (2, 404)] {
        let body =
            features(bits) + &on_request(&format!("(call $set_status (i32.const 202)) {NEXT}")) + &on_response("nop");
        let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
        assert_eq!(gateway.http1().await.get("/status/404").await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn a_response_is_seen_always_and_changed_where_the_guest_asked_for_it() {
    let see = "(call $tell (i32.const 1) @\"x-status\" (call $status))
        (local.set $n (call $length (call $values (i32.const 1) @\"x-origin\" (i32.const 0x8000) (i32.const 64))))
        (call $show (i32.const 1) @\"x-seen\" (local.get $n))
        (local.set $n (call $method (i32.const 0x8000) (i32.const 64)))
        (call $show (i32.const 1) @\"x-method\" (local.get $n))
        (local.set $n (call $uri (i32.const 0x8000) (i32.const 64)))
        (call $show (i32.const 1) @\"x-uri\" (local.get $n))
        (call $remove (i32.const 1) @\"content-type\") (call $set_status (i32.const 203))";
    let body = features(2) + &on_request(&format!("(call $set_uri @\"/other\") {NEXT}")) + &on_response(see);
    let (_origin, _dir, gateway) = scene(&guest(&body), "").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-status"), answer.header("x-seen")),
            (203, "200", "origin,")
        );
        assert_eq!(
            (answer.header("x-method"), answer.header("x-uri"), answer.header("content-type")),
            ("GET", "/other", "")
        );
    }
}

#[tokio::test]
async fn what_may_not_be_changed_any_more_is_a_failure_of_the_guest() {
    let late = [
        set(1, "x-by", "plugin"),
        "(call $remove (i32.const 1) @\"x-by\")".into(),
        "(call $set_status (i32.const 200))".into(),
        "(call $write (i32.const 1) @\"body\")".into(),
        "(drop (call $read (i32.const 1) (i32.const 0x8000) (i32.const 9)))".into(),
        set(0, "x-by", "plugin"),
        "(call $set_method @\"PUT\")".into(),
        "(call $set_uri @\"/\")".into(),
        "(call $write (i32.const 0) @\"body\")".into(),
        "(drop (call $read (i32.const 0) (i32.const 0x8000) (i32.const 9)))".into(),
    ];
    let (_origin, dir, gateway) = scene(&handlers(NEXT, "nop"), "").await;
    for does in late {
        dir.write("guest.wat", &handlers(NEXT, &does));
        write(&dir, "");
        gateway.apply().await;
        assert_eq!(gateway.http1().await.get("/").await.status, 503, "{does}");
        write(&dir, ", on-failure: open");
        gateway.apply().await;
        let answer = gateway.http1().await.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-origin")), (200, "origin"), "{does}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_failure_of_the_guest() {
    let wrong = [
        set(0, "x y", "1"),
        set(0, "x", "\\01"),
        "(call $set (i32.const 0) (i32.const 0) (i32.const 0) @\"1\")".into(),
        "(drop (call $values (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x8000) (i32.const 9)))".into(),
        "(drop (call $names (i32.const 4) (i32.const 0x8000) (i32.const 9)))".into(),
        set(9, "x", "1"),
        set(0, "host", "a@b"),
        "(call $set_method @\"A B\")".into(),
        "(call $set_method (i32.const 0) (i32.const 0))".into(),
        "(call $set_uri @\"no path\")".into(),
        "(call $set_status (i32.const 99))".into(),
        "(call $set_status (i32.const 101))".into(),
        "(call $write (i32.const 2) @\"x\")".into(),
        "(drop (call $read (i32.const 0) (i32.const 0x8000) (i32.const 0)))".into(),
        set(3, "x-trailer", "1"),
    ];
    let (origin, dir, gateway) = scene(&handlers(NEXT, ""), "").await;
    for does in wrong {
        dir.write("guest.wat", &handlers(&format!("{does} {NEXT}"), ""));
        gateway.apply().await;
        assert_eq!(gateway.http1().await.get("/").await.status, 503, "{does}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_feature_that_is_enabled_for_a_request_is_that_requests_alone() {
    // Where the request asks for it, what the response handler does is allowed.
    let does = format!(
        "(local.set $n (i32.const 0))
         (if (call $count (call $values (i32.const 0) @\"x-buffer\" (i32.const 0) (i32.const 0)))
           (then (local.set $n (call $features (i32.const 10)))))
         (call $tell (i32.const 0) @\"x-features\" (call $features (i32.const 0)))
         {NEXT}"
    );
    let after = format!("{}(drop (call $features (i32.const 7)))", set(1, "x-by", "plugin"));
    let (_origin, _dir, gateway) = scene(&handlers(&does, &after), "").await;
    let mut client = gateway.http1().await;
    for _ in 0..2 {
        let mut asked = request(Method::GET, "/");
        asked.headers_mut().insert("x-buffer", "1".parse().unwrap());
        let answer = client.send(asked).await;
        assert_eq!((answer.header("x-by"), answer.echoed("x-features").concat().as_str()), ("plugin", "2"));
        assert_eq!(client.get("/").await.status, 503);
    }
}

#[tokio::test]
async fn a_guest_is_the_exchanges_own_from_its_request_to_its_response() {
    // Each guest counts its requests; the response must find what its request left in the same memory.
    let body = "(global $count (mut i32) (i32.const 0)) (global $mine (mut i32) (i32.const 0))".to_owned()
        + &features(2)
        + &on_request(
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (drop (call $uri (i32.const 0x8000) (i32.const 64)))
             (global.set $mine (i32.load8_u (i32.const 0x8001)))
             (call $next_with (global.get $mine))",
        )
        + &on_response(
            "(if (i32.ne (local.get $context) (global.get $mine)) (then unreachable))
             (call $tell (i32.const 1) @\"x-context\" (local.get $context))
             (call $tell (i32.const 1) @\"x-count\" (global.get $count))",
        );
    let (origin, _dir, gateway) = scene(&guest(&body), "").await;
    let mut holds: Vec<_> = ["/a", "/b", "/c"].map(|path| origin.hold(path)).into();
    let asked: Vec<_> = ["/a", "/b", "/c"]
        .map(|path| {
            let address = gateway.web();
            tokio::spawn(async move { tidegate_tests::Client::http1(address).await.get(path).await })
        })
        .into();
    let mut held = Vec::new();
    for hold in &mut holds {
        held.push(hold.next().await);
    }
    // All three are under way, so each has a guest of its own; they end in another order.
    for mut held in held.into_iter().rev() {
        held.answer(200, "done").await;
    }
    for (asked, letter) in asked.into_iter().zip("abc".bytes()) {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-context")), (200, letter.to_string().as_str()));
    }
    // Free guests are used again.
    let mut client = gateway.http1().await;
    let mut last = 0;
    for _ in 0..8 {
        last = client.get("/x").await.header("x-count").parse().unwrap();
    }
    assert!(last >= 8, "one guest served them all: {last}");
}

#[tokio::test]
async fn the_response_handler_is_told_of_an_error_and_of_an_end_that_no_response_came_before() {
    let body = "(global $open (mut i32) (i32.const 0))".to_owned()
        + &features(2)
        + &on_request(&format!(
            "(call $tell (i32.const 1) @\"x-open\" (global.get $open))
             (global.set $open (i32.add (global.get $open) (i32.const 1)))
             (if (call $count (call $values (i32.const 0) @\"x-ask\" (i32.const 0) (i32.const 0)))
               (then (global.set $open (i32.sub (global.get $open) (i32.const 1))) (return {ANSWER})))
             {NEXT}"
        ))
        + &on_response(
            "(global.set $open (i32.sub (global.get $open) (i32.const 1)))
             (call $tell (i32.const 1) @\"x-error\" (local.get $error))",
        );
    let (origin, _dir, gateway) = scene(&guest(&body), "").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/status/500").await.header("x-error"), "0");
    let mut hold = origin.hold("/held");
    let address = gateway.web();
    for _ in 0..4 {
        // The upstream breaks off.
        let asked = tokio::spawn(async move { tidegate_tests::Client::http1(address).await.get("/held").await });
        while !asked.is_finished() {
            tokio::select! {
                held = hold.next() => held.reset(),
                () = tokio::task::yield_now() => {}
            }
        }
        let answer = asked.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-error")), (502, "1"));
        // The client goes away.
        let goes = tokio::spawn(async move { tidegate_tests::Client::http1(address).await.get("/held").await });
        let held = hold.next().await;
        goes.abort();
        drop((goes.await, held));
    }
    let ask = || {
        let mut asked: Request<_> = request(Method::GET, "/");
        asked.headers_mut().insert("x-ask", "1".parse().unwrap());
        asked
    };
    soon("every guest was told of every end", async || {
        for _ in 0..8 {
            if gateway.http1().await.send(ask()).await.header("x-open") != "0" {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn a_plugin_is_configured_with_a_text_as_it_is_and_with_anything_else_as_json() {
    let does = format!(
        "(local.set $n (call $config (i32.const 0x8000) (i32.const 256)))
         (call $show (i32.const 0) @\"x-config\" (local.get $n))
         (call $tell (i32.const 0) @\"x-length\" (call $config (i32.const 0) (i32.const 0)))
         (call $log (i32.const -1) @\"debug\") (call $log (i32.const 0) @\"info\") (call $log (i32.const 3) @\"none\")
         (call $log (i32.const 77) (i32.const -1) (i32.const -1))
         (call $tell (i32.const 0) @\"x-none\" (call $log_enabled (i32.const 3)))
         {NEXT}"
    );
    let (_origin, dir, gateway) = scene(&handlers(&does, ""), "").await;
    let mut client = gateway.http1().await;
    let answer = client.get("/").await;
    assert_eq!((answer.echoed("x-length").concat(), answer.echoed("x-none").concat()), ("0".into(), "0".into()));
    write(&dir, ", config: 'plain: text'");
    gateway.apply().await;
    assert_eq!(client.get("/").await.echoed("x-config"), ["plain: text"]);
    write(&dir, ", config: {a: [1, b]}");
    gateway.apply().await;
    let shown = client.get("/").await.echoed("x-config").concat();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), serde_json::json!({ "a": [1, "b"] }));
}

#[tokio::test]
async fn modules_of_three_abis_share_a_chain() {
    let origin = tidegate_tests::Origin::start();
    let dir = tidegate_tests::ConfigDir::new().with("origin", origin.address());
    let order = |name: &str| format!("(call $add (i32.const 0) @\"x-order\" @\"{name}\") {NEXT}");
    dir.write("http.wat", &handlers(&order("http-wasm"), ""));
    let proxy = format!(
        "(drop (call $add (i32.const 0) @\"x-order\" @\"proxy-wasm\")) {}",
        tidegate_tests::proxy_wasm::CONTINUE
    );
    dir.write("proxy.wat", &tidegate_tests::proxy_wasm::on_request(&proxy));
    dir.write("header.wat", tidegate_tests::guests::HEADER);
    let yaml = format!(
        "{}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{http: {{module: http.wat}}, proxy: {{module: proxy.wat}}, native: {{module: header.wat}}}}
routes: [{{id: all, path: /*, middleware: [http, native, proxy, http], upstream: origin}}]
",
        tidegate_tests::WEB
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = tidegate_tests::Gateway::start(&dir).await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!(answer.echoed("x-order"), ["http-wasm", "proxy-wasm", "http-wasm"]);
    assert_eq!(answer.echoed("x-bench"), ["seen"]);
}
