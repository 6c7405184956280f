//! What the gateway itself has to say to a call: a status of gRPC in the head, HTTP 200 around it.

use http::{HeaderValue, Method};
use tidegate_tests::{
    grpc::{Caller, Echo, Said},
    http2::{Frames, HEADERS, RST_STREAM},
    request, soon,
};
use tokio::net::TcpListener;
use tonic::{Code, Request};

use super::{before, by_hand, log};

const ROUTES: &str = "
  - {id: nobody, path: /test.Nobody/*, upstream: nobody}
  - {id: closed, path: /test.Closed/*, upstream: echo, middleware: [{maintenance: {body: back soon}}]}
  - {id: guarded, path: /test.Guarded/*, upstream: echo, middleware: [{ip-access: {deny: [127.0.0.0/8]}}]}
  - {id: answered, path: /test.Limited/*, middleware: [{respond: {status: 429, body: 'slow down, 100%'}}]}
";

#[tokio::test]
async fn refusals_and_failures_are_statuses() {
    let echo = Echo::start().await;
    let (dir, gateway) = before(&echo, ROUTES).await;
    let mut caller = Caller::connect(gateway.web()).await;
    for (path, code, text) in [
        ("/test.Missing/Say", Code::Unimplemented, "no route matches this request"),
        ("/test.Nobody/Say", Code::Unavailable, "the upstream failed"),
        ("/test.Closed/Say", Code::Unavailable, "503 Service Unavailable"),
        ("/test.Guarded/Say", Code::PermissionDenied, "access is denied"),
        ("/test.Limited/Say", Code::Unavailable, "slow down, 100%"),
    ] {
        let status = caller.say_at(path, Request::new(Said::default())).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, text), "{path}");
    }
    soon("all are logged", async || log(&dir).len() == 5).await;
    assert_eq!(log(&dir)[1]["error"], "upstream_connect");
    assert_eq!(log(&dir)[1]["grpc_status"], 14);
}

#[tokio::test]
async fn an_answer_of_the_gateways_own_is_trailers_only() {
    let echo = Echo::start().await;
    let (_dir, gateway) = before(&echo, "").await;
    let mut call = request(Method::POST, "/test.Missing/Say");
    call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let answer = gateway.http2().await.send(call).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/grpc"));
    assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), ("12", "no route matches this request"));
    assert!(answer.body.is_empty() && answer.trailers.is_empty());
    let mut other = request(Method::POST, "/test.Missing/Say");
    other.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    assert_eq!(gateway.http2().await.send(other).await.status, 404);
}

#[tokio::test]
async fn a_deadline_that_is_over_is_said_before_and_within_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_dir, gateway) = by_hand(listener.local_addr().unwrap()).await;
    let call = |timeout| {
        let address = gateway.web();
        tokio::spawn(async move {
            let mut call = request(Method::POST, "/test.Hand/Say");
            call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            call.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
            tidegate_tests::Client::http2(address).await.send(call).await
        })
    };
    let asked = call("300m");
    let mut frames = Frames::accept(&listener, &[]).await;
    assert!(frames.next_of(HEADERS).await.is_some());
    let answer = asked.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, "4"));
    // CANCEL.
    assert_eq!(frames.next_of(RST_STREAM).await.unwrap().payload, 8_u32.to_be_bytes());
    drop(frames);
    let asked = call("400m");
    let mut frames = Frames::accept(&listener, &[]).await;
    let stream = frames.next_of(HEADERS).await.unwrap().stream;
    // `content-type: application/grpc`, without indexing, and nothing more.
    let head = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
    frames.send(HEADERS, 4, stream, &head).await;
    let answer = asked.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.trailers["grpc-status"].to_str().unwrap()), (200, "4"));
}
