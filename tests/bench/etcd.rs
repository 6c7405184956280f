//! From a `put` of one route to the first response on the new generation, and the CPU time that one such change costs
//! the gateway, with few routes and with many, one key a route; and from the start of a process to its first response
//! while etcd is away. Against a real etcd with one member, on the load's core.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate::etcd::{Client, Op};
use tidegate_tests::{Etcd, guests};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::sleep,
};

use crate::{
    report::{median, number, percentile},
    shipped::{self, SHIPPED},
    subject::Subject,
};

const ROUTES: [usize; 3] = [10, 1_000, 10_000];
const PUTS: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two changes whose cost is measured: long enough that most become a generation of their own.
const PAUSE: Duration = Duration::from_millis(40);
const CHANGES: u64 = 100;

/// Plugins, each of a module of its own, that a cold start brings up; and how often it is timed.
pub(crate) const PLUGINS: usize = 20;
const STARTS: usize = 10;

/// A row for each number of routes.
pub(crate) fn measure(gateway: &Path) -> Value {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rows: Vec<_> = ROUTES.iter().map(|routes| runtime.block_on(with_routes(gateway, *routes))).collect();
    json!({"puts": PUTS, "rows": rows, "cold_start": runtime.block_on(cold_start(gateway))})
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### etcd\n\nFrom a `put` of one route to the first response on the new generation, ms, {} puts, one key a route \
         (aim: p99 20 at 10,000); CPU time of the gateway a change, ms (aim: flat).\n\n\
         | routes | median | p99 | most | CPU a change |\n|---|---|---|---|---|\n",
        result["puts"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [median, p99, most] = ["median_ms", "p99_ms", "max_ms"].map(|field| number(&row[field], 1));
        text += &format!("| {} | {median} | **{p99}** | {most} | {} |\n", row["routes"], number(&row["cpu_ms"], 2));
    }
    let cold = &result["cold_start"];
    text + &format!(
        "\nFrom the start of a process to its first response, etcd gone, from the last good tree with {} plugins ({} KiB of \
         modules), ms: median **{}**, most {} (aim: 1,000).\n",
        cold["plugins"],
        cold["bytes"].as_u64().unwrap_or_default() / 1024,
        number(&cold["median_ms"], 0),
        number(&cold["max_ms"], 0),
    )
}

async fn with_routes(gateway: &Path, routes: usize) -> Value {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let listen = crate::subject::free_address();
    let document = format!("listeners: {{web: {{address: '{listen}', generation-header: true}}}}\n");
    let mut puts = vec![Op::put("/gw/gateway.yaml", document), probe(0)];
    puts.extend((1..routes).map(|number| Op::put(format!("/gw/routes/r{number}.json"), route(number))));
    client.txn(Vec::new(), puts, Vec::new()).await.expect("etcd takes them");
    let state = tempfile::tempdir().expect("a temporary directory");
    let subject = Subject::following(gateway, listen, &etcd.urls()[0], state.path());

    let mut socket = TcpStream::connect(subject.address).await.expect("the gateway listens");
    socket.set_nodelay(true).expect("a TCP socket takes the option");
    let mut times = Vec::new();
    for put in 1..=PUTS {
        times.push(until_served(&client, &mut socket, put).await);
    }
    let (cpu_ms, generations) = cost(&client, &subject).await;
    json!({
        "routes": routes,
        "median_ms": median(times.iter().copied()),
        "p99_ms": percentile(99.0, times.iter().copied()),
        "max_ms": times.iter().copied().fold(0.0, f64::max),
        "cpu_ms": cpu_ms,
        "generations": generations,
    })
}

/// Milliseconds from the start of a process to its first response, with etcd gone and the last good tree on disk.
async fn cold_start(gateway: &Path) -> Value {
    let mut etcd = Etcd::start().await;
    let listen = crate::subject::free_address();
    let (modules, document) = with_plugins(&listen.to_string());
    let client = etcd.client();
    for (number, module) in modules.iter().enumerate() {
        client.put(format!("/gw/plugins/p{number}.wasm"), module.clone()).await.expect("etcd takes a module");
    }
    client.put("/gw/gateway.yaml", document).await.expect("etcd takes a document");
    let state = tempfile::tempdir().expect("a temporary directory");
    let url = etcd.urls().swap_remove(0);
    let first = Subject::following(gateway, listen, &url, state.path());
    let end = Instant::now() + PATIENCE;
    while first.metric("tidegate_last_good_kept_timestamp_seconds") == 0.0 {
        assert!(Instant::now() < end, "what serves is not kept");
        sleep(PAUSE).await;
    }
    drop(first);
    etcd.member(0).kill();
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        let subject = Subject::following(gateway, listen, &url, state.path());
        let mut socket = TcpStream::connect(subject.address).await.expect("the gateway listens");
        ask(&mut socket).await;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert!(subject.metric("tidegate_last_good_serves") > 0.0, "it was not the last good tree that served");
    }
    json!({
        "plugins": PLUGINS,
        "bytes": modules.iter().map(Vec::len).sum::<usize>(),
        "median_ms": median(times.iter().copied()),
        "max_ms": times.iter().copied().fold(0.0, f64::max),
    })
}

