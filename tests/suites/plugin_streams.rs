//! A plugin that reads bodies as an iterator of chunks (`examples/redact`), through the gateway: chunk by chunk, over a
//! swap, and when one side goes away.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_tests::{
    Client, ConfigDir, Gateway, Origin, WEB,
    origin::{Held, Hold},
    plugin, request, soon, streamed,
};

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write_bytes("redact.wasm", &plugin("redact"));
    configure(&dir, "secret");
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

fn configure(dir: &ConfigDir, word: &str) {
    let upstream = "upstreams: {origin: {endpoints: ['{origin}']}}";
    let redact = format!("middleware: {{redact: {{module: redact.wasm, config: {{words: [{word}]}}}}}}");
    let routes = "routes: [{id: all, path: /*, middleware: [redact], upstream: origin}]";
    dir.write("gateway.yaml", &format!("{WEB}{upstream}\n{redact}\n{routes}\n"));
}

/// Asks for what the origin holds, and has it send the head and a first chunk.
async fn begin(mut client: Client, hold: &mut Hold, chunk: &str) -> (Client, Held, Response<Incoming>) {
    let (sender, body) = streamed();
    drop(sender);
    let open = request(Method::GET, "/stream").map(|_| body);
    let response = tokio::spawn(async move { (client.open(open).await.unwrap(), client) });
    let mut held = hold.next().await;
    held.begin(200, "content-type: text/plain\r\n").await;
    held.chunk(chunk).await;
    let (response, client) = response.await.unwrap();
    (client, held, response)
}

async fn piece(response: &mut Response<Incoming>) -> Bytes {
    response.frame().await.expect("there is more").expect("it does not break off").into_data().expect("it is data")
}

#[tokio::test]
async fn a_body_is_changed_as_it_streams_and_ends_on_the_configuration_that_it_began_on() {
    let (origin, dir, gateway) = scene().await;
    let mut hold = origin.hold("/stream");
    let mut begun = Vec::new();
    for client in [gateway.http1().await, gateway.http2().await] {
        let (client, held, mut response) = begin(client, &mut hold, "a secret, a sec").await;
        assert_eq!(piece(&mut response).await, "a ******, a ", "{client:?}: what may be a word is held back");
        begun.push((client, held, response));
    }
    configure(&dir, "other");
    gateway.apply().await;
    for (client, mut held, mut response) in begun {
        held.chunk("ret, ").await;
        assert_eq!(piece(&mut response).await, "******, ", "{client:?}");
        held.chunk("secret, sec").await;
        held.end("").await;
        held.keep();
        assert_eq!(response.collect().await.unwrap().to_bytes(), "******, sec", "{client:?}");
    }
}

#[tokio::test]
async fn a_guest_that_waits_for_a_body_is_free_again_when_the_upstream_breaks_off_and_gone_when_the_client_does() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/stream");
    for breaks in ["upstream", "client"] {
        let (client, mut held, mut response) = begin(gateway.http1().await, &mut hold, "one ").await;
        assert_eq!(piece(&mut response).await, "one ");
        if breaks == "upstream" {
            drop(held);
            assert!(response.collect().await.is_err(), "the client sees that it is not whole");
        } else {
            drop((response, client));
            soon("the exchange ended", async || held.try_send("4\r\ntwo \r\n").await.is_err()).await;
        }
        assert_eq!(gateway.http1().await.get("/echo").await.status, 200, "{breaks}");
    }
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0, "neither is a failure of the plugin");
    assert_eq!(gateway.metric("tidegate_plugin_traps_total", "").await, 0.0);
}
