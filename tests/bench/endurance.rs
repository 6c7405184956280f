//! Ten thousand reloads under load, modules among what changes: memory, descriptors, threads and generations while it goes on. And
//! many WebSockets and gRPC streams that stay open through a thousand.

use std::{
    cell::Cell,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_tests::guests;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use crate::{etcd, load, open::Open, report::number, subject::Subject};

const RELOADS: u64 = 10_000;
/// After which everything that grows at first has grown.
const SETTLED: u64 = 100;
const MODULES: u64 = 8;
const PER_SECOND: f64 = 1_000.0;
const PATIENCE: Duration = Duration::from_secs(20);
/// For what is given back a while after it was used.
const REST: Duration = Duration::from_secs(3);

/// As many as the descriptors that a process may have by the limits of the field allow: two for each, in the gateway and here.
const WEBSOCKETS: usize = 9_500;
const STREAMS: usize = 1_000;
const STREAMS_PER_CONNECTION: usize = 100;
const RELOADS_WITH_THEM: u64 = 1_000;

/// Both.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(
        async |origin| json!({ "reloads": reloads(gateway, origin).await, "open": open(gateway).await }),
    )
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let reloads = &result["reloads"];
    let mut text = format!(
        "### Endurance\n\n{RELOADS} reloads, each served before the next, one in ten of another module, under {PER_SECOND} requests a second; failed: \
         **{}**; most generations that lived at once: **{}**.\n\n| reloads | memory, MiB | descriptors | threads |\n|---|---|---|---|\n",
        reloads["failed"], reloads["generations_most"]
    );
    for row in reloads["rows"].as_array().into_iter().flatten() {
        let memory = row["memory_bytes"].as_f64().unwrap_or_default() / 1_048_576.0;
        text += &format!("| {} | {memory:.1} | {} | {} |\n", row["reloads"], row["descriptors"], row["threads"]);
    }
    let open = &result["open"];
    text + &format!(
        "\nMemory after all to after the first {SETTLED}: **{} %** (aim: within 2).\n\n{} WebSockets and {} gRPC streams, open through {} reloads, each used \
         before and after: closed **{}**; memory **{} %** (aim: within 5). The machine's limit of descriptors stands in the way of 10,000.\n",
        number(&reloads["memory_percent"], 1),
        open["websockets"],
        open["streams"],
        open["reloads"],
        open["closed"],
        number(&open["memory_percent"], 1),
    )
}

