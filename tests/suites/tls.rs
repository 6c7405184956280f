//! TLS of listeners, through YAML and sockets: what is shown to whom, what is served over it, and what a reload does.

mod certificates;
mod clients;
mod reloads;
mod serving;
mod tools;
mod upstreams;

use tidegate_tests::{Authority, ConfigDir, Gateway, Origin, tls::Issued};

/// A gateway with the listener `web` over TLS, whose certificate is for `test.example`.
struct Scene {
    authority: Authority,
    site: Issued,
    origin: Origin,
    dir: ConfigDir,
    gateway: Gateway,
}

const CONFIGURATION: &str = "
listeners:
  web:
    address: '127.0.0.1:0'
    generation-header: true
    tls: {certificates: [{certificate: tls/site.pem, key: tls/site.key}]}
  plain: {address: '127.0.0.1:0'}
upstreams: {origin: {endpoints: ['{origin}']}}
routes:
  - {id: all, path: /*, upstream: origin}
";

/// A gateway on [`CONFIGURATION`], with `tls` in place of its `tls`.
async fn scene_with(tls: &str) -> Scene {
    let (authority, origin) = (Authority::new(), Origin::start());
    let site = authority.issue(&["test.example"]);
    let dir = ConfigDir::new().with("origin", origin.address());
    write(&dir, "site", &site);
    let own = "{certificates: [{certificate: tls/site.pem, key: tls/site.key}]}";
    dir.write("gateway.yaml", &CONFIGURATION.replace(own, tls));
    let gateway = Gateway::start(&dir).await;
    Scene { authority, site, origin, dir, gateway }
}

async fn scene() -> Scene {
    scene_with("{certificates: [{certificate: ./tls/site.pem, key: '${file:tls/site.key}'}]}").await
}

fn write(dir: &ConfigDir, name: &str, issued: &Issued) {
    dir.write(&format!("tls/{name}.pem"), &issued.pem);
    dir.write(&format!("tls/{name}.key"), &issued.key);
}
