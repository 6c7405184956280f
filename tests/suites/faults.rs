//! Upstreams that fail in every way, and what the client gets: the rows of `tables/faults.txt`, which are also the table
//! in `docs/upstreams.md`; and a load while endpoints come and go, of which no request may be lost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use tidegate_tests::{
    ConfigDir, Gateway, Origin,
    dns::{Dns, Mode},
    eventually, request, wire,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

const TABLE: &str = include_str!("../tables/faults.txt");
const PAGE: &str = include_str!("../../docs/upstreams.md");

struct Row<'a> {
    fault: &'a str,
    beside: bool,
    retry: bool,
    method: &'a str,
    outcome: &'a str,
    tries: u64,
    kind: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &'static str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [fault, place, settings, method, "=>", outcome, tries, kind] = words[..] else { panic!("a row: {line}") };
        let (beside, retry) = (place == "beside", settings == "retry");
        Row { fault, beside, retry, method, outcome, tries: tries.parse().unwrap(), kind }
    };
    lines.map(row).collect()
}

/// An endpoint with a fault.
struct Faulty {
    address: SocketAddr,
    // How the configuration calls it, where that is not its address, and what else it has to say.
    named: Option<(&'static str, String)>,
    task: Option<AbortHandle>,
    // Holds the address of one that refuses.
    _bound: Option<Socket>,
    _dns: Option<Dns>,
}

impl Faulty {
    async fn start(fault: &'static str) -> Self {
        if fault == "refuses" {
            let socket = bound(None);
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            return Self { address, named: None, task: None, _bound: Some(socket), _dns: None };
        }
        if fault == "slow-name" {
            // A name server that does not answer.
            let dns = Dns::start();
            dns.mode(Mode::Silent);
            let address = dns.address();
            let settings = format!(", connect-timeout: 300ms, dns: {{servers: ['{address}']}}");
            let named = Some(("slow.test:80", settings));
            return Self { address, named, task: None, _bound: None, _dns: Some(dns) };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                tokio::spawn(serve(fault, BufStream::new(io)));
            }
        });
        Self { address, named: None, task: Some(task.abort_handle()), _bound: None, _dns: None }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.take().inspect(AbortHandle::abort);
    }
}

// A socket that is bound and not listened on; several may share an address.
fn bound(address: Option<SocketAddr>) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))).into()).unwrap();
    socket
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsound";

async fn serve(fault: &str, mut io: BufStream<TcpStream>) -> std::io::Result<()> {
    let mut first = true;
    while let Some(head) = wire::read_head(&mut io).await? {
        wire::read_whole(&mut io, head.framing(wire::Framing::Length(0))).await?;
        let sends = match fault {
            "closes-kept" if first => WHOLE,
            "garbage" => "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "half-a-head" => "HTTP/1.1 200 OK\r\ncontent-",
            "answers-503" => "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",
            "answers-500" => "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno",
            "hangs-mid-body" | "resets-mid-body" | "closes-mid-body" => {
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
            }
            "garbage-mid-body" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
            _ => "",
        };
        io.write_all(sends.as_bytes()).await?;
        io.flush().await?;
        match fault {
            "answers-503" | "answers-500" => continue,
            "closes-kept" if first => {
                first = false;
                continue;
            }
            "hangs" | "hangs-mid-body" | "garbage-mid-body" => {
                let mut rest = Vec::new();
                io.read_to_end(&mut rest).await?;
            }
            "resets" | "closes-kept" => SockRef::from(io.get_ref()).set_linger(Some(Duration::ZERO))?,
            // What was sent is to arrive before the reset does.
            "resets-mid-body" => {
                tokio::time::timeout(Duration::from_millis(100), io.read_u8()).await.ok();
                SockRef::from(io.get_ref()).set_linger(Some(Duration::ZERO))?;
            }
            _ => {}
        }
        return Ok(());
    }
    Ok(())
}

struct Scene {
    dir: ConfigDir,
    gateway: Gateway,
}

impl Scene {
    async fn new(upstream: &str) -> Self {
        let mut dir = ConfigDir::new();
        let log = dir.beside("access.log");
        dir.name("log", log.display());
        let text = format!(
            "gateway: {{access-log: {{to: '{{log}}'}}}}
listeners: {{web: {{address: '127.0.0.1:0'}}}}
upstreams:
  users: {{{upstream}, response-timeout: 400ms, idle-timeout: 400ms}}
routes: [{{id: all, upstream: users}}]
"
        );
        dir.write("gateway.yaml", &text);
        let gateway = Gateway::start(&dir).await;
        Self { dir, gateway }
    }

