//! What happens when streams and connections end before their time, and what is safely tried again.

use http::Method;
use tidegate_tests::{
    Gateway,
    http2::{Frames, GOAWAY, HEADERS, Origin2, PING, RST_STREAM},
    request, soon,
};
use tokio::net::TcpListener;

use super::{before, gateway};

const MAX_CONCURRENT_STREAMS: u16 = 3;

// A listener for a server that is played by hand, and a gateway before it.
async fn by_hand(settings: &str) -> (TcpListener, tidegate_tests::ConfigDir, Gateway) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dir, gateway) = gateway(&format!("endpoints: ['{address}'], protocol: h2c, {settings}")).await;
    (listener, dir, gateway)
}

fn ask(gateway: &Gateway, method: Method, path: &'static str) -> tokio::task::JoinHandle<(u16, String)> {
    let address = gateway.web();
    tokio::spawn(async move {
        let mut client = tidegate_tests::Client::http2(address).await;
        let answer = client.send(request(method, path)).await;
        (answer.status.as_u16(), answer.text())
    })
}

fn goaway(last: u32) -> Vec<u8> {
    [last.to_be_bytes(), 0_u32.to_be_bytes()].concat()
}

#[tokio::test]
async fn what_a_goaway_left_out_is_sent_again_whatever_it_is() {
    let (listener, _dir, gateway) = by_hand("").await;
    let answer = ask(&gateway, Method::POST, "/");
    let mut first = Frames::accept(&listener, &[]).await;
    assert_eq!(first.next_of(HEADERS).await.unwrap().stream, 1);
    first.send(GOAWAY, 0, 0, &goaway(0)).await;
    let mut second = Frames::accept(&listener, &[]).await;
    let stream = second.next_of(HEADERS).await.unwrap().stream;
    second.answer(stream, "second").await;
    assert_eq!(answer.await.unwrap(), (200, "second".to_owned()));
}

#[tokio::test]
async fn streams_that_a_goaway_covers_end_where_they_are() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut client = gateway.http2().await;
    let (sender, body) = tidegate_tests::streamed();
    let response = client.open(request(Method::POST, "/stream").map(|_| body)).await.unwrap();
    origin.go_away();
    sender.send("still here").await;
    soon("new streams go elsewhere", async || {
        client.get("/").await;
        origin.accepted() == 2
    })
    .await;
    drop(sender);
    assert_eq!(tidegate_tests::Answer::read(response).await.unwrap().text(), "still here");
    soon("the old connection is closed", async || origin.open() == 1).await;
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_whatever_it_is() {
    let (listener, _dir, gateway) = by_hand("").await;
    let answer = ask(&gateway, Method::POST, "/");
    let mut first = Frames::accept(&listener, &[]).await;
    let stream = first.next_of(HEADERS).await.unwrap().stream;
    // REFUSED_STREAM.
    first.send(RST_STREAM, 0, stream, &7_u32.to_be_bytes()).await;
    let stream = first.next_of(HEADERS).await.unwrap().stream;
    first.answer(stream, "at last").await;
    assert_eq!(answer.await.unwrap(), (200, "at last".to_owned()));
}

#[tokio::test]
async fn a_reset_for_another_reason_is_a_502_and_not_sent_again() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let answer = gateway.http1().await.send(request(Method::POST, "/reset")).await;
    assert_eq!((answer.status.as_u16(), origin.requests()), (502, 1));
}

#[tokio::test]
async fn a_kept_connection_that_ends_without_a_word_costs_no_safe_request() {
    let (listener, _dir, gateway) = by_hand("").await;
    let answer = ask(&gateway, Method::GET, "/");
    let mut first = Frames::accept(&listener, &[]).await;
    let stream = first.next_of(HEADERS).await.unwrap().stream;
    first.answer(stream, "first").await;
    assert_eq!(answer.await.unwrap(), (200, "first".to_owned()));
    // Whichever worker is asked: it has one connection that ends, or none.
    let answer = ask(&gateway, Method::GET, "/");
    let second = tokio::select! {
        frame = first.next_of(HEADERS) => {
            assert!(frame.is_some());
            drop(first);
            Frames::accept(&listener, &[]).await
        }
        second = Frames::accept(&listener, &[]) => second,
    };
    let mut second = second;
    let stream = second.next_of(HEADERS).await.unwrap().stream;
    second.answer(stream, "second").await;
    assert_eq!(answer.await.unwrap(), (200, "second".to_owned()));
}

