//! Tables from 10 to 100,000 routes over 1 to 10,000 hosts: what finding a route takes, in this process; and what a gateway that
//! was started over them takes in memory and time, and a request in CPU time, beside nginx and Envoy over the same table.

mod peers;

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tidegate::{
    config::spec::{HostPattern, Match, PathPattern},
    identity::Identity,
    route::{Head, Row, Table},
};

use crate::{
    load,
    report::{cells, median, number, percentile},
    speech,
    subject::Subject,
};

/// Routes, and the hosts that they are spread over.
const TABLES: [(usize, usize); 7] =
    [(10, 1), (1_000, 1), (1_000, 1_000), (10_000, 1), (10_000, 10_000), (100_000, 1), (100_000, 10_000)];
/// Look-ups that are timed one by one.
const LOOKUPS: usize = 200_000;
/// Routes of one document.
const DOCUMENT: usize = 1_000;
/// Changes of one route that is in a document of its own.
const CHANGES: usize = 100;
/// Requests of one connection.
const REQUESTS: usize = 2_000;
/// Of the peers: nginx sorts what it has once for each name.
const PATIENCE: Duration = Duration::from_secs(120);

/// One row a table.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let mut rows = Vec::new();
        // On a thread of its own: the origin answers on this one.
        let load = async |table| {
            let gateway = gateway.to_owned();
            let loaded = tokio::task::spawn_blocking(move || load_of(&gateway, origin, table)).await;
            loaded.expect("what failed was printed")
        };
        let (least, _) = load(TABLES[0]).await;
        for (routes, hosts) in TABLES {
            let (median_ns, p99_ns) = lookups(routes, hosts);
            let (loaded, changes) = load((routes, hosts)).await;
            let peers = tokio::task::spawn_blocking(move || peers::load(origin, (routes, hosts))).await;
            let peers = peers.expect("what failed was printed");
            let of = |part: fn(&Loaded) -> f64| peers.iter().map(|peer| peer.as_ref().map(part)).collect::<Vec<_>>();
            rows.push(json!({
                "routes": routes, "hosts": hosts,
                "match_median_ns": median_ns, "match_p99_ns": p99_ns,
                "load_s": loaded.seconds, "request_us": loaded.request_us,
                "bytes_per_route": loaded.bytes.saturating_sub(least.bytes) as f64 / routes as f64,
                "change_median_ms": median(changes.iter().copied()), "change_p99_ms": percentile(99.0, changes),
                "peers": peers::NAMES, "peers_load_s": of(|peer| peer.seconds), "peers_bytes": of(|peer| peer.bytes as f64),
                "peers_request_us": of(|peer| peer.request_us),
            }));
        }
        json!({ "lookups": LOOKUPS, "requests": REQUESTS, "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### Scale of the table\n\nFinding a route by host and prefix, ns, of {} look-ups all over the table (aim: p99 300 at 100,000, \
         flat); memory of a route beyond a gateway with ten, bytes (aim: 1,024); from the start of the process until it \
         listens, s (aim: 1); CPU time of a request on one connection, µs, of {} for routes all over the table. A change of one route in a document of its own, ms, from the rename until it serves, 10 of them waiting for \
         the directory to come to rest (aim: p99 10 beyond those).\n\n\
         | routes | hosts | median | p99 | memory | change | p99 | load | nginx | Envoy | request | nginx | Envoy |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        result["lookups"], result["requests"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [median, p99, bytes] =
            ["match_median_ns", "match_p99_ns", "bytes_per_route"].map(|field| number(&row[field], 0));
        let (load, peers_load) = (number(&row["load_s"], 2), cells(&row["peers_load_s"], 2));
        let (request, peers_request) = (number(&row["request_us"], 1), cells(&row["peers_request_us"], 1));
        let (routes, hosts) = (&row["routes"], &row["hosts"]);
        let [change, slow] = ["change_median_ms", "change_p99_ms"].map(|field| number(&row[field], 1));
        text += &format!(
            "| {routes} | {hosts} | {median} | **{p99}** | **{bytes}** | {change} | **{slow}** | **{load}** | {peers_load} | \
             **{request}** | {peers_request} |\n"
        );
    }
    text
}

pub(crate) struct Loaded {
    /// From the start of the process until it answers for the last route.
    seconds: f64,
    bytes: u64,
    /// CPU time of one for routes all over the table.
    request_us: f64,
}

/// Finds routes of a table over so many hosts, `times` times; the routes asked for do not depend on how many that is.
pub(crate) fn find(routes: usize, hosts: usize, times: usize) {
    let (table, headers) = (table_of(routes, hosts), HeaderMap::new());
    let asked = asked(routes, hosts, ASKED);
    for (host, path, route) in asked.iter().cycle().take(times) {
        let head = Head { host, path, query: "", method: &Method::GET, headers: &headers };
        assert_eq!(table.find(black_box(&head)), Some(route), "the table finds another route");
    }
}

/// Different look-ups of [`find`].
const ASKED: usize = 500;

fn table_of(routes: usize, hosts: usize) -> Table<usize> {
    let rows: Vec<_> = (0..routes).map(|route| row(route, hosts)).collect();
    Table::build(&rows, None).expect("the rows are valid")
}