    // What the client gets, and what the log says of it.
    async fn ask(&self, method: &str, path: &str) -> (String, u64, String) {
        let body = if method == "POST" { Bytes::from_static(b"content") } else { Bytes::new() };
        let request = request(Method::from_bytes(method.as_bytes()).unwrap(), path).map(|_| body);
        let answer = self.gateway.http1().await.try_send(request).await;
        let line = self.logged(path).await;
        let outcome = answer.map_or_else(|_| "breaks-off".to_owned(), |answer| answer.status.as_u16().to_string());
        let kind = line["error"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("-");
        (outcome, line["attempts"].as_u64().unwrap_or(0), kind.to_owned())
    }

    async fn logged(&self, path: &str) -> Value {
        let file = self.dir.beside("access.log");
        let find = async || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["path"] == path)
        };
        eventually("the line is logged", Duration::from_secs(20), find).await
    }
}

// The first request that did not meet the sound endpoint alone.
async fn first_affected(row: &Row<'static>) -> (String, u64, String) {
    let (faulty, sound) = (Faulty::start(row.fault).await, Origin::named("sound"));
    let other = if row.beside { format!(", '{}'", sound.address()) } else { String::new() };
    let retry = if row.retry { ", retry: {budget: {per-second-min: 1000}}" } else { "" };
    let own = (faulty.address.to_string(), String::new());
    let (endpoint, settings) = faulty.named.clone().map_or(own, |(name, settings)| (name.to_owned(), settings));
    let scene = Scene::new(&format!("endpoints: ['{endpoint}'{other}]{retry}{settings}")).await;
    let unaffected = ("200".to_owned(), 1, "-".to_owned());
    for number in 0..REQUESTS_MAX {
        let got = scene.ask(row.method, &format!("/{number}")).await;
        if got != unaffected {
            return got;
        }
    }
    unaffected
}

// Enough for each worker to come by the faulty endpoint, and to use a connection twice.
const REQUESTS_MAX: usize = 12;

#[tokio::test]
async fn what_the_client_gets_of_each_fault_is_what_the_table_says() {
    let mut wrong = Vec::new();
    for row in rows() {
        let (outcome, tries, kind) = first_affected(&row).await;
        if (&*outcome, tries, &*kind) != (row.outcome, row.tries, row.kind) {
            let Row { fault, beside, retry, method, .. } = row;
            wrong.push(format!("{fault} beside={beside} retry={retry} {method}: {outcome} {tries} {kind}"));
        }
    }
    assert!(wrong.is_empty(), "not as tables/faults.txt says:\n{}", wrong.join("\n"));
}

#[test]
fn the_page_on_upstreams_shows_the_table() {
    let cell = |row: &Row<'_>| {
        let Row { fault, beside, retry, method, outcome, tries, kind } = row;
        let place = if *beside { "one of two" } else { "the only one" };
        let retry = if *retry { "`retry: {}`" } else { "-" };
        let kind = if *kind == "-" { "-".to_owned() } else { format!("`{kind}`") };
        format!("| {} | {place} | {retry} | `{method}` | {} | {tries} | {kind} |\n", words(fault), words(outcome))
    };
    let table: String = rows().iter().map(cell).collect();
    assert!(PAGE.contains(&table), "docs/upstreams.md lacks these rows:\n{table}");
}

fn words(name: &str) -> String {
    name.replace('-', " ")
}

#[tokio::test]
async fn with_half_of_the_endpoints_down_every_request_is_answered() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let (down, out) = (Faulty::start("refuses").await, Faulty::start("refuses").await);
    let list = [down.address, a.address(), out.address, b.address()].map(|address| format!("'{address}'")).join(", ");
    let scene = Scene::new(&format!("endpoints: [{list}]")).await;
    let mut client = scene.gateway.http1().await;
    for number in 0..100 {
        let method = if number % 2 == 0 { Method::GET } else { Method::POST };
        assert_eq!(client.send(request(method, "/")).await.status, 200, "request {number}");
    }
    assert!(a.requests() >= 30 && b.requests() >= 30, "{} and {}", a.requests(), b.requests());
}

