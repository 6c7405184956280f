//! The policy `previous`: a version of a plugin that fails is replaced by the last one that worked, by itself and as every
//! other change; and what stands around it: the breaker's limits, and guests that are replaced when they are worn.

use std::time::Duration;

use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, guests, soon};

async fn scene(more: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("plugin.wat", &guests::stamp(1));
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{plugin: {{module: plugin.wat, config: {{edit: 1}}, on-failure: previous{more}}}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
        ),
    );
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

const QUICK: &str = ", limits: {failures-max: 3, cool-down: 50ms}";

/// The number of the module that serves, or the status.
async fn answer(gateway: &Gateway, path: &str) -> String {
    let answer = gateway.http1().await.get(path).await;
    if answer.status == 200 { answer.echoed("x-module").concat() } else { answer.status.as_u16().to_string() }
}

#[tokio::test]
async fn the_last_version_that_worked_takes_the_place_of_one_that_fails() {
    let (_origin, dir, gateway) = scene(QUICK).await;
    assert_eq!(answer(&gateway, "/trap").await, "00000001");
    // The new version works for some, and then it does not.
    dir.write("plugin.wat", guests::UNRULY);
    dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    assert_eq!(gateway.apply().await, 2);
    assert_eq!(gateway.http1().await.get("/fine").await.status, 200);
    soon("the first version serves again", async || answer(&gateway, "/trap").await == "00000001").await;
    let config = gateway.http1().await.get("/").await.echoed("x-config").concat();
    assert!(config.contains("\"edit\":1"), "its configuration is that of then: {config}");

    let status = gateway.status().await;
    assert_eq!((&status["generation"], &status["last_attempt"]["trigger"]), (&3.into(), &"fallback".into()));
    let fallback = &status["fallbacks"][0];
    assert_eq!((&fallback["middleware"], &fallback["module"]), (&"plugin".into(), &"plugin.wat".into()), "{status:#}");
    assert_ne!(fallback["failed_sha256"], fallback["serving_sha256"]);
    assert!(status["degraded"][0].as_str().is_some_and(|why| why.contains("`plugin` failed")), "{status:#}");
    assert_eq!(gateway.metric("tidegate_plugin_fallbacks_total", "plugin=\"plugin\"").await, 1.0);
    assert_eq!(gateway.metric("tidegate_plugin_fallback", "plugin=\"plugin\"").await, 1.0);

    // It stays so for as long as the configuration has the version that failed, whatever else changes.
    dir.edit("gateway.yaml", "id: all", "id: every");
    gateway.apply().await;
    assert_eq!(answer(&gateway, "/trap").await, "00000001");
    assert_eq!(gateway.reload().await["outcome"], "unchanged");

    dir.write("plugin.wat", &guests::stamp(3));
    gateway.apply().await;
    assert_eq!(answer(&gateway, "/trap").await, "00000003");
    let status = gateway.status().await;
    assert!(status["fallbacks"].is_null() && status["degraded"].is_null(), "{status:#}");
    assert_eq!(gateway.metric("tidegate_plugin_fallback", "plugin=\"plugin\"").await, 0.0);
}

#[tokio::test]
async fn a_documents_mistake_does_not_keep_a_failing_version_in_its_place() {
    let (_origin, dir, gateway) = scene(QUICK).await;
    assert_eq!(answer(&gateway, "/").await, "00000001");
    dir.write("plugin.wat", guests::UNRULY);
    gateway.apply().await;
    dir.edit("gateway.yaml", "upstream: origin}", "upstream: orgin}");
    assert_eq!(gateway.reload().await["outcome"], "refused");
    soon("the first version serves again", async || answer(&gateway, "/trap").await == "00000001").await;
}

#[tokio::test]
async fn where_no_version_has_worked_the_policy_is_closed() {
    let (_origin, dir, gateway) = scene(QUICK).await;
    // The first version has served nobody.
    dir.write("plugin.wat", guests::UNRULY);
    gateway.apply().await;
    for _ in 0..20 {
        assert_eq!(answer(&gateway, "/trap").await, "503");
    }
    soon("the plugin is tried again", async || answer(&gateway, "/fine").await.is_empty()).await;
    assert_eq!(gateway.status().await["generation"], 2);
}

#[tokio::test]
async fn the_breaker_opens_after_as_many_failures_as_its_limits_say() {
    let (_origin, dir, gateway) = scene(", limits: {failures-max: 2, cool-down: 1h}").await;
    dir.edit("gateway.yaml", "on-failure: previous", "on-failure: open");
    dir.write("plugin.wat", guests::UNRULY);
    gateway.apply().await;
    // Many, so that each worker has enough.
    for _ in 0..40 {
        assert_eq!(answer(&gateway, "/trap").await, "");
    }
    let traps = gateway.metric("tidegate_plugin_traps_total", "plugin=\"plugin\"").await;
    assert!((2.0..=4.0).contains(&traps), "two on each worker that was asked: {traps}");
}

