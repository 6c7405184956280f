//! Plugins as exchanges meet them: what they see and change, what they remember, and what becomes of an exchange when
//! they misbehave.

use tidegate_tests::{Client, ConfigDir, Gateway, Origin, WEB, guests, soon};

async fn scene(middleware: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("unruly.wat", guests::UNRULY);
    dir.write("tally.wat", guests::TALLY);
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("header.wat", guests::HEADER);
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  plugin: {middleware}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
        ),
    );
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

#[tokio::test]
async fn a_plugin_that_reads_a_header_and_sets_one() {
    let (_origin, _dir, gateway) = scene("{module: header.wat}").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        assert_eq!(client.get("/").await.echoed("x-bench"), ["seen"]);
    }
}

#[tokio::test]
async fn a_plugin_is_given_its_settings_as_json() {
    let (_origin, _dir, gateway) = scene("{module: stamp.wat, config: {name: ü, list: [1, 2.5, true, null]}}").await;
    let answer = gateway.http1().await.get("/").await;
    let config: serde_json::Value = serde_json::from_str(&answer.echoed("x-config")[0]).unwrap();
    assert_eq!(config, serde_json::json!({ "name": "ü", "list": [1, 2.5, true, null] }));
}

#[tokio::test]
async fn a_plugin_answers_in_the_upstreams_place() {
    let (origin, _dir, gateway) = scene("{module: unruly.wat}").await;
    let answer = gateway.http1().await.get("/answer").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-by"), answer.text().as_str()), (418, "wasm", "I am a teapot"));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_plugin_that_traps_or_fails_answers_503_where_its_policy_is_closed_and_is_never_used_again() {
    let (origin, _dir, gateway) = scene("{module: unruly.wat}").await;
    let mut client = gateway.http1().await;
    for path in ["/trap", "/fail"] {
        for _ in 0..3 {
            let answer = client.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.generation()), (503, 1), "{path}");
            assert!(!answer.text().contains("unreachable"), "the client is not told why: {}", answer.text());
        }
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(client.get("/pass").await.status, 200);
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "plugin=\"plugin\"").await, 6.0);
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await, 3.0);
}

#[tokio::test]
async fn a_plugin_that_traps_is_skipped_where_its_policy_is_open() {
    let (origin, _dir, gateway) = scene("{module: unruly.wat, on-failure: open}").await;
    let mut client = gateway.http1().await;
    for path in ["/trap", "/fail"] {
        assert_eq!(client.get(path).await.echo()["target"], path);
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_plugin_that_loops_or_waits_is_ended_at_its_deadline_and_delays_nobody_else() {
    let (_origin, _dir, gateway) =
        scene("{module: unruly.wat, limits: {call-timeout: 15s, exchange-timeout: 15s}}").await;
    // As many as keep every worker busy for the whole deadline, if a loop could.
    let mut spinning = tokio::task::JoinSet::new();
    for path in ["/spin", "/spin", "/spin", "/wait", "/wait"] {
        let mut client = gateway.http1().await;
        spinning.spawn(async move { client.get(path).await.status.as_u16() });
    }
    soon("they are under way", async || gateway.metric("tidegate_live_exchanges", "current").await >= 5.0).await;
    for _ in 0..20 {
        assert_eq!(gateway.http1().await.get("/pass").await.status, 200);
    }
    assert!(spinning.try_join_next().is_none(), "they still run, and 20 others came through");
    while let Some(status) = spinning.join_next().await {
        assert_eq!(status.unwrap(), 503);
    }
}

#[tokio::test]
async fn the_key_value_space_is_one_for_all_workers_and_outlives_reloads_and_new_modules() {
    let (_origin, dir, gateway) = scene("{module: tally.wat}").await;
    let total =
        async |client: &mut Client| u64::from_str_radix(&client.get("/").await.echoed("x-total")[0], 16).unwrap();
    for count in 1..=10 {
        assert_eq!(total(&mut gateway.http1().await).await, count);
    }
    dir.write("tally.wat", &format!("{}\n;; another module\n", guests::TALLY.replace("16)", "17)")));
    dir.edit("gateway.yaml", "path: /*", "path: /*, timeout: 10s");
    gateway.apply().await;
    assert_eq!(total(&mut gateway.http1().await).await, 11);
}

#[tokio::test]
async fn a_fresh_guest_serves_each_exchange_where_isolation_is_per_request() {
    let (_origin, _dir, gateway) = scene("{module: stamp.wat, isolation: per-request}").await;
    let mut client = gateway.http1().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.echoed("x-count"), ["00000001"]);
    }
}

#[tokio::test]
async fn a_rebuilt_module_alone_is_a_change_like_any_other() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{stamp: {{module: stamp.wat}}}}
routes: [{{id: all, path: /*, middleware: [stamp], upstream: origin}}]
"
        ),
    );
    let gateway = Gateway::watching(&dir).await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/").await.echoed("x-module"), ["00000001"]);
    dir.write("stamp.wat", &guests::stamp(2));
    soon("the new module serves", async || client.get("/").await.generation() == 2).await;
    assert_eq!(client.get("/").await.echoed("x-module"), ["00000002"]);
}

/// Built by `plugins/build.sh` when the ABI had its first shape, and never again.
const GREETING_0_1_0: &[u8] = include_bytes!("../guests/released/greeting-0.1.0.wasm");

#[tokio::test]
async fn a_plugin_that_was_built_for_the_released_abi_still_serves() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write_bytes("greeting.wasm", GREETING_0_1_0);
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{greeting: {{module: greeting.wasm, config: {{text: 'good morning, {{name}}'}}}}}}
routes: [{{id: all, path: /*, middleware: [greeting], upstream: origin}}]
"
        ),
    );
    let gateway = Gateway::start(&dir).await;
    let answer = gateway.http1().await.get("/?name=jane").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-greeting")), (200, "good morning, jane"));
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(gateway.metric("tidegate_guest_counter_total", "name=\"greeted\"").await, 1.0);
}