#[tokio::test]
async fn with_all_endpoints_down_the_client_is_told_at_once_and_the_first_one_back_serves() {
    let (first, second) = (Faulty::start("refuses").await, Faulty::start("refuses").await);
    let list = format!("'{}', '{}'", first.address, second.address);
    let scene = Scene::new(&format!("endpoints: [{list}], retry: {{back-off: {{base: 1ms, max: 1ms}}}}")).await;
    let got = scene.ask("GET", "/down").await;
    assert_eq!((&*got.0, got.1, &*got.2), ("502", 3, "upstream_connect"));
    let _back = Flapping::up(&second);
    let back = async || (scene.gateway.http1().await.get("/").await.status == 200).then_some(());
    eventually("the one that is back serves", Duration::from_secs(20), back).await;
}

/// An endpoint that comes and goes on an address that it keeps.
struct Flapping {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    downs: Arc<AtomicUsize>,
}

impl Flapping {
    /// Up for good, where `at` refused.
    fn up(at: &Faulty) -> Self {
        Self::run(at.address, Duration::from_secs(3600), Duration::ZERO)
    }

    fn run(address: SocketAddr, up: Duration, down: Duration) -> Self {
        let (stop, downs) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&downs));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while !stopped.load(Relaxed) {
                let socket = bound(Some(address));
                socket.listen(128).unwrap();
                socket.set_nonblocking(true).unwrap();
                let until = tokio::time::Instant::now() + up;
                runtime.block_on(async {
                    let listener = TcpListener::from_std(socket.into()).unwrap();
                    let local = tokio::task::LocalSet::new();
                    let accept = async {
                        while let Ok((io, _)) = listener.accept().await {
                            tokio::task::spawn_local(sound(io));
                        }
                    };
                    let ended = async {
                        while !stopped.load(Relaxed) && tokio::time::Instant::now() < until {
                            tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.ok();
                        }
                    };
                    // What is open is closed with the set: with a reset where a request was not read.
                    local
                        .run_until(async {
                            tokio::select! { () = accept => {}, () = ended => {} }
                        })
                        .await;
                });
                counted.fetch_add(1, Relaxed);
                std::thread::park_timeout(down);
            }
        });
        Self { stop, thread: Some(thread), downs }
    }
}

async fn sound(io: TcpStream) -> std::io::Result<()> {
    let mut io = BufStream::new(io);
    while let Some(head) = wire::read_head(&mut io).await? {
        wire::read_whole(&mut io, head.framing(wire::Framing::Length(0))).await?;
        io.write_all(WHOLE.as_bytes()).await?;
        io.flush().await?;
    }
    Ok(())
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_endpoints_come_and_go_no_request_is_lost_that_may_be_sent_again() {
    let places = [Faulty::start("refuses").await, Faulty::start("refuses").await];
    let always = Origin::named("always");
    let [first, second] =
        [(70, 40), (50, 60)].map(|(up, down)| (Duration::from_millis(up), Duration::from_millis(down)));
    let flapping =
        [Flapping::run(places[0].address, first.0, first.1), Flapping::run(places[1].address, second.0, second.1)];
    let list = format!("'{}', '{}', '{}'", places[0].address, places[1].address, always.address());
    let retry = "{attempts: 6, back-off: {base: 1ms, max: 10ms}, budget: {percent: 300, per-second-min: 10000}}";
    let scene = Scene::new(&format!("endpoints: [{list}], retry: {retry}")).await;
    let web = scene.gateway.web();
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(web, REQUESTS))).collect();
    for client in clients {
        let lost = client.await.unwrap();
        assert!(lost.is_empty(), "{} of {REQUESTS} were lost: {:?}", lost.len(), lost.first());
    }
    assert!(flapping.iter().all(|flapping| flapping.downs.load(Relaxed) >= 3), "they did come and go");
    let retries = scene.gateway.metric("tidegate_upstream_retries_total", "outcome=\"answered\"").await;
    assert!(retries > 0.0, "some were sent again");
}

const REQUESTS: usize = 1000;

// What was not answered with 200.
async fn load(web: SocketAddr, requests: usize) -> Vec<String> {
    let mut client = tidegate_tests::Client::http1(web).await;
    let mut lost = Vec::new();
    for number in 0..requests {
        match client.try_send(request(Method::GET, &format!("/{number}"))).await {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => lost.push(format!("{number}: {}", answer.status)),
            Err(error) => {
                lost.push(format!("{number}: {error}"));
                client = tidegate_tests::Client::http1(web).await;
            }
        }
    }
    lost
}
