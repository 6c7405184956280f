//! The route of a request whose head a plugin changed: chosen anew, as in Envoy, without going around what the other
//! route asks for.

use bytes::Bytes;
use http::Method;
use tidegate_tests::{
    ConfigDir, Gateway, Origin, WEB,
    proxy_wasm::{CONTINUE, PAUSE, callback, guest, on_request, request_headers, set},
    request, soon,
};

// Two origins; what routes there are is the test's.
async fn scene(module: &str, more: &str) -> (Origin, Origin, ConfigDir, Gateway) {
    let (one, other) = (Origin::start(), Origin::start());
    let dir = ConfigDir::new().with("one", one.address()).with("other", other.address());
    dir.write("guest.wat", module);
    let yaml = format!(
        "{WEB}
upstreams: {{one: {{endpoints: ['{{one}}']}}, other: {{endpoints: ['{{other}}']}}}}
middleware:
  marks-one: {{headers: {{response: {{set: {{x-one: '1'}}}}}}}}
  marks-other: {{headers: {{response: {{set: {{x-other: '1'}}}}}}}}
  both: {{headers: {{request: {{add: {{x-both: '1'}}}}}}}}
{more}"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    (one, other, dir, gateway)
}

const BY_FIELD: &str = "  plugin: {module: guest.wat}
routes:
- {id: one, path: /*, middleware: [both, marks-one, plugin], upstream: one}
- {id: other, path: /*, headers: {x-to: other}, middleware: [both, plugin, marks-other], upstream: other}
";

#[tokio::test]
async fn a_field_that_a_plugin_sets_leads_to_another_route() {
    let (one, other, _dir, gateway) =
        scene(&on_request(&format!("{}{CONTINUE}", set(0, "x-to", "other"))), BY_FIELD).await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-other")), (200, "1"));
        // Of the first route's steps those before the plugin were met, and what both have was met once.
        assert_eq!((answer.header("x-one"), answer.echoed("x-both")), ("1", vec!["1".into()]));
    }
    assert_eq!((one.requests(), other.requests()), (0, 2));
    let counted = async || gateway.metric("tidegate_requests_total", "route=\"other\"").await == 2.0;
    soon("both are counted", counted).await;
}

#[tokio::test]
async fn a_choice_that_comes_out_the_same_changes_nothing() {
    let (one, other, _dir, gateway) =
        scene(&on_request(&format!("{}{CONTINUE}", set(0, "x-to", "one"))), BY_FIELD).await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!((answer.header("x-one"), answer.echoed("x-both")), ("1", vec!["1".into()]));
    assert_eq!((one.requests(), other.requests()), (1, 0));
}

#[tokio::test]
async fn what_the_body_says_decides_where_the_head_is_still_held_back() {
    let body =
        format!("(if (i32.eqz (local.get $end)) (then (return {PAUSE}))) {} {CONTINUE}", set(0, "x-to", "other"));
    let module =
        guest("0_2_100", &(request_headers(PAUSE) + &callback("proxy_on_request_body", "$id $size $end", &body)));
    let (one, other, _dir, gateway) = scene(&module, BY_FIELD).await;
    let mut post = request(Method::POST, "/");
    *post.body_mut() = Bytes::from_static(b"{\"model\": \"other\"}");
    let answer = gateway.http1().await.send(post).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-other")), (200, "1"));
    assert_eq!((one.requests(), other.requests()), (0, 1));
}

#[tokio::test]
async fn a_route_is_not_entered_without_its_own_steps() {
    let routes = "  plugin: {module: guest.wat}
  closed: {respond: {status: 403}}
routes:
- {id: one, path: /open/*, middleware: [plugin], upstream: one}
- {id: other, path: /closed/*, middleware: [plugin, closed], upstream: other}
";
    let module = on_request(&format!("(drop (call $replace (i32.const 0) @\":path\" @\"/closed/x\")) {CONTINUE}"));
    let (one, other, _dir, gateway) = scene(&module, routes).await;
    assert_eq!(gateway.http1().await.get("/open/x").await.status, 403);
    assert_eq!((one.requests(), other.requests()), (0, 0));
}

#[tokio::test]
async fn a_host_that_a_plugin_sets_leads_to_its_routes() {
    let routes = "  plugin: {module: guest.wat}
routes:
- {id: one, path: /*, middleware: [plugin], upstream: one}
- {id: other, host: other.example, path: /*, upstream: other}
";
    let module =
        on_request(&format!("(drop (call $replace (i32.const 0) @\":authority\" @\"OTHER.example:80\")) {CONTINUE}"));
    let (one, other, _dir, gateway) = scene(&module, routes).await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((one.requests(), other.requests()), (0, 2));
}

// A plugin in each of two routes that sends to the other one.
#[tokio::test]
async fn routes_that_lead_to_each_other_come_to_an_end() {
    let routes = "  plugin: {module: guest.wat}
  back: {module: back.wat}
routes:
- {id: one, path: /one, middleware: [plugin], upstream: one}
- {id: other, path: /other, middleware: [back], upstream: other}
";
    let to =
        |path: &str| on_request(&format!("(drop (call $replace (i32.const 0) @\":path\" @\"{path}\")) {CONTINUE}"));
    let (one, other) = (Origin::start(), Origin::start());
    let dir = ConfigDir::new().with("one", one.address()).with("other", other.address());
    dir.write("guest.wat", &to("/other"));
    dir.write("back.wat", &to("/one"));
    let upstreams = "upstreams: {one: {endpoints: ['{one}']}, other: {endpoints: ['{other}']}}";
    dir.write("gateway.yaml", &format!("{WEB}\n{upstreams}\nmiddleware:\n{routes}"));
    let gateway = Gateway::start(&dir).await;
    let answer = gateway.http1().await.get("/one").await;
    assert_eq!((answer.status.as_u16(), answer.echo()["target"].as_str()), (200, Some("/one")));
    assert_eq!((one.requests(), other.requests()), (1, 0));
}

#[tokio::test]
async fn the_route_stays_where_none_matches_any_more_or_it_is_told_to() {
    let kept = [
        ("", format!("(drop (call $replace (i32.const 0) @\":path\" @\"/nowhere\")) {CONTINUE}")),
        (
            ", proxy-wasm: {keep-route: true}",
            format!("(drop (call $replace (i32.const 0) @\":path\" @\"/other\")) {CONTINUE}"),
        ),
        // As plugins of Higress ask for it.
        (
            "",
            format!(
                "(drop (call $set_property @\"clear_route_cache\" @\"off\"))
                 (drop (call $replace (i32.const 0) @\":path\" @\"/other\")) {CONTINUE}"
            ),
        ),
    ];
    for (setting, does) in kept {
        let routes = format!(
            "  plugin: {{module: guest.wat{setting}}}
routes:
- {{id: one, path: /one, middleware: [plugin], upstream: one}}
- {{id: other, path: /other, upstream: other}}
"
        );
        let (one, other, _dir, gateway) = scene(&on_request(&does), &routes).await;
        assert_eq!(gateway.http1().await.get("/one").await.status, 200, "{does}");
        assert_eq!((one.requests(), other.requests()), (1, 0), "{does}");
    }
}

#[tokio::test]
async fn what_upstreams_are_asked_for_in_place_of_a_path_chooses_no_route() {
    let routes = "  plugin: {module: guest.wat}
  moved: {rewrite: {path: {full: /other}}}
routes:
- {id: one, path: /one, middleware: [moved, plugin], upstream: one}
- {id: other, path: /other, upstream: other}
";
    let (one, other, _dir, gateway) = scene(&on_request(&format!("{}{CONTINUE}", set(0, "x-a", "b"))), routes).await;
    assert_eq!(gateway.http1().await.get("/one").await.echo()["target"].as_str(), Some("/other"));
    assert_eq!((one.requests(), other.requests()), (1, 0));
}

#[tokio::test]
async fn the_limits_are_those_of_the_route_that_was_chosen() {
    let routes = "  plugin: {module: guest.wat}
routes:
- {id: one, path: /*, middleware: [plugin], upstream: one}
- {id: other, path: /*, headers: {x-to: other}, body-bytes-max: 3, timeout: 200ms, upstream: other}
";
    let (one, other, _dir, gateway) =
        scene(&on_request(&format!("{}{CONTINUE}", set(0, "x-to", "other"))), routes).await;
    let mut post = request(Method::POST, "/");
    *post.body_mut() = Bytes::from_static(b"four");
    assert_eq!(gateway.http1().await.send(post).await.status, 413);
    let _held = other.hold("/hang");
    assert_eq!(gateway.http1().await.get("/hang").await.status, 504);
    assert_eq!((one.requests(), other.requests() <= 1), (0, true));
}
