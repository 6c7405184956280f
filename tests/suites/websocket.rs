//! WebSocket from both kinds of clients to both kinds of upstreams, and server-sent events.

mod events;
mod tunnels;

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, Response};
use tidegate_tests::{ConfigDir, Gateway, Origin, WEB, guests, http2::Origin2};
use tokio::net::TcpStream;

struct Scene {
    old: Origin,
    new: Origin2,
    dir: ConfigDir,
    gateway: Gateway,
}

/// A gateway before an origin of HTTP/1.1 (`/old/*`) and one of HTTP/2 (`/new/*`).
async fn scene() -> Scene {
    let (old, new) = (Origin::start(), Origin2::start().await);
    let deaf = Origin2::with(tidegate_tests::http2::Settings { connect: false, ..Default::default() }).await;
    let dir = ConfigDir::new().with("old", old.address()).with("new", new.address).with("deaf", deaf.address);
    dir.write("stamp.wat", &guests::stamp(1));
    let text = format!(
        "{WEB}
upstreams:
  old: {{endpoints: ['{{old}}']}}
  new: {{endpoints: ['{{new}}'], protocol: h2c}}
  deaf: {{endpoints: ['{{deaf}}'], protocol: h2c}}
middleware: {{stamp: {{module: stamp.wat, config: {{}}}}}}
routes:
  - {{id: old, path: /*, upstream: old, middleware: [stamp]}}
  - {{id: new, path: /new/*, upstream: new, middleware: [stamp]}}
  - {{id: stream, path: /stream, upstream: new, middleware: [stamp]}}
  - {{id: deaf, path: /deaf, upstream: deaf}}
"
    );
    dir.write("gateway.yaml", &text);
    let gateway = Gateway::start(&dir).await;
    // It is asked for settings only: that it goes on is not needed.
    std::mem::forget(deaf);
    Scene { old, new, dir, gateway }
}

/// A client of HTTP/2 that may open tunnels.
async fn multiplexed(gateway: &Gateway) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(gateway.web()).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut requests = requests.ready().await.unwrap();
    // The settings of the gateway come with its first answer at the latest.
    let first = Request::get("http://test.example/").body(()).unwrap();
    requests.send_request(first, true).unwrap().0.await.unwrap();
    requests
}

/// Asks for a tunnel to `path`.
async fn connect(
    requests: &mut SendRequest<Bytes>,
    path: &str,
    protocol: &'static str,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    let mut request = Request::connect(format!("http://test.example{path}")).body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
    let (response, stream) = requests.send_request(request, false).unwrap();
    (response.await.unwrap(), stream)
}

/// Reads so many bytes of a tunnel.
async fn exactly(body: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let data = body.data().await.expect("the tunnel stands").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend(data);
    }
    bytes
}

/// Reads a tunnel to its end.
async fn rest(body: &mut RecvStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend(data);
    }
    bytes
}
