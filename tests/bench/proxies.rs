//! Plain HTTP/1.1 keep-alive proxying of a small response on one worker: CPU time a request, beside nginx, HAProxy,
//! Envoy, Caddy and Traefik.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    envoy, go,
    load::{self, CONNECTIONS},
    peers,
    report::{median, number, percentile},
    subject::{Subject, Used},
};

const ROUNDS: usize = 7;
const SPAN: Duration = Duration::from_millis(2_500);
const OVER_IO_URING: &str = "Tidegate, io_uring";
const WITH_LOG: &str = "Tidegate, JSON access log";
const WITH_LOG_OVER_IO_URING: &str = "Tidegate, JSON access log, io_uring";

const TIDEGATE: &str = "\
{log}listeners:
  web: {address: '{listen}'}
upstreams:
  origin: {endpoints: ['{origin}']}
routes:
  - {id: all, path: /*, upstream: origin}
";

const LOG: &str = "gateway: {access-log: {to: '{folder}/access.log', format: json}}\n";

pub(crate) const NGINX: &str = "\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  upstream origin { server {origin}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen {listen};
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; {fields} }
  }
}
";

// What the gateway tells an origin of each request and a client of each response, in nginx's words and in HAProxy's.
const NGINX_FIELDS: &str = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; \
proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; \
proxy_set_header X-Forwarded-Port $server_port; \
proxy_set_header Forwarded \"for=$remote_addr;host=$http_host;proto=$scheme\"; proxy_set_header Via \"1.1 nginx\"; \
proxy_set_header traceparent \"00-$request_id-00f067aa0ba902b7-01\"; add_header Via \"1.1 nginx\";";
const HAPROXY_FIELDS: &str = "  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header Forwarded for=%[src];host=%[req.hdr(host)];proto=http
  http-request set-header Via \"1.1 haproxy\"
  http-request set-header traceparent 00-%[uuid(4)]-00f067aa0ba902b7-01
  http-response set-header Via \"1.1 haproxy\"
";

pub(crate) const HAPROXY: &str = "\
global
  nbthread 1
  maxconn 4096
  tune.bufsize 16384
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend web
  bind {listen}
{fields}  default_backend origin
backend origin
  server origin {origin} pool-max-conn 256 pool-purge-delay 60s
";

/// The gateway over its configuration, with or without a log of requests.
pub(crate) fn configuration(origin: SocketAddr, is_logging: bool) -> String {
    TIDEGATE.replace("{log}", if is_logging { LOG } else { "" }).replace("{origin}", &origin.to_string())
}

/// How nginx is started over its configuration.
pub(crate) const START_NGINX: [&str; 5] = ["nginx", "-p", "{folder}", "-c", "{folder}/proxy.conf"];
/// How HAProxy is started over its configuration.
pub(crate) const START_HAPROXY: [&str; 4] = ["haproxy", "-db", "-f", "{folder}/proxy.conf"];

/// Interleaved rounds over all; medians. Each of the others as it comes, which tells nobody anything, and telling what
/// the gateway tells.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let fill = |text: &str, fields| text.replace("{origin}", &origin.to_string()).replace("{fields}", fields);
        let (bare, logging) = (configuration(origin, false), configuration(origin, true));
        let mut subjects = vec![
            Subject::gateway(gateway, &[("gateway.yaml", &bare)]),
            Subject::other("nginx", &START_NGINX, &fill(NGINX, "")),
            Subject::other("HAProxy", &START_HAPROXY, &fill(HAPROXY, "")),
            Subject::other("nginx, with the same fields", &START_NGINX, &fill(NGINX, NGINX_FIELDS)),
            Subject::other("HAProxy, with the same fields", &START_HAPROXY, &fill(HAPROXY, HAPROXY_FIELDS)),
        ];
        subjects.push(Subject::gateway(gateway, &[("gateway.yaml", &logging)]).called(WITH_LOG));
        for (name, text) in [(OVER_IO_URING, &bare), (WITH_LOG_OVER_IO_URING, &logging)] {
            let over = Subject::gateway_over_io_uring(gateway, &[("gateway.yaml", text)]);
            subjects.extend(over.map(|subject| subject.called(name)));
        }
        subjects.extend(peers::binary("envoy").map(|binary| envoy::start(&binary, origin, "Envoy", None)));
        subjects.extend(peers::binary("caddy").map(|binary| go::caddy(&binary, origin)));
        subjects.extend(peers::binary("traefik").map(|binary| go::traefik(&binary, origin, None)));
        for subject in &subjects {
            subject.answers("/").await;
        }
        let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            for turn in 0..subjects.len() {
                let at = (round + turn) % subjects.len();
                rounds[at].push(request(&subjects[at]).await);
            }
        }
        summary(&subjects, &rounds)
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### Plain proxying\n\nCPU time a request, µs: HTTP/1.1 kept alive both ways, {} connections, one worker, a response \
         of 64 bytes. Closed loops, which wait for the proxy's core or for the one of load and origin, whichever is busier: requests a \
         second, and how long one took, µs.\n\n| | CPU | user | kernel | a second | p50 | p99 |\n|---|---|---|---|---|---|---|\n",
        result["connections"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [cpu, user, kernel] = ["cpu_us", "user_us", "kernel_us"].map(|field| number(&row[field], 1));
        let [rate, p50, p99] = ["per_second", "p50_us", "p99_us"].map(|field| number(&row[field], 0));
        let name = row["name"].as_str().unwrap_or_default();
        text += &format!("| {name} | {cpu} | {user} | {kernel} | {rate} | {p50} | {p99} |\n");
    }
    let of = |field| number(&result[field], 2);
    let (bare, equal) = (of("ratio"), of("ratio_same_fields"));
    let [envoy, caddy, traefik] = ["ratio_envoy", "ratio_caddy", "ratio_traefik"].map(of);
    let [ring, ring_bare] = ["ratio_io_uring", "ratio_io_uring_bare"].map(of);
    let [log, log_ring] = ["ratio_log", "ratio_log_io_uring"].map(of);
    text + &format!(
        "\nTidegate to the better of the two: **{bare}** (aim: at most 1.0, then 0.85), and **{log}** where it writes a log as well; where \
         they tell origin and client what the gateway tells (`X-Forwarded-*`, `Forwarded`, `Via`, `traceparent`): **{equal}**. To Envoy, \
         bare: **{envoy}** (aim: at most 0.3); to Caddy **{caddy}**, to Traefik **{traefik}**. Over io_uring (`--io-uring`) to itself over \
         epoll: **{ring}**, to the better of the two: **{ring_bare}**, and **{log_ring}** with its log.\n"
    )
}

// What one round says of a request under load.
struct Round {
    used: Used,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

async fn request(subject: &Subject) -> Round {
    let before = subject.used();
    let span = load::span(subject.address, "/a/small/thing", SPAN, || subject.used().sum()).await;
    let after = subject.used();
    // The split is taken from the whole run, warm-up included; the sum from the span that was counted.
    let (user, kernel) = (after.user - before.user, after.kernel - before.kernel);
    let total = span.cost / span.exchanges as f64;
    let used = Used { user: total * user / (user + kernel), kernel: total * kernel / (user + kernel) };
    let [p50_us, p99_us] = [50.0, 99.0].map(|percent| percentile(percent, span.times_us.iter().copied()));
    Round { used, per_second: span.exchanges as f64 / SPAN.as_secs_f64(), p50_us, p99_us }
}

fn summary(subjects: &[Subject], rounds: &[Vec<Round>]) -> Value {
    let rows: Vec<_> = subjects
        .iter()
        .zip(rounds)
        .map(|(subject, rounds)| {
            let of = |part: fn(&Round) -> f64| median(rounds.iter().map(part));
            let cpu = |round: &Round| round.used.user + round.used.kernel;
            json!({
                "name": subject.name,
                "cpu_us": of(cpu),
                "user_us": of(|round| round.used.user),
                "kernel_us": of(|round| round.used.kernel),
                "per_second": of(|round| round.per_second),
                "p50_us": of(|round| round.p50_us),
                "p99_us": of(|round| round.p99_us),
                "rounds_us": rounds.iter().map(cpu).collect::<Vec<_>>(),
            })
        })
        .collect();
    let cpu = |row: &Value| row["cpu_us"].as_f64().unwrap_or(f64::INFINITY);
    let ratio = |others: &[Value]| cpu(&rows[0]) / others.iter().map(cpu).fold(f64::INFINITY, f64::min);
    let (bare, equal) = (ratio(&rows[1..3]), ratio(&rows[3..5]));
    let named = |name: &str| rows.iter().find(|row| row["name"] == name).map(cpu);
    let to = |name: &str| named(name).map(|other| cpu(&rows[0]) / other);
    let [envoy, caddy, traefik] = ["Envoy", "Caddy", "Traefik"].map(to);
    let ring = named(OVER_IO_URING).map(|ring| ring / cpu(&rows[0]));
    let to_better = |name: &str| named(name).map(|own| own / cpu(&rows[0]) * bare);
    json!({
        "connections": CONNECTIONS, "ratio": bare, "ratio_same_fields": equal, "ratio_io_uring": ring,
        "ratio_io_uring_bare": to_better(OVER_IO_URING), "ratio_log": to_better(WITH_LOG),
        "ratio_log_io_uring": to_better(WITH_LOG_OVER_IO_URING), "ratio_envoy": envoy, "ratio_caddy": caddy,
        "ratio_traefik": traefik, "rows": rows,
    })
}
