//! nginx and Envoy over the same tables, and what they take.

use std::{net::SocketAddr, path::Path};

use serde_json::json;

use super::{Loaded, PATIENCE, host, path, request};
use crate::{envoy, peers, proxies::START_NGINX, subject::Subject};

/// Who they are, in the order of what [`load`] returns.
pub(super) const NAMES: [&str; 2] = ["nginx", "Envoy"];

/// Each of them started over a table, one after the other; none where it does not load it, or is not at hand.
pub(super) fn load(origin: SocketAddr, table: (usize, usize)) -> [Option<Loaded>; 2] {
    let loaded = |subject: Result<Subject, String>| {
        let subject = subject.inspect_err(|why| eprintln!("bench: {why:.500}")).ok()?;
        let (seconds, bytes) = (subject.began.elapsed().as_secs_f64(), subject.memory_bytes());
        Some(Loaded { seconds, bytes, request_us: request(&subject, table) })
    };
    [loaded(nginx(origin, table)), peers::binary("envoy").and_then(|binary| loaded(envoy(&binary, origin, table)))]
}

fn nginx(origin: SocketAddr, (routes, hosts): (usize, usize)) -> Result<Subject, String> {
    let mut servers = String::new();
    for at in 0..hosts {
        let locations = (at..routes)
            .step_by(hosts)
            .map(|route| format!("location {}/ {{ proxy_pass http://origin; }}", path(route)));
        servers += &format!(
            "server {{ listen {{listen}}; server_name {}; {KEPT} {} }}\n",
            host(at, hosts),
            locations.collect::<Vec<_>>().join("\n")
        );
    }
    let text = format!(
        "daemon off;\nmaster_process off;\npid {{folder}}/nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\ntcp_nodelay on;\nkeepalive_requests 1000000000;\n\
         server_names_hash_max_size 65536;\nserver_names_hash_bucket_size 128;\n\
         client_body_temp_path {{folder}}/a; proxy_temp_path {{folder}}/b; fastcgi_temp_path {{folder}}/c;\n\
         uwsgi_temp_path {{folder}}/d; scgi_temp_path {{folder}}/e;\n\
         upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; }}\n{servers}}}\n"
    );
    Subject::other_within(PATIENCE, "nginx", &START_NGINX, &text, &[])
}

/// Connections to the origin are kept.
const KEPT: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\";";

fn envoy(binary: &Path, origin: SocketAddr, (routes, hosts): (usize, usize)) -> Result<Subject, String> {
    let of_host = |at: usize| {
        let routes = (at..routes).step_by(hosts);
        let route =
            |route| json!({ "match": { "prefix": format!("{}/", path(route)) }, "route": { "cluster": "origin" } });
        json!({ "name": host(at, hosts), "domains": [host(at, hosts)], "routes": routes.map(route).collect::<Vec<_>>() })
    };
    let kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    let all =
        json!({ "@type": kind, "name": envoy::TABLE, "virtual_hosts": (0..hosts).map(of_host).collect::<Vec<_>>() });
    envoy::over(binary, origin, PATIENCE, &json!({ "version_info": "1", "resources": [all] }).to_string())
}
