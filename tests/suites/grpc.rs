//! gRPC through the gateway, with tonic at both ends: every kind of call, deadlines, errors of the gateway's own, and
//! grpc-web. And with Python's library at both ends, where that can be had.

mod calls;
mod errors;
mod python;
mod web;

use tidegate_tests::{ConfigDir, Gateway, WEB, grpc::Echo};

/// A gateway before `echo`, with these routes beside the one that leads there.
async fn before(echo: &Echo, routes: &str) -> (ConfigDir, Gateway) {
    let mut dir = ConfigDir::new().with("echo", echo.address);
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    let text = format!(
        "gateway: {{access-log: {{to: '{{log}}'}}}}
{WEB}upstreams: {{echo: {{endpoints: ['{{echo}}'], protocol: h2c}}, nobody: {{endpoints: ['127.0.0.1:1'], protocol: h2c}}}}
routes:
  - {{id: echo, path: /test.Echo/*, upstream: echo}}
{routes}"
    );
    dir.write("gateway.yaml", &text);
    let gateway = Gateway::start(&dir).await;
    (dir, gateway)
}

/// The lines of the access log so far.
fn log(dir: &ConfigDir) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.beside("access.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A gateway before a server of HTTP/2 that is played by hand.
async fn by_hand(address: std::net::SocketAddr) -> (ConfigDir, Gateway) {
    let dir = ConfigDir::new();
    let upstreams = format!("upstreams: {{hand: {{endpoints: ['{address}'], protocol: h2c}}}}\n");
    dir.write("gateway.yaml", &format!("{WEB}{upstreams}routes: [{{id: hand, path: /*, upstream: hand}}]\n"));
    let gateway = Gateway::start(&dir).await;
    (dir, gateway)
}
