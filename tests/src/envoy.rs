//! Envoy beside the gateway: one process with a listener for each module, all of them before the same origin. Its binary is
//! what `TIDEGATE_ENVOY` names; where nobody names one, what needs it is left out.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use http::Method;

use crate::{Client, request, soon};

/// A module that Envoy runs.
#[derive(Debug)]
pub struct Filter<'a> {
    /// The name of its listener, plugin and VM.
    pub name: &'a str,
    /// Its bytes.
    pub module: &'a [u8],
    /// What the plugin is configured with, a text.
    pub configuration: &'a str,
}

/// A running Envoy, ended with the value.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    listeners: HashMap<String, SocketAddr>,
    folder: tempfile::TempDir,
}

/// The binary, where there is one.
pub fn binary() -> Option<PathBuf> {
    env::var_os("TIDEGATE_ENVOY").map(PathBuf::from)
}

impl Envoy {
    /// Starts one with a cluster for each origin; everything goes to the first of them.
    pub async fn start(binary: &PathBuf, origins: &[(&str, SocketAddr)], filters: &[Filter<'_>]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut yaml = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n\
                        static_resources:\n  listeners:\n"
            .to_owned();
        for filter in filters {
            let file = folder.path().join(format!("{}.wasm", filter.name));
            fs::write(&file, filter.module).expect("a file can be written");
            yaml += &LISTENER
                .replace("{name}", filter.name)
                .replace("{cluster}", origins[0].0)
                .replace("{file}", &file.display().to_string())
                .replace("{configuration}", &serde_json::Value::from(filter.configuration).to_string());
        }
        yaml += "  clusters:\n";
        for (name, address) in origins {
            writeln!(
                yaml,
                "  - {{name: {name}, type: STATIC, load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
                 [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]}}}}",
                address.port()
            )
            .expect("writing to a string does not fail");
        }
        let (config, admin) = (folder.path().join("envoy.yaml"), folder.path().join("admin"));
        fs::write(&config, yaml).expect("a file can be written");
        let log = fs::File::create(folder.path().join("log")).expect("a file can be made");
        let child = Command::new(binary)
            .args(["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart", "--config-path"])
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { child, listeners: HashMap::new(), folder };
        soon("Envoy listens", async || {
            let Some(admin) = fs::read_to_string(&admin).ok().and_then(|text| text.trim().parse().ok()) else {
                return false;
            };
            envoy.listeners = listeners(admin).await;
            envoy.listeners.len() == filters.len()
        })
        .await;
        envoy
    }

    /// A client of the listener before a module.
    pub async fn client(&self, name: &str, protocol: &str) -> Client {
        let address =
            *self.listeners.get(name).unwrap_or_else(|| panic!("Envoy has no listener {name}: {}", self.log()));
        if protocol == "http1" { Client::http1(address).await } else { Client::http2(address).await }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn listeners(admin: SocketAddr) -> HashMap<String, SocketAddr> {
    let asked = request(Method::GET, &format!("http://{admin}/listeners?format=json"));
    let Ok(answer) = Client::http1(admin).await.try_send(asked).await else { return HashMap::new() };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return HashMap::new() };
    let all = json["listener_statuses"].as_array().cloned().unwrap_or_default();
    let address = |status: &serde_json::Value| {
        let port = u16::try_from(status["local_address"]["socket_address"]["port_value"].as_u64()?).ok()?;
        Some((status["name"].as_str()?.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
    };
    all.iter().filter_map(address).filter(|(_, address)| address.port() != 0).collect()
}

const LISTENER: &str = "  - name: {name}
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    traffic_direction: INBOUND
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_protocol_options: {enable_trailers: true}
          route_config:
            virtual_hosts:
            - {name: all, domains: ['*'], routes: [{match: {prefix: /}, name: 'all-{name}', route: {cluster: {cluster}}}]}
          http_filters:
          - name: {name}
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: {name}
                root_id: guest
                configuration: {'@type': type.googleapis.com/google.protobuf.StringValue, value: {configuration}}
                vm_config: {vm_id: {name}, runtime: envoy.wasm.runtime.v8, code: {local: {filename: {file}}}}
          - name: envoy.filters.http.router
            typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
";
