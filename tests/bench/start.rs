//! From the start of a process to its first response, with 20 plugins whose compiled code is on disk and with none; the size of the
//! binary; and the memory that an idle process takes, beside the peers.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    envoy,
    etcd::{self, PLUGINS, with_plugins},
    go, load, peers,
    proxies::{HAPROXY, NGINX, START_HAPROXY, START_NGINX},
    report::{median, number},
    subject::Subject,
};

const STARTS: usize = 11;

const PLAIN: &str = "\
listeners:
  web: {address: '{listen}'}
routes:
  - {id: all, path: /*, middleware: [{respond: {status: 200, body: served}}]}
";

/// One row a subject.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let (modules, document) = with_plugins("{listen}");
        let modules: Vec<_> =
            modules.iter().enumerate().map(|(number, bytes)| (format!("plugins/p{number}.wasm"), bytes)).collect();
        let modules: Vec<_> = modules.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let state = tempfile::tempdir().expect("a temporary directory");
        let with_plugins = || Subject::gateway_keeping(gateway, state.path(), &[("gateway.yaml", &document)], &modules);
        // Compiles them.
        drop(with_plugins());
        let plain = || Subject::gateway(gateway, &[("gateway.yaml", PLAIN)]);
        let fill = |text: &str| text.replace("{origin}", &origin.to_string()).replace("{fields}", "");
        let nginx = || Subject::other("nginx", &START_NGINX, &fill(NGINX));
        let haproxy = || Subject::other("HAProxy", &START_HAPROXY, &fill(HAPROXY));
        let plugins = format!("Tidegate, {PLUGINS} plugins");
        let mut rows = vec![
            row("Tidegate", "/", Some(gateway), plain).await,
            row(&plugins, &format!("/chain{}", etcd::query()), Some(gateway), with_plugins).await,
            row("nginx", "/", None, nginx).await,
            row("HAProxy", "/", None, haproxy).await,
        ];
        if let Some(binary) = peers::binary("envoy") {
            rows.push(row("Envoy", "/", Some(&binary), || envoy::start(&binary, origin, "Envoy", None)).await);
        }
        if let Some(binary) = peers::binary("caddy") {
            rows.push(row("Caddy", "/", Some(&binary), || go::caddy(&binary, origin)).await);
        }
        if let Some(binary) = peers::binary("traefik") {
            rows.push(row("Traefik", "/", Some(&binary), || go::traefik(&binary, origin, None)).await);
        }
        json!({ "starts": STARTS, "plugins": PLUGINS, "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### Start\n\nFrom the start of a process to its first response, ms, of {} starts (aim with {} plugins, their compiled code on disk: 100); \
         memory of the process after it, and the binary, MiB.\n\n| | median | most | memory | binary |\n|---|---|---|---|---|\n",
        result["starts"], result["plugins"]
    );
    let mib =
        |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / 1_048_576.0));
    for row in result["rows"].as_array().into_iter().flatten() {
        let [median, most] = ["median_ms", "max_ms"].map(|field| number(&row[field], 0));
        let (memory, binary) = (mib(&row["memory_bytes"]), mib(&row["binary_bytes"]));
        text += &format!(
            "| {} | **{median}** | {most} | {memory} | {binary} |\n",
            row["name"].as_str().unwrap_or_default()
        );
    }
    text
}

async fn row(name: &str, path: &str, binary: Option<&Path>, start: impl Fn() -> Subject) -> Value {
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let subject = start();
        subject.answers(path).await;
        times.push(subject.began.elapsed().as_secs_f64() * 1e3);
        bytes.push(subject.memory_bytes() as f64);
    }
    json!({
        "name": name, "median_ms": median(times.iter().copied()), "max_ms": times.iter().copied().fold(0.0, f64::max),
        "memory_bytes": median(bytes.iter().copied()),
        "binary_bytes": binary.and_then(|binary| fs::metadata(binary).ok()).map(|file| file.len()),
    })
}
