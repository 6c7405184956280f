//! What passes on a stream: heads, bodies, trailers, interim responses, both ways and with the brakes on.

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use tidegate_tests::{
    Client, Gateway, Raw,
    http2::{Origin2, Settings},
    request, soon, streamed, wire,
};

use super::{before, gateway};

async fn clients(gateway: &Gateway) -> [Client; 2] {
    [gateway.http1().await, gateway.http2().await]
}

#[tokio::test]
async fn heads_bodies_and_trailers_pass_from_both_kinds_of_clients() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    for mut client in clients(&gateway).await {
        let mut post = request(Method::POST, "/a%20b?c=d").map(|_| Bytes::from_static(b"hello"));
        post.headers_mut().insert("x-one", HeaderValue::from_static("1"));
        post.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let answer = client.send(post).await;
        let echo = answer.echo();
        assert_eq!((&echo["method"], &echo["target"]), (&"POST".into(), &"/a%20b?c=d".into()));
        assert_eq!((&echo["scheme"], &echo["authority"]), (&"http".into(), &"test.example".into()));
        assert_eq!((&echo["body_bytes"], &echo["body_digest"]), (&5.into(), &wire::digest(b"hello").into()));
        assert_eq!(answer.echoed("x-one"), ["1"]);
        assert_eq!(answer.echoed("te"), ["trailers"]);
        assert_eq!(answer.echoed("content-length"), ["5"]);
        for gone in ["host", "connection", "transfer-encoding", "keep-alive"] {
            assert_eq!(answer.echoed(gone), [""; 0], "{gone}");
        }
        let mut trailers = request(Method::GET, "/trailers");
        // Without it, a client of HTTP/1.1 is sent none (RFC 9110 section 6.5.1).
        trailers.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let answer = client.send(trailers).await;
        assert_eq!((answer.text().as_str(), answer.trailers.get("x-digest")), ("abc", Some(&HeaderValue::from(7))));
        let answer = client.send(request(Method::HEAD, "/bytes/10")).await;
        assert_eq!((answer.header("content-length"), answer.body.len()), ("10", 0));
        let answer = client.send(request(Method::OPTIONS, "/x")).await;
        assert_eq!(answer.echo()["method"], "OPTIONS");
    }
}

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = gateway.http2().await;
    let (sender, body) = streamed();
    let mut post = request(Method::POST, "/").map(|_| body);
    post.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    tokio::spawn(async move {
        sender.send("abc").await;
        sender.trailer("x-sum", "9").await;
    });
    let response = client.open(post).await.unwrap();
    let answer = tidegate_tests::Answer::read(response).await.unwrap();
    assert_eq!(answer.echo()["trailers"], serde_json::json!([["x-sum", "9"]]));
}

#[tokio::test]
async fn large_bodies_pass_whole_in_both_directions() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let large: Bytes = (0..10_000_000_u32).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>().into();
    for mut client in clients(&gateway).await {
        let answer = client.send(request(Method::PUT, "/up").map(|_| large.clone())).await;
        assert_eq!(answer.echo()["body_digest"], wire::digest(&large));
        assert_eq!(client.get("/bytes/10000000").await.body.len(), 10_000_000);
    }
}

#[tokio::test]
async fn both_directions_of_a_stream_interleave() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = gateway.http2().await;
    let (sender, body) = streamed();
    let mut response = client.open(request(Method::POST, "/stream").map(|_| body)).await.unwrap().into_body();
    for round in 0..20 {
        let text = format!("round {round}");
        sender.send(text.clone()).await;
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    sender.trailer("x-end", "1").await;
    let end = response.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(end.get("x-end").unwrap(), "1");
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_whole() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = gateway.http2().await;
    let (sender, body) = streamed();
    sender.send("a beginning").await;
    let response = client.open(request(Method::POST, "/early").map(|_| body)).await.unwrap();
    let answer = tidegate_tests::Answer::read(response).await.unwrap();
    assert_eq!(answer.text(), "early");
    drop(sender);
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn interim_responses_reach_a_client_of_http1() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = Raw::connect(gateway.web()).await;
    client.send("GET /hints HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let interim = client.head().await;
    assert_eq!((interim.status(), interim.field("link").as_deref()), (103, Some("</style.css>; rel=preload")));
    assert_eq!(client.response("GET").await.unwrap().head.status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_slows_the_origin_and_nobody_else() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = gateway.http2().await;
    let (sender, body) = streamed();
    let response = client.open(request(Method::POST, "/stream").map(|_| body)).await.unwrap();
    // The echo is not read: what the origin takes of the request comes to rest at what windows and buffers hold.
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let offer = tokio::spawn(async move {
        for _ in 0..1024 {
            sender.send(piece.clone()).await;
        }
    });
    let mut last = 0;
    soon("the origin takes no more", async || {
        let taken = origin.received_bytes();
        taken > 0 && std::mem::replace(&mut last, taken) == taken
    })
    .await;
    assert!(last < 16 << 20 && !offer.is_finished(), "{last} bytes passed to nobody");
    assert_eq!(gateway.http1().await.get("/bytes/1000000").await.body.len(), 1_000_000);
    offer.abort();
    drop(response);
}

#[tokio::test]
async fn a_client_that_goes_away_resets_the_stream_and_not_the_connection() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = Raw::connect(gateway.web()).await;
    client.send("GET /silent HTTP/1.1\r\nhost: a\r\n\r\n").await;
    soon("the request arrives", async || origin.streams() == 1).await;
    client.reset();
    soon("the stream is reset", async || origin.resets() == ["CANCEL"]).await;
    let mut client = Raw::connect(gateway.web()).await;
    client.send("GET /begin HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    client.reset();
    soon("the stream is reset", async || origin.resets().len() == 2).await;
    assert!(origin.accepted() <= 2 && origin.open() == origin.accepted());
}

#[tokio::test]
async fn the_endpoints_address_is_the_authority_where_that_is_asked_for() {
    let origin = Origin2::with(Settings { connect: false, ..Settings::default() }).await;
    let (_dir, gateway) =
        gateway(&format!("endpoints: ['{}'], protocol: h2c, preserve-host: false", origin.address)).await;
    let answer = gateway.http1().await.get("/").await;
    assert_eq!(answer.echo()["authority"], origin.address.to_string());
}