#[tokio::test]
async fn a_worn_guest_is_replaced_by_a_fresh_one() {
    let (_origin, dir, gateway) = scene(", limits: {guest-calls-max: 3}").await;
    let mut client = gateway.http1().await;
    let mut counts = Vec::new();
    for _ in 0..7 {
        counts.push(client.get("/").await.echoed("x-count").concat());
    }
    assert_eq!(counts, ["1", "2", "3", "1", "2", "3", "1"].map(|count| format!("0000000{count}")));
    // The guest begins with 1 MiB.
    dir.edit("gateway.yaml", "guest-calls-max: 3", "guest-bytes-max: 512KiB");
    gateway.apply().await;
    let mut client = gateway.http1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.echoed("x-count"), ["00000001"]);
    }
}

#[tokio::test]
async fn traps_are_counted_by_kind_and_memory_by_plugin() {
    let (_origin, dir, gateway) = scene(", limits: {call-timeout: 100ms}").await;
    assert_eq!(answer(&gateway, "/").await, "00000001");
    let memory = gateway.metric("tidegate_plugin_guest_memory_bytes", "plugin=\"plugin\"").await;
    assert!(memory >= f64::from(1 << 20), "{memory}");
    dir.write("plugin.wat", guests::UNRULY);
    dir.edit("gateway.yaml", "on-failure: previous", "on-failure: closed");
    gateway.apply().await;
    for path in ["/trap", "/trap"] {
        assert_eq!(answer(&gateway, path).await, "503");
    }
    let traps = async |kind: &str| gateway.metric("tidegate_plugin_traps_total", &format!("kind=\"{kind}\"")).await;
    assert_eq!((traps("unreachable").await, traps("memory").await), (2.0, 0.0));
}

#[tokio::test]
async fn a_version_that_failed_stays_replaced_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let (_origin, dir, gateway) = scene(QUICK).await;
    gateway.shutdown(Duration::from_secs(5)).await;
    let restarted = async || Gateway::keeping(&dir, state.path()).await.unwrap();
    let gateway = restarted().await;
    assert_eq!(answer(&gateway, "/").await, "00000001");
    dir.write("plugin.wat", guests::UNRULY);
    dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    gateway.apply().await;
    soon("the first version serves again", async || answer(&gateway, "/trap").await == "00000001").await;
    soon("it is said", async || !gateway.status().await["fallbacks"].is_null()).await;
    gateway.shutdown(Duration::from_secs(5)).await;

    let gateway = restarted().await;
    assert_eq!(answer(&gateway, "/trap").await, "00000001", "no request meets the version that failed");
    let status = gateway.status().await;
    assert_eq!(status["fallbacks"][0]["module"], "plugin.wat", "{status:#}");
    assert!(status["degraded"][0].as_str().is_some_and(|why| why.contains("`plugin` failed")), "{status:#}");
    dir.write("plugin.wat", &guests::stamp(3));
    gateway.apply().await;
    assert_eq!(answer(&gateway, "/trap").await, "00000003");
    assert!(gateway.status().await["fallbacks"].is_null());
    gateway.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_worked_before_a_restart_takes_the_place_of_what_came_with_it() {
    let state = tempfile::tempdir().unwrap();
    let (_origin, dir, gateway) = scene(QUICK).await;
    gateway.shutdown(Duration::from_secs(5)).await;
    let gateway = Gateway::keeping(&dir, state.path()).await.unwrap();
    assert_eq!(answer(&gateway, "/").await, "00000001");
    // Written when a version works for the first time, beside the exchange.
    let kept = || std::fs::read_dir(state.path().join("fallbacks")).unwrap().map(|file| file.unwrap().path());
    let worked = || kept().any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"worked\":true")));
    soon("it is kept", async || worked()).await;
    gateway.shutdown(Duration::from_secs(5)).await;
    dir.write("plugin.wat", guests::UNRULY);
    let gateway = Gateway::keeping(&dir, state.path()).await.unwrap();
    soon("the first version serves again", async || answer(&gateway, "/trap").await == "00000001").await;
    gateway.shutdown(Duration::from_secs(5)).await;

    // What is kept and cannot be trusted is left out.
    for path in kept().filter(|path| path.extension().is_some_and(|kind| kind == "wasm")) {
        std::fs::write(path, "other").unwrap();
    }
    let gateway = Gateway::keeping(&dir, state.path()).await.unwrap();
    assert_eq!(answer(&gateway, "/trap").await, "503");
    gateway.shutdown(Duration::from_secs(5)).await;
}
