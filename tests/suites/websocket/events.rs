//! Server-sent events: each is with the client before the next is made, whatever protocols and plugins are between.

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use tidegate_tests::{request, streamed};

use super::scene;

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let scene = scene().await;
    let mut held = scene.old.hold("/events");
    for mut client in [scene.gateway.http1().await, scene.gateway.http2().await] {
        let mut ask = request(Method::GET, "/events").map(|_| streamed().1);
        ask.headers_mut().insert("accept", HeaderValue::from_static("text/event-stream"));
        let opening = tokio::spawn(async move {
            let response = client.open(ask).await.unwrap();
            (client, response)
        });
        let mut origin = held.next().await;
        origin.begin(200, "content-type: text/event-stream\r\ncache-control: no-store\r\n").await;
        let (_client, mut response) = opening.await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(origin.head.field("x-module").as_deref(), Some("00000001"));
        for number in 0..20 {
            let event = format!("id: {number}\ndata: {{}}\n\n");
            origin.chunk(&event).await;
            let mut arrived = Vec::new();
            while arrived.len() < event.len() {
                arrived.extend(response.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(arrived, event.as_bytes());
        }
        origin.end("").await;
        while let Some(frame) = response.frame().await {
            assert_eq!(frame.unwrap().into_data().unwrap_or_default(), Bytes::new());
        }
    }
}

#[tokio::test]
async fn events_of_an_upstream_of_http2_do_as_well() {
    let scene = scene().await;
    for http2 in [true, false] {
        let mut client = if http2 { scene.gateway.http2().await } else { scene.gateway.http1().await };
        let (sender, body) = streamed();
        let opening = tokio::spawn(async move {
            let response = client.open(request(Method::POST, "/stream").map(|_| body)).await.unwrap();
            (client, response)
        });
        let (_client, mut response) = opening.await.unwrap();
        for number in 0..20 {
            let event = format!("data: {number}\n\n");
            sender.send(event.clone()).await;
            let mut arrived = Vec::new();
            while arrived.len() < event.len() {
                arrived.extend(response.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(arrived, event.as_bytes());
        }
    }
}
