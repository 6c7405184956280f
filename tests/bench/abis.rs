//! What one plugin costs by the interface that it was written for: the slope of CPU time a request over chains of 0, 4, 8 and 16
//! copies, beside Envoy with the same module where it is at hand.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};
use tidegate_tests::guests;

use crate::{
    envoy, load,
    plugins::{COPIES, SPAN, slope},
    report::{cells, median, number},
    speech::{Call, Speech},
    subject::Subject,
};

const ROUNDS: usize = 5;
// Each of the longest chain's guests is the request's own in one case, and a process has room for 1,024.
const LOOPS: usize = 32;

/// A plugin that reads one header and sets one, as this gateway runs it.
struct Case {
    /// As the table names it.
    title: &'static str,
    /// In the configuration.
    name: &'static str,
    /// In the text format.
    module: &'static str,
    /// What stands beside `module`, as YAML.
    more: &'static str,
    /// What it may cost, in µs; none where no figure was set.
    aim: Option<f64>,
}

const PROXY_WASM: &str = include_str!("../guests/proxy_wasm/header.wat");

const CASES: [Case; 3] = [
    Case { title: "native", name: "native", module: guests::HEADER, more: "", aim: Some(1.5) },
    Case {
        title: "native, a fresh guest for each request",
        name: "fresh",
        module: guests::HEADER,
        more: ", isolation: per-request",
        aim: Some(10.0),
    },
    Case { title: "proxy-wasm", name: "proxy-wasm", module: PROXY_WASM, more: "", aim: Some(1.0) },
];

/// Interleaved rounds over all chains; medians and slopes.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let mut rows = ours(gateway, origin).await;
        match envoy::binary() {
            Some(binary) => rows.push(of_envoy(&binary, origin).await),
            None => eprintln!("bench: Envoy is not at hand (TIDEGATE_BENCH_ENVOY, or on the path): left out"),
        }
        json!({ "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "### Plugins by their interface\n\nA plugin that reads one header and sets one: CPU time a request by copies in the \
        chain, µs.\n\n| | interface | 0 | 4 | 8 | 16 | slope | aim |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let [name, abi] = ["name", "abi"].map(|field| row[field].as_str().unwrap_or_default());
        let (slope, aim) = (number(&row["slope_us"], 2), number(&row["aim_us"], 1));
        text += &format!("| {name} | {abi} | {} | **{slope}** | {aim} |\n", cells(&row["cpu_us"], 1));
    }
    text
}

async fn ours(gateway: &Path, origin: SocketAddr) -> Vec<Value> {
    let configuration = configuration(origin);
    let paths = CASES.map(|case| format!("plugins/{}.wat", case.name));
    let mut files = vec![("gateway.yaml", configuration.as_str())];
    files.extend(CASES.iter().zip(&paths).map(|(case, path)| (path.as_str(), case.module)));
    let subject = Subject::gateway(gateway, &files);
    let mut costs = vec![Vec::new(); CASES.len() * COPIES.len()];
    for _ in 0..ROUNDS {
        for (case, Case { name, .. }) in CASES.iter().enumerate() {
            for (chain, copies) in COPIES.iter().enumerate() {
                costs[case * COPIES.len() + chain].push(cost(&subject, &format!("/{name}/{copies}")).await);
            }
        }
    }
    let rows = CASES.iter().zip(costs.chunks(COPIES.len()));
    rows.map(|(case, costs)| row("Tidegate", case.title, case.aim, costs)).collect()
}

// One process for each chain: its filters are those of the listener.
async fn of_envoy(binary: &Path, origin: SocketAddr) -> Value {
    let start = |copies| envoy::start(binary, origin, "Envoy", Some((PROXY_WASM, copies)));
    let subjects = COPIES.map(start);
    let mut costs = vec![Vec::new(); COPIES.len()];
    for _ in 0..ROUNDS {
        for (subject, costs) in subjects.iter().zip(&mut costs) {
            costs.push(cost(subject, "/").await);
        }
    }
    row("Envoy", "proxy-wasm", None, &costs)
}

async fn cost(subject: &Subject, path: &str) -> f64 {
    let call = Call { address: subject.address, speech: Speech::Http1, path: path.into() };
    let span = load::span_of(&call, LOOPS, SPAN, || subject.used().sum()).await;
    span.cost / span.exchanges as f64
}

fn row(name: &str, title: &str, aim: Option<f64>, costs: &[Vec<f64>]) -> Value {
    let cpu: Vec<_> = costs.iter().map(|rounds| median(rounds.iter().copied())).collect();
    json!({ "name": name, "abi": title, "cpu_us": cpu, "slope_us": slope(&cpu), "aim_us": aim, "rounds_us": costs })
}

fn configuration(origin: SocketAddr) -> String {
    let mut text = format!(
        "listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\nmiddleware:\n"
    );
    for Case { name, more, .. } in CASES {
        for copy in 1..=COPIES[COPIES.len() - 1] {
            // Different configurations, so that the copies are plugins of their own.
            text += &format!("  {name}-{copy}: {{module: plugins/{name}.wat, config: {{copy: {copy}}}{more}}}\n");
        }
    }
    text += "routes:\n";
    for Case { name, .. } in CASES {
        for copies in COPIES {
            let chain: Vec<_> = (1..=copies).map(|copy| format!("{name}-{copy}")).collect();
            let chain = chain.join(", ");
            text += &format!(
                "  - {{id: {name}-{copies}, path: /{name}/{copies}, middleware: [{chain}], upstream: origin}}\n"
            );
        }
    }
    text
}
