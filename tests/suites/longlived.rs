//! A reload cuts nothing: connections, tunnels, guests, what plugins remember, and connections to upstreams outlive it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tidegate_tests::{ConfigDir, Gateway, Origin, Raw, WEB, eventually, guests};
use tokio_tungstenite::tungstenite::Message;

const RELOADS: u64 = 200;

/// A configuration whose edits leave plugins and upstream as they are.
fn configuration(edit: u64, endpoints: &str) -> String {
    format!(
        "{WEB}
upstreams: {{origin: {{endpoints: [{endpoints}]}}}}
middleware:
  stamp: {{module: stamp.wat, config: {{}}}}
  tally: {{module: tally.wat}}
  mark: {{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}
routes:
  - {{id: plain, path: /*, middleware: [mark], upstream: origin}}
  - {{id: plugins, path: /plugins/*, middleware: [mark, stamp, tally], upstream: origin}}
"
    )
}

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("tally.wat", guests::TALLY);
    dir.write("gateway.yaml", &configuration(1, "'{origin}'"));
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

#[tokio::test]
async fn a_websocket_and_kept_connections_live_through_hundreds_of_reloads() {
    let (origin, dir, gateway) = scene().await;
    let url = format!("ws://{}/websocket", gateway.web());
    let (mut websocket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut clients = [gateway.http1().await, gateway.http2().await];
    let mut upgraded = Raw::connect(gateway.web()).await;
    upgraded.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n").await;
    assert_eq!(upgraded.response("GET").await.unwrap().head.status(), 101);
    for edit in 2..=RELOADS {
        dir.write("gateway.yaml", &configuration(edit, "'{origin}'"));
        assert_eq!(gateway.apply().await, edit);
        websocket.send(Message::text(format!("edit {edit}"))).await.unwrap();
        assert_eq!(websocket.next().await.unwrap().unwrap(), Message::text(format!("edit {edit}")));
        upgraded.send("as it is").await;
        assert_eq!(upgraded.exactly(8).await, b"as it is");
        for client in &mut clients {
            assert_eq!(client.get("/").await.header("x-edit"), edit.to_string());
        }
    }
    // Tunnels hold no generation.
    gateway.only(RELOADS).await;
    assert_eq!(gateway.metric("tidegate_tunnels", "").await, 2.0);
    assert!(origin.accepted() <= 2 + 2 * 2, "{} connections to the origin", origin.accepted());
    websocket.close(None).await.unwrap();
}

#[tokio::test]
async fn an_unchanged_plugin_keeps_its_guests_and_what_it_remembers() {
    let (_origin, dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    client.get("/plugins/first").await;
    let instantiated = gateway.metric("tidegate_plugin_instantiations_total", "").await;
    let compiled = gateway.metric("tidegate_modules_compiled_total", "").await;
    for edit in 2..=50 {
        dir.write("gateway.yaml", &configuration(edit, "'{origin}'"));
        gateway.apply().await;
        let answer = client.get("/plugins/again").await;
        let number = |name: &str| u64::from_str_radix(&answer.echoed(name)[0], 16).unwrap();
        assert_eq!((number("x-count"), number("x-total")), (edit, edit), "same guest, same key-value space");
    }
    assert_eq!(gateway.metric("tidegate_plugin_instantiations_total", "").await, instantiated);
    assert_eq!(gateway.metric("tidegate_modules_compiled_total", "").await, compiled);
}

#[tokio::test]
async fn an_upstream_keeps_its_connections_also_when_another_endpoint_is_added() {
    let (origin, mut dir, gateway) = scene().await;
    let another = Origin::named("another");
    dir.name("another", another.address());
    let mut client = gateway.http1().await;
    client.get("/").await;
    assert_eq!(origin.accepted(), 1);
    dir.write("gateway.yaml", &configuration(2, "'{origin}', '{another}'"));
    gateway.apply().await;
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!((origin.accepted(), another.accepted()), (1, 1), "one worker, one connection each");
    assert!(another.requests() >= 4, "{} of 10 requests went to the new endpoint", another.requests());
    dir.write("gateway.yaml", &configuration(3, "'{origin}'"));
    gateway.apply().await;
    for _ in 0..10 {
        client.get("/").await;
    }
    assert_eq!(origin.accepted(), 1);
}

#[tokio::test]
async fn a_listener_that_is_added_opens_and_one_that_is_removed_ends_after_its_exchanges() {
    let (origin, dir, gateway) = scene().await;
    let two = configuration(2, "'{origin}'")
        .replace("listeners: {", "listeners: {other: {address: '127.0.0.1:0', generation-header: true}, ");
    dir.write("gateway.yaml", &two);
    gateway.apply().await;
    let other = gateway.listener("other");
    let mut client = tidegate_tests::Client::http1(other).await;
    assert_eq!(client.get("/").await.generation(), 2);

    let mut hold = origin.hold("/slow");
    let answer = tokio::spawn(async move { (client.get("/slow").await, client) });
    let mut held = hold.next().await;
    dir.write("gateway.yaml", &configuration(3, "'{origin}'"));
    gateway.apply().await;
    tidegate_tests::soon("the listener is closed", async || tokio::net::TcpStream::connect(other).await.is_err()).await;
    held.answer(200, "to the end").await;
    let (answer, client) = answer.await.unwrap();
    assert_eq!((answer.text().as_str(), answer.generation()), ("to the end", 2));
    tidegate_tests::soon("its connection ends after the exchange", async || client.is_closed()).await;
}

const RESTING: &str = "
listeners:
  web: {address: '127.0.0.1:0'}
  short: {address: '127.0.0.1:0', limits: {keep-alive-timeout: 1500ms}}
upstreams: {origin: {endpoints: ['{origin}']}}
routes: [{id: all, path: /*, upstream: origin}]
";

async fn resting() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("gateway.yaml", RESTING);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

/// Waits until so many connections of `web` have given back what an idle one does not need.
async fn until_they_rest(gateway: &Gateway, count: f64) {
    let rest = async || {
        let resting = gateway.metric("tidegate_connections_resting", "listener=\"web\"").await;
        (resting == count).then_some(())
    };
    eventually(&format!("{count} connections rest"), Duration::from_secs(10), rest).await;
}

#[tokio::test]
async fn a_connection_that_rests_serves_on_as_if_it_had_not() {
    let (_origin, _dir, gateway) = resting().await;
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    let mut connections = [Raw::connect(gateway.web()).await, Raw::connect(gateway.web()).await];
    for connection in &mut connections {
        connection.send(request).await;
        assert_eq!(connection.response("POST").await.unwrap().head.status(), 200);
    }
    until_they_rest(&gateway, 2.0).await;
    let [first, second] = &mut connections;
    // In two pieces, and two at once.
    first.send("POST /echo HTTP/1.1\r\nho").await;
    first.send("st: a\r\ncontent-length: 4\r\n\r\nbo").await;
    first.send(format!("dy{request}")).await;
    for _ in 0..2 {
        assert_eq!(first.response("POST").await.unwrap().head.status(), 200);
    }
    until_they_rest(&gateway, 2.0).await;
    first.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n").await;
    assert_eq!(first.response("GET").await.unwrap().head.status(), 101);
    second.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert_eq!(second.response("GET").await.unwrap().head.status(), 400);
    assert_eq!(second.rest().await, b"");
}

#[tokio::test]
async fn a_connection_that_rests_ends_with_its_client_its_time_and_its_listener() {
    let (_origin, dir, gateway) = resting().await;
    let mut short = Raw::connect(gateway.listener("short")).await;
    short.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(short.response("GET").await.unwrap().head.status(), 200);
    let mut gone = Raw::connect(gateway.web()).await;
    let mut kept = gateway.http1().await;
    assert_eq!(kept.get("/").await.status, 200);
    gone.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(gone.response("GET").await.unwrap().head.status(), 200);
    until_they_rest(&gateway, 2.0).await;
    assert_eq!(short.rest().await, b"");
    gone.finish().await;
    assert_eq!(gone.rest().await, b"");
    assert_eq!(kept.get("/").await.status, 200);
    until_they_rest(&gateway, 1.0).await;
    dir.write("gateway.yaml", &RESTING.replace("  web: {address: '127.0.0.1:0'}\n", ""));
    gateway.apply().await;
    let ends = async || kept.is_closed().then_some(());
    eventually("the connection of the listener that is gone ends", Duration::from_secs(5), ends).await;
}
