//! Components of `wasi:http` as exchanges meet them: the probe of `tests/guests/wasi-http` does what its path says.

mod bodies;
mod containment;
mod drafts;
mod outgoing;

use http::Method;
use tidegate_tests::{ConfigDir, Gateway, Origin, Process, WEB, free_address, plugin, request, soon, tidegate};

/// A gateway with the probe as the middleware `app`, before an origin and beside another one called `side`; `more` are
/// further settings of it.
pub(crate) async fn scene(more: &str) -> (Origin, Origin, ConfigDir, Gateway) {
    let (origin, side) = (Origin::start(), Origin::named("side"));
    let dir = ConfigDir::new().with("origin", origin.address()).with("side", side.address());
    dir.write_bytes("app.wasm", &plugin("wasi-http-probe"));
    write(&dir, more);
    let gateway = Gateway::start(&dir).await;
    (origin, side, dir, gateway)
}

/// Writes its configuration anew.
pub(crate) fn write(dir: &ConfigDir, more: &str) {
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}, side: {{endpoints: ['{{side}}']}}}}
middleware:
  app: {{module: app.wasm{more}}}
routes: [{{id: all, path: /*, middleware: [app], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
}

#[tokio::test]
async fn a_component_answers_in_place_of_an_upstream() {
    let (origin, _side, _dir, gateway) = scene("").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.get("/hello").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-by"), answer.text().as_str()),
            (200, "wasi", "Hello, WASI!")
        );
        assert_eq!(client.get("/status/418").await.status, 418);
        let head = client.send(request(Method::HEAD, "/hello")).await;
        assert_eq!((head.status.as_u16(), head.header("x-by"), head.body.len()), (200, "wasi", 0));
        let bare = client.get("/bare").await;
        assert_eq!((bare.status.as_u16(), bare.header("x-by"), bare.body.len()), (200, "wasi", 0));
        assert_eq!(client.get("/no-such").await.status, 404);
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_component_sees_the_whole_request_but_what_belongs_to_a_connection() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let mut asked = request(Method::from_bytes(b"PURGE").unwrap(), "http://shop.test:81/seen/a%20b?c=d&e");
        asked.headers_mut().insert("x-own", "1".parse().unwrap());
        let text = client.send(asked).await.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "PURGE http://shop.test:81/seen/a%20b?c=d&e");
        assert!(lines.contains(&"x-own: 1") && !text.contains("\nhost:") && !text.contains("\nconnection:"), "{text}");
    }
    assert_eq!(
        gateway.http1().await.get("/fields").await.text(),
        "connection host transfer-encoding upgrade keep-alive"
    );
}

#[tokio::test]
async fn every_exchange_has_a_guest_of_its_own() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let mut client = gateway.http1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/count").await.text(), "1");
    }
    soon("all guests are gone", async || gateway.metric("tidegate_plugin_guests", "").await == 0.0).await;
    assert_eq!(gateway.metric("tidegate_plugin_instantiations_total", "plugin=\"app\"").await, 3.0);
    assert_eq!(gateway.metric("tidegate_plugin_calls_total", "plugin=\"app\"").await, 3.0);
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0);
}

#[tokio::test]
async fn a_component_is_told_what_is_configured_and_nothing_of_the_machine() {
    let settings = ", environment: {GREETING: 'hello you', LEVEL: '3'}, config: {key: text, of: {number: 7}}";
    let (_origin, _side, _dir, gateway) = scene(settings).await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/environment").await.text(), "GREETING=hello you\nLEVEL=3");
    assert_eq!(client.get("/config/key").await.text(), "Ok(Some(\"text\"))");
    assert_eq!(client.get("/config/of.number").await.text(), "Ok(Some(\"7\"))");
    assert_eq!(client.get("/config/none").await.text(), "Ok(None)");
    assert_eq!(client.get("/machine").await.text(), "0 directories, no names, no sockets");
    assert_eq!(client.get("/clock").await.text(), "true 16 true");
}

#[tokio::test]
async fn an_exchange_ends_in_the_component_that_it_began_in() {
    let (_origin, _side, dir, gateway) = scene(", environment: {VERSION: one}").await;
    let (sender, body) = tidegate_tests::streamed();
    let mut client = gateway.http1().await;
    let mut begun = client.open(request(Method::POST, "/echo").map(|_| body)).await.unwrap();
    assert!(sender.send("first ").await);
    assert_eq!(bodies::piece(&mut begun).await, "first ");
    write(&dir, ", environment: {VERSION: two}");
    let generation = gateway.apply().await;
    assert_eq!(gateway.http1().await.get("/environment").await.text(), "VERSION=two");
    assert!(sender.send("last").await);
    drop(sender);
    assert_eq!(tidegate_tests::Answer::read(begun).await.unwrap().text(), "last");
    gateway.only(generation).await;
}

#[tokio::test]
async fn what_a_component_prints_is_logged_line_by_line_and_not_without_bound() {
    let dir = ConfigDir::new();
    dir.write_bytes("app.wasm", &plugin("wasi-http-probe"));
    let web = free_address();
    let yaml = format!(
        "listeners: {{web: {{address: '{web}'}}}}\nmiddleware: {{app: {{module: app.wasm}}}}\n\
         routes: [{{id: all, path: /*, middleware: [app]}}]\n"
    );
    dir.write("gateway.yaml", &yaml);
    let (path, admin) = (dir.path().display().to_string(), free_address().to_string());
    let process = Process::start(&["run", "--config", &path, "--admin", &admin, "--workers", "2"]);
    soon("it listens", async || tokio::net::TcpStream::connect(web).await.is_ok()).await;
    let mut client = tidegate_tests::Client::http1(web).await;
    assert_eq!(client.get("/print").await.text(), "printed");
    let said = |text: &str| process.said().iter().filter(|line| line.contains(text)).count();
    soon("all is logged", async || {
        ["to standard output", "and no end", "to standard error"].iter().all(|text| said(text) == 1)
    })
    .await;
    // The probe imports a function of preview 1, as modules for Spin do.
    assert_eq!(client.get("/old").await.text(), "0 13");
    soon("that is logged, too", async || said("by preview 1") == 1).await;
    assert_eq!(client.get("/print/1000").await.text(), "printed");
    soon("some is logged", async || said("line 50") >= 1).await;
    assert!(said("line ") < 500, "a flood is cut short: {}", said("line "));
}

#[test]
fn inspect_says_which_abi_it_is_and_that_all_of_it_is_there() {
    let dir = ConfigDir::new();
    dir.write_bytes("app.wasm", &plugin("wasi-http-probe"));
    let output = tidegate(&["plugin", "inspect", &dir.path().join("app.wasm").display().to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("abi: wasi:http\n") && text.contains("loads: yes"), "{text}");
    assert!(text.contains("wasi:http/outgoing-handler@0.2") && !text.contains("NOT PROVIDED"), "{text}");
}
