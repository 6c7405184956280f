//! Many exchanges that wait at a time, each in a plugin that waits for a call of its own: how many do, what one takes, and
//! whether all of them are answered once the calls are. Over HTTP/2, so that sockets of clients are not what is measured.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_tests::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{COMPONENT, HTTP_WASM};
use crate::{
    extent,
    load::{self, ANSWER},
    shipped,
    speech::{Call, HOST, Speech},
    subject::Subject,
};

const EXCHANGES: usize = 10_000;
/// On one connection of HTTP/2.
const STREAMS: usize = 100;
/// Exchanges that have come and gone before, so that what a process keeps is there already.
const BEFORE: usize = 200;
/// Until as many wait as will.
const DEADLINE: Duration = Duration::from_secs(40);

const NATIVE: &str = include_str!("../../guests/waiting.wat");
const PROXY_WASM: &str = include_str!("../../guests/proxy_wasm/waiting.wat");

/// A plugin that waits.
struct Case {
    /// As the table names it.
    title: &'static str,
    /// The file, and what is in it; none for a route without a plugin.
    module: Option<(&'static str, Vec<u8>)>,
    /// Where the route leads to: `origin`, where the plugin calls `held`, and `held`, where it waits for the route's own.
    upstream: &'static str,
    path: &'static str,
}

/// One row an interface, and one without a plugin.
pub(super) async fn measure(gateway: &Path, origin: SocketAddr) -> Value {
    let authority = Authority::new();
    let issued = authority.issue(&[HOST]);
    let speech = Speech::http2(&authority);
    let asked = extent::count(EXCHANGES, 300);
    let mut rows = Vec::new();
    let mut bare = None;
    for case in cases() {
        let held = Held::start().await;
        let text = configuration(&case, origin, held.address, asked + BEFORE);
        let files = [("gateway.yaml", &*text), ("pair.crt", &issued.pem), ("pair.key", &issued.key)];
        let modules: Vec<_> = case.module.iter().map(|(path, bytes)| (*path, bytes.as_slice())).collect();
        let subject = Subject::gateway_with(gateway, &files, &modules);
        let call = Call { address: subject.address, speech: speech.clone(), path: case.path.into() };
        let row = row(&case, &subject, &call, &held, asked, bare).await;
        bare = bare.or(row["kib"].as_f64());
        rows.push(row);
    }
    json!({ "rows": rows })
}

fn cases() -> Vec<Case> {
    let text = |wat: &str| wat.as_bytes().to_vec();
    // A guest that has nothing to do with the response is not held until then.
    let http_wasm = HTTP_WASM.replace("(param i32 i32)))", "(param i32 i32) nop))");
    let mut cases = vec![
        Case { title: "no plugin", module: None, upstream: "held", path: "/" },
        Case { title: "proxy-wasm", module: Some(("plugins/p.wat", text(PROXY_WASM))), upstream: "origin", path: "/" },
        Case { title: "native", module: Some(("plugins/p.wat", text(NATIVE))), upstream: "origin", path: "/" },
        Case { title: "http-wasm", module: Some(("plugins/p.wat", text(&http_wasm))), upstream: "held", path: "/" },
    ];
    if let Some(module) = shipped::module(COMPONENT) {
        let module = Some(("plugins/p.wasm", module));
        cases.push(Case { title: "wasi:http", module, upstream: "origin", path: "/to/http/held" });
    }
    cases
}

async fn row(case: &Case, subject: &Subject, call: &Call, held: &Held, asked: usize, bare: Option<f64>) -> Value {
    held.open(true);
    let before = ask(call, BEFORE).answered().await;
    assert_eq!(before, BEFORE, "{}: all of the first are answered", case.title);
    held.open(false);
    let (bytes, cpu) = (subject.memory_bytes(), subject.used().sum());
    let asking = ask(call, asked);
    let end = Instant::now() + DEADLINE;
    while held.waiting() + asking.ended.get() < asked && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    let waiting = held.waiting();
    let kib = (subject.memory_bytes() as f64 - bytes as f64) / waiting.max(1) as f64 / 1024.0;
    held.open(true);
    let answered = asking.answered().await;
    json!({
        "abi": case.title, "asked": asked, "waiting": waiting, "answered": answered, "kib": kib,
        "beyond_kib": bare.map(|bare| kib - bare), "cpu_us": (subject.used().sum() - cpu) / asked as f64,
    })
}

fn configuration(case: &Case, origin: SocketAddr, held: SocketAddr, guests: usize) -> String {
    let tls = "tls: {certificates: [{certificate: pair.crt, key: pair.key}], min-version: '1.3'}";
    let mut text = format!(
        "listeners:\n  web: {{address: '{{listen}}', {tls}}}\ngateway: {{guest-slots: {guests}}}\nupstreams:\n\
         \x20 origin: {{endpoints: ['{origin}'], connections-max: 15000}}\n  held: {{endpoints: ['{held}'], connections-max: 15000}}\n"
    );
    let steps = case.module.as_ref().map_or("", |(path, _)| {
        let limits = format!("{{call-timeout: 120s, exchange-timeout: 120s, guests-max: {guests}}}");
        text += &format!("middleware:\n  p: {{module: {path}, grants: {{upstreams: [held]}}, limits: {limits}}}\n");
        "p"
    });
    text + &format!("routes:\n  - {{id: all, path: /*, middleware: [{steps}], upstream: {}}}\n", case.upstream)
}

/// Calls that are under way.
struct Asking {
    tasks: JoinSet<()>,
    /// However they ended.
    ended: Rc<Cell<usize>>,
    answered: Rc<Cell<usize>>,
}

fn ask(call: &Call, exchanges: usize) -> Asking {
    let mut asking = Asking { tasks: JoinSet::new(), ended: Rc::default(), answered: Rc::default() };
    for _ in 0..exchanges / STREAMS {
        let (call, ended, answered) = (call.clone(), Rc::clone(&asking.ended), Rc::clone(&asking.answered));
        let each = move |ok: bool| {
            ended.set(ended.get() + 1);
            answered.set(answered.get() + usize::from(ok));
        };
        asking.tasks.spawn_local(async move {
            call.at_once(STREAMS, each).await.unwrap_or_else(|error| panic!("a connection failed: {error}"));
        });
    }
    asking
}

impl Asking {
    /// How many were answered with 200, once all are over.
    async fn answered(mut self) -> usize {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap_or_else(|error| panic!("{error}"));
        }
        self.answered.get()
    }
}

/// An origin that answers while it is open.
struct Held {
    address: SocketAddr,
    waiting: Rc<Cell<usize>>,
    open: watch::Sender<bool>,
}

impl Held {
    async fn start() -> Self {
        let (open, seen) = watch::channel(true);
        let waiting = Rc::new(Cell::new(0));
        let counted = Rc::clone(&waiting);
        let address = load::serve(move |socket| hold(socket, seen.clone(), Rc::clone(&counted))).await;
        Self { address, waiting, open }
    }

    fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Requests that wait here.
    fn waiting(&self) -> usize {
        self.waiting.get()
    }
}

async fn hold(mut socket: TcpStream, mut open: watch::Receiver<bool>, waiting: Rc<Cell<usize>>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = [0; 2048];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            waiting.set(waiting.get() + 1);
            // The sender lives as long as this origin.
            drop(open.wait_for(|open| *open).await);
            waiting.set(waiting.get() - 1);
            socket.write_all(ANSWER).await?;
            filled = 0;
        }
    }
}