#[tokio::test]
async fn nothing_is_sent_before_the_endpoint_says_how_many_streams_it_takes() {
    let (listener, _dir, gateway) = by_hand("").await;
    let asked = [ask(&gateway, Method::GET, "/"), ask(&gateway, Method::GET, "/")];
    let serve = async {
        let mut served = 0;
        while served < 2 {
            let mut frames = Frames::accept(&listener, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
            let stream = frames.next_of(HEADERS).await.unwrap().stream;
            frames.answer(stream, "one at a time").await;
            served += 1;
            // The other one may come here as well, once there is room.
            if served < 2 {
                tokio::select! {
                    frame = frames.next_of(HEADERS) => {
                        frames.answer(frame.unwrap().stream, "one at a time").await;
                        served += 1;
                    }
                    second = Frames::accept(&listener, &[]) => {
                        let mut second = second;
                        let stream = second.next_of(HEADERS).await.unwrap().stream;
                        second.answer(stream, "one at a time").await;
                        served += 1;
                    }
                }
            }
        }
    };
    serve.await;
    for answer in asked {
        assert_eq!(answer.await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_found_by_a_ping() {
    let (listener, _dir, gateway) = by_hand("http2: {ping-after: 1s, ping-timeout: 1s}, response-timeout: 60s").await;
    let answer = ask(&gateway, Method::GET, "/");
    let mut first = Frames::accept(&listener, &[]).await;
    assert!(first.next_of(HEADERS).await.is_some());
    first.play_dead();
    assert!(first.next_of(PING).await.is_some());
    // No answer to it: the connection is given up, long before the response timeout.
    assert_eq!(answer.await.unwrap().0, 502);
    assert!(first.next_of(HEADERS).await.is_none());
}

#[tokio::test]
async fn a_slow_answer_on_a_connection_that_stands_is_waited_for() {
    let (listener, _dir, gateway) = by_hand("http2: {ping-after: 1s, ping-timeout: 1s}, response-timeout: 60s").await;
    let answer = ask(&gateway, Method::GET, "/");
    let mut first = Frames::accept(&listener, &[]).await;
    let stream = first.next_of(HEADERS).await.unwrap().stream;
    let ping = first.next_of(PING).await.unwrap();
    assert_eq!(ping.payload.len(), 8);
    // Once is enough: after the answer there is silence again, and no second PING within the deadline of the first.
    first.send(PING, 1, 0, &ping.payload).await;
    let status = gateway.metric("tidegate_upstream_connections", r#"upstream="origin""#).await;
    assert!(status >= 1.0);
    first.answer(stream, "late").await;
    assert_eq!(answer.await.unwrap(), (200, "late".to_owned()));
}

#[tokio::test]
async fn an_answer_that_is_not_http2_is_a_502() {
    let (listener, _dir, gateway) = by_hand("").await;
    for (kind, flags, payload) in [
        // A head without a status, then one whose compression is broken.
        (HEADERS, 5, &[0x40, 1, b'a', 1, b'b'][..]),
        (HEADERS, 5, &[0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let answer = ask(&gateway, Method::POST, "/");
        let mut frames = Frames::accept(&listener, &[]).await;
        let stream = frames.next_of(HEADERS).await.unwrap().stream;
        frames.send(kind, flags, stream, payload).await;
        assert_eq!(answer.await.unwrap().0, 502);
        drop(frames);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_whole() {
    let (listener, _dir, gateway) = by_hand("").await;
    let address = gateway.web();
    let client = tokio::spawn(async move {
        let mut client = tidegate_tests::Client::http1(address).await;
        client.try_send(request(Method::GET, "/")).await
    });
    let mut frames = Frames::accept(&listener, &[]).await;
    let stream = frames.next_of(HEADERS).await.unwrap().stream;
    frames.send(HEADERS, 4, stream, &[0x88]).await;
    frames.send(0, 0, stream, b"half").await;
    // INTERNAL_ERROR.
    frames.send(RST_STREAM, 0, stream, &2_u32.to_be_bytes()).await;
    assert!(client.await.unwrap().is_err());
}

#[tokio::test]
async fn silence_before_and_within_an_answer_ends_in_time() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "response-timeout: 200ms, idle-timeout: 200ms").await;
    let mut client = gateway.http1().await;
    assert_eq!(client.get("/silent").await.status, 504);
    assert!(client.try_send(request(Method::GET, "/begin")).await.is_err());
    soon("both streams are reset", async || origin.resets() == ["CANCEL", "CANCEL"]).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_a_502() {
    let (listener, _dir, gateway) = by_hand("response-head-bytes-max: 1KiB").await;
    let answer = ask(&gateway, Method::POST, "/");
    let mut frames = Frames::accept(&listener, &[]).await;
    let stream = frames.next_of(HEADERS).await.unwrap().stream;
    let mut head = vec![0x88];
    for _ in 0..20 {
        head.extend([0x40, 1, b'a', 100]);
        head.extend([b'b'; 100]);
    }
    frames.send(HEADERS, 5, stream, &head).await;
    assert_eq!(answer.await.unwrap().0, 502);
}
