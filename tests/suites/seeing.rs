//! What the gateway tells of itself: status, configuration, metrics and the access log, of a gateway that really runs.

use http::Method;
use serde_json::{Value, json};
use tidegate_tests::{ConfigDir, Gateway, Origin, eventually, guests, request, soon};

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners: {web: {address: '127.0.0.1:0', generation-header: true}}
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  stamp: {module: stamp.wat, config: {edit: 1}}
routes:
  - {id: all, path: /*, middleware: [stamp], upstream: origin}
";

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let mut dir = ConfigDir::new().with("origin", origin.address());
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

async fn log_lines(dir: &ConfigDir, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines are logged"), std::time::Duration::from_secs(10), async || {
        let text = std::fs::read_to_string(dir.beside("access.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn the_status_has_what_the_front_door_promises() {
    let (_origin, _dir, gateway) = scene().await;
    let status = gateway.status().await;
    for field in ["generation", "revision", "hash", "serving_since", "last_attempt", "live_generations"] {
        assert!(!status[field].is_null(), "{field}: {status:#}");
    }
    let attempt = &status["last_attempt"];
    for field in ["at", "trigger", "outcome", "diagnostics", "phases_ms"] {
        assert!(!attempt[field].is_null(), "{field}: {attempt:#}");
    }
    assert_eq!((&attempt["trigger"], &attempt["outcome"]), (&"start".into(), &"applied".into()));
    let live = &status["live_generations"][0];
    assert_eq!((&live["generation"], &live["exchanges"], &live["tunnels"]), (&1.into(), &0.into(), &0.into()));
    assert!(live["age_s"].is_u64(), "{live:#}");
}

#[tokio::test]
async fn a_running_gateway_is_live_and_ready() {
    let (_origin, _dir, gateway) = scene().await;
    for probe in ["/-/live", "/-/ready"] {
        assert_eq!(gateway.ask(Method::GET, probe).await.status, 200, "{probe}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let (_origin, dir, gateway) = scene().await;
    dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let attempt = gateway.ask(Method::POST, "/-/reload?dry_run=1").await;
    assert_eq!((attempt.status.as_u16(), &attempt.json()["outcome"]), (200, &"applied".into()));
    assert_eq!(gateway.http1().await.get("/").await.generation(), 1);
    dir.edit("gateway.yaml", "upstream: origin", "upstream: orgin");
    assert_eq!(gateway.ask(Method::POST, "/-/reload?dry_run=1").await.status, 422);
    assert_eq!(gateway.ask(Method::POST, "/-/reload").await.status, 422);
    dir.edit("gateway.yaml", "upstream: orgin", "upstream: origin");
    assert_eq!(gateway.apply().await, 2);
}

#[tokio::test]
async fn a_tree_that_is_sent_is_checked_modules_included() {
    let (_origin, dir, gateway) = scene().await;
    let document = std::fs::read_to_string(dir.path().join("gateway.yaml")).unwrap();
    let check = async |module: &str| {
        let entries = json!({"gateway.yaml": document, "stamp.wat": module});
        let mut ask = request(Method::POST, &format!("http://{}/-/check", gateway.admin()));
        *ask.body_mut() = json!({ "entries": entries }).to_string().into();
        tidegate_tests::Client::http1(gateway.admin()).await.send(ask).await
    };
    let good = check(&guests::stamp(2)).await;
    assert_eq!(good.status, 200, "{}", good.text());
    let bad = check("(module)").await;
    assert!(bad.text().contains("stamp.wat"), "{}", bad.text());
    assert_eq!(gateway.status().await["generation"], 1);
}

#[tokio::test]
async fn the_configuration_that_serves_is_shown_and_explained() {
    let (origin, _dir, gateway) = scene().await;
    let text = gateway.ask(Method::GET, "/-/config").await.text();
    assert!(text.contains("stamp.wat") && text.contains(&origin.address().to_string()), "{text}");
    let text = gateway.ask(Method::GET, "/-/config?explain=1").await.text();
    assert!(text.contains("gateway.yaml:"), "{text}");
    let url = format!("http://{}/some/path", gateway.web());
    let explained = gateway.ask(Method::GET, &format!("/-/explain?method=GET&url={url}")).await.json();
    assert_eq!((&explained["route"], &explained["middleware"][0]["name"]), (&"all".into(), &"stamp".into()));
}

#[tokio::test]
async fn a_line_of_the_access_log_tells_one_exchange() {
    let (origin, dir, gateway) = scene().await;
    let mut ask = request(Method::POST, "/logged?with=query").map(|_| "12345".into());
    ask.headers_mut().insert("user-agent", "a \"quoted\" agent".parse().unwrap());
    let answer = gateway.http2().await.send(ask).await;
    let line = log_lines(&dir, 1).await.remove(0);
    let expected = json!({
        "generation": 1, "listener": "web", "route": "all", "method": "POST", "authority": "test.example",
        "path": "/logged", "query": "with=query", "protocol": "HTTP/2.0", "status": 200, "request_bytes": 5,
        "response_bytes": answer.body.len(), "upstream": "origin", "endpoint": origin.address().to_string(),
        "attempts": 1, "client": "127.0.0.1", "user_agent": "a \"quoted\" agent",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&line[field], value, "{field}: {line:#}");
    }
    for field in ["time", "duration_ms", "upstream_ms", "trace_id", "worker"] {
        assert!(!line[field].is_null(), "{field}: {line:#}");
    }
    assert!(line["plugins_ms"]["stamp"].is_number(), "{line:#}");
}

#[tokio::test]
async fn metrics_count_by_route_upstream_and_plugin_and_outlive_reloads() {
    let (_origin, dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    client.get("/").await;
    dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    gateway.apply().await;
    client.get("/").await;
    for (name, labels) in [
        ("tidegate_requests_total", "route=\"all\""),
        ("tidegate_upstream_requests_total", "upstream=\"origin\""),
        ("tidegate_plugin_calls_total", "plugin=\"stamp\""),
        ("tidegate_request_duration_seconds_count", "route=\"all\""),
    ] {
        soon(name, async || gateway.metric(name, labels).await == 2.0).await;
    }
    assert_eq!(gateway.metric("tidegate_generation", "").await, 2.0);
    assert_eq!(gateway.metric("tidegate_live_generations", "").await, 1.0);
    assert_eq!(gateway.metric("tidegate_reloads_total", "trigger=\"admin\",outcome=\"applied\"").await, 1.0);
}

#[tokio::test]
async fn every_metric_that_is_written_is_one_that_is_promised() {
    let (_origin, _dir, gateway) = scene().await;
    gateway.http1().await.get("/").await;
    let text = gateway.ask(Method::GET, "/metrics").await.text();
    let promised: Vec<_> = tidegate::telemetry::names::FAMILIES.iter().map(|family| family.name).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(promised.contains(&family) || promised.contains(&name), "{line}");
    }
}
