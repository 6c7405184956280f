//! HTTP/1.1 as a client of raw bytes meets it, through a whole gateway. What it may send, byte for byte, is in
//! `tests/tables/http1.txt`, which the gateway's own tests run; here is what depends on routes and upstreams.

use tidegate_tests::{ConfigDir, Gateway, Origin, Raw};

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let upstream = "upstreams: {origin: {endpoints: ['{origin}']}}";
    Gateway::in_front_of_origin(&format!("{upstream}\nroutes: [{{id: all, path: /*, upstream: origin}}]\n")).await
}

#[tokio::test]
async fn options_of_the_server_is_answered_by_the_gateway() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = Raw::connect(gateway.web()).await;
    for _ in 0..2 {
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        let answer = client.response("OPTIONS").await.expect("the connection is kept");
        assert_eq!(answer.head.status(), 204);
        assert!(answer.head.field("allow").is_some_and(|allow| allow.contains("OPTIONS")), "{answer:?}");
    }
    client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response("OPTIONS").await.expect("an answer").head.status(), 200);
    assert_eq!(origin.requests(), 1, "what has a path is the origin's");
}

#[tokio::test]
async fn options_counts_how_often_it_may_be_forwarded() {
    let (origin, _dir, gateway) = scene().await;
    let mut client = Raw::connect(gateway.web()).await;
    client.send("OPTIONS /echo HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
    let answer = client.response("OPTIONS").await.expect("an answer");
    assert_eq!((answer.head.status(), origin.requests()), (204, 0));
    for (method, passed_on) in [("OPTIONS", "6"), ("GET", "7")] {
        client.send(format!("{method} /echo HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n")).await;
        let answer = client.response(method).await.expect("an answer");
        assert_eq!(Origin::echoed(&answer.body.bytes, "max-forwards"), [passed_on], "{method}");
    }
}

#[tokio::test]
async fn what_some_servers_take_for_framing_reaches_no_origin() {
    let (origin, _dir, gateway) = scene().await;
    for field in ["Content_Length: 3", "Transfer_Encoding: chunked", "transfer_encoding: chunked"] {
        let mut client = Raw::connect(gateway.web()).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")).await;
        assert_eq!(client.response("POST").await.expect("an answer").head.status(), 400, "{field}");
        assert!(client.rest().await.is_empty(), "{field}: nothing may follow");
    }
    assert_eq!(origin.requests(), 0);
}
