//! Envoy as another subject: its configuration from listener, HTTP filters and origin, and where its binary is found.
//! Knows nothing of what is measured.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::subject::Subject;

/// How a process with one worker is started; the configuration is an argument, since the name of a file tells Envoy its format.
const START: [&str; 7] =
    ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart", "--config-yaml", "{configuration}"];

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
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [{match: {prefix: /}, route: {cluster: origin}}]
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

/// The binary: what `TIDEGATE_BENCH_ENVOY` names, or the first `envoy` on the path. `scripts/bench.sh` sees to it.
pub(crate) fn binary() -> Option<PathBuf> {
    let named = env::var_os("TIDEGATE_BENCH_ENVOY").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    named.or_else(|| env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file()))
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
    let text = CONFIGURATION.replace("{filters}", &filters).replace("{origin}", &origin.port().to_string());
    let binary = binary.to_string_lossy();
    let mut start = vec![&*binary];
    start.extend(START);
    let subject = Subject::other(name, &start, &text);
    // It has read the module by now: it listens.
    drop(folder);
    subject
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