/// Hosts, paths and the routes that they belong to: with a stride that meets every route, and in no order that a cache likes.
fn asked(routes: usize, hosts: usize, times: usize) -> Vec<(String, String, usize)> {
    let places = (0..times).map(|turn| turn.wrapping_mul(7_919) % routes);
    places.map(|route| (host(route, hosts), format!("{}/and/more", path(route)), route)).collect()
}

// The clock's own cost is taken off: it is more than that of a look-up.
fn lookups(routes: usize, hosts: usize) -> (f64, f64) {
    let (table, headers) = (table_of(routes, hosts), HeaderMap::new());
    let idle = median((0..LOOKUPS).map(|_| nanoseconds(|| None)));
    let asked = asked(routes, hosts, LOOKUPS);
    let times = asked.iter().map(|(host, path, route)| {
        let head = Head { host, path, query: "", method: &Method::GET, headers: &headers };
        let mut found = None;
        let took = nanoseconds(|| {
            found = table.find(black_box(&head)).copied();
            found
        });
        assert_eq!(found, Some(*route), "the table finds another route");
        (took - idle).max(0.0)
    });
    let times: Vec<_> = times.collect();
    (median(times.iter().copied()), percentile(99.0, times))
}

fn nanoseconds(mut find: impl FnMut() -> Option<usize>) -> f64 {
    let began = Instant::now();
    black_box(find());
    began.elapsed().as_nanos() as f64
}

fn row(route: usize, hosts: usize) -> Row<usize> {
    let on = Match { path: PathPattern::Prefix(path(route)), method: None, headers: Vec::new(), query: Vec::new() };
    Row {
        hosts: Arc::new([HostPattern::Exact(host(route, hosts))]),
        on: Arc::new(on),
        identity: Identity::of_bytes(&route.to_be_bytes()),
        value: route,
    }
}

/// A gateway over a table, with requests for routes all over it and changes of one.
pub(crate) fn load_of(gateway: &Path, origin: SocketAddr, (routes, hosts): (usize, usize)) -> (Loaded, Vec<f64>) {
    let head =
        format!("listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\n");
    let mut files = vec![("gateway.yaml".to_owned(), head)];
    for document in (0..routes).step_by(DOCUMENT) {
        let last = routes.min(document + DOCUMENT);
        let lines = (document..last).map(|route| {
            let (host, path) = (host(route, hosts), path(route));
            format!("  - {{id: r{route}, host: {host}, path: '{path}/*', upstream: origin}}\n")
        });
        files.push((format!("routes/{document}.yaml"), format!("routes:\n{}", lines.collect::<String>())));
    }
    files.push((OWN.to_owned(), own(0)));
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let subject = Subject::gateway(gateway, &files);
    let seconds = subject.began.elapsed().as_secs_f64();
    let bytes = subject.memory_bytes();
    let loaded = Loaded { seconds, bytes, request_us: request(&subject, (routes, hosts)) };
    let mut socket = connect(&subject);
    let change = |number: usize| {
        let began = Instant::now();
        subject.place(OWN, &own(number));
        while !ask(&mut socket, "own.bench.example", "/own").contains(&format!("x-change: {number}\r\n")) {
            assert!(began.elapsed() < PATIENCE, "change {number} never served");
        }
        began.elapsed().as_secs_f64() * 1e3
    };
    (loaded, (1..=CHANGES).map(change).collect())
}

/// The document with one route, which is the one that changes.
const OWN: &str = "routes/own.yaml";

fn own(number: usize) -> String {
    format!(
        "routes:\n  - {{id: own, path: /own, upstream: origin, middleware: [{{headers: {{response: {{set: {{x-change: '{number}'}}}}}}}}]}}\n"
    )
}

/// CPU time of one of [`REQUESTS`] on one connection, in µs: for routes all over the table, one after the other.
fn request(subject: &Subject, (routes, hosts): (usize, usize)) -> f64 {
    let mut socket = connect(subject);
    let asked = asked(routes, hosts, REQUESTS);
    let mut all = || {
        for (host, path, _) in &asked {
            ask(&mut socket, host, path);
        }
    };
    // What the first requests touch for the first time is no request's.
    all();
    let before = subject.precisely_used();
    all();
    (subject.precisely_used() - before) / REQUESTS as f64
}

fn connect(subject: &Subject) -> TcpStream {
    let socket = TcpStream::connect(subject.address).expect("it listens");
    socket.set_nodelay(true).expect("a TCP socket takes the option");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket takes the option");
    socket
}

fn ask(socket: &mut TcpStream, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the gateway reads");
    let (mut answer, mut filled) = (vec![0; 4096], 0);
    loop {
        let read = socket.read(&mut answer[filled..]).expect("the gateway answers");
        assert!(read > 0, "the gateway closed: {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
        if speech::head(&answer[..filled]).expect("a 200").is_some_and(|(head, body)| filled >= head + body) {
            answer.truncate(filled);
            return String::from_utf8_lossy(&answer).into_owned();
        }
    }
}

fn host(route: usize, hosts: usize) -> String {
    format!("h{}.bench.example", route % hosts)
}

fn path(route: usize) -> String {
    format!("/service-{}/resource-{}/r{route}", route % 97, route % 1_009)
}
