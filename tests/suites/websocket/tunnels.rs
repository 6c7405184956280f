//! Tunnels: what is asked for on either side, how it is translated, and that they live and end as they should.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use tidegate_tests::soon;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use super::{connect, exactly, multiplexed, rest, scene};

// A text of a client, masked with zeros.
fn frame(text: &str) -> Bytes {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat().into()
}

// The same from a server.
fn said(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_client_of_http1_reaches_an_upstream_of_http2() {
    let scene = scene().await;
    let url = format!("ws://{}/new/chat?room=1", scene.gateway.web());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
    // It checks `Sec-WebSocket-Accept` itself. What this origin does not choose it must not be shown.
    let (mut socket, response) = match tokio_tungstenite::connect_async(request).await {
        Ok(opened) => opened,
        Err(error) => panic!("{error}"),
    };
    let seen: serde_json::Value = serde_json::from_slice(response.headers()["x-seen"].as_bytes()).unwrap();
    assert_eq!((&seen["protocol"], &seen["target"]), (&"websocket".into(), &"/new/chat?room=1".into()));
    let names: Vec<_> = seen["headers"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
    assert!(names.contains(&"sec-websocket-version") && names.contains(&"sec-websocket-protocol"));
    for gone in ["sec-websocket-key", "connection", "upgrade", "host"] {
        assert!(!names.contains(&gone), "{gone}");
    }
    // The origin sends back what it gets, so what comes is masked, which a client refuses: bytes pass, and that shows.
    socket.send(Message::text("masked")).await.unwrap();
    assert!(socket.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_of_http2_reaches_an_upstream_of_http1() {
    let scene = scene().await;
    let mut requests = multiplexed(&scene.gateway).await;
    assert!(requests.is_extended_connect_protocol_enabled());
    let (response, mut stream) = connect(&mut requests, "/websocket", "websocket").await;
    assert_eq!(response.status(), 200);
    for gone in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let mut body = response.into_body();
    for text in ["one", "two", "three"] {
        stream.send_data(frame(text), false).unwrap();
        assert_eq!(exactly(&mut body, text.len() + 2).await, said(text));
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(rest(&mut body).await.len() <= 2);
    soon("the tunnel is closed", async || scene.gateway.metric("tidegate_tunnels", "").await == 0.0).await;
}

#[tokio::test]
async fn a_client_of_http2_reaches_an_upstream_of_http2() {
    let scene = scene().await;
    let mut requests = multiplexed(&scene.gateway).await;
    let (response, mut stream) = connect(&mut requests, "/new/x", "websocket").await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for text in ["one", "two", "three"] {
        stream.send_data(frame(text), false).unwrap();
        assert_eq!(exactly(&mut body, text.len() + 6).await, frame(text));
    }
    // Much at a time, and more than any window.
    let large = Bytes::from(vec![7; 30_000]);
    for _ in 0..40 {
        stream.send_data(large.clone(), false).unwrap();
    }
    assert_eq!(exactly(&mut body, 40 * 30_000).await.len(), 1_200_000);
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(rest(&mut body).await, b"");
}

#[tokio::test]
async fn tunnels_on_streams_share_their_connection_and_outlive_reloads() {
    let scene = scene().await;
    let mut requests = multiplexed(&scene.gateway).await;
    let mut tunnels = Vec::new();
    for path in ["/websocket", "/new/1", "/new/2"] {
        let (response, stream) = connect(&mut requests, path, "websocket").await;
        assert_eq!(response.status(), 200, "{path}");
        tunnels.push((response.into_body(), stream, if path == "/websocket" { 2 } else { 6 }));
    }
    for edit in 2..6 {
        scene.dir.write("more.yaml", &format!("routes: [{{id: more, path: /more/{edit}, upstream: old}}]\n"));
        scene.gateway.reload().await;
        for (body, stream, head) in &mut tunnels {
            stream.send_data(frame("still"), false).unwrap();
            assert_eq!(exactly(body, 5 + *head).await[*head..], *b"still");
        }
        let ask = Request::get("http://test.example/").body(()).unwrap();
        assert_eq!(requests.send_request(ask, true).unwrap().0.await.unwrap().status(), 200);
    }
    // Tunnels hold no generation.
    scene.gateway.only(5).await;
    assert_eq!(scene.gateway.metric("tidegate_tunnels", "").await, 3.0);
    assert!(scene.new.accepted() <= 2);
    drop(tunnels);
    soon("all are closed", async || scene.gateway.metric("tidegate_tunnels", "").await == 0.0).await;
}

#[tokio::test]
async fn what_cannot_become_a_tunnel_is_answered() {
    let scene = scene().await;
    let mut requests = multiplexed(&scene.gateway).await;
    // A 101 without proof that the key was read, an upstream that takes no tunnels, one that refuses.
    for (path, protocol, status) in [
        ("/upgrade", "websocket", 502),
        ("/deaf", "websocket", 502),
        ("/status/403", "websocket", 403),
        ("/websocket", "connect-udp", 405),
    ] {
        let (response, _stream) = connect(&mut requests, path, protocol).await;
        assert_eq!(response.status(), status, "{path}");
    }
    let connect = Request::connect("test.example:80").body(()).unwrap();
    assert_eq!(requests.send_request(connect, true).unwrap().0.await.unwrap().status(), 405);
    let url = format!("ws://{}/deaf", scene.gateway.web());
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
    assert!(scene.old.requests() > 0);
}

#[tokio::test]
async fn an_end_on_one_side_is_an_end_on_the_other() {
    let scene = scene().await;
    let mut requests = multiplexed(&scene.gateway).await;
    let (response, mut stream) = connect(&mut requests, "/websocket", "websocket").await;
    let mut body = response.into_body();
    stream.send_data(frame("x"), false).unwrap();
    assert_eq!(exactly(&mut body, 3).await, said("x"));
    // A close frame: the origin ends, with or without an answer to it.
    stream.send_data(Bytes::from_static(&[0x88, 0x80, 0, 0, 0, 0]), false).unwrap();
    assert!(rest(&mut body).await.len() <= 2);
    let (response, mut stream) = connect(&mut requests, "/new/x", "websocket").await;
    assert_eq!(response.status(), 200);
    soon("the stream is open", async || scene.new.streams() == 1).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    soon("the stream is gone", async || scene.new.streams() == 0).await;
}
