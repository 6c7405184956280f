//! The memory of a guest that is there between requests: what many plugins with a guest each take beyond one. Components of
//! `wasi:http` have none between requests: `waiting` has theirs.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{HEADERS, Header};
use crate::{extent, load, subject::Subject};

/// Guests that the memory of one is taken from.
const GUESTS: usize = 256;

/// One row an interface.
pub(super) async fn measure(gateway: &Path, origin: SocketAddr) -> Value {
    let guests = extent::count(GUESTS, 16);
    let mut rows = Vec::new();
    for header in &HEADERS {
        let bytes = [in_use(gateway, origin, header, 1).await, in_use(gateway, origin, header, guests + 1).await];
        let kib = (bytes[1] - bytes[0]) / guests as f64 / 1024.0;
        rows.push(json!({ "abi": header.title, "kib": kib, "bytes": bytes }));
    }
    json!({ "guests": guests, "rows": rows })
}

async fn in_use(gateway: &Path, origin: SocketAddr, header: &Header, guests: usize) -> f64 {
    let mut text = format!(
        "listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\nmiddleware:\n"
    );
    let mut routes = "routes:\n".to_owned();
    for copy in 1..=guests {
        // Different limits, so that none shares a guest with another.
        let bytes_max = (32 << 20) + 65_536 * copy;
        text += &format!("  p{copy}: {{module: plugins/header.wat, limits: {{memory-bytes-max: {bytes_max}}}}}\n");
        routes += &format!("  - {{id: r{copy}, path: /{copy}, middleware: [p{copy}], upstream: origin}}\n");
    }
    text += &routes;
    let files = [("gateway.yaml", text.as_str()), ("plugins/header.wat", header.module)];
    let subject = Subject::gateway(gateway, &files);
    for copy in 1..=guests {
        load::span(subject.address, &format!("/{copy}"), Duration::from_millis(5), || 0.0).await;
    }
    subject.memory_bytes() as f64
}
