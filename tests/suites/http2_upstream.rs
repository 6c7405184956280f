//! HTTP/2 to upstreams: what passes on streams, how connections are shared, and what happens when they end.

mod clients;
mod connections;
mod failures;
mod messages;

use tidegate_tests::{ConfigDir, Gateway, WEB, http2::Origin2};

/// A gateway before `origin`, whose upstream has these settings.
async fn before(origin: &Origin2, settings: &str) -> (ConfigDir, Gateway) {
    gateway(&format!("endpoints: ['{}'], protocol: h2c, {settings}", origin.address)).await
}

/// A gateway with one upstream of these settings.
async fn gateway(upstream: &str) -> (ConfigDir, Gateway) {
    let dir = ConfigDir::new();
    let text =
        format!("{WEB}upstreams: {{origin: {{{upstream}}}}}\nroutes: [{{id: all, path: /*, upstream: origin}}]\n");
    dir.write("gateway.yaml", &text);
    let gateway = Gateway::start(&dir).await;
    (dir, gateway)
}
