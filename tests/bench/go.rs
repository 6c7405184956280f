//! The two peers that are written in Go, Caddy and Traefik, as other subjects: their configurations, and how they are started. Pinned
//! to one core, they run one thread of Go at a time. Knows nothing of what is measured.

use std::{net::SocketAddr, path::Path};

use crate::subject::Subject;

const CADDY: &str = "\
{
  admin off
  auto_https off
  persist_config off
  log default {
    level ERROR
  }
}
http://:{port} {
  bind 127.0.0.1
  reverse_proxy {origin} {
    transport http {
      keepalive_idle_conns_per_host 256
    }
  }
}
";

const TRAEFIK: &str = "\
http:
  routers:
    all: {entryPoints: [web], rule: 'PathPrefix(`/`)', service: origin, middlewares: [{chain}]}
  services:
    origin: {loadBalancer: {serversTransport: pooled, servers: [{url: 'http://{origin}'}]}}
  serversTransports:
    pooled: {maxIdleConnsPerHost: 256}
";

/// The name of Traefik's plugin, and of the folder that it is in.
const PLUGIN: &str = "bench.example/header";

const MANIFEST: &str =
    "displayName: header\ntype: middleware\nruntime: wasm\nsummary: reads a header and sets one\ntestData: {}\n";

/// Caddy in front of `origin`.
pub(crate) fn caddy(binary: &Path, origin: SocketAddr) -> Subject {
    let text = CADDY.replace("{origin}", &origin.to_string());
    let binary = binary.to_string_lossy();
    Subject::other("Caddy", &[&*binary, "run", "--config", "{folder}/proxy.conf", "--adapter", "caddyfile"], &text)
}

/// Traefik in front of `origin`, with plugins of http-wasm in the module of this text, so many copies of it. It listens before
/// it knows its routes, and answers with 404 until then: see [`Subject::answers`].
///
/// # Panics
/// When the text is not a module.
pub(crate) fn traefik(binary: &Path, origin: SocketAddr, module: Option<(&str, usize)>) -> Subject {
    let copies: Vec<_> = (1..=module.map_or(0, |(_, copies)| copies)).map(|copy| format!("copy-{copy}")).collect();
    let mut routes = TRAEFIK.replace("{origin}", &origin.to_string()).replace("{chain}", &copies.join(", "));
    let binary = binary.to_string_lossy();
    // Its plugins are found below the folder that it is started in. What is called its configuration here is its address.
    let mut start = vec!["env", "-C", "{folder}", &*binary, "--entryPoints.web.address={configuration}"];
    start.extend(["--providers.file.filename={folder}/routes.yml", "--log.level=ERROR"]);
    start.extend(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]);
    let named = format!("--experimental.localPlugins.header.moduleName={PLUGIN}");
    let code = module.map(|(text, _)| wat::parse_str(text).expect("a module in the text format"));
    let place = |file: &str| format!("plugins-local/src/{PLUGIN}/{file}");
    let (manifest, plugin) = (place(".traefik.yml"), place("plugin.wasm"));
    let mut files = Vec::new();
    if let Some(code) = &code {
        start.push(&named);
        files.extend([(&*manifest, MANIFEST.as_bytes()), (&*plugin, code.as_slice())]);
        routes += "  middlewares:\n";
    }
    for copy in &copies {
        // A configuration of its own each, so that the copies are plugins of their own.
        routes += &format!("    {copy}: {{plugin: {{header: {{copy: {copy}}}}}}}\n");
    }
    files.push(("routes.yml", routes.as_bytes()));
    Subject::other_with("Traefik", &start, "{listen}", &files)
}