/// Modules, each one other bytes, and a document that has them all in one chain: those that ship where they are built,
/// or else small ones.
pub(crate) fn with_plugins(listen: &str) -> (Vec<Vec<u8>>, String) {
    let built: Vec<_> =
        SHIPPED.iter().filter_map(|plugin| Some((plugin.config, shipped::module(plugin.name)?))).collect();
    if built.is_empty() {
        eprintln!("bench: no plugin that ships is built (make plugins): small ones start cold instead");
    }
    let (mut modules, mut middleware) = (Vec::new(), String::new());
    for number in 0..PLUGINS {
        let (config, mut module) = match built.get(number % built.len().max(1)) {
            Some((config, module)) => (config.replace("{copy}", &number.to_string()), module.clone()),
            None => ("{}".to_owned(), wat::parse_str(guests::stamp(0)).expect("a module")),
        };
        // A section that means nothing makes it a module of its own.
        module.extend([0, 2, 1, u8::try_from(number).expect("few plugins")]);
        middleware += &format!("  p{number}: {{module: plugins/p{number}.wasm, config: {config}}}\n");
        modules.push(module);
    }
    let chain: Vec<_> = (0..PLUGINS).map(|number| format!("p{number}")).collect();
    let document = format!(
        "listeners: {{web: {{address: '{listen}'}}}}\nmiddleware:\n{middleware}routes:\n\
         \x20 - {{id: chain, path: /chain, middleware: [{}, {{respond: {{status: 200, body: served}}}}]}}\n\
         \x20 - {{id: probe, path: /probe, middleware: [{{respond: {{status: 200, body: served}}}}]}}\n",
        chain.join(", ")
    );
    (modules, document)
}

/// What a request through the chain of [`with_plugins`] has to say.
pub(crate) fn query() -> String {
    let said = SHIPPED.iter().filter_map(|plugin| plugin.query.strip_prefix('?'));
    format!("?{}", said.collect::<Vec<_>>().join("&"))
}

/// Milliseconds from the `put` to the first response that shows it.
async fn until_served(client: &Client, socket: &mut TcpStream, number: u64) -> f64 {
    let mark = format!("x-put: {number}\r\n");
    let began = Instant::now();
    client.txn(Vec::new(), vec![probe(number)], Vec::new()).await.expect("etcd takes a put");
    while !ask(socket).await.contains(&mark) {
        assert!(began.elapsed() < PATIENCE, "put {number} is not served");
    }
    began.elapsed().as_secs_f64() * 1e3
}

/// CPU time of the gateway for one generation of one changed key, while nobody asks it for anything.
async fn cost(client: &Client, subject: &Subject) -> (f64, f64) {
    let idle = spent(subject, async |_| {}).await;
    let before = reloads(subject).await;
    let busy = spent(subject, async |number| {
        client.txn(Vec::new(), vec![probe(PUTS + 1 + number)], Vec::new()).await.expect("etcd takes a put");
    })
    .await;
    let generations = reloads(subject).await - before;
    ((busy - idle).max(0.0) / generations.max(1.0) / 1e3, generations)
}

async fn spent(subject: &Subject, mut each: impl AsyncFnMut(u64)) -> f64 {
    let before = subject.used();
    for number in 0..CHANGES {
        each(number).await;
        sleep(PAUSE).await;
    }
    let after = subject.used();
    after.user + after.kernel - before.user - before.kernel
}

async fn reloads(subject: &Subject) -> f64 {
    let admin = subject.admin.expect("a gateway has an admin endpoint");
    let mut socket = TcpStream::connect(admin).await.expect("the admin endpoint listens");
    let ask = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    socket.write_all(ask.as_bytes()).await.expect("the gateway reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("the gateway answers");
    let mark = "tidegate_reloads_total{trigger=\"watch\",outcome=\"applied\"} ";
    text.lines().find_map(|line| line.strip_prefix(mark)?.parse().ok()).unwrap_or(0.0)
}

/// The route that changes.
fn probe(number: u64) -> Op {
    let steps = format!(
        "[{{headers: {{response: {{set: {{x-put: '{number}'}}}}}}}}, {{respond: {{status: 200, body: served}}}}]"
    );
    Op::put("/gw/routes/probe.yaml", format!("routes: [{{id: probe, path: /probe, middleware: {steps}}}]\n"))
}

fn route(number: usize) -> String {
    let host = number % 100;
    format!(
        "{{\"route_id\": \"r{number}\", \"host\": \"h{host}.example\", \"path\": \"/r/{number}/*\", \
         \"target\": \"127.0.0.1:9\", \"middleware\": []}}"
    )
}

/// Asks for the route that changes; answers with the whole response.
pub(crate) async fn ask(socket: &mut TcpStream) -> String {
    socket.write_all(b"GET /probe HTTP/1.1\r\nhost: bench.example\r\n\r\n").await.expect("the gateway reads");
    let mut answer = vec![0; 4096];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"served") {
        let read = socket.read(&mut answer[filled..]).await.expect("the gateway answers");
        assert!(read > 0, "the gateway closed: {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
    }
    String::from_utf8_lossy(&answer[..filled]).into_owned()
}
