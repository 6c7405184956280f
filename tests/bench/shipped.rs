//! What the plugins that ship cost: the slope of CPU time a request over chains, memory for each guest, and memory for each
//! of ten thousand routes that have a limit of their own. Needs what `make plugins` builds.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use tidegate_tests::tokens::{ALGORITHMS, Signer};

use crate::{
    load,
    plugins::{COPIES, SPAN, slope},
    report::{cells, median, number},
    subject::Subject,
};

/// A plugin that ships: its name, what stands under `config:` in every copy (`{copy}` is its number), and the query of the
/// requests.
pub(crate) struct Shipped {
    pub(crate) name: &'static str,
    pub(crate) config: &'static str,
    pub(crate) query: &'static str,
}

pub(crate) const SHIPPED: [Shipped; 5] = [
    Shipped { name: "greeting", config: "{text: good morning, header: x-{copy}}", query: "" },
    Shipped {
        name: "key-auth",
        config: "{query: key, keep-key: true, realm: r{copy}, consumers: [{name: bench, \
                 key-sha256: eef8d74a9e97f0aeea7b748dab525bfabce315a3edb5f74dd4786282d738d3fb}]}",
        query: "?key=benchkey",
    },
    Shipped {
        name: "jwt-auth",
        config: "{realm: r{copy}, expiry-required: false, token: [{query: token}], keys: {jwks: {keys: [{kty: OKP, \
                 crv: Ed25519, kid: a, x: QQ9QsW5U80Ay59kjTI9Oq84vZH4Es6QyaUFpuSFHM9E}]}}}",
        // {"sub": "bench"}, signed with the key whose other half stands above; without an end.
        query: "?token=eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.eyJzdWIiOiJiZW5jaCJ9.umRgIyD8aH7mbIcd_KX_cyOq6cFWa1U0JWNUqL8NBONu\
                eAdWud2YXuIKnT-JRYmumSlaB4zrjU4pyCwAbJsmDQ",
    },
    Shipped { name: "rate-limit", config: "{requests: 100000000, per: 1s, policy: p{copy}}", query: "" },
    Shipped { name: "json-transform", config: "{response: [{add: /m{copy}, value: 1}]}", query: "" },
];

const ROUNDS: usize = 3;
/// Guests that the memory for one is taken from.
const GUESTS: usize = 32;
/// Routes with a limit each.
const ROUTES: usize = 10_000;
const LIMIT: &str = "rate-limit";

/// Everything, for the plugins that are built.
pub(crate) async fn measure(gateway: &Path, origin: SocketAddr) -> Value {
    let built: Vec<_> = SHIPPED.iter().filter_map(|shipped| Some((shipped, module(shipped.name)?))).collect();
    for shipped in &SHIPPED {
        if !built.iter().any(|(known, _)| known.name == shipped.name) {
            eprintln!("bench: plugins/dist/{}.wasm is not there (make plugins): left out", shipped.name);
        }
    }
    let mut rows = Vec::new();
    if let Some(module) = module("jwt-auth") {
        for algorithm in ALGORITHMS {
            rows.push(verification(gateway, origin, algorithm, &module).await);
        }
    }
    for (shipped, module) in &built {
        let (config, query) = (shipped.config, shipped.query);
        let cpu = chain(gateway, origin, (shipped.name, config, query), module).await;
        rows.push(json!({
            "name": shipped.name,
            "module_bytes": module.len(),
            "cpu_us": cpu,
            "slope_us": slope(&cpu),
            "guest_bytes": guest(gateway, origin, shipped, module).await,
        }));
    }
    let limit = built.iter().find(|(shipped, _)| shipped.name == LIMIT);
    let routes = match limit {
        Some((_, module)) => routes(gateway, origin, module).await,
        None => Value::Null,
    };
    json!({ "rows": rows, "routes": routes })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "\nThe plugins that ship: CPU time a request as above; module and memory of a guest, KiB.\n\n\
        | plugin | 0 | 4 | 8 | 16 | slope | module | guest |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let kib = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |bytes| format!("{:.0}", bytes / 1024.0));
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = cells(&row["cpu_us"], 1);
        let name = row["name"].as_str().unwrap_or_default();
        let (module, guest) = (kib(&row["module_bytes"]), kib(&row["guest_bytes"]));
        let slope = number(&row["slope_us"], 2);
        text += &format!("| {name} | {} | **{slope}** | {module} | {guest} |\n", cells);
    }
    let routes = &result["routes"];
    if routes.is_null() {
        return text;
    }
    text + &format!(
        "\n{} routes, each with a `rate-limit` of its own: **{} bytes** a route beyond the same routes without, **{}** guests.\n",
        routes["routes"],
        number(&routes["bytes_per_route"], 0),
        routes["guests"],
    )
}

/// The module of a plugin that ships, if it is built.
pub(crate) fn module(name: &str) -> Option<Vec<u8>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    fs::read(top.join(format!("plugins/dist/{name}.wasm"))).ok()
}