async fn reloads(gateway: &Path, origin: SocketAddr) -> Value {
    let listen = "listeners: {web: {address: '{listen}'}}\n";
    let modules: Vec<_> = (0..MODULES)
        .map(|number| (format!("plugins/m{number}.wat"), guests::stamp(u32::try_from(number).expect("few modules"))))
        .collect();
    let (rest, first) = (format!("upstreams: {{origin: {{endpoints: ['{origin}']}}}}\n"), document(0));
    let mut files = vec![("gateway.yaml", listen), ("origin.yaml", &rest), ("routes.yaml", &first)];
    files.extend(modules.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let subject = Subject::gateway(gateway, &files);
    let load = Open::new(subject.address, "/load", "");
    let failed = Rc::<Cell<u64>>::default();
    let asking = tokio::task::spawn_local({
        let failed = Rc::clone(&failed);
        async move {
            loop {
                failed.set(failed.get() + load.lap(PER_SECOND, Duration::from_secs(1)).await.failed);
            }
        }
    });
    let mut probe = TcpStream::connect(subject.address).await.expect("the gateway listens");
    let (mut rows, mut most) = (Vec::new(), 0.0_f64);
    for edit in 1..=RELOADS {
        subject.place("routes.yaml", &document(edit));
        until(&mut probe, &format!("x-edit: {edit}\r\n")).await;
        if edit % 50 == 0 {
            most = most.max(subject.metric("tidegate_live_generations"));
        }
        if [SETTLED, 1_000, 3_000, RELOADS].contains(&edit) {
            sleep(REST).await;
            rows.push(json!({
                "reloads": edit, "memory_bytes": subject.memory_bytes(), "descriptors": subject.descriptors(), "threads": subject.threads(),
            }));
        }
    }
    asking.abort();
    let memory = |at: usize| rows[at]["memory_bytes"].as_f64().unwrap_or(f64::NAN);
    let percent = 100.0 * (memory(rows.len() - 1) - memory(0)) / memory(0);
    json!({ "rows": rows, "memory_percent": percent, "generations_most": most, "failed": failed.get() })
}

fn document(edit: u64) -> String {
    let module = edit / 10 % MODULES;
    format!(
        "middleware: {{stamp: {{module: plugins/m{module}.wat, config: {{edit: {edit}}}}}}}
routes:
  - {{id: load, path: /load, middleware: [stamp], upstream: origin}}
  - {{id: probe, path: /probe, middleware: [{{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}, {{respond: {{status: 200, body: served}}}}]}}
"
    )
}

async fn until(probe: &mut TcpStream, mark: &str) {
    let began = Instant::now();
    while !etcd::ask(probe).await.contains(mark) {
        assert!(began.elapsed() < PATIENCE, "{mark} never served");
        sleep(Duration::from_millis(1)).await;
    }
}

const OPEN: &str = "\
listeners:
  web: {address: '{listen}', limits: {connections-max: 20000}}
upstreams:
  sockets: {endpoints: ['{sockets}']}
  calls: {endpoints: ['{calls}'], protocol: h2c}
routes:
  - {id: sockets, path: /socket, upstream: sockets}
  - {id: calls, path: /bench.Bench/*, upstream: calls}
";

async fn open(gateway: &Path) -> Value {
    let (sockets, calls) = (load::serve(echo).await, load::serve(echo_calls).await);
    let text = OPEN.replace("{sockets}", &sockets.to_string()).replace("{calls}", &calls.to_string());
    let subject = Subject::gateway(
        gateway,
        &[
            ("gateway.yaml", &text),
            (
                "routes.yaml",
                &document(0)
                    .replace("middleware: [stamp], upstream: origin", "upstream: sockets")
                    .replace("plugins/m0.wat", "m.wat"),
            ),
            ("m.wat", guests::NOTHING),
        ],
    );
    let mut websockets = Vec::with_capacity(WEBSOCKETS);
    for _ in 0..WEBSOCKETS {
        websockets.push(websocket(subject.address).await);
    }
    let mut tasks = JoinSet::new();
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS / STREAMS_PER_CONNECTION {
        let socket = TcpStream::connect(subject.address).await.expect("the gateway listens");
        let (sender, connection) = h2::client::handshake(socket).await.expect("the gateway speaks HTTP/2");
        tasks.spawn_local(connection);
        for _ in 0..STREAMS_PER_CONNECTION {
            streams.push(call(sender.clone()).await);
        }
    }
    let mut probe = TcpStream::connect(subject.address).await.expect("the gateway listens");
    let mut bytes = Vec::new();
    let mut closed = 0;
    for edit in 1..=RELOADS_WITH_THEM {
        let text = document(edit).replace("middleware: [stamp], upstream: origin", "upstream: sockets");
        subject.place("routes.yaml", &text.replace(&format!("plugins/m{}.wat", edit / 10 % MODULES), "m.wat"));
        until(&mut probe, &format!("x-edit: {edit}\r\n")).await;
        if [SETTLED, RELOADS_WITH_THEM].contains(&edit) {
            closed = still_open(&mut websockets, &mut streams).await;
            sleep(REST).await;
            bytes.push(subject.memory_bytes() as f64);
        }
    }
    json!({
        "websockets": WEBSOCKETS, "streams": STREAMS, "reloads": RELOADS_WITH_THEM, "closed": closed,
        "memory_percent": 100.0 * (bytes[1] - bytes[0]) / bytes[0], "memory_bytes": bytes,
    })
}

/// How many of all do not bring back what they are sent.
async fn still_open(websockets: &mut [TcpStream], streams: &mut [Call]) -> usize {
    let mut closed = 0;
    // A masked text frame of two bytes; what comes back are the same bytes, since the origin looks at none.
    const FRAME: &[u8] = b"\x81\x82\0\0\0\0hi";
    for socket in websockets {
        let mut back = [0; FRAME.len()];
        let is_there = socket.write_all(FRAME).await.is_ok() && socket.read_exact(&mut back).await.is_ok();
        closed += usize::from(!is_there || back != FRAME);
    }
    for Call { send, receive } in streams {
        let is_sent = send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).is_ok();
        let back = if is_sent { receive.data().await } else { None };
        match back {
            Some(Ok(bytes)) => drop(receive.flow_control().release_capacity(bytes.len())),
            _ => closed += 1,
        }
    }
    closed
}

async fn websocket(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the gateway listens");
    let request = "GET /socket HTTP/1.1\r\nhost: bench.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.expect("the gateway reads");
    let (mut answer, mut filled) = ([0; 2048], 0);
    while !answer[..filled].ends_with(b"\r\n\r\n") {
        let read = socket.read(&mut answer[filled..]).await.expect("the gateway answers");
        assert!(read > 0, "a WebSocket was refused: {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer[..filled]));
    socket
}

struct Call {
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
}

async fn call(sender: h2::client::SendRequest<Bytes>) -> Call {
    let request =
        http::Request::post("http://bench.example/bench.Bench/Chat").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").body(()).expect("a request");
    let (response, send) = sender.ready().await.expect("a stream").send_request(request, false).expect("a stream");
    let response = response.await.expect("the gateway answers");
    assert_eq!(response.status(), 200, "a call was refused");
    Call { send, receive: response.into_body() }
}

/// Switches protocols, then sends back whatever comes.
async fn echo(mut socket: TcpStream) {
    let mut buffer = vec![0; 2048];
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"\r\n\r\n") {
        match socket.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    if socket.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = [0; 64];
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        if socket.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// HTTP/2 whose every request is answered at once, and its body sent back as it comes.
async fn echo_calls(socket: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let response =
            http::Response::builder().header("content-type", "application/grpc").body(()).expect("a response");
        let Ok(mut send) = respond.send_response(response, false) else { continue };
        let mut body = request.into_body();
        tokio::task::spawn_local(async move {
            while let Some(Ok(bytes)) = body.data().await {
                drop(body.flow_control().release_capacity(bytes.len()));
                if send.send_data(bytes, false).is_err() {
                    return;
                }
            }
        });
    }
}
