//! What is served over TLS: the same as without, by the same code, with its limits of handshakes.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rustls::version::{TLS12, TLS13};
use tidegate_tests::{Client, Raw, Tls, TlsOptions, request, soon, streamed, wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{scene, scene_with};

#[tokio::test]
async fn http1_and_http2_pass_both_ways_and_the_upstream_is_told_of_https() {
    let scene = scene().await;
    let offers: [&[&str]; 4] = [&["h2", "http/1.1"], &["http/1.1"], &[], &["h2"]];
    for alpn in offers {
        let tls = Tls::with(&scene.authority, &TlsOptions { alpn, ..TlsOptions::default() });
        let stream = tls.connect(scene.gateway.web(), "test.example").await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(agreed.as_deref(), alpn.first().copied());
        let mut client = Client::over(stream, agreed.as_deref() == Some("h2")).await;
        let body = Bytes::from(vec![7; 300_000]);
        let answer = client.send(request(Method::POST, "/echo").map(|_| body.clone())).await;
        assert_eq!(answer.echo()["body_bytes"], 300_000);
        assert_eq!(answer.echoed("x-forwarded-proto"), ["https"]);
        assert!(answer.echoed("forwarded")[0].contains("proto=https"), "{:?}", answer.echoed("forwarded"));
        let answer = client.get("/bytes/3000000").await;
        assert_eq!(answer.body.len(), 3_000_000);
        let mut chunks = request(Method::GET, "/chunks/20");
        chunks.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        assert_eq!(client.send(chunks).await.trailers.len(), 1);
    }
    let through = scene.gateway.metric("tidegate_tls_handshakes_total", "listener=\"web\",version=\"1.3\"").await;
    assert_eq!(through, 4.0);
}

#[tokio::test]
async fn a_body_streams_both_ways_over_tls_piece_by_piece() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/stream");
    let mut client = Tls::trusting(&scene.authority).client(scene.gateway.web(), "test.example").await;
    let (sender, body) = streamed();
    let open = request(Method::POST, "/stream").map(|_| body);
    let opened = tokio::spawn(async move { (client.open(open).await.unwrap(), client) });
    let mut held = hold.next().await;
    assert!(sender.send("first").await);
    assert_eq!(held.piece().await.unwrap().unwrap(), b"first");
    held.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let (mut response, _client) = opened.await.unwrap();
    let first = http_body_util::BodyExt::frame(response.body_mut()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "hello");
    drop(sender);
    held.send("world").await;
    let rest = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(rest, "world");
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_over_tls() {
    let scene = scene().await;
    let tls = Tls::with(&scene.authority, &TlsOptions { alpn: &["http/1.1"], ..TlsOptions::default() });
    let mut stream = tls.connect(scene.gateway.web(), "test.example").await.unwrap();
    let ask = "GET /upgrade HTTP/1.1\r\nhost: test.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut stream = tokio::io::BufStream::new(stream);
    let head = wire::read_head(&mut stream).await.unwrap().unwrap();
    assert_eq!(head.status(), 101);
    for piece in [&b"hello"[..], &[9; 200_000]] {
        let (mut from, mut to) = tokio::io::split(&mut stream);
        let mut back = vec![0; piece.len()];
        let sent = async {
            to.write_all(piece).await.unwrap();
            to.flush().await.unwrap();
        };
        let (_, read) = tokio::join!(sent, from.read_exact(&mut back));
        read.unwrap();
        assert_eq!(back, piece);
    }
}

#[tokio::test]
async fn the_oldest_version_and_the_protocols_are_the_listeners() {
    let own = "{certificates: [{certificate: tls/site.pem, key: tls/site.key}], min-version: 1.3, alpn: [http/1.1]}";
    let scene = scene_with(own).await;
    let with = |version: &'static rustls::SupportedProtocolVersion| {
        let options = TlsOptions { versions: Some(&[version]), alpn: &["h2", "http/1.1"], ..TlsOptions::default() };
        Tls::with(&scene.authority, &options)
    };
    let refused = with(&TLS12).connect(scene.gateway.web(), "test.example").await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let stream = with(&TLS13).connect(scene.gateway.web(), "test.example").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut client = Client::over(stream, false).await;
    assert_eq!(client.get("/").await.status, 200);
    let only_http2 = TlsOptions { alpn: &["h2"], ..TlsOptions::default() };
    let refused = Tls::with(&scene.authority, &only_http2).connect(scene.gateway.web(), "test.example").await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    soon("both refusals are counted", async || {
        let labels = "listener=\"web\",reason=\"protocol\"";
        scene.gateway.metric("tidegate_tls_handshake_failures_total", labels).await == 2.0
    })
    .await;
}

#[tokio::test]
async fn http2_is_not_served_where_it_was_not_agreed_on() {
    let scene = scene().await;
    let tls = Tls::with(&scene.authority, &TlsOptions { alpn: &["http/1.1"], ..TlsOptions::default() });
    let mut stream = tls.connect(scene.gateway.web(), "test.example").await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"), "{answer:?}");
}

#[tokio::test]
async fn who_speaks_the_wrong_one_of_both_is_told_so() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET / HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 400);
    let tls = Tls::trusting(&scene.authority);
    let refused = tls.connect(scene.gateway.listener("plain"), "test.example").await.unwrap_err();
    assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
    let mut raw = Raw::connect(scene.gateway.listener("plain")).await;
    raw.send("GET / HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 200);
    let cleartext = scene.gateway.metric("tidegate_tls_handshake_failures_total", "reason=\"cleartext\"").await;
    assert_eq!(cleartext, 1.0);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_delays_nobody_and_is_let_go() {
    let own = "{certificates: [{certificate: tls/site.pem, key: tls/site.key}], handshake-timeout: 300ms}";
    let scene = scene_with(own).await;
    let mut slow = Vec::new();
    for first in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stream = TcpStream::connect(scene.gateway.web()).await.unwrap();
        stream.write_all(first).await.unwrap();
        slow.push(stream);
    }
    let mut client = Tls::trusting(&scene.authority).client(scene.gateway.web(), "test.example").await;
    assert_eq!(client.get("/").await.status, 200);
    for mut stream in slow {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        drop(end.expect("the gateway closes it"));
    }
    soon("all three are counted", async || {
        scene.gateway.metric("tidegate_tls_handshake_failures_total", "reason=\"timeout\"").await == 3.0
    })
    .await;
    assert_eq!(client.get("/").await.status, 200, "a handshake's time is not the connection's");
}

#[tokio::test]
async fn handshakes_over_the_limit_are_turned_away_until_there_is_room() {
    let own = "{certificates: [{certificate: tls/site.pem, key: tls/site.key}], handshakes-max: 1}";
    let scene = scene_with(own).await;
    let idle = TcpStream::connect(scene.gateway.web()).await.unwrap();
    let open = async || scene.gateway.metric("tidegate_connections", "listener=\"web\"").await == 1.0;
    soon("the idle connection is accepted", open).await;
    let tls = Tls::trusting(&scene.authority);
    tls.connect(scene.gateway.web(), "test.example").await.unwrap_err();
    let crowded = scene.gateway.metric("tidegate_tls_handshake_failures_total", "reason=\"crowded\"").await;
    assert_eq!(crowded, 1.0);
    drop(idle);
    soon("there is room again", async || tls.connect(scene.gateway.web(), "test.example").await.is_ok()).await;
}
