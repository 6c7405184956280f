//! Envoy as another subject: its configuration from listener, HTTP filters and origin.
//! Knows nothing of what is measured.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use crate::subject::Subject;

/// How a process with one worker is started; the configuration is an argument, since the name of a file tells Envoy its format.
const START: [&str; 11] = [
    "--concurrency",
    "1",
    "--log-level",
    "error",
    "--disable-hot-restart",
    "--service-node",
    "bench",
    "--service-cluster",
    "bench",
    "--config-yaml",
    "{configuration}",
];

const CONFIGURATION: &str = "\
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: {port}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          {routes}
          http_filters:
{filters}          - name: envoy.filters.http.router
            typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {origin}}}}}]}]
";

/// Everything to the origin.
const ALL: &str = "route_config: {virtual_hosts: [{name: all, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: origin}}]}]}";
/// A table of its own, named [`TABLE`], from a file.
const FROM_FILE: &str =
    "rds: {route_config_name: table, config_source: {path_config_source: {path: {folder}/table.json}}}";
/// What a table of its own is called.
pub(crate) const TABLE: &str = "table";

/// Envoy over a table of its own: a response of its discovery service in JSON, whose cluster is `origin`; if it listens within
/// `patience`.
pub(crate) fn over(binary: &Path, origin: SocketAddr, patience: Duration, table: &str) -> Result<Subject, String> {
    let text = CONFIGURATION.replace("{routes}", FROM_FILE).replace("{filters}", "");
    let text = text.replace("{origin}", &origin.port().to_string());
    Subject::other_within(
        patience,
        "Envoy",
        &start_of(&binary.to_string_lossy()),
        &text,
        &[("table.json", table.as_bytes())],
    )
}

/// Envoy in front of `origin`, with filters in the Proxy-Wasm module of this text, so many copies of it; its `/` goes to the origin.
///
/// # Panics
/// When the text is not a module.
pub(crate) fn start(binary: &Path, origin: SocketAddr, name: &str, module: Option<(&str, usize)>) -> Subject {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("filter.wasm");
    let filters = module.map_or_else(String::new, |(text, copies)| {
        fs::write(&file, wat::parse_str(text).expect("a module in the text format")).expect("a file can be written");
        (1..=copies).map(|copy| filter(copy, &file)).collect()
    });
    let text = CONFIGURATION.replace("{routes}", ALL).replace("{filters}", &filters);
    let text = text.replace("{origin}", &origin.port().to_string());
    let subject = Subject::other(name, &start_of(&binary.to_string_lossy()), &text);
    // It has read the module by now: it listens.
    drop(folder);
    subject
}

fn start_of(binary: &str) -> Vec<&str> {
    [binary].into_iter().chain(START).collect()
}

// A configuration of its own each, so that the copies are plugins of their own, in one VM.
fn filter(copy: usize, file: &Path) -> String {
    format!(
        "          - name: copy-{copy}
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: copy-{copy}
                root_id: copy-{copy}
                configuration: {{'@type': type.googleapis.com/google.protobuf.StringValue, value: '{copy}'}}
                vm_config: {{vm_id: bench, runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: {}}}}}}}
",
        file.display()
    )
}
