//! The data path: what passes between client and origin, what does not, and what is said when it cannot.

use std::{net::TcpListener, time::Duration};

use bytes::Bytes;
use http::Method;
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, Raw, request, soon, streamed, wire};

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners:
  web: {address: '127.0.0.1:0'}
  behind: {address: '127.0.0.1:0', trusted-proxies: [127.0.0.0/8]}
  tight:
    address: '127.0.0.1:0'
    limits:
      head-bytes-max: 4KiB
      headers-max: 20
      uri-bytes-max: 1KiB
      body-bytes-max: 1KiB
      head-timeout: 300ms
      body-idle-timeout: 300ms
      keep-alive-timeout: 300ms
      requests-per-connection-max: 3
upstreams:
  origin: {endpoints: ['{origin}'], response-timeout: 500ms, idle-timeout: 500ms, response-head-bytes-max: 4KiB}
  patient: {endpoints: ['{origin}']}
  nobody: {endpoints: ['{nobody}']}
  renamed: {endpoints: ['{origin}'], preserve-host: false}
  single: {endpoints: ['{origin}'], connections-max: 2}
routes:
  - {id: all, host: test.example, path: /*, upstream: patient}
  - {id: strict, host: test.example, path: /strict/*, upstream: origin}
  - {id: nobody, host: test.example, path: /nobody, upstream: nobody}
  - {id: renamed, host: test.example, path: /renamed, upstream: renamed}
  - {id: single, host: test.example, path: /single/*, upstream: single}
  - {id: hurried, host: test.example, path: /hurried, upstream: patient, timeout: 300ms}
";

struct Scene {
    origin: Origin,
    dir: ConfigDir,
    gateway: Gateway,
    // Bound and never listened on: whoever connects is refused.
    _nobody: socket2::Socket,
}

async fn scene() -> Scene {
    let origin = Origin::start();
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nobody.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = nobody.local_addr().unwrap().as_socket().unwrap();
    let mut dir = ConfigDir::new().with("origin", origin.address()).with("nobody", address);
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    Scene { origin, dir, gateway, _nobody: nobody }
}

impl Scene {
    async fn both(&self) -> [Client; 2] {
        [self.gateway.http1().await, self.gateway.http2().await]
    }

    /// The access-log line of the exchange for `path`, once it is there.
    async fn logged(&self, path: &str) -> serde_json::Value {
        let log = self.dir.beside("access.log");
        tidegate_tests::eventually(&format!("{path} is logged"), Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line: &serde_json::Value| line["path"] == path)
        })
        .await
    }
}

#[tokio::test]
async fn bodies_of_every_size_pass_both_ways_unchanged() {
    let scene = scene().await;
    for mut client in scene.both().await {
        for size in [0, 1, 1_000, 65_535, 65_536, 3_000_000] {
            let body: Bytes = (0..size).map(|at| (at % 251) as u8).collect();
            let answer = client.send(request(Method::POST, "/echo").map(|_| body.clone())).await;
            let echo = answer.echo();
            assert_eq!(echo["body_bytes"], size, "{client:?}");
            assert_eq!(echo["body_digest"], wire::digest(&body), "{client:?}");
            assert_eq!(client.get(&format!("/bytes/{size}")).await.body.len(), size, "{client:?}");
        }
    }
}

#[tokio::test]
async fn a_chunked_body_passes_in_pieces_as_they_come_with_its_trailers() {
    let scene = scene().await;
    for mut client in scene.both().await {
        let (sender, body) = streamed();
        let mut ask = request(Method::POST, "/echo").map(|_| body);
        ask.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let answer = tokio::spawn(async move { Answer::read(client.open(ask).await.unwrap()).await.unwrap() });
        for piece in ["one", "two", "three"] {
            assert!(sender.send(piece).await);
        }
        sender.trailer("x-sum", "eleven").await;
        let echo = answer.await.unwrap().echo();
        assert_eq!((&echo["body_bytes"], &echo["trailers"]), (&11.into(), &serde_json::json!([["x-sum", "eleven"]])));
    }
}

#[tokio::test]
async fn trailers_of_a_response_reach_the_client() {
    let scene = scene().await;
    for mut client in scene.both().await {
        let mut ask = request(Method::GET, "/chunks/100");
        ask.headers_mut().insert("te", "trailers".parse().unwrap());
        let answer = client.send(ask).await;
        let digest = wire::digest(&answer.body).to_string();
        assert_eq!(
            (answer.body.len(), answer.trailers["x-digest"].to_str().unwrap()),
            (1_000, digest.as_str()),
            "{client:?}"
        );
    }
}

#[tokio::test]
async fn a_response_is_passed_on_as_it_comes_and_not_held_back() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/drip");
    for mut client in scene.both().await {
        let (sender, body) = streamed();
        drop(sender);
        let response =
            tokio::spawn(
                async move { (client.open(request(Method::GET, "/drip").map(|_| body)).await.unwrap(), client) },
            );
        let mut held = hold.next().await;
        held.begin(200, "").await;
        let (response, _client) = response.await.unwrap();
        let mut body = response.into_body();
        for piece in ["a", "b", "c"] {
            held.chunk(piece).await;
            let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        held.end("").await;
        held.keep();
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_sender_in_both_directions() {
    const MOST: usize = 64 << 20;
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let scene = scene().await;
    let mut hold = scene.origin.hold("/slow");
    for mut client in scene.both().await {
        let what = format!("{client:?}");
        let (sender, body) = streamed();
        let response =
            tokio::spawn(async move { (client.open(request(Method::POST, "/slow").map(|_| body)).await, client) });
        let mut held = hold.next().await;
        // The origin reads nothing: at some point nobody takes another piece.
        let mut sent = 0;
        while tokio::time::timeout(Duration::from_millis(500), sender.send(piece.clone())).await.is_ok() {
            sent += piece.len();
            assert!(sent < MOST, "{what}: {sent} bytes are buffered somewhere");
        }
        drop(sender);
        // The piece that was being sent when patience ran out may or may not have gone.
        let read = held.whole().await.unwrap().bytes.len();
        assert!(read >= sent, "{what}: {read} of {sent} bytes arrived");
        held.begin(200, "").await;
        let (response, _client) = response.await.unwrap();
        let response = response.unwrap();
        // The client reads nothing.
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        let mut sent = 0;
        while tokio::time::timeout(Duration::from_millis(500), held.try_send(&chunk)).await.is_ok() {
            sent += piece.len();
            assert!(sent < MOST, "{what}: {sent} bytes are buffered somewhere");
        }
        drop(response);
        held.gone().await;
    }
}

#[tokio::test]
async fn a_route_timeout_ends_an_exchange_whose_client_reads_nothing() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/hurried");
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET /hurried HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    let mut held = hold.next().await;
    held.begin(200, "").await;
    let chunk = [b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat();
    let endless = async { while held.try_send(&chunk).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), endless).await.expect("the gateway gives up the upstream");
    assert_eq!(scene.logged("/hurried").await["error"], "exchange_timeout");
}

#[tokio::test]
async fn a_response_to_head_has_a_length_and_no_body() {
    let scene = scene().await;
    for mut client in scene.both().await {
        let answer = client.send(request(Method::HEAD, "/bytes/1000")).await;
        assert_eq!((answer.header("content-length"), answer.body.len()), ("1000", 0), "{client:?}");
        assert_eq!(client.get("/bytes/10").await.body.len(), 10, "{client:?}: the connection goes on");
    }
    for status in [204, 304] {
        let answer = scene.gateway.http1().await.get(&format!("/status/{status}")).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
    }
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_continue_before_it_sends() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("POST /echo HTTP/1.1\r\nhost: test.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 100);
    raw.send("hello").await;
    let response = raw.response("POST").await.unwrap();
    assert_eq!((response.head.status(), &Origin::echo(&response.body.bytes)["body_bytes"]), (200, &5.into()));
    raw.send("GET /echo HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    assert_eq!(raw.response("GET").await.unwrap().head.status(), 200);
}

#[tokio::test]
async fn a_refused_expectation_gets_its_final_answer_and_no_100() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.listener("tight")).await;
    raw.send("POST /echo HTTP/1.1\r\nhost: test.example\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 413);
}

#[tokio::test]
async fn an_informational_response_of_the_origin_does_not_disturb_the_final_one() {
    let scene = scene().await;
    for mut client in scene.both().await {
        assert_eq!(client.get("/hints").await.echo()["target"], "/hints", "{client:?}");
        assert_eq!(client.get("/after").await.echo()["target"], "/after", "{client:?}");
    }
}

#[tokio::test]
async fn informational_responses_reach_an_http_1_1_client_in_their_order() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    for _ in 0..3 {
        // The origin sends both at once.
        raw.send("GET /hints HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
        assert_eq!((raw.head().await.status(), raw.response("GET").await.unwrap().head.status()), (103, 200));
    }
    let mut hold = scene.origin.hold("/slow-hints");
    raw.send("GET /slow-hints HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    let mut held = hold.next().await;
    held.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n").await;
    assert_eq!(raw.head().await.status(), 102);
    held.send("connection: x-own\r\nx-own: 1\r\n\r\n").await;
    let hint = raw.head().await;
    assert_eq!((hint.status(), hint.field("link").as_deref(), hint.field("x-own")), (103, Some("</a.css>"), None));
    held.answer(200, "done").await;
    held.keep();
    assert_eq!(raw.response("GET").await.unwrap().body.bytes, b"done");
    raw.send("GET /hints HTTP/1.0\r\nhost: test.example\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 200, "a client of HTTP/1.0 knows none");
}

#[tokio::test]
async fn what_concerns_one_connection_only_is_not_passed_on() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/hop");
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send(
        "GET /hop HTTP/1.1\r\nhost: test.example\r\nconnection: keep-alive, X-Secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nupgrade-insecure-requests: 1\r\nx-kept: 1\r\n\r\n",
    )
    .await;
    let mut held = hold.next().await;
    for gone in ["x-secret", "keep-alive", "proxy-connection", "connection"] {
        assert_eq!(held.head.field(gone), None, "{gone}");
    }
    assert_eq!(held.head.field("x-kept").as_deref(), Some("1"));
    held.send(
        "HTTP/1.1 200 OK\r\nconnection: x-inner\r\nx-inner: 1\r\nkeep-alive: timeout=9\r\nproxy-authenticate: Basic\r\n\
         x-kept: 1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let head = raw.response("GET").await.unwrap().head;
    for gone in ["x-inner", "keep-alive"] {
        assert_eq!(head.field(gone), None, "{gone}");
    }
    assert_eq!(head.field("x-kept").as_deref(), Some("1"));
}

#[tokio::test]
async fn the_origin_is_told_of_the_client_and_a_stranger_is_not_believed() {
    let scene = scene().await;
    let forged = "GET /who HTTP/1.1\r\nhost: test.example\r\nx-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\n\
        x-forwarded-host: evil.example\r\nforwarded: for=9.9.9.9\r\nx-real-ip: 9.9.9.9\r\n\r\n";
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send(forged).await;
    let body = raw.response("GET").await.unwrap().body.bytes;
    let told = |name: &str| Origin::echoed(&body, name).join(", ");
    assert_eq!((told("x-forwarded-for"), told("x-forwarded-proto")), ("127.0.0.1".into(), "http".into()));
    assert_eq!(told("x-forwarded-host"), "test.example");
    assert_eq!(told("forwarded"), "for=127.0.0.1;host=test.example;proto=http");
    assert_eq!((told("via"), told("host")), ("1.1 tidegate".into(), "test.example".into()));

    let mut raw = Raw::connect(scene.gateway.listener("behind")).await;
    raw.send(forged.replace("/who", "/behind")).await;
    let body = raw.response("GET").await.unwrap().body.bytes;
    let told = |name: &str| Origin::echoed(&body, name).join(", ");
    assert_eq!((told("x-forwarded-for"), told("x-forwarded-proto")), ("9.9.9.9, 127.0.0.1".into(), "https".into()));
    assert_eq!(scene.logged("/who").await["client"], "127.0.0.1");
    assert_eq!(scene.logged("/behind").await["client"], "9.9.9.9");
}

#[tokio::test]
async fn the_hosts_name_is_kept_unless_the_upstream_wants_its_own() {
    let scene = scene().await;
    for mut client in scene.both().await {
        assert_eq!(client.get("/kept").await.echoed("host"), ["test.example"]);
        assert_eq!(client.get("/renamed").await.echoed("host"), [scene.origin.address().to_string()]);
    }
}

#[tokio::test]
async fn the_trace_of_a_request_is_passed_on_or_begun() {
    let scene = scene().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut ask = request(Method::GET, "/traced");
    ask.headers_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    ask.headers_mut().insert("tracestate", "vendor=1".parse().unwrap());
    let mut client = scene.gateway.http1().await;
    let answer = client.send(ask).await;
    let told = answer.echoed("traceparent").pop().unwrap();
    assert!(told.starts_with(&format!("00-{trace}-")) && !told.contains("00f067aa0ba902b7"), "{told}");
    assert_eq!(answer.echoed("tracestate"), ["vendor=1"]);
    assert_eq!(scene.logged("/traced").await["trace_id"], trace);
    let begun = client.get("/untraced").await.echoed("traceparent").pop().unwrap();
    assert_eq!((begun.len(), &begun[..3]), (55, "00-"));
}

#[tokio::test]
async fn connections_to_the_origin_are_kept_and_a_stale_one_costs_no_request() {
    let scene = scene().await;
    let mut client = scene.gateway.http1().await;
    for _ in 0..5 {
        client.get("/").await;
    }
    assert_eq!(scene.origin.accepted(), 1);
    // The origin closes after its answer, whether it said so or not.
    client.get("/close").await;
    let mut hold = scene.origin.hold("/stale");
    let answer = tokio::spawn(async move { (client.get("/stale").await, client) });
    let mut held = hold.next().await;
    held.answer(200, "kept").await;
    drop(held);
    let (answer, mut client) = answer.await.unwrap();
    assert_eq!(answer.text(), "kept");
    soon("the origin closed it", async || scene.origin.open() == 0).await;
    assert_eq!(client.get("/after").await.status, 200);
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_their_order() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    let one = |path: &str| format!("GET /{path} HTTP/1.1\r\nhost: test.example\r\n\r\n");
    raw.send([one("first"), one("second"), one("third")].concat()).await;
    for path in ["/first", "/second", "/third"] {
        let response = raw.response("GET").await.unwrap();
        assert_eq!(Origin::echo(&response.body.bytes)["target"], path);
    }
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_and_its_connection_closed() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET /chunks/3 HTTP/1.0\r\nhost: test.example\r\n\r\n").await;
    let response = raw.response("GET").await.unwrap();
    assert_eq!((response.head.field("transfer-encoding"), response.body.bytes.len()), (None, 30));
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn every_limit_and_failure_has_its_status_and_a_short_text_and_the_log_says_more() {
    let scene = scene().await;
    let tight = scene.gateway.listener("tight");
    let web = scene.gateway.web();
    let head = |rest: &str| format!("{rest}\r\nhost: test.example\r\n\r\n");
    let long = "x".repeat(2_000);
    let many: String = (0..30).map(|field| format!("x-{field}: 1\r\n")).collect();
    let cases = [
        (web, "GET / HTTP/1.1\r\nhost: other.example\r\n\r\n".to_owned(), 404, "no_route"),
        (web, head("TRACE /trace HTTP/1.1"), 405, "method_not_allowed"),
        (
            web,
            "CONNECT test.example:443 HTTP/1.1\r\nhost: test.example:443\r\n\r\n".to_owned(),
            405,
            "method_not_allowed",
        ),
        (tight, head(&format!("GET /{long} HTTP/1.1")), 414, "uri_too_long"),
        (tight, head(&format!("GET /head HTTP/1.1\r\nx-long: {long}{long}{long}")), 431, "head_too_large"),
        (tight, head(&format!("GET /fields HTTP/1.1\r\n{}", many.trim_end())), 431, "head_too_large"),
        (tight, head("POST /declared HTTP/1.1\r\ncontent-length: 5000"), 413, "body_too_large"),
        (tight, "GET /half HTTP/1.1\r\nhost: te".to_owned(), 408, "request_timeout"),
        (web, head("GET /nobody HTTP/1.1"), 502, "upstream_connect"),
    ];
    for (address, text, status, kind) in cases {
        let method = text.split(' ').next().unwrap().to_owned();
        let mut raw = Raw::connect(address).await;
        raw.send(&text).await;
        let response = raw.response(&method).await.unwrap_or_else(|| panic!("{text}: no answer"));
        assert_eq!(response.head.status(), status, "{text}");
        let said = String::from_utf8(response.body.bytes).unwrap();
        assert!(!said.is_empty() && said.len() < 100, "{text}: {said}");
        assert!(response.head.field("content-type").unwrap().starts_with("text/plain"), "{text}");
        let counted = async || {
            let routed = scene.gateway.metric("tidegate_request_errors_total", kind).await;
            routed + scene.gateway.metric("tidegate_connection_errors_total", kind).await
        };
        soon(&format!("{kind} is counted"), async || counted().await >= 1.0).await;
    }
    let line = scene.logged("/nobody").await;
    assert_eq!(
        (&line["error"], &line["status"], &line["route"]),
        (&"upstream_connect".into(), &502.into(), &"nobody".into())
    );
    assert!(line["error_detail"].as_str().unwrap().contains("refused"), "{line}");
}

#[tokio::test]
async fn a_body_over_the_limit_that_was_not_declared_ends_the_exchange_with_413() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/grows");
    let mut raw = Raw::connect(scene.gateway.listener("tight")).await;
    raw.send("POST /grows HTTP/1.1\r\nhost: test.example\r\ntransfer-encoding: chunked\r\n\r\n").await;
    raw.send(format!("400\r\n{}\r\n1\r\nx\r\n", "x".repeat(1024))).await;
    let mut held = hold.next().await;
    assert_eq!(raw.response("POST").await.unwrap().head.status(), 413);
    held.gone().await;
}

#[tokio::test]
async fn a_request_body_that_falls_silent_is_ended_with_408() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.listener("tight")).await;
    raw.send("POST /silent HTTP/1.1\r\nhost: test.example\r\ncontent-length: 100\r\n\r\nsome").await;
    assert_eq!(raw.response("POST").await.unwrap().head.status(), 408);
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn a_connection_is_closed_when_it_was_idle_or_used_long_enough() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.listener("tight")).await;
    for last in [false, false, true] {
        raw.send("GET /again HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
        let head = raw.response("GET").await.unwrap().head;
        assert_eq!(head.field("connection").as_deref() == Some("close"), last);
    }
    assert_eq!(raw.rest().await, b"");
    let mut idle = Raw::connect(scene.gateway.listener("tight")).await;
    idle.send("GET /once HTTP/1.1\r\nhost: test.example\r\n\r\n").await;
    idle.response("GET").await.unwrap();
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test]
async fn an_upstream_that_fails_is_told_apart_by_status() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/strict/case");
    let head = "x".repeat(8_000);
    // What the origin does with the request, and what the client gets.
    let cases: [(&str, u16); 6] = [
        ("reset", 502),
        ("close", 502),
        ("garbage", 502),
        ("endless head", 502),
        ("silence", 504),
        ("two lengths", 502),
    ];
    for (case, status) in cases {
        // POST, so that nothing is tried again.
        let mut client = scene.gateway.http1().await;
        let answer =
            tokio::spawn(async move { client.send(request(Method::POST, "/strict/case").map(|_| "x".into())).await });
        let mut held = hold.next().await;
        held.whole().await.unwrap();
        match case {
            "reset" => held.reset(),
            "close" => drop(held),
            "garbage" => drop(held.try_send("SSH-2.0-OpenSSH_9.6\r\n\r\n").await),
            "endless head" => drop(held.try_send(format!("HTTP/1.1 200 OK\r\nx-long: {head}\r\n\r\n")).await),
            "two lengths" => {
                drop(held.try_send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab").await)
            }
            _ => held.gone().await,
        }
        assert_eq!(answer.await.unwrap().status, status, "{case}");
    }
}

#[tokio::test]
async fn a_route_that_takes_too_long_is_ended_with_504() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/hurried");
    let mut client = scene.gateway.http1().await;
    let answer = tokio::spawn(async move { client.get("/hurried").await });
    let mut held = hold.next().await;
    assert_eq!(answer.await.unwrap().status, 504);
    held.gone().await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_taken_for_a_whole_one() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/breaks");
    for mut client in scene.both().await {
        let what = format!("{client:?}");
        let answer = tokio::spawn(async move { client.try_send(request(Method::GET, "/breaks")).await });
        let mut held = hold.next().await;
        held.begin(200, "").await;
        held.chunk("half").await;
        held.reset();
        assert!(answer.await.unwrap().is_err(), "{what}");
    }
}

#[tokio::test]
async fn more_exchanges_than_an_upstream_takes_are_answered_503() {
    let scene = scene().await;
    let mut hold = scene.origin.hold("/single/held");
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = scene.gateway.http1().await;
        waiting.push(tokio::spawn(async move { client.get("/single/held").await }));
    }
    let mut held = [hold.next().await, hold.next().await];
    assert_eq!(scene.gateway.http1().await.get("/single/more").await.status, 503);
    for held in &mut held {
        held.answer(200, "done").await;
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().text(), "done");
    }
}

#[tokio::test]
async fn an_upgrade_that_the_origin_declines_is_an_ordinary_response() {
    let scene = scene().await;
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET /plain HTTP/1.1\r\nhost: test.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let response = raw.response("GET").await.unwrap();
    assert_eq!((response.head.status(), &Origin::echo(&response.body.bytes)["target"]), (200, &"/plain".into()));
}

#[tokio::test]
async fn a_tunnel_ends_with_either_of_its_sides() {
    let scene = scene().await;
    let upgrade = "GET /upgrade HTTP/1.1\r\nhost: test.example\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n";
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send(upgrade).await;
    let head = raw.response("GET").await.unwrap().head;
    assert_eq!(
        (head.status(), head.field("upgrade").as_deref()),
        (101, Some("mine")),
        "{}",
        scene.logged("/upgrade").await
    );
    raw.send("both ways").await;
    assert_eq!(raw.exactly(9).await, b"both ways");
    drop(raw);
    soon("the origin's side is closed", async || scene.origin.open() == 0).await;

    let mut hold = scene.origin.hold("/held");
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send(upgrade.replace("/upgrade", "/held")).await;
    let mut held = hold.next().await;
    held.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\nat once").await;
    assert_eq!(raw.response("GET").await.unwrap().head.status(), 101);
    assert_eq!(raw.exactly(7).await, b"at once");
    drop(held);
    assert_eq!(raw.rest().await, b"");
    soon("no tunnel is open", async || scene.gateway.metric("tidegate_tunnels", "").await == 0.0).await;
}

#[tokio::test]
async fn an_address_that_is_taken_refuses_the_start() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &format!("listeners: {{web: {{address: '{taken}'}}}}\n"));
    let why = Gateway::try_start(&dir).await.unwrap_err();
    assert!(why.contains(&taken.to_string()), "{why}");
}