// One that remembers no token verifies it in each copy: the slope is what a verification costs in the guest.
async fn verification(gateway: &Path, origin: SocketAddr, algorithm: &str, module: &[u8]) -> Value {
    let keys = json!({ "keys": [Signer::trusted().jwk(algorithm, "a")] });
    let config = format!(
        "{{realm: r{{copy}}, expiry-required: false, verified-max: 0, token: [{{query: token}}], keys: {{jwks: {keys}}}}}"
    );
    let query = format!("?token={}", Signer::trusted().token(algorithm, "a", &json!({ "sub": "bench" })));
    let cpu = chain(gateway, origin, ("jwt-auth", config.as_str(), query.as_str()), module).await;
    json!({ "name": format!("jwt-auth, verifying {algorithm}"), "cpu_us": cpu, "slope_us": slope(&cpu) })
}

async fn chain(
    gateway: &Path,
    origin: SocketAddr,
    (name, config, query): (&str, &str, &str),
    module: &[u8],
) -> Vec<f64> {
    let mut text = head(origin) + "middleware:\n";
    for copy in 1..=COPIES[COPIES.len() - 1] {
        text += &middleware((name, config), copy, "");
    }
    text += "routes:\n";
    for copies in COPIES {
        let chain: Vec<_> = (1..=copies).map(|copy| format!("p{copy}")).collect();
        text +=
            &format!("  - {{id: c{copies}, path: /{copies}, middleware: [{}], upstream: origin}}\n", chain.join(", "));
    }
    let subject = start(gateway, &text, name, module);
    let mut costs = vec![Vec::new(); COPIES.len()];
    for _ in 0..ROUNDS {
        for (chain, copies) in COPIES.iter().enumerate() {
            let used = || subject.used().user + subject.used().kernel;
            let span = load::span(subject.address, &format!("/{copies}{}", query), SPAN, used).await;
            costs[chain].push(span.cost / span.exchanges as f64);
        }
    }
    costs.iter().map(|rounds| median(rounds.iter().copied())).collect()
}

// Different limits of memory make guests of their own: what one takes is what many take beyond one, by their number.
async fn guest(gateway: &Path, origin: SocketAddr, shipped: &Shipped, module: &[u8]) -> f64 {
    let mut bytes = Vec::new();
    for guests in [1, GUESTS] {
        let mut text = head(origin) + "middleware:\n";
        let mut routes = "routes:\n".to_owned();
        for copy in 1..=guests {
            text += &middleware(
                (shipped.name, shipped.config),
                copy,
                &format!(", limits: {{memory-bytes-max: {}}}", (32 << 20) + 65_536 * copy),
            );
            routes += &format!("  - {{id: r{copy}, path: /{copy}, middleware: [p{copy}], upstream: origin}}\n");
        }
        let subject = start(gateway, &(text + &routes), shipped.name, module);
        for copy in 1..=guests {
            // Touches what a request touches.
            let path = format!("/{copy}{}", shipped.query);
            load::span(subject.address, &path, Duration::from_millis(10), || 0.0).await;
        }
        bytes.push(subject.memory_bytes() as f64);
    }
    (bytes[1] - bytes[0]) / (GUESTS - 1) as f64
}

// What a limit adds to each of many routes, beside the same routes without.
async fn routes(gateway: &Path, origin: SocketAddr, module: &[u8]) -> Value {
    let mut bytes = Vec::new();
    let mut guests = 0;
    for limited in [false, true] {
        let mut text = head(origin) + "routes:\n";
        for route in 0..ROUTES {
            let requests = 1_000 + route;
            let step = format!("{{module: plugins/{LIMIT}.wasm, config: {{requests: {requests}, per: 1s}}}}");
            let steps = if limited { step } else { String::new() };
            text += &format!("  - {{id: r{route}, path: /r/{route}, middleware: [{steps}], upstream: origin}}\n");
        }
        let subject = start(gateway, &text, LIMIT, module);
        for route in (0..ROUTES).step_by(ROUTES / 100) {
            load::span(subject.address, &format!("/r/{route}"), Duration::from_millis(2), || 0.0).await;
        }
        bytes.push(subject.memory_bytes() as f64);
        guests = subject.metric("tidegate_plugin_guests") as u64;
    }
    json!({
        "routes": ROUTES,
        "without_bytes": bytes[0],
        "with_bytes": bytes[1],
        "bytes_per_route": (bytes[1] - bytes[0]) / ROUTES as f64,
        "guests": guests,
    })
}

fn head(origin: SocketAddr) -> String {
    format!("listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\n")
}

fn middleware((name, config): (&str, &str), copy: usize, more: &str) -> String {
    let config = config.replace("{copy}", &copy.to_string());
    format!("  p{copy}: {{module: plugins/{name}.wasm, config: {config}{more}}}\n")
}

fn start(gateway: &Path, configuration: &str, name: &str, module: &[u8]) -> Subject {
    Subject::gateway_with(gateway, &[("gateway.yaml", configuration)], &[(&format!("plugins/{name}.wasm"), module)])
}
