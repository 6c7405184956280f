//! HTTP/3 through YAML and sockets: the same routes, steps, limits and reloads as for the others, over QUIC.

mod browser;

use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use http::{HeaderName, HeaderValue, Method, Request};
use tidegate_tests::{
    Authority, ConfigDir, Gateway, Http3, Origin, Tls, TlsOptions, eventually,
    http3::answer,
    request, soon,
    tls::{Issued, Kind},
};

struct Scene {
    authority: Authority,
    site: Issued,
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
    tls: {certificates: [{certificate: tls/site.pem, key: tls/site.key}]}
    http3: {}
upstreams: {origin: {endpoints: ['{origin}']}}
routes:
  - {id: all, path: /*, upstream: origin}
  - {id: teapot, path: /teapot, middleware: [{respond: {status: 418, body: short and stout}}]}
  - {id: small, path: /small, upstream: origin, body-bytes-max: 100}
";

async fn scene_with(own: &str, other: &str) -> Scene {
    let (authority, origin) = (Authority::new(), Origin::start());
    let site = authority.issue(&["test.example"]);
    let dir = ConfigDir::new().with("origin", origin.address());
    let log = dir.beside("access.log");
    write(&dir, "site", &site);
    let text = CONFIGURATION.replace("{log}", &log.display().to_string());
    assert!(text.contains(own), "{own}");
    dir.write("gateway.yaml", &text.replacen(own, other, 1));
    let gateway = Gateway::start(&dir).await;
    Scene { authority, site, origin, dir, gateway }
}

async fn scene() -> Scene {
    scene_with("http3: {}", "http3: {}").await
}

fn write(dir: &ConfigDir, name: &str, issued: &Issued) {
    dir.write(&format!("tls/{name}.pem"), &issued.pem);
    dir.write(&format!("tls/{name}.key"), &issued.key);
}

impl Scene {
    async fn client(&self) -> Http3 {
        Http3::connect(&Tls::trusting(&self.authority), self.gateway.web(), "test.example").await.unwrap()
    }
}

fn with(method: Method, path: &str, fields: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = request(method, path);
    for (name, value) in fields {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

#[tokio::test]
async fn requests_pass_both_ways_and_the_upstream_is_told_of_https() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let answer = client.get("/echo?a=b").await;
    assert_eq!((answer.status.as_u16(), answer.generation()), (200, 1));
    assert_eq!(answer.echo()["target"], "/echo?a=b");
    assert_eq!(answer.echoed("transfer-encoding"), [""; 0], "a request without a body is one without");
    assert_eq!(answer.echoed("x-forwarded-proto"), ["https"]);
    assert_eq!(answer.echoed("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.echoed("x-forwarded-port"), [scene.gateway.web().port().to_string()]);
    assert_eq!(answer.echoed("via"), ["3.0 tidegate"]);
    assert_eq!(answer.header("alt-svc"), "", "who is here already is not told");
    let body = Bytes::from(vec![7; 3_000_000]);
    for fields in [&[][..], &[("content-length", "3000000")]] {
        let sent = with(Method::POST, "/echo", fields).map(|_| body.clone());
        assert_eq!(client.send(sent).await.echo()["body_bytes"], 3_000_000);
    }
    assert_eq!(client.get("/bytes/5000000").await.body.len(), 5_000_000);
    let chunks = client.send(with(Method::GET, "/chunks/20", &[("te", "trailers")])).await;
    assert_eq!((chunks.body.len(), chunks.trailers.len()), (200, 1));
    let head = client.send(request(Method::HEAD, "/bytes/1000")).await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, "1000"));
    let crumbs = client.send(with(Method::GET, "/echo", &[("cookie", "a=1"), ("cookie", "b=2")])).await;
    assert_eq!(crumbs.echoed("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn many_streams_of_one_connection_go_on_beside_each_other() {
    let scene = scene().await;
    let client = scene.client().await;
    let mut hold = scene.origin.hold("/held");
    let mut slow = client.another();
    let slow = tokio::spawn(async move { slow.get("/held").await });
    let mut held = hold.next().await;
    let each = (0..20).map(|size| {
        let mut client = client.another();
        async move { client.get(&format!("/bytes/{}", 10_000 * size)).await.body.len() }
    });
    let lengths = futures_util::future::join_all(each).await;
    assert_eq!(lengths, (0..20).map(|size| 10_000 * size).collect::<Vec<_>>());
    held.answer(200, "late").await;
    held.keep();
    assert_eq!(slow.await.unwrap().text(), "late");
}

#[tokio::test]
async fn a_body_streams_both_ways_piece_by_piece() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let mut hold = scene.origin.hold("/stream");
    let mut stream = client.open(request(Method::POST, "/stream").map(|_| ())).await.unwrap();
    stream.send_data(Bytes::from_static(b"first")).await.unwrap();
    let mut held = hold.next().await;
    assert_eq!(held.piece().await.unwrap().unwrap(), b"first");
    held.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    let mut piece = stream.recv_data().await.unwrap().unwrap();
    assert_eq!(piece.copy_to_bytes(piece.remaining()), "hello");
    drop(piece);
    stream.send_data(Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(held.piece().await.unwrap().unwrap(), b"second");
    held.send("world").await;
    let mut piece = stream.recv_data().await.unwrap().unwrap();
    assert_eq!(piece.copy_to_bytes(piece.remaining()), "world");
    drop(piece);
    assert!(stream.recv_data().await.unwrap().is_none(), "the response is over before the request is");
}

#[tokio::test]
async fn routes_steps_and_errors_are_those_of_the_others() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let teapot = client.get("/teapot").await;
    assert_eq!((teapot.status.as_u16(), teapot.text().as_str()), (418, "short and stout"));
    let large = with(Method::POST, "/small", &[]).map(|_| Bytes::from(vec![0; 101]));
    assert_eq!(client.send(large).await.status, 413);
    assert_eq!(client.send(request(Method::TRACE, "/")).await.status, 405);
    assert_eq!(client.get("/a%2fb").await.status, 400);
    assert_eq!(client.send(with(Method::GET, "/", &[("connection", "close")])).await.status, 400);
    assert_eq!(client.send(with(Method::GET, "/", &[("transfer-encoding", "chunked")])).await.status, 400);
    assert_eq!(client.send(with(Method::GET, "/", &[("te", "gzip")])).await.status, 400);
    assert_eq!(client.send(with(Method::GET, "/", &[("x-a", " blank")])).await.status, 400);
    assert_eq!(client.get("/echo").await.status, 200, "the connection lives on");
    let line = eventually("it is logged", Duration::from_secs(10), async || {
        let text = std::fs::read_to_string(scene.dir.beside("access.log")).unwrap_or_default();
        text.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok())
    })
    .await;
    assert_eq!((&line["protocol"], &line["route"]), (&"HTTP/3.0".into(), &"teapot".into()), "{line}");
    assert_eq!((&line["tls_version"], &line["tls_server_name"]), (&"1.3".into(), &"test.example".into()), "{line}");
}

#[tokio::test]
async fn a_head_over_its_limit_is_refused_and_one_far_over_it_is_not_even_kept() {
    let scene = scene_with("http3: {}", "http3: {}\n    limits: {head-bytes-max: 4KiB}").await;
    let mut client = scene.client().await;
    let (long, far) = ("x".repeat(8_000), "x".repeat(2_000_000));
    assert_eq!(client.send(with(Method::GET, "/", &[("x-long", &long)])).await.status, 431);
    client.try_send(with(Method::GET, "/", &[("x-long", &far)])).await.unwrap_err();
    let mut client = scene.client().await;
    assert_eq!(client.get("/echo").await.status, 200);
    let refused = scene.gateway.metric("tidegate_connection_errors_total", "kind=\"head_too_large\"").await;
    assert!(refused >= 1.0, "{refused}");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_its_head_says_reaches_no_upstream_whole() {
    let scene = scene().await;
    let mut client = scene.client().await;
    for (length, body) in [("3", "longer"), ("30", "shorter")] {
        let sent = with(Method::POST, "/echo", &[("content-length", length)]).map(|_| Bytes::from(body));
        match client.try_send(sent).await {
            Ok(answer) => assert!(answer.status.is_client_error(), "{length}: {answer:?}"),
            Err(error) => assert!(matches!(error, StreamError::RemoteTerminate { .. }), "{length}: {error}"),
        }
    }
    assert_eq!(client.get("/echo").await.status, 200);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_reset_and_never_looks_whole() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let mut hold = scene.origin.hold("/cut");
    let cut = tokio::spawn(async move { client.try_send(request(Method::GET, "/cut")).await });
    let mut held = hold.next().await;
    held.begin(200, "").await;
    held.chunk("half").await;
    held.reset();
    let error = cut.await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::RemoteTerminate { code: Code::H3_INTERNAL_ERROR, .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_wants_no_more_ends_its_exchange() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let mut hold = scene.origin.hold("/held");
    let mut stream = client.open(request(Method::GET, "/held").map(|_| ())).await.unwrap();
    stream.finish().await.unwrap();
    let mut held = hold.next().await;
    stream.stop_sending(Code::H3_REQUEST_CANCELLED);
    held.gone().await;
    assert_eq!(client.get("/echo").await.status, 200);
}

#[tokio::test]
async fn a_body_is_asked_for_where_its_client_waits_for_that() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let expects = with(Method::POST, "/echo", &[("expect", "100-continue"), ("content-length", "5")]).map(|_| ());
    let mut stream = client.open(expects).await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 100);
    stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
    stream.finish().await.unwrap();
    let said = answer(&mut stream).await.unwrap();
    assert_eq!(said.echo()["body_bytes"], 5);
}

#[tokio::test]
async fn interim_responses_come_before_the_response() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let mut hold = scene.origin.hold("/hints");
    let mut stream = client.open(request(Method::GET, "/hints").map(|_| ())).await.unwrap();
    stream.finish().await.unwrap();
    let mut held = hold.next().await;
    held.send("HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n").await;
    let hints = stream.recv_response().await.unwrap();
    assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a>; rel=preload".parse().unwrap()));
    assert!(!hints.headers().contains_key("x-hop"));
    held.send("HTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(stream.recv_response().await.unwrap().headers()["link"], "</b>");
    let said = answer(&mut stream).await.unwrap();
    assert_eq!((said.status.as_u16(), said.text().as_str()), (200, "ok"));
    assert!(said.header("date").ends_with(" GMT"), "an origin that says none: {said:?}");
}

#[tokio::test]
async fn trailers_come_behind_a_body_without_a_byte() {
    let scene = scene().await;
    let mut client = scene.client().await;
    let mut hold = scene.origin.hold("/empty");
    let asked = tokio::spawn(async move { client.send(with(Method::GET, "/empty", &[("te", "trailers")])).await });
    let mut held = hold.next().await;
    held.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n0\r\nx-sum: 7\r\n\r\n").await;
    held.keep();
    let answer = asked.await.unwrap();
    assert_eq!((answer.body.len(), &answer.trailers["x-sum"]), (0, &"7".parse().unwrap()));
}

#[tokio::test]
async fn clients_over_tcp_are_told_of_it() {
    let scene = scene().await;
    let tls = Tls::trusting(&scene.authority);
    let web = scene.gateway.web();
    let mut client = tls.client(web, "test.example").await;
    assert_eq!(client.get("/").await.header("alt-svc"), format!("h3=\":{}\"; ma=86400", web.port()));
    scene.dir.edit("gateway.yaml", "http3: {}", "http3: {advertised-port: 443, max-age: 1h}");
    scene.gateway.apply().await;
    assert_eq!(client.get("/").await.header("alt-svc"), "h3=\":443\"; ma=3600");
    scene.dir.edit("gateway.yaml", "{advertised-port: 443, max-age: 1h}", "{advertise: false}");
    scene.gateway.apply().await;
    assert_eq!(client.get("/").await.header("alt-svc"), "");
}

#[tokio::test]
async fn a_reload_touches_no_connection_and_an_exchange_ends_on_its_generation() {
    let scene = scene().await;
    let mut clients = Vec::new();
    // Enough for both workers.
    for _ in 0..8 {
        clients.push(scene.client().await);
    }
    let mut hold = scene.origin.hold("/held");
    let mut busy = clients[0].another();
    let busy = tokio::spawn(async move { busy.get("/held").await });
    let mut held = hold.next().await;
    let renewed = scene.authority.issue(&["test.example"]);
    write(&scene.dir, "site", &renewed);
    scene.dir.edit("gateway.yaml", "short and stout", "changed");
    assert_eq!(scene.gateway.apply().await, 2);
    for client in &mut clients {
        let answer = client.get("/teapot").await;
        assert_eq!((answer.generation(), answer.text().as_str()), (2, "changed"));
    }
    held.answer(200, "old").await;
    held.keep();
    let old = busy.await.unwrap();
    assert_eq!((old.generation(), old.text().as_str()), (1, "old"));
    let shown = scene.client().await;
    let chain = shown.quic().peer_identity().unwrap().downcast::<Vec<rustls::pki_types::CertificateDer<'_>>>().unwrap();
    assert_eq!(chain[0], renewed.der, "the next handshake shows the renewed certificate");
    assert_ne!(renewed.der, scene.site.der);
}

#[tokio::test]
async fn it_is_taken_up_and_given_up_by_a_reload() {
    let scene = scene_with("    http3: {}\n", "").await;
    let tls = Tls::trusting(&scene.authority);
    let mut tcp = tls.client(scene.gateway.web(), "test.example").await;
    assert_eq!(tcp.get("/teapot").await.header("alt-svc"), "");
    scene.dir.edit("gateway.yaml", "generation-header: true", "generation-header: true\n    http3: {}");
    scene.gateway.apply().await;
    let mut client = scene.client().await;
    assert_eq!(client.get("/teapot").await.status, 418);
    assert!(
        !tcp.get("/teapot").await.header("alt-svc").is_empty(),
        "the listener is the same, and so is the connection"
    );
    let mut hold = scene.origin.hold("/held");
    let mut busy = client.another();
    let busy = tokio::spawn(async move { busy.get("/held").await });
    let mut held = hold.next().await;
    scene.dir.edit("gateway.yaml", "\n    http3: {}", "");
    scene.gateway.apply().await;
    soon("the client is told to go", async || {
        client.is_closed() || client.try_send(request(Method::GET, "/")).await.is_err()
    })
    .await;
    held.answer(200, "to the end").await;
    assert_eq!(busy.await.unwrap().text(), "to the end");
    soon("the connection ends", async || client.quic().close_reason().is_some()).await;
    assert_eq!(tcp.get("/teapot").await.status, 418);
}

#[tokio::test]
async fn shutting_down_waits_for_what_is_under_way() {
    let scene = scene().await;
    let client = scene.client().await;
    let mut hold = scene.origin.hold("/held");
    let mut busy = client.another();
    let busy = tokio::spawn(async move { busy.get("/held").await });
    let mut held = hold.next().await;
    let Scene { gateway, .. } = scene;
    let down = tokio::spawn(gateway.shutdown(Duration::from_secs(20)));
    held.answer(200, &"x".repeat(200_000)).await;
    assert_eq!(busy.await.unwrap().body.len(), 200_000);
    assert!(down.await.unwrap(), "everything ended in time");
}

#[tokio::test]
async fn certificates_of_clients_are_asked_for_as_over_tcp() {
    let own = "key: tls/site.key}]}";
    let asks = "key: tls/site.key}], \
                client-certificates: {ca: tls/clients.pem, forward-header: x-forwarded-client-cert}}";
    let clients = Authority::new();
    let scene = scene().await;
    scene.dir.write("tls/clients.pem", &clients.pem);
    scene.dir.edit("gateway.yaml", own, asks);
    scene.gateway.apply().await;
    let alice = clients.issue_as(&["alice.example"], Kind::Ecdsa);
    let tls = |certificate| Tls::with(&scene.authority, &TlsOptions { certificate, ..TlsOptions::default() });
    let web = scene.gateway.web();
    let mut known = Http3::connect(&tls(Some(&alice)), web, "test.example").await.unwrap();
    let told = known.get("/echo").await.echoed("x-forwarded-client-cert");
    assert!(told[0].contains("Subject=\"CN=alice.example\""), "{told:?}");
    if let Ok(mut nobody) = Http3::connect(&tls(None), web, "test.example").await {
        nobody.try_send(request(Method::GET, "/")).await.unwrap_err();
    }
    soon("it is counted", async || {
        let labels = "reason=\"client_certificate\"";
        scene.gateway.metric("tidegate_tls_handshake_failures_total", labels).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn where_many_shake_hands_a_client_first_shows_that_it_is_where_it_says() {
    let own = "key: tls/site.key}]}";
    let scene = scene_with(own, "key: tls/site.key}], handshakes-max: 1}").await;
    let mut client = scene.client().await;
    assert_eq!(client.get("/echo").await.status, 200);
    let through = scene.gateway.metric("tidegate_tls_handshakes_total", "version=\"1.3\"").await;
    assert_eq!(through, 1.0, "the first attempt was answered with a token, and the second one came with it");
}
