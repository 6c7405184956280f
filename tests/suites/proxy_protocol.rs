//! PROXY protocol through YAML and sockets: who is believed, what is refused, and what the address is good for then.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tidegate_tests::{Authority, Client, ConfigDir, Gateway, Origin, Raw, Tls, eventually, soon, wire::Whole};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

struct Scene {
    origin: Origin,
    dir: ConfigDir,
    gateway: Gateway,
}

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners:
  web:
    address: '127.0.0.1:0'
    generation-header: true
    proxy-protocol: POLICY
upstreams: {origin: {endpoints: ['{origin}']}}
routes:
  - {id: all, path: /*, upstream: origin}
  - {id: inside, path: /inside, middleware: [{ip-access: {allow: [192.0.2.0/24]}}], upstream: origin}
";

const REQUIRED: &str = "{from: [127.0.0.1]}";
const OPTIONAL: &str = "{mode: optional, from: [127.0.0.1]}";
// Of nobody here.
const ELSEWHERE: &str = "{mode: optional, from: [10.0.0.0/8]}";

async fn scene(policy: &str) -> Scene {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let log = dir.beside("access.log");
    dir.write("gateway.yaml", &CONFIGURATION.replace("POLICY", policy).replace("{log}", &log.display().to_string()));
    let gateway = Gateway::start(&dir).await;
    Scene { origin, dir, gateway }
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n";

fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, rest].concat()
}

// 192.0.2.7:4660 to 198.51.100.1:443, and something behind it that nobody here knows.
fn version2() -> Vec<u8> {
    block(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb, 0xe1, 0, 2, 7, 7])
}

fn version2_of_ipv6() -> Vec<u8> {
    let mut rest = [0; 36];
    rest[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    (rest[15], rest[31], rest[33], rest[35]) = (7, 1, 80, 81);
    block(1, 0x21, &rest)
}

impl Scene {
    // What is answered to `first` and a request behind it; nothing where the connection is closed.
    async fn ask(&self, first: &[u8], path: &str) -> Option<(u16, Whole)> {
        let mut raw = Raw::connect(self.gateway.web()).await;
        raw.send(first).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n")).await;
        let response = raw.response("GET").await?;
        Some((response.head.status(), response.body))
    }

    async fn forwarded(&self, first: &[u8]) -> (Vec<String>, Vec<String>) {
        let (status, body) = self.ask(first, "/echo").await.expect("it is taken");
        assert_eq!(status, 200);
        let told = |name| Origin::echoed(&Bytes::from(body.bytes.clone()), name);
        (told("x-forwarded-for"), told("x-forwarded-port"))
    }

    async fn counted(&self, outcome: &str) -> f64 {
        self.gateway.metric("tidegate_proxy_protocol_connections_total", &format!("outcome=\"{outcome}\"")).await
    }
}

#[tokio::test]
async fn the_address_that_a_proxy_tells_is_the_clients() {
    let scene = scene(REQUIRED).await;
    let told = |text: &str, port: &str| (vec![text.to_owned()], vec![port.to_owned()]);
    assert_eq!(scene.forwarded(LINE).await, told("192.0.2.7", "443"));
    assert_eq!(scene.forwarded(&version2()).await, told("192.0.2.7", "443"));
    assert_eq!(scene.forwarded(&version2_of_ipv6()).await, told("2001:db8::7", "81"));
    assert_eq!(scene.ask(LINE, "/inside").await.unwrap().0, 200, "access goes by it");
    assert_eq!(scene.ask(&version2_of_ipv6(), "/inside").await.unwrap().0, 403);
    let own = scene.gateway.web().port().to_string();
    for unaddressed in
        [b"PROXY UNKNOWN\r\n".to_vec(), block(0, 0, &[]), block(1, 0, b"what"), block(1, 0x31, &[0; 216])]
    {
        assert_eq!(scene.forwarded(&unaddressed).await, told("127.0.0.1", &own));
    }
    let line = eventually("it is logged", Duration::from_secs(10), async || {
        let text = std::fs::read_to_string(scene.dir.beside("access.log")).unwrap_or_default();
        text.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok())
    })
    .await;
    assert_eq!((&line["client"], &line["peer"]), (&"192.0.2.7".into(), &"192.0.2.7:4660".into()), "{line}");
    let counts = [("version_1", 2.0), ("version_2", 3.0), ("unaddressed", 4.0)];
    for (outcome, count) in counts {
        assert_eq!(scene.counted(outcome).await, count, "{outcome}");
    }
    assert!(scene.origin.requests() >= 8);
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte_and_http2_may_follow_it() {
    let scene = scene(OPTIONAL).await;
    for header in [LINE.to_vec(), version2()] {
        let mut raw = Raw::connect(scene.gateway.web()).await;
        let whole = [&header[..], b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat();
        for byte in whole.chunks(1) {
            raw.send(byte).await;
            tokio::task::yield_now().await;
        }
        let response = raw.response("GET").await.unwrap();
        assert_eq!(Origin::echoed(&Bytes::from(response.body.bytes), "x-forwarded-for"), ["192.0.2.7"]);
        let mut stream = TcpStream::connect(scene.gateway.web()).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let mut client = Client::over(stream, true).await;
        for _ in 0..3 {
            assert_eq!(client.get("/echo").await.echoed("x-forwarded-for"), ["192.0.2.7"]);
        }
    }
}

#[tokio::test]
async fn a_connection_without_the_required_header_is_closed() {
    let scene = scene("{from: [127.0.0.1], header-timeout: 200ms}").await;
    assert!(scene.ask(b"", "/echo").await.is_none());
    assert_eq!(scene.counted("absent").await, 1.0);
    let mut silent = Raw::connect(scene.gateway.web()).await;
    assert_eq!(silent.rest().await, b"", "who says nothing is waited for no longer than for the header");
    let mut half = Raw::connect(scene.gateway.web()).await;
    half.send(&LINE[..20]).await;
    assert_eq!(half.rest().await, b"");
    assert_eq!(scene.counted("timeout").await, 2.0);
    assert_eq!(scene.origin.requests(), 0);
}

#[tokio::test]
async fn headers_that_are_not_well_formed_or_too_long_are_closed_and_counted() {
    let scene = scene("{mode: optional, from: [127.0.0.1], header-bytes-max: 128}").await;
    let malformed =
        [b"PROXY TCP4 192.0.2.256 1.1.1.1 1 2\r\n".to_vec(), b"PROXY nonsense\r\n".to_vec(), block(2, 0x11, &[0; 12])];
    for header in &malformed {
        assert!(scene.ask(header, "/echo").await.is_none(), "{header:?}");
    }
    assert_eq!(scene.counted("malformed").await, 3.0);
    assert!(scene.ask(&block(1, 0x11, &[0; 113]), "/echo").await.is_none());
    assert_eq!(scene.counted("too_long").await, 1.0);
    assert_eq!(scene.origin.requests(), 0);
    assert_eq!(scene.ask(b"", "/echo").await.unwrap().0, 200, "it is optional");
}

#[tokio::test]
async fn a_header_from_a_network_that_is_not_trusted_is_refused() {
    let scene = scene(ELSEWHERE).await;
    for header in [LINE.to_vec(), version2()] {
        assert!(scene.ask(&header, "/echo").await.is_none());
    }
    assert_eq!(scene.counted("untrusted").await, 2.0);
    assert_eq!(scene.forwarded(b"").await.0, ["127.0.0.1"], "without one it is served as what it is");
    scene.dir.edit("gateway.yaml", "mode: optional, ", "");
    scene.gateway.apply().await;
    assert!(scene.ask(LINE, "/echo").await.is_none() && scene.ask(b"", "/echo").await.is_none());
    assert_eq!(scene.counted("untrusted").await, 4.0);
    assert_eq!(scene.origin.requests(), 1);
}

#[tokio::test]
async fn without_it_a_header_is_no_request() {
    let scene = scene(REQUIRED).await;
    scene.dir.edit("gateway.yaml", &format!("    proxy-protocol: {REQUIRED}\n"), "");
    scene.gateway.apply().await;
    assert_eq!(scene.ask(LINE, "/echo").await.unwrap().0, 400);
    assert_eq!(scene.origin.requests(), 0);
}

#[tokio::test]
async fn tls_follows_the_header() {
    let authority = Authority::new();
    let site = authority.issue(&["test.example"]);
    let scene = scene(REQUIRED).await;
    scene.dir.write("tls/site.pem", &site.pem);
    scene.dir.write("tls/site.key", &site.key);
    let tls = "proxy-protocol: {from: [127.0.0.1]}\n    tls: {certificates: [{certificate: tls/site.pem, key: tls/site.key}]}";
    scene.dir.edit("gateway.yaml", "proxy-protocol: {from: [127.0.0.1]}", tls);
    scene.gateway.apply().await;
    for header in [LINE.to_vec(), version2()] {
        let mut stream = TcpStream::connect(scene.gateway.web()).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let stream = Tls::trusting(&authority).over(stream, "test.example").await.unwrap();
        let mut client = Client::over(stream, true).await;
        let answer = client.get("/echo").await;
        assert_eq!(answer.echoed("x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(answer.echoed("x-forwarded-proto"), ["https"]);
    }
}

#[tokio::test]
async fn connections_that_a_reload_no_longer_trusts_end() {
    let scene = scene("{mode: optional, from: [127.0.0.1, 10.0.0.0/8]}").await;
    let connect = async |header: &[u8]| {
        let mut stream = TcpStream::connect(scene.gateway.web()).await.unwrap();
        stream.write_all(header).await.unwrap();
        let mut client = Client::over(stream, false).await;
        assert_eq!(client.get("/echo").await.status, 200);
        client
    };
    let (told, mut plain) = (connect(LINE).await, connect(b"").await);
    scene.dir.edit("gateway.yaml", "from: [127.0.0.1, 10.0.0.0/8]", "from: [10.0.0.0/8]");
    scene.gateway.apply().await;
    soon("the one that was told ends", async || told.is_closed()).await;
    assert_eq!(plain.get("/echo").await.status, 200, "the other one stays");
    scene.dir.edit("gateway.yaml", "mode: optional", "mode: required");
    scene.gateway.apply().await;
    soon("it ends as well", async || plain.is_closed()).await;
}

/// An origin that keeps what each of its connections began with, up to the first `GET`, and answers every request with 200.
async fn introduced() -> (std::net::SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let (mut read, mut first) = (Vec::new(), true);
                while socket.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
                    if !read.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let begins = read.windows(4).position(|word| word == b"GET ").unwrap_or(0);
                    if std::mem::take(&mut first) {
                        all.lock().unwrap().push(read[..begins].to_vec());
                    }
                    read.clear();
                    drop(socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn endpoints_are_told_whose_each_connection_is() {
    let (address, seen) = introduced().await;
    for version in ["v1", "v2"] {
        seen.lock().unwrap().clear();
        let scene = scene(OPTIONAL).await;
        scene.dir.edit(
            "gateway.yaml",
            "endpoints: ['{origin}']",
            &format!("endpoints: ['{address}'], proxy-protocol: {version}"),
        );
        scene.gateway.apply().await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let stream = TcpStream::connect(scene.gateway.web()).await.unwrap();
            let own = stream.local_addr().unwrap();
            clients.push((own, Client::over(stream, false).await));
        }
        for _ in 0..3 {
            for (_, client) in &mut clients {
                assert_eq!(client.get("/").await.text(), "ok");
            }
        }
        let (seen, port) = (seen.lock().unwrap().clone(), scene.gateway.web().port());
        assert_eq!(seen.len(), 3, "a connection for each client, and the client's own again");
        for (at, (own, _)) in clients.iter().enumerate() {
            let expected = match version {
                "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", own.port()).into_bytes(),
                _ => {
                    let ports = [own.port().to_be_bytes(), port.to_be_bytes()].concat();
                    block(1, 0x11, &[&[127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat())
                }
            };
            assert_eq!(seen[at], expected);
        }
        assert_eq!(scene.ask(LINE, "/").await.unwrap().0, 200);
    }
    let last = seen.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        last,
        block(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb]),
        "it is passed on as told"
    );
}

#[tokio::test]
async fn health_checks_speak_for_the_gateway_itself() {
    let (address, seen) = introduced().await;
    for (version, header) in [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", block(0, 0, &[]))] {
        seen.lock().unwrap().clear();
        let scene = scene(OPTIONAL).await;
        let checked =
            format!("endpoints: ['{address}'], proxy-protocol: {version}, health-check: {{path: /, interval: 20ms}}");
        scene.dir.edit("gateway.yaml", "endpoints: ['{origin}']", &checked);
        scene.gateway.apply().await;
        soon("it is checked", async || seen.lock().unwrap().len() > 1).await;
        assert!(seen.lock().unwrap().iter().all(|first| *first == header));
    }
}
