//! What one plugin adds to a request: the slope of CPU time over chains of 0, 4, 8 and 16 copies, with guests that are
//! used again and with fresh ones; and what a component that answers by itself takes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{COMPONENT, HEADERS, HTTP_WASM, PROXY_WASM};
use crate::{
    envoy, extent, go, load, peers,
    plugins::{COPIES, SPAN, slope},
    report::median,
    shipped,
    speech::{Call, Speech},
    subject::Subject,
};

const ROUNDS: usize = 5;
// Each of the longest chain's guests is the request's own in some cases, and a process has room for 1,024.
const LOOPS: usize = 32;

/// Copies of one plugin, used in one way.
struct Case {
    title: String,
    name: String,
    /// The file.
    module: String,
    /// What stands beside `module`, as YAML.
    more: &'static str,
    /// What one may cost, in µs; none where no figure was set.
    aim: Option<f64>,
    /// What its paths begin with.
    prefix: String,
}

/// Interleaved rounds over all chains; medians and slopes.
pub(super) async fn measure(gateway: &Path, origin: SocketAddr) -> Value {
    let component = shipped::module(COMPONENT);
    if component.is_none() {
        eprintln!("bench: plugins/dist/{COMPONENT}.wasm is not there (make plugins): left out");
    }
    let cases = cases(component.is_some());
    let subject = start(gateway, origin, &cases, component.as_deref());
    let peers = [("Envoy", "proxy-wasm", of_envoy(origin)), ("Traefik", "http-wasm", of_traefik(origin))];
    for subject in peers.iter().flat_map(|(_, _, subjects)| subjects) {
        subject.answers("/").await;
    }
    let mut costs = vec![vec![Vec::new(); COPIES.len()]; cases.len()];
    let mut peer_costs = [(); 2].map(|()| vec![Vec::new(); COPIES.len()]);
    let (mut answers, mut components) = (Vec::new(), Vec::new());
    for _ in 0..extent::count(ROUNDS, 1) {
        for (Case { prefix, .. }, costs) in cases.iter().zip(&mut costs) {
            for (copies, costs) in COPIES.iter().zip(costs) {
                costs.push(cost(&subject, &format!("{prefix}/{copies}")).await);
            }
        }
        for ((_, _, peers), costs) in peers.iter().zip(&mut peer_costs) {
            for (peer, costs) in peers.iter().zip(costs) {
                costs.push(cost(peer, "/").await);
            }
        }
        answers.push(cost(&subject, "/respond").await);
        if component.is_some() {
            components.push(cost(&subject, "/bare").await);
        }
    }
    let ours = cases.iter().zip(&costs).map(|(case, costs)| row(("Tidegate", &case.title, case.aim), costs));
    let there = peers.iter().zip(&peer_costs).filter(|((_, _, peers), _)| !peers.is_empty());
    let theirs = there.map(|((name, interface, _), costs)| row((name, interface, None), costs));
    let alone = component.map(|_| {
        let [respond, component] = [answers, components].map(median);
        json!({ "respond_us": respond, "component_us": component, "beyond_us": component - respond })
    });
    json!({ "rows": ours.chain(theirs).collect::<Vec<_>>(), "alone": alone })
}

/// Asks for a chain of four of each kind, one after the other.
pub(crate) async fn train(gateway: &Path, origin: SocketAddr, ask: impl AsyncFn(&Subject, &str)) {
    let component = shipped::module(COMPONENT);
    let cases = cases(component.is_some());
    let subject = start(gateway, origin, &cases, component.as_deref());
    for Case { prefix, .. } in &cases {
        ask(&subject, &format!("{prefix}/{}", COPIES[1])).await;
    }
}

