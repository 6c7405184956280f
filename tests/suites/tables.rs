//! Routing tables as modules: how their routes stand beside those of documents, what they choose, and that nothing of
//! it reaches a client when they misbehave.

use http::Method;
use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, guests, soon};

const STEPS: &str = "middleware: {a: {respond: {body: a}}, b: {respond: {body: b}}, c: {respond: {body: c}}}\n";

fn scene(table: &str, module: &str, routes: &str) -> ConfigDir {
    let dir = ConfigDir::new();
    dir.write("table.wat", module);
    dir.write("gateway.yaml", &format!("{WEB}{STEPS}tables: {{main: {table}}}\nroutes: [{routes}]\n"));
    dir
}

async fn text(gateway: &Gateway, path: &str) -> String {
    let answer = gateway.http1().await.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn routes_of_a_table_are_matched_like_those_of_documents_and_after_them() {
    let module = guests::matched_table(r#"{"path":"/x","middleware":"a"}"#, r#"{"path":"/y/*","middleware":"b"}"#);
    let dir = scene("{module: table.wat}", &module, "{id: y, path: /y/*, middleware: c}, {id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    // The more specific route serves, whoever wrote it; of equals, the document's.
    for (path, expected) in [("/x", "a"), ("/y/1", "c"), ("/z", "c")] {
        assert_eq!(text(&gateway, path).await, expected, "{path}");
    }
    let diagnostics = gateway.status().await["last_attempt"]["diagnostics"].to_string();
    assert!(diagnostics.contains("shadowed-route") && diagnostics.contains("main/b"), "{diagnostics}");
}

#[tokio::test]
async fn a_table_serves_the_listeners_and_hosts_of_its_entry_alone() {
    let module = guests::matched_table(r#"{"middleware":"a"}"#, r#"{"path":"/b","middleware":"b"}"#);
    let dir = scene("{module: table.wat, hosts: ['*.a.test']}", &module, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    for (host, expected) in [("x.a.test", "a"), ("a.test", "c"), ("other.test", "c")] {
        let request = tidegate_tests::request(Method::GET, &format!("http://{host}/"));
        assert_eq!(client.send(request).await.text(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_table_chooses_for_each_request_and_leaves_the_rest_to_the_routes_that_are_matched() {
    let dir = scene("{module: table.wat}", guests::TABLE, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for (path, expected) in [("/a", "a"), ("/b?x=1", "b"), ("/nobody", "c"), ("/zzz", "c")] {
            assert_eq!(client.get(path).await.text(), expected, "{path}");
        }
    }
    assert_eq!(gateway.metric("tidegate_table_calls_total", "table=\"main\"").await, 8.0);
    assert_eq!(gateway.metric("tidegate_table_errors_total", "").await, 0.0);
    assert_eq!(gateway.metric("tidegate_requests_total", "route=\"main/a\"").await, 2.0);
}

#[tokio::test]
async fn where_a_table_fails_the_routes_that_are_matched_serve() {
    let dir = scene("{module: table.wat, limits: {call-timeout: 100ms}}", guests::TABLE, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    for path in ["/trap", "/fail", "/spin", "/other", "/trap"] {
        assert_eq!(text(&gateway, path).await, "c", "{path}");
        assert_eq!(text(&gateway, "/a").await, "a", "a guest that failed is not used again");
    }
    assert_eq!(gateway.metric("tidegate_table_traps_total", "table=\"main\"").await, 2.0);
    assert_eq!(gateway.metric("tidegate_table_errors_total", "kind=\"plugin_timeout\"").await, 1.0);
    assert_eq!(gateway.metric("tidegate_table_errors_total", "kind=\"plugin_failed\"").await, 4.0);
}

#[tokio::test]
async fn a_table_that_fails_again_and_again_is_left_alone_for_a_while() {
    let dir = scene("{module: table.wat}", guests::TABLE, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    for _ in 0..40 {
        assert_eq!(client.get("/trap").await.text(), "c");
    }
    let traps = gateway.metric("tidegate_table_traps_total", "").await;
    assert!((20.0..40.0).contains(&traps), "{traps} of 40 on one worker");
    soon("it is tried again", async || client.get("/a").await.text() == "a").await;
}

#[tokio::test]
async fn a_route_of_a_table_that_is_wrong_refuses_the_configuration_and_is_named() {
    let good = guests::matched_table(r#"{"path":"/x","middleware":"a"}"#, r#"{"path":"/y","middleware":"b"}"#);
    let dir = scene("{module: table.wat}", &good, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    let cases = [
        (
            guests::matched_table(r#"{"path":"/x","middleware":"q"}"#, r#"{"middleware":"b"}"#),
            "unknown-reference",
            "`a`",
        ),
        (guests::matched_table(r#"{"middleware":"a"}"#, r#"{"pfad":"/y"}"#), "unknown-field", "`b`"),
        (guests::matched_table(r#"{"middleware":"a"}"#, r#"{"path":"y","middleware":"b"}"#), "bad-path", "`b`"),
    ];
    for (module, code, route) in cases {
        dir.write("table.wat", &module);
        let attempt = gateway.reload().await;
        let found = &attempt["diagnostics"][0];
        assert_eq!((attempt["outcome"].as_str(), found["code"].as_str()), (Some("refused"), Some(code)), "{attempt:#}");
        let message = found["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("table `main`, route {route}: ")), "{message}");
        assert_eq!(found["at"]["line"], 3, "{found}");
        assert_eq!(text(&gateway, "/x").await, "a", "the old generation serves");
    }
}

#[tokio::test]
async fn a_table_that_refuses_its_configuration_says_where() {
    let dir = scene("{module: table.wat, config: {bad: 1}}", guests::TABLE, "{id: all, middleware: c}");
    let refused = Gateway::try_start(&dir).await.expect_err("it is refused");
    assert!(refused.contains("error[table-config]: table main at /bad: not wanted"), "{refused}");
    assert!(refused.contains("gateway.yaml:3:"), "{refused}");
    dir.edit("gateway.yaml", "table.wat, config: {bad: 1}", "nothing.wat");
    dir.write("nothing.wat", guests::NOTHING);
    let refused = Gateway::try_start(&dir).await.expect_err("it is refused");
    assert!(refused.contains("a plugin, not a routing table"), "{refused}");
}

#[tokio::test]
async fn a_table_is_the_same_object_until_its_module_or_configuration_changes() {
    let dir = scene("{module: table.wat}", guests::TABLE, "{id: all, middleware: c}");
    let gateway = Gateway::watching(&dir).await;
    let guests_made = async || gateway.status().await["last_attempt"]["work"]["tables"].clone();
    assert_eq!(guests_made().await, 1);
    dir.edit("gateway.yaml", "{id: all,", "{id: all, timeout: 9s,");
    gateway.serves(2).await;
    assert_eq!((guests_made().await.as_u64(), text(&gateway, "/a").await.as_str()), (Some(0), "a"));
    dir.write("table.wat", &guests::TABLE.replace("abother", "baother"));
    gateway.serves(3).await;
    assert_eq!(guests_made().await, 1);
    let diagnostics = gateway.status().await["last_attempt"]["diagnostics"].to_string();
    assert_eq!(text(&gateway, "/a").await, "a", "the route called `b` is now the one that `/a` selects: {diagnostics}");
    // Two guests stand, one a worker; those of the module that was are gone.
    soon("only the new guests stand", async || gateway.metric("tidegate_table_guests", "main").await == 2.0).await;
}

#[tokio::test]
async fn an_operator_sees_what_a_table_yields_and_what_it_chooses() {
    let dir = scene("{module: table.wat}", guests::TABLE, "{id: all, middleware: c}");
    let gateway = Gateway::start(&dir).await;
    for (path, route, note) in [
        ("/a", "main/a", "the table `main` chose the route"),
        ("/zzz", "all", "was asked and chooses none"),
        ("/trap", "all", "the table `main` fails"),
    ] {
        let explained = gateway.ask(Method::GET, &format!("/-/explain?url=http://any{path}")).await.json();
        assert_eq!(explained["route"], route, "{explained:#}");
        assert_eq!(explained["table"].as_str(), route.starts_with("main/").then_some("main"));
        assert!(explained["notes"].to_string().contains(note), "{explained:#}");
    }
    let rendered = gateway.ask(Method::GET, "/-/config?explain=1").await.text();
    for line in [
        "tables:",
        "# Routes of the table `main` (table.wat), served where it selects them:",
        "#   main/a:  # table main,",
    ] {
        assert!(rendered.contains(line), "{line}\n{rendered}");
    }
}

#[tokio::test]
async fn the_canary_of_the_examples_takes_the_share_that_it_is_asked_for_and_keeps_its_users() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist/canary-table.wasm");
    let module = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error} (make plugins)"));
    let (stable, canary) = (Origin::start(), Origin::start());
    let dir = ConfigDir::new().with("stable", stable.address()).with("canary", canary.address());
    dir.write_bytes("canary.wasm", &module);
    dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{v1: {{endpoints: ['{{stable}}']}}, v2: {{endpoints: ['{{canary}}']}}}}
tables: {{canary: {{module: canary.wasm, config: {{stable: v1, canary: v2, percent: 20, key: x-user}}}}}}
routes: [{{id: all, upstream: v1}}]
"
        ),
    );
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    let mut ask = async |user: usize, cookie: &str| {
        let before = canary.requests();
        let mut asked = tidegate_tests::request(Method::GET, "http://shop.test/");
        asked.headers_mut().insert("x-user", format!("user-{user}").parse().unwrap());
        if !cookie.is_empty() {
            asked.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        assert_eq!(client.send(asked).await.status, 200);
        canary.requests() > before
    };
    let mut chosen = Vec::new();
    for user in 0..3000 {
        chosen.push(ask(user, "").await);
    }
    let share = canary.requests() as f64 / 30.0;
    assert!((share - 20.0).abs() <= 1.0, "{share} %");
    assert_eq!(stable.requests() + canary.requests(), 3000);
    for (user, was) in chosen.iter().enumerate().step_by(30) {
        let now = (ask(user, "").await, ask(user, "canary=always").await, ask(user, "a=b; canary=never").await);
        assert_eq!(now, (*was, true, false), "user {user}");
    }
    // A larger share takes nobody out of it.
    dir.edit("gateway.yaml", "percent: 20", "percent: 30");
    gateway.apply().await;
    for user in (0..3000).filter(|user| chosen[*user]).step_by(9) {
        assert!(ask(user, "").await, "user {user}");
    }
    assert_eq!(gateway.metric("tidegate_table_errors_total", "").await, 0.0);
}
