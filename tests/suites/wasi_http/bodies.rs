//! Bodies through a component: chunk by chunk, with trailers, and only as fast as they are read.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_tests::{Answer, request, streamed};

use super::scene;

/// The next piece of a response.
pub(super) async fn piece(response: &mut Response<Incoming>) -> Bytes {
    response.frame().await.expect("there is more").expect("it does not break off").into_data().expect("it is data")
}

#[tokio::test]
async fn chunks_come_back_before_the_last_one_is_sent_and_trailers_after_it() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    for (mut client, trailers) in [(gateway.http1().await, ""), (gateway.http2().await, "yes")] {
        let (sender, body) = streamed();
        let mut response = client.open(request(Method::POST, "/echo").map(|_| body)).await.unwrap();
        for part in ["one", "two", "three"] {
            assert!(sender.send(part).await);
            assert_eq!(piece(&mut response).await, part);
        }
        // The client of HTTP/1.1 did not say that it wants any.
        sender.trailer("x-end", "yes").await;
        let answer = Answer::read(response).await.unwrap();
        let end = answer.trailers.get("x-end").map_or("", |value| value.to_str().unwrap());
        assert_eq!((answer.body.len(), end), (0, trailers));
    }
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {exchange-timeout: 60s}").await;
    let text: Bytes = (0..4 << 20).map(|at: u32| (at % 251) as u8).collect::<Vec<_>>().into();
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let mut asked = request(Method::POST, "/echo");
        *asked.body_mut() = text.clone();
        assert!(client.send(asked).await.body == text);
        let mut asked = request(Method::POST, "/length");
        *asked.body_mut() = text.clone();
        assert_eq!(client.send(asked).await.text(), text.len().to_string());
        assert_eq!(client.get("/send/5000000").await.body.len(), 5_000_000);
    }
}

#[tokio::test]
async fn a_reader_that_stops_stops_whoever_sends() {
    let (_origin, _side, _dir, gateway) = scene("").await;
    let (sender, body) = streamed();
    let mut client = gateway.http1().await;
    let mut response = client.open(request(Method::POST, "/echo").map(|_| body)).await.unwrap();
    let part = Bytes::from(vec![b'x'; 1 << 20]);
    // Sockets hold some of it, and the guest very little.
    let (mut sent, mut full) = (0, false);
    while !full && sent < 256 {
        let pushed = tokio::time::timeout(std::time::Duration::from_millis(500), sender.send(part.clone())).await;
        full = pushed.is_err();
        sent += usize::from(!full);
    }
    assert!(full, "{sent} MiB went into a guest that nobody reads from");
    drop(sender);
    let mut length = 0;
    while let Some(frame) = response.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length % part.len(), 0, "nothing is lost");
    assert!(length >= sent * part.len());
}

#[tokio::test]
async fn an_answer_goes_out_while_its_component_waits() {
    let (_origin, _side, _dir, gateway) = scene(", limits: {exchange-timeout: 150ms}").await;
    let mut client = gateway.http1().await;
    // Its time is over long before it ends, and is the reader's since it answered.
    assert_eq!(client.get("/silent").await.text(), "first last");
    assert_eq!(gateway.metric("tidegate_plugin_errors_total", "").await, 0.0);
}
