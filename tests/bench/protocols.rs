//! HTTP/1.1 in cleartext, over TLS 1.3, and HTTP/2 over TLS 1.3, with small, middling and large bodies, on one worker: CPU
//! time a request, beside nginx and HAProxy; and HTTP/3, which Debian's packages of these two do not speak.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tidegate_tests::{Authority, Issued};

use crate::{
    load,
    proxies::{HAPROXY, NGINX, START_HAPROXY, START_NGINX},
    report::{beside, median, number},
    speech::{Call, HOST, Speech},
    subject::Subject,
};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(1_500);
/// Bytes of a body, and closed loops that ask for it.
pub(crate) const BODIES: [(usize, usize); 3] = [(1_000, 64), (100_000, 16), (10_000_000, 4)];

const TIDEGATE: &str = "\
listeners:
  web:
    address: '{listen}'
{tls}upstreams:
  origin: {endpoints: ['{origin}']}
routes:
  - {id: all, path: /*, upstream: origin}
";

/// One row a protocol and body: medians of interleaved rounds.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let authority = Authority::new();
        let mut rows = Vec::new();
        for (name, speech) in Speech::all(&authority) {
            let subjects = subjects(gateway, &origin.to_string(), &speech, &authority);
            for (bytes, loops) in BODIES.into_iter().take(if speech.is_http3() { 2 } else { BODIES.len() }) {
                let call = |subject: &Subject| Call {
                    address: subject.address,
                    speech: speech.clone(),
                    path: load::path_of(bytes).into(),
                };
                rows.push(row((name, bytes, loops), &subjects, call).await);
            }
        }
        json!({ "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "### Protocols and bodies\n\nCPU time a request, µs, by what the client speaks and the bytes of the response's \
        body; HTTP/1.1 in cleartext to the origin, one worker (aim: no more than the better of the two).\n\n\
        | protocol | bytes | Tidegate | nginx | HAProxy | to the better |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = beside(&row["cpu_us"], 1);
        let name = row["protocol"].as_str().unwrap_or_default();
        text += &format!("| {name} | {} | {} | **{}** |\n", row["bytes"], cells, number(&row["ratio"], 2));
    }
    text
}

/// The gateway, nginx and HAProxy, in this order, in front of `origin`, with a certificate of `authority` where `speech` is
/// encrypted; the gateway alone where it is HTTP/3.
pub(crate) fn subjects(gateway: &Path, origin: &str, speech: &Speech, authority: &Authority) -> Vec<Subject> {
    let issued = speech.is_secure().then(|| authority.issue(&[HOST]));
    let gateway = started(gateway, origin, speech, issued.as_ref());
    if speech.is_http3() {
        return vec![gateway];
    }
    let fill = |text: &str| text.replace("{origin}", origin).replace("{fields}", "");
    let (nginx, haproxy) = (large_bodies(&fill(NGINX)), fill(HAPROXY).replace("maxconn 4096", "maxconn 9980"));
    let Some(issued) = issued else {
        let nginx = Subject::other("nginx", &START_NGINX, &nginx);
        return vec![gateway, nginx, Subject::other("HAProxy", &START_HAPROXY, &haproxy)];
    };
    let ssl = "listen {listen} ssl http2; ssl_protocols TLSv1.3; ssl_certificate {folder}/pair.pem; \
               ssl_certificate_key {folder}/pair.pem;";
    let bind = "bind {listen} ssl crt {folder}/pair.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3";
    let pair = format!("{}{}", issued.pem, issued.key);
    let pem = [("pair.pem", pair.as_bytes())];
    let nginx = Subject::other_with("nginx", &START_NGINX, &nginx.replace("listen {listen};", ssl), &pem);
    let haproxy = Subject::other_with("HAProxy", &START_HAPROXY, &haproxy.replace("bind {listen}", bind), &pem);
    vec![gateway, nginx, haproxy]
}

/// The gateway alone, as in [`subjects`].
pub(crate) fn ours(gateway: &Path, origin: &str, speech: &Speech, authority: &Authority) -> Subject {
    let issued = speech.is_secure().then(|| authority.issue(&[HOST]));
    started(gateway, origin, speech, issued.as_ref())
}

fn started(gateway: &Path, origin: &str, speech: &Speech, issued: Option<&Issued>) -> Subject {
    let text = TIDEGATE.replace("{origin}", origin);
    let Some(issued) = issued else {
        return Subject::gateway(gateway, &[("gateway.yaml", &text.replace("{tls}", ""))]);
    };
    let tls = "    tls: {certificates: [{certificate: pair.crt, key: pair.key}], min-version: '1.3'}\n{quic}";
    let quic = if speech.is_http3() { "    http3: {}\n" } else { "" };
    let text = text.replace("{tls}", tls).replace("{quic}", quic);
    Subject::gateway(gateway, &[("gateway.yaml", &text), ("pair.crt", &issued.pem), ("pair.key", &issued.key)])
}

/// nginx as its own experts set it for large bodies: no temporary files, enough buffers; and room for many connections.
fn large_bodies(text: &str) -> String {
    text.replace("worker_connections 4096;", "worker_connections 16384;").replace(
        "tcp_nodelay on;",
        "tcp_nodelay on; proxy_max_temp_file_size 0; proxy_buffers 32 16k; http2_chunk_size 16k;",
    )
}

async fn row(
    (name, bytes, loops): (&str, usize, usize),
    subjects: &[Subject],
    call: impl Fn(&Subject) -> Call,
) -> Value {
    let mut rounds = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            let subject = &subjects[at];
            let span = load::span_of(&call(subject), loops, SPAN, || subject.used().sum()).await;
            rounds[at].push(span.cost / span.exchanges as f64);
        }
    }
    let cpu: Vec<_> = rounds.iter().map(|rounds| median(rounds.iter().copied())).collect();
    json!({ "protocol": name, "bytes": bytes, "cpu_us": cpu, "ratio": to_the_better(&cpu), "rounds_us": rounds })
}

/// The first to the least of the others, where there are any.
pub(crate) fn to_the_better(values: &[f64]) -> Option<f64> {
    values[1..].iter().copied().reduce(f64::min).map(|better| values[0] / better)
}
