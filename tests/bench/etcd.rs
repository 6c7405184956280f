//! From a `put` of one route to the first response on the new generation, and the CPU time that one such change costs
//! the gateway, with few routes and with many, one key a route. Against a real etcd with one member, on the load's core.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate::etcd::{Client, Op};
use tidegate_tests::Etcd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::sleep,
};

use crate::{
    report::{median, percentile},
    subject::Subject,
};

const ROUTES: [usize; 3] = [10, 1_000, 10_000];
const PUTS: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two changes whose cost is measured: long enough that most become a generation of their own.
const PAUSE: Duration = Duration::from_millis(40);
const CHANGES: u64 = 100;

/// A row for each number of routes.
pub(crate) fn measure(gateway: &Path) -> Value {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let rows: Vec<_> = ROUTES.iter().map(|routes| runtime.block_on(with_routes(gateway, *routes))).collect();
    json!({"puts": PUTS, "rows": rows})
}

async fn with_routes(gateway: &Path, routes: usize) -> Value {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let listen = crate::subject::free_address();
    let document = format!("listeners: {{web: {{address: '{listen}', generation-header: true}}}}\n");
    let mut puts = vec![Op::put("/gw/gateway.yaml", document), probe(0)];
    puts.extend((1..routes).map(|number| Op::put(format!("/gw/routes/r{number}.json"), route(number))));
    client.txn(Vec::new(), puts, Vec::new()).await.expect("etcd takes them");
    let subject = Subject::following(gateway, listen, &etcd.urls()[0]);

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
        "p99_ms": percentile(99, times.iter().copied()),
        "max_ms": times.iter().copied().fold(0.0, f64::max),
        "cpu_ms": cpu_ms,
        "generations": generations,
    })
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

async fn ask(socket: &mut TcpStream) -> String {
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
