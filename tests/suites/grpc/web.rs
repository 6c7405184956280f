//! grpc-web as a browser speaks it: over HTTP/1.1, binary and in base64, trailers in the body.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use tidegate_tests::{Answer, base64, grpc::Echo, request, soon};

use super::{before, log};

const ROUTES: &str = "
  - {id: web, path: /test.Echo/Say, upstream: echo, middleware: [{grpc-web: {}}]}
  - {id: stream, path: /test.Echo/Count, upstream: echo, middleware: [{grpc-web: {}}]}
  - {id: web-nobody, path: /test.Nobody/Say, upstream: nobody, middleware: [{grpc-web: {}}]}
  - {id: limited, path: /test.Limited/Say, upstream: echo, middleware: [{grpc-web: {}}, {respond: {status: 429}}]}
";

// A message of the service with this text, in the frame that gRPC gives it.
fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0, 0, 0, 0, length + 2, 0x0a, length], text.as_bytes()].concat()
}

fn call(path: &str, content_type: &'static str, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut call = request(Method::POST, path).map(|_| body.into());
    call.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    call.headers_mut().insert("x-grpc-web", HeaderValue::from_static("1"));
    call
}

// The frames of an answer: messages, and the last one, which holds the trailers.
fn frames(mut body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut messages = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (payload, after) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        body = after;
        if *flag == 0x80 {
            assert!(after.is_empty(), "trailers are the end");
            return (messages, String::from_utf8(payload.to_vec()).unwrap());
        }
        messages.push(payload.to_vec());
    }
    panic!("no trailers in {} messages", messages.len());
}

fn is_status(answer: &Answer, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, code));
    assert!(answer.header("content-type").starts_with("application/grpc-web"));
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn a_browser_calls_in_binary() {
    let echo = Echo::start().await;
    let (dir, gateway) = before(&echo, ROUTES).await;
    let mut client = gateway.http1().await;
    let answer = client.send(call("/test.Echo/Say", "application/grpc-web+proto", message("hello"))).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/grpc-web+proto"));
    let (messages, trailers) = frames(&answer.body);
    assert_eq!(messages, [message("hello")[5..].to_vec()]);
    assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    // Five times `number: N`, but for 0, which is not written.
    let answer = client.send(call("/test.Echo/Count", "application/grpc-web", [0, 0, 0, 0, 2, 0x10, 5].to_vec())).await;
    let (messages, _) = frames(&answer.body);
    assert_eq!(messages, [vec![], vec![0x10, 1], vec![0x10, 2], vec![0x10, 3], vec![0x10, 4]]);
    soon("both are logged", async || log(&dir).len() == 2).await;
    assert!(log(&dir).iter().all(|line| line["grpc_status"] == 0));
}

#[tokio::test]
async fn a_browser_calls_in_base64() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, ROUTES).await;
    let body = base64::encode(&message("hello"));
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(call("/test.Echo/Say", "application/grpc-web-text", body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/grpc-web-text"));
        // Every piece may be padded.
        let decoded: Vec<u8> =
            answer.body.chunks(4).flat_map(|quad| decode(std::str::from_utf8(quad).unwrap())).collect();
        let (messages, trailers) = frames(&decoded);
        assert_eq!(messages, [message("hello")[5..].to_vec()]);
        assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    }
    let broken = client_error(&gateway, "****").await;
    assert_ne!(broken.header("grpc-status"), "0");
}

async fn client_error(gateway: &tidegate_tests::Gateway, body: &'static str) -> Answer {
    gateway.http1().await.send(call("/test.Echo/Say", "application/grpc-web-text", body)).await
}

fn decode(quad: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let bits = quad.bytes().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(byte)));
    let padding = quad.bytes().filter(|byte| *byte == b'=').count();
    bits.to_be_bytes()[1..4 - padding].to_vec()
}

#[tokio::test]
async fn what_the_gateway_has_to_say_is_a_status_too() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, ROUTES).await;
    let mut client = gateway.http1().await;
    let kind = "application/grpc-web+proto";
    is_status(&client.send(call("/test.Nobody/Say", kind, message("x"))).await, "14");
    is_status(&client.send(call("/test.Limited/Say", kind, message("x"))).await, "14");
    let failed = client.send(call("/test.Echo/Say", kind, message("fail"))).await;
    let status = if failed.body.is_empty() {
        failed.header("grpc-status").to_owned()
    } else {
        frames(&failed.body).1.lines().find_map(|line| line.strip_prefix("grpc-status: ").map(str::to_owned)).unwrap()
    };
    assert_eq!(status, "9");
}
