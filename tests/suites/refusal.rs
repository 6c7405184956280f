//! A bad edit of each kind leaves the old generation serving, and status, metric and log say why.

use std::net::TcpListener;

use serde_json::Value;
use tidegate_tests::{Client, ConfigDir, Gateway, Origin, Process, WEB, free_address, guests, soon};

const GOOD: &str = "
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  stamp: {module: stamp.wat, config: {edit: 1}}
routes:
  - {id: all, path: /*, middleware: [stamp], upstream: origin}
";

/// What is done to a good configuration: a name, the edit, and what the first error must name.
type Bad = (&'static str, fn(&ConfigDir), &'static str);

const BAD: [Bad; 15] = [
    ("a document that is no YAML", |dir| dir.write("gateway.yaml", "routes: [\n"), "gateway.yaml"),
    ("a document cut in the middle of a line", |dir| edit(dir, "upstream: origin}", "upstream: ori"), "gateway.yaml"),
    ("a field that there is not", |dir| edit(dir, "path: /*", "paht: /*"), "paht"),
    ("a value of the wrong type", |dir| edit(dir, "['{origin}']", "7"), "endpoints"),
    ("an upstream that there is not", |dir| edit(dir, "upstream: origin}", "upstream: orgin}"), "orgin"),
    ("a middleware that there is not", |dir| edit(dir, "[stamp]", "[stmap]"), "stmap"),
    ("a regular expression that is none", |dir| edit(dir, "path: /*", "path: {regex: '/('}"), "unclosed group"),
    (
        "a name defined twice",
        |dir| dir.write("more.yaml", "upstreams: {origin: {endpoints: ['127.0.0.1:1']}}"),
        "origin",
    ),
    ("a document that is not UTF-8", |dir| dir.write_bytes("more.yaml", b"routes: {\xff: {}}"), "more.yaml"),
    ("a module that is missing", |dir| edit(dir, "stamp.wat", "stanp.wat"), "stanp.wat"),
    ("a module that is not Wasm", |dir| dir.write("stamp.wat", "(module (oops))"), "stamp.wat"),
    ("a module of no known ABI", |dir| dir.write("stamp.wat", "(module)"), "stamp.wat"),
    ("a module that asks for what there is not", missing_import, "no-such-thing"),
    ("a plugin that refuses its settings", |dir| dir.write("stamp.wat", guests::PICKY), "a limit of less than nothing"),
    ("all documents gone", |dir| dir.remove("gateway.yaml"), ""),
];

fn edit(dir: &ConfigDir, from: &str, to: &str) {
    dir.edit("gateway.yaml", from, to);
}

fn missing_import(dir: &ConfigDir) {
    let import = "(module (import \"tidegate:plugin/http@0.1.0\" \"no-such-thing\" (func))";
    dir.write("stamp.wat", &guests::stamp(1).replacen("(module", import, 1));
}

fn write_good(dir: &ConfigDir, listeners: &str) {
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("gateway.yaml", &format!("{listeners}{GOOD}"));
}

#[tokio::test]
async fn a_bad_edit_of_each_kind_leaves_the_old_generation_serving_and_says_why() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    write_good(&dir, WEB);
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    for (count, (kind, spoil, named)) in (1..).zip(BAD) {
        spoil(&dir);
        let attempt = gateway.reload().await;
        refused(kind, &attempt, named);
        let status = gateway.status().await;
        assert_eq!(status["generation"], 1, "{kind}");
        refused(kind, &status["last_attempt"], named);
        assert_eq!(gateway.metric("tidegate_reloads_total", "outcome=\"refused\"").await, f64::from(count), "{kind}");
        assert_eq!(gateway.metric("tidegate_reload_last_attempt_successful", "").await, 0.0, "{kind}");
        let answer = client.get("/").await;
        assert_eq!((answer.generation(), answer.status.as_u16()), (1, 200), "{kind}");
        assert_eq!(gateway.live().await, [1], "{kind}");

        if dir.path().join("more.yaml").exists() {
            dir.remove("more.yaml");
        }
        write_good(&dir, WEB);
        let attempt = gateway.reload().await;
        assert_eq!(attempt["outcome"], "unchanged", "{kind}, mended: {attempt:#}");
        assert_eq!(gateway.metric("tidegate_reload_last_attempt_successful", "").await, 1.0, "{kind}");
    }
}

fn refused(kind: &str, attempt: &Value, named: &str) {
    assert_eq!((&attempt["outcome"], &attempt["generation"]), (&"refused".into(), &1.into()), "{kind}: {attempt:#}");
    let diagnostics = attempt["diagnostics"].as_array().expect("an attempt has diagnostics");
    let errors: Vec<_> = diagnostics.iter().filter(|found| found["severity"] == "error").collect();
    assert!(!errors.is_empty(), "{kind}: {attempt:#}");
    assert!(errors.iter().any(|error| error.to_string().contains(named)), "{kind}: `{named}` in {errors:#?}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    write_good(&dir, WEB);
    let gateway = Gateway::start(&dir).await;
    edit(&dir, "upstream: origin}", "upstream: orgin}");
    edit(&dir, "[stamp]", "[stmap]");
    dir.write("more.yaml", "routes:\n  - {id: more, paht: /x, upstream: origin}\n");
    let text = gateway.reload().await["diagnostics"].to_string();
    for named in ["orgin", "stmap", "paht"] {
        assert!(text.contains(named), "`{named}` in {text}");
    }
}

#[tokio::test]
async fn what_a_plugin_complains_of_points_at_the_line_of_its_settings() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    write_good(&dir, WEB);
    let gateway = Gateway::start(&dir).await;
    dir.write("picky.wat", guests::PICKY);
    edit(&dir, "middleware:\n", "middleware:\n  picky:\n    module: picky.wat\n    config:\n      limit: -1\n");
    edit(&dir, "[stamp]", "[stamp, picky]");
    let attempt = gateway.reload().await;
    let error = &attempt["diagnostics"][0];
    let text = std::fs::read_to_string(dir.path().join("gateway.yaml")).unwrap();
    let line = text.lines().position(|line| line.contains("limit: -1")).unwrap() + 1;
    assert_eq!(error["at"]["line"], line, "{attempt:#}");
    assert!(error["message"].as_str().unwrap().contains("a limit of less than nothing"), "{attempt:#}");
}

#[tokio::test]
async fn an_address_that_another_process_holds_refuses_the_tree() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    write_good(&dir, WEB);
    let gateway = Gateway::start(&dir).await;
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let two = WEB.replace("listeners: {", &format!("listeners: {{taken: {{address: '{taken}'}}, "));
    write_good(&dir, &two);
    refused("an address that is taken", &gateway.reload().await, &taken.to_string());
    assert_eq!(gateway.http1().await.get("/").await.generation(), 1);
    drop(holder);
    gateway.apply().await;
}

#[tokio::test]
async fn the_log_says_what_was_refused_and_where() {
    let origin = Origin::start();
    let web = free_address();
    let dir = ConfigDir::new().with("origin", origin.address());
    let listeners = format!("listeners: {{web: {{address: '{web}', generation-header: true}}}}\n");
    write_good(&dir, &listeners);
    let admin = free_address().to_string();
    let path = dir.path().display().to_string();
    let process = Process::start(&["run", "--config", &path, "--admin", &admin, "--workers", "2"]);
    soon("the gateway listens", async || tokio::net::TcpStream::connect(web).await.is_ok()).await;
    edit(&dir, "upstream: origin}", "upstream: orgin}");
    soon("the log says so", async || {
        let said = process.said().join("\n");
        ["refused", "gateway.yaml:", "orgin"].iter().all(|word| said.contains(word))
    })
    .await;
    assert_eq!(Client::http1(web).await.get("/").await.generation(), 1);
}
