//! A gateway as its users run it, metrics and a JSON access log on: latencies under an open loop at half and at four fifths of what
//! each proxy can do; and the CPU time of a request through a chain of three plugins, beside plain nginx and Envoy with one.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    envoy, load,
    open::Open,
    peers,
    proxies::{HAPROXY, NGINX, START_HAPROXY, START_NGINX},
    report::{median, number},
    shipped::{self, SHIPPED},
    speech::{Call, Speech},
    subject::Subject,
};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(2_500);
/// Of what a proxy can do, in percent.
const LOADS: [u32; 2] = [50, 80];
/// The plugins of the chain: those that ship, by name.
pub(crate) const CHAIN: [&str; 3] = ["key-auth", "rate-limit", "greeting"];
pub(crate) const QUERY: &str = "?key=benchkey";

const TIDEGATE: &str = "\
gateway: {access-log: {to: '{folder}/access.log', format: json}}
listeners:
  web: {address: '{listen}'}
upstreams:
  origin: {endpoints: ['{origin}']}
middleware:
{middleware}routes:
  - {id: all, path: /*, upstream: origin, middleware: [{chain}]}
";

/// Interleaved rounds over all; medians.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let mut subjects = vec![
            ours(gateway, origin, &[]),
            Subject::other("nginx", &START_NGINX, &fill(NGINX, origin)),
            Subject::other("HAProxy", &START_HAPROXY, &fill(HAPROXY, origin)),
        ];
        let envoy = peers::binary("envoy");
        subjects.extend(envoy.as_ref().map(|binary| envoy::start(binary, origin, "Envoy", None)));
        let latencies = latencies(&subjects).await;
        let plain = subjects.swap_remove(1);
        drop(subjects);
        let mut subjects = vec![plain];
        subjects.push(ours(gateway, origin, &CHAIN));
        subjects.push(ours(gateway, origin, &[]));
        let module = Some((PROXY_WASM, 1));
        subjects
            .extend(envoy.as_ref().map(|binary| envoy::start(binary, origin, "Envoy, one proxy-wasm filter", module)));
        json!({ "latencies": latencies, "chain": chain(&subjects).await })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "### As users run it\n\nOpen loop: requests leave at a fixed rate, half and four fifths of what each proxy answered \
        in a closed loop, and a latency counts from when its request was to leave. µs, one worker; Tidegate with metrics and a JSON access log, the \
        others without. Not counted: what was under way when the load itself paused for more than 3 ms (its core was given to something \
        else), and what left until no more were under way than in a closed loop; how many, and the longest pause, ms.\n\n| | requests a second | load | p50 | p99 | p99.9 | failed | not counted | \
        pause |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["latencies"].as_array().into_iter().flatten() {
        let [rate, p50, p99, p999] = ["rate", "p50_us", "p99_us", "p999_us"].map(|field| number(&row[field], 0));
        let name = row["name"].as_str().unwrap_or_default();
        text += &format!(
            "| {name} | {rate} | {} % | {p50} | **{p99}** | {p999} | {} | {} | {} |\n",
            row["percent"],
            number(&row["failed"], 0),
            number(&row["disturbed"], 0),
            number(&row["pause_ms"], 0),
        );
    }
    let chain = &result["chain"];
    text += &format!(
        "\nA whole chain: the plugins {}, a JSON access log and metrics. CPU time a request, µs.\n\n| | CPU |\n|---|---|\n",
        CHAIN.map(|name| format!("`{name}`")).join(", ")
    );
    for row in chain["rows"].as_array().into_iter().flatten() {
        text += &format!("| {} | {} |\n", row["name"].as_str().unwrap_or_default(), number(&row["cpu_us"], 1));
    }
    text + &format!(
        "\nThe chain to plain nginx: **{}** (aim: at most 1.25); to Envoy with one proxy-wasm filter: **{}** (aim: less than 0.33).\n",
        number(&chain["to_nginx"], 2),
        number(&chain["to_envoy"], 2),
    )
}

const PROXY_WASM: &str = include_str!("../guests/proxy_wasm/header.wat");

fn fill(text: &str, origin: SocketAddr) -> String {
    text.replace("{origin}", &origin.to_string()).replace("{fields}", "")
}

/// The gateway with these plugins, a JSON access log and metrics.
pub(crate) fn ours(gateway: &Path, origin: SocketAddr, chain: &[&str]) -> Subject {
    let shipped: Vec<_> = SHIPPED.iter().filter(|shipped| chain.contains(&shipped.name)).collect();
    let line = |shipped: &&shipped::Shipped| {
        let config = shipped.config.replace("{copy}", "1");
        format!("  {}: {{module: plugins/{}.wasm, config: {config}}}\n", shipped.name, shipped.name)
    };
    let lines = if chain.is_empty() { "  {}\n".to_owned() } else { shipped.iter().map(line).collect() };
    let text = TIDEGATE.replace("{middleware}", &lines).replace("{chain}", &chain.join(", "));
    let modules: Vec<_> = shipped
        .iter()
        .map(|shipped| {
            let module = shipped::module(shipped.name).expect("the plugins that ship are built (make plugins)");
            (format!("plugins/{}.wasm", shipped.name), module)
        })
        .collect();
    let modules: Vec<_> = modules.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let mut subject = Subject::gateway_with(gateway, &[("gateway.yaml", &fill(&text, origin))], &modules);
    subject.name = if chain.is_empty() { "Tidegate, no plugin" } else { "Tidegate, three plugins" }.to_owned();
    subject
}

async fn latencies(subjects: &[Subject]) -> Vec<Value> {
    let mut rows = Vec::new();
    let loads: Vec<_> = subjects.iter().map(|subject| Open::new(subject.address, "/a/small/thing", "")).collect();
    let mut capacities = Vec::new();
    for load in &loads {
        capacities.push(load.most(SPAN).await);
    }
    for percent in LOADS {
        let mut rounds = vec![Vec::new(); subjects.len()];
        for round in 0..ROUNDS {
            for turn in 0..subjects.len() {
                let at = (round + turn) % subjects.len();
                let lap = loads[at].lap(capacities[at] * f64::from(percent) / 100.0, SPAN).await;
                rounds[at].push([
                    lap.percentile(50.0),
                    lap.percentile(99.0),
                    lap.percentile(99.9),
                    lap.failed as f64,
                    lap.disturbed as f64,
                    lap.pause_ms,
                ]);
            }
        }
        for ((subject, rounds), capacity) in subjects.iter().zip(&rounds).zip(&capacities) {
            let [p50, p99, p999] = [0, 1, 2].map(|at| median(rounds.iter().map(|round| round[at])));
            let [failed, disturbed] = [3, 4].map(|at| rounds.iter().map(|round| round[at]).sum::<f64>());
            let pause = rounds.iter().map(|round| round[5]).fold(0.0, f64::max);
            rows.push(json!({
                "name": subject.name, "percent": percent, "rate": capacity * f64::from(percent) / 100.0,
                "capacity": capacity, "p50_us": p50, "p99_us": p99, "p999_us": p999, "failed": failed,
                "disturbed": disturbed, "pause_ms": pause, "rounds": rounds,
            }));
        }
    }
    rows
}

async fn chain(subjects: &[Subject]) -> Value {
    let mut rounds = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            let subject = &subjects[at];
            let path = format!("/a/small/thing{QUERY}").into();
            let call = Call { address: subject.address, speech: Speech::Http1, path };
            let span = load::span_of(&call, load::CONNECTIONS, SPAN, || subject.used().sum()).await;
            rounds[at].push(span.cost / span.exchanges as f64);
        }
    }
    let cpu: Vec<_> = rounds.iter().map(|rounds| median(rounds.iter().copied())).collect();
    let rows: Vec<_> = subjects
        .iter()
        .zip(&rounds)
        .zip(&cpu)
        .map(|((subject, rounds), cpu)| json!({ "name": subject.name, "cpu_us": cpu, "rounds_us": rounds }))
        .collect();
    json!({ "rows": rows, "to_nginx": cpu[1] / cpu[0], "to_envoy": cpu.get(3).map(|envoy| cpu[1] / envoy) })
}
