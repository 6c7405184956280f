//! Responses that are compressed as they stream, from outside.

use std::io::Read as _;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, WEB, request, soon, streamed};

const CONFIGURATION: &str = "
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  small: {compress: {}}
  gzip: {compress: {codings: gzip, body-bytes-min: 0, types: [application/json, application/octet-stream]}}
routes:
  - {id: any, path: /*, middleware: [small], upstream: origin}
  - {id: gzip, path: /gzip/*, middleware: [gzip, {rewrite: {path: {prefix: /}}}], upstream: origin}
";

async fn scene() -> (Origin, ConfigDir, Gateway) {
    Gateway::in_front_of_origin(CONFIGURATION).await
}

fn accepting(method: Method, path: &str, accepted: &str) -> Request<Bytes> {
    let mut ask = request(method, path);
    ask.headers_mut().insert("accept-encoding", accepted.parse().unwrap());
    ask
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap()),
        "zstd" => plain = zstd::stream::decode_all(bytes).unwrap(),
        "" => plain = bytes.to_vec(),
        other => panic!("{other}"),
    }
    plain
}

fn said(answer: &Answer) -> [&str; 4] {
    ["content-encoding", "vary", "etag", "content-length"].map(|name| answer.header(name))
}

const TEXT: &str = "it was the best of times, it was the worst of times\n";

#[tokio::test]
async fn the_coding_is_the_one_that_the_client_likes_best() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/page");
    let long = TEXT.repeat(100);
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for (accepted, coding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("zstd", "zstd"),
            ("gzip, br, zstd", "zstd"),
            ("gzip;q=1.0, br;q=0.8, *;q=0.1", "gzip"),
            ("br;q=0.5, gzip;q=0.5", "br"),
            ("*", "zstd"),
            ("zstd;q=0, *;q=0.5", "br"),
            ("gzip;q=0", ""),
            ("identity;q=1, gzip;q=0.5", ""),
            ("deflate", ""),
            ("gzip;q=nonsense", ""),
        ] {
            let ask = client.send(accepting(Method::GET, "/page", accepted));
            let serve = async {
                let mut held = hold.next().await;
                let fields = format!("content-type: text/plain\r\netag: \"v1\"\r\ncontent-length: {}", long.len());
                held.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{long}")).await;
                held.keep();
            };
            let (answer, ()) = tokio::join!(ask, serve);
            let length = long.len().to_string();
            let expected = match coding {
                "" => ["", "Accept-Encoding", "\"v1\"", &length],
                coding => [coding, "Accept-Encoding", "W/\"v1\"", ""],
            };
            assert_eq!(said(&answer), expected, "{accepted}");
            assert_eq!(decoded(coding, &answer.body), long.as_bytes(), "{accepted}");
            assert!(coding.is_empty() || answer.body.len() < long.len() / 10);
        }
    }
}

#[tokio::test]
async fn an_event_arrives_when_it_happens() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/events");
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for coding in ["gzip", "br", "zstd"] {
            let (sender, body) = streamed();
            drop(sender);
            let open = client.open(accepting(Method::GET, "/events", coding).map(|_| body));
            let begin = async {
                let mut held = hold.next().await;
                held.begin(200, "content-type: text/event-stream\r\n").await;
                held
            };
            let (response, mut held) = tokio::join!(open, begin);
            let response = response.unwrap();
            assert_eq!(response.headers()["content-encoding"], coding);
            let mut body = response.into_body();
            let mut bytes = Vec::new();
            for number in 0..3 {
                // The next one is sent when this one was read: what waits for more would wait for ever.
                let event = format!("data: {number}\n\n");
                held.chunk(&event).await;
                let before = bytes.len();
                let arrived = async {
                    while partly(coding, &bytes).len() < event.len() * (number + 1) {
                        bytes.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
                    }
                };
                tokio::time::timeout(std::time::Duration::from_secs(20), arrived).await.expect("the event arrives");
                assert!(bytes.len() > before);
            }
            held.end("").await;
            while let Some(frame) = body.frame().await {
                bytes.extend(frame.unwrap().into_data().unwrap());
            }
            assert_eq!(decoded(coding, &bytes), b"data: 0\n\ndata: 1\n\ndata: 2\n\n");
            held.keep();
        }
    }
}

// What can be told so far of a stream that is not over.
fn partly(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn std::io::Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
    };
    let (mut plain, mut piece) = (Vec::new(), [0; 64]);
    while let Ok(read @ 1..) = reader.read(&mut piece) {
        plain.extend(&piece[..read]);
    }
    plain
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/as-is");
    let mut client = gateway.http1().await;
    let long = TEXT.repeat(100);
    for (status, fields) in [
        (200, "content-type: image/png"),
        (200, "content-type: text/html\r\ncontent-encoding: br"),
        (200, "content-type: text/html\r\ncache-control: max-age=5, no-transform"),
        (206, "content-type: text/html\r\ncontent-range: bytes 0-5199/9000"),
        (200, "x-no-type: 1"),
    ] {
        let ask = client.send(accepting(Method::GET, "/as-is", "gzip, br"));
        let serve = async {
            let mut held = hold.next().await;
            held.send(format!("HTTP/1.1 {status} X\r\n{fields}\r\ncontent-length: {}\r\n\r\n{long}", long.len())).await;
            held.keep();
        };
        let (answer, ()) = tokio::join!(ask, serve);
        assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (status, long.as_bytes()), "{fields}");
        assert_eq!(answer.header("vary"), "", "{fields}");
    }
    let mut asked = accepting(Method::GET, "/bytes/5000", "gzip");
    asked.headers_mut().insert("cache-control", "no-transform".parse().unwrap());
    assert_eq!(client.send(asked).await.header("content-encoding"), "");
    // Short, and known to be.
    let short = client.send(accepting(Method::GET, "/any", "gzip")).await;
    assert_eq!((short.status.as_u16(), short.header("content-encoding")), (200, ""));
    let none = client.send(accepting(Method::GET, "/status/204", "gzip")).await;
    assert_eq!((none.status.as_u16(), none.header("content-encoding")), (204, ""));
}

#[tokio::test]
async fn a_head_request_says_what_get_would_and_trailers_pass() {
    let (_origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let head = client.send(accepting(Method::HEAD, "/gzip/bytes/70000", "gzip")).await;
    let get = client.send(accepting(Method::GET, "/gzip/bytes/70000", "gzip")).await;
    assert_eq!((said(&head)[0], said(&head)[3]), ("gzip", ""));
    assert_eq!(said(&get)[0], "gzip");
    assert!(head.body.is_empty());
    assert_eq!(decoded("gzip", &get.body), vec![b'x'; 70_000]);
    // A short body is compressed where nothing says that it must be long.
    let echo = client.send(accepting(Method::GET, "/gzip/echo", "gzip")).await;
    assert_eq!(Origin::echo(&decoded("gzip", &echo.body))["target"], "/echo");
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/cut");
    let mut client = gateway.http1().await;
    let ask = client.try_send(accepting(Method::GET, "/cut", "gzip"));
    let serve = async {
        let mut held = hold.next().await;
        held.begin(200, "content-type: text/plain\r\n").await;
        held.chunk(TEXT).await;
        held.reset();
    };
    let (answer, ()) = tokio::join!(ask, serve);
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn large_bodies_come_through_whole_beside_small_requests() {
    let (_origin, _dir, gateway) = scene().await;
    let mut large = gateway.http2().await;
    let mut small = large.another();
    let slow = large.send(accepting(Method::GET, "/gzip/bytes/20000000", "gzip"));
    let quick = async {
        let mut answered = 0;
        for _ in 0..20 {
            answered += usize::from(small.send(request(Method::GET, "/status/200")).await.status == 200);
        }
        answered
    };
    let (answer, answered) = tokio::join!(slow, quick);
    assert_eq!(answered, 20);
    assert!(answer.body.len() < 1_000_000, "{}", answer.body.len());
    assert_eq!(decoded("gzip", &answer.body).len(), 20_000_000);
}

#[tokio::test]
async fn a_changed_step_holds_on_connections_that_are_open() {
    let (_origin, dir, gateway) = scene().await;
    let mut client: Client = gateway.http1().await;
    assert_eq!(client.send(accepting(Method::GET, "/gzip/any", "gzip, br")).await.header("content-encoding"), "gzip");
    dir.write("gateway.yaml", &format!("{WEB}{}", CONFIGURATION.replace("codings: gzip", "codings: br")));
    gateway.apply().await;
    soon("the new coding is used", async || {
        client.send(accepting(Method::GET, "/gzip/any", "gzip, br")).await.header("content-encoding") == "br"
    })
    .await;
}

#[tokio::test]
async fn curl_reads_what_it_asked_for() {
    let (_origin, _dir, gateway) = scene().await;
    let url = format!("http://{}/gzip/bytes/50000", gateway.web());
    let curl = move || std::process::Command::new("curl").args(["-sS", "--compressed", "-D", "-", &url]).output();
    let run = tokio::task::spawn_blocking(curl).await.unwrap();
    let Ok(output) = run else { return eprintln!("skipped: there is no curl here") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{output:?}"));
    assert!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
    assert_eq!(body.len(), 50_000);
}

#[tokio::test]
async fn requests_are_decompressed_for_upstreams_that_cannot() {
    let (origin, _dir, gateway) = Gateway::in_front_of_origin(
        "
upstreams: {origin: {endpoints: ['{origin}']}}
routes:
  - {id: all, path: /*, middleware: [{decompress: {body-bytes-max: 1MiB, ratio-max: 50}}], upstream: origin}
  - {id: gzip, path: /gzip, middleware: [{decompress: {codings: gzip}}], upstream: origin}
",
    )
    .await;
    let plain: Vec<u8> =
        (0..100_000u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) | 15).to_le_bytes()).collect();
    let gzip = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    };
    let mut br = Vec::new();
    brotli::BrotliCompress(&mut &plain[..], &mut br, &Default::default()).unwrap();
    let bodies = [("gzip", gzip(&plain)), ("br", br), ("zstd", zstd::encode_all(&plain[..], 3).unwrap())];
    let ask = |path: &str, coding: &'static str, body: Vec<u8>| {
        let mut ask = request(Method::POST, path).map(|_| body.into());
        ask.headers_mut().insert("content-encoding", http::HeaderValue::from_static(coding));
        ask
    };
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for (coding, body) in &bodies {
            let answer = client.send(ask("/", coding, body.clone())).await;
            assert_eq!((answer.status.as_u16(), &answer.echo()["body_bytes"]), (200, &plain.len().into()), "{coding}");
            assert_eq!(answer.echo()["body_digest"], tidegate_tests::wire::digest(&plain), "{coding}");
            assert_eq!(answer.echoed("content-encoding"), Vec::<String>::new());
        }
        let refused = client.send(ask("/gzip", "br", bodies[1].1.clone())).await;
        assert_eq!((refused.status.as_u16(), refused.header("accept-encoding")), (415, "gzip"));
    }
    let sent = origin.requests();
    for (what, body, status) in [
        ("a bomb by its ratio", gzip(&vec![0; 900_000]), 413),
        ("a bomb by its size", zstd::encode_all(&vec![1; 40 << 20][..], 3).unwrap(), 413),
        ("what is no gzip", b"plain".to_vec(), 400),
    ] {
        let coding = if what.contains("size") { "zstd" } else { "gzip" };
        let answer = gateway.http1().await.send(ask("/", coding, body)).await;
        assert_eq!(answer.status, status, "{what}");
    }
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
    assert!(origin.requests() - sent <= 4, "no request is made again");
}