fn start(gateway: &Path, origin: SocketAddr, cases: &[Case], component: Option<&[u8]>) -> Subject {
    let configuration = configuration(origin, cases, component.is_some());
    let texts: Vec<_> = HEADERS.iter().map(|header| (format!("plugins/{}.wat", header.name), header.module)).collect();
    let mut files = vec![("gateway.yaml", configuration.as_str())];
    files.extend(texts.iter().map(|(path, text)| (path.as_str(), *text)));
    let path = format!("plugins/{COMPONENT}.wasm");
    let modules: Vec<_> = component.iter().map(|bytes| (path.as_str(), *bytes)).collect();
    Subject::gateway_with(gateway, &files, &modules)
}

// One process for each chain: its filters are those of the listener.
fn of_envoy(origin: SocketAddr) -> Vec<Subject> {
    let start = |binary: PathBuf| {
        COPIES.map(|copies| envoy::start(&binary, origin, "Envoy", Some((PROXY_WASM, copies)))).into()
    };
    peers::binary("envoy").map_or_else(Vec::new, start)
}

fn of_traefik(origin: SocketAddr) -> Vec<Subject> {
    let start = |binary: PathBuf| COPIES.map(|copies| go::traefik(&binary, origin, Some((HTTP_WASM, copies)))).into();
    peers::binary("traefik").map_or_else(Vec::new, start)
}

fn cases(component: bool) -> Vec<Case> {
    let case = |name: &str, title: String, module: &str, more, aim| {
        let prefix = format!("/{name}");
        Case { title, name: name.to_owned(), module: module.to_owned(), more, aim, prefix }
    };
    let mut cases = Vec::new();
    for header in &HEADERS {
        let module = format!("{}.wat", header.name);
        let aim = if header.name == "native" { 1.5 } else { 1.0 };
        cases.push(case(header.name, header.title.to_owned(), &module, "", Some(aim)));
        if header.fresh {
            let (name, title) =
                (format!("fresh-{}", header.name), format!("{}, a fresh guest for each request", header.title));
            cases.push(case(&name, title, &module, ", isolation: per-request", Some(10.0)));
        }
    }
    if component {
        let module = format!("{COMPONENT}.wasm");
        let title = "wasi:http, sending on, a fresh guest for each request".to_owned();
        // What the component does is told by its path.
        cases.push(Case { prefix: "/named".to_owned(), ..case("wasi-http", title, &module, "", None) });
    }
    cases
}

async fn cost(subject: &Subject, path: &str) -> f64 {
    let call = Call { address: subject.address, speech: Speech::Http1, path: path.into() };
    let span = load::span_of(&call, LOOPS, extent::span(SPAN), || subject.used().sum()).await;
    span.cost / span.exchanges as f64
}

fn row((name, title, aim): (&str, &str, Option<f64>), costs: &[Vec<f64>]) -> Value {
    let cpu: Vec<_> = costs.iter().map(|rounds| median(rounds.iter().copied())).collect();
    json!({ "name": name, "abi": title, "cpu_us": cpu, "slope_us": slope(&cpu), "aim_us": aim, "rounds_us": costs })
}

fn configuration(origin: SocketAddr, cases: &[Case], component: bool) -> String {
    let mut text = format!(
        "listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\n\
         middleware:\n  answer: {{respond: {{status: 200}}}}\n"
    );
    if component {
        text += &format!("  component: {{module: plugins/{COMPONENT}.wasm}}\n");
    }
    for Case { name, module, more, .. } in cases {
        for copy in 1..=COPIES[COPIES.len() - 1] {
            // Different configurations, so that the copies are plugins of their own.
            text += &format!("  {name}-{copy}: {{module: plugins/{module}, config: {{copy: {copy}}}{more}}}\n");
        }
    }
    text += "routes:\n  - {id: respond, path: /respond, middleware: [answer]}\n";
    if component {
        text += "  - {id: bare, path: /bare, middleware: [component]}\n";
    }
    for Case { name, prefix, .. } in cases {
        for copies in COPIES {
            let chain: Vec<_> = (1..=copies).map(|copy| format!("{name}-{copy}")).collect();
            let chain = chain.join(", ");
            text += &format!(
                "  - {{id: {name}-{copies}, path: {prefix}/{copies}, middleware: [{chain}], upstream: origin}}\n"
            );
        }
    }
    text
}
