//! How many exchanges may be under way at a time, and how large a request may be, from outside.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tidegate_tests::{
    Answer, ConfigDir, Gateway, Origin, WEB, eventually,
    origin::{Held, Hold},
    request, soon, streamed,
};

const CONFIGURATION: &str = "
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  two: {concurrency: {exchanges-max: 2, retry-after: 3s}}
  queue: {concurrency: {exchanges-max: 1, queue-max: 1, queue-timeout: 30s, status: 429}}
  late: {concurrency: {exchanges-max: 1, queue-max: 8, queue-timeout: 50ms}}
  tenant: {concurrency: {exchanges-max: 1, key: {header: x-tenant}}}
  each: {concurrency: {exchanges-max: 1, key: route}}
  tunnels: {concurrency: {exchanges-max: 1}}
routes:
  - {id: two, path: /two, middleware: [two], upstream: origin}
  - {id: queue, path: /queue, middleware: [queue], upstream: origin}
  - {id: late, path: /late, middleware: [late], upstream: origin}
  - {id: tenant, path: /tenant, middleware: [tenant], upstream: origin}
  - {id: a, path: /a, middleware: [each], upstream: origin}
  - {id: b, path: /b, middleware: [each], upstream: origin}
  - {id: tunnel, path: /upgrade, middleware: [tunnels], upstream: origin}
  - {id: small, path: /small, body-bytes-max: 1KiB, upstream: origin}
";

async fn scene() -> (Origin, ConfigDir, Gateway) {
    Gateway::in_front_of_origin(CONFIGURATION).await
}

type Asked = tokio::task::JoinHandle<Answer>;

// A request on a connection of its own, on whichever worker.
async fn ask(gateway: &Gateway, path: &str, fields: &[(&'static str, &'static str)]) -> Asked {
    let mut client = gateway.http1().await;
    let mut asked = request(Method::GET, path);
    for (name, value) in fields {
        asked.headers_mut().insert(*name, value.parse().unwrap());
    }
    tokio::spawn(async move { client.send(asked).await })
}

// One that is let in. A slot is free a moment after the last byte of who had it, so it asks until then.
async fn enter(
    gateway: &Gateway,
    hold: &mut Hold,
    path: &str,
    fields: &[(&'static str, &'static str)],
) -> (Held, Asked) {
    eventually("a slot is free", Duration::from_secs(20), async || {
        let mut asked = ask(gateway, path, fields).await;
        tokio::select! {
            held = hold.next() => Some((held, asked)),
            answer = &mut asked => {
                assert!(matches!(answer.unwrap().status.as_u16(), 429 | 503));
                None
            }
        }
    })
    .await
}

async fn refused(gateway: &Gateway, path: &str, fields: &[(&'static str, &'static str)]) -> Answer {
    let answer = ask(gateway, path, fields).await.await.unwrap();
    assert!(matches!(answer.status.as_u16(), 429 | 503), "{answer:?}");
    answer
}

async fn end(mut held: Held, asked: Asked) {
    held.answer(200, "done").await;
    held.keep();
    assert_eq!(asked.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn so_many_are_under_way_in_the_whole_process_and_no_more() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/two");
    for _ in 0..3 {
        let (first, one) = enter(&gateway, &mut hold, "/two", &[]).await;
        let (second, two) = enter(&gateway, &mut hold, "/two", &[]).await;
        // Whichever worker they come to.
        for _ in 0..4 {
            let answer = refused(&gateway, "/two", &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "3"));
            assert_eq!(answer.text(), "the service is unavailable");
        }
        end(first, one).await;
        let (held, third) = enter(&gateway, &mut hold, "/two", &[]).await;
        end(held, third).await;
        end(second, two).await;
    }
    let counted = async |outcome: &str| gateway.metric("tidegate_concurrency_requests_total", outcome).await;
    soon("they are counted", async || counted("refused").await >= 12.0 && counted("passed").await == 9.0).await;
    let errors = async || gateway.metric("tidegate_request_errors_total", "overloaded").await;
    soon("as errors, too", async || errors().await == counted("refused").await).await;
}

#[tokio::test]
async fn who_waits_has_its_turn_and_the_queue_has_an_end() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/queue");
    let (first, one) = enter(&gateway, &mut hold, "/queue", &[]).await;
    // Of two more one waits, and the other one finds the queue full.
    let (mut two, mut three) = (ask(&gateway, "/queue", &[]).await, ask(&gateway, "/queue", &[]).await);
    let (answer, waiting) = tokio::select! {
        answer = &mut two => (answer.unwrap(), three),
        answer = &mut three => (answer.unwrap(), two),
    };
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "1"));
    assert!(hold.is_empty());
    end(first, one).await;
    let second = hold.next().await;
    end(second, waiting).await;
}

#[tokio::test]
async fn who_waits_for_too_long_is_turned_away() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/late");
    let (first, one) = enter(&gateway, &mut hold, "/late", &[]).await;
    let answer = refused(&gateway, "/late", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    end(first, one).await;
    soon("it is counted", async || {
        gateway.metric("tidegate_concurrency_requests_total", "outcome=\"late\"").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn each_value_of_a_key_has_slots_of_its_own() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/tenant");
    let (a, b) = ([("x-tenant", "a")], [("x-tenant", "b")]);
    let (first, one) = enter(&gateway, &mut hold, "/tenant", &a).await;
    refused(&gateway, "/tenant", &a).await;
    let (second, two) = enter(&gateway, &mut hold, "/tenant", &b).await;
    end(first, one).await;
    end(second, two).await;
    // And each route.
    let (mut a, mut b) = (origin.hold("/a"), origin.hold("/b"));
    let (first, one) = enter(&gateway, &mut a, "/a", &[]).await;
    refused(&gateway, "/a", &[]).await;
    let (second, two) = enter(&gateway, &mut b, "/b", &[]).await;
    end(first, one).await;
    end(second, two).await;
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_slot_back() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/late");
    let (mut first, one) = enter(&gateway, &mut hold, "/late", &[]).await;
    one.abort();
    first.gone().await;
    let (second, two) = enter(&gateway, &mut hold, "/late", &[]).await;
    end(second, two).await;
}

#[tokio::test]
async fn a_reload_keeps_the_slots_and_a_changed_limit_holds_at_once() {
    let (origin, dir, gateway) = scene().await;
    let mut hold = origin.hold("/two");
    let (first, one) = enter(&gateway, &mut hold, "/two", &[]).await;
    let (second, two) = enter(&gateway, &mut hold, "/two", &[]).await;
    let change = async |limit: &str| {
        dir.write(
            "gateway.yaml",
            &format!(
                "{WEB}{}",
                CONFIGURATION.replace(
                    "two: {concurrency: {exchanges-max: 2",
                    &format!("two: {{concurrency: {{exchanges-max: {limit}")
                )
            ),
        );
        gateway.apply().await;
    };
    change("1").await;
    end(first, one).await;
    // One of before is still under way, and one is as many as there may be.
    refused(&gateway, "/two", &[]).await;
    change("3").await;
    let (third, three) = enter(&gateway, &mut hold, "/two", &[]).await;
    let (fourth, four) = enter(&gateway, &mut hold, "/two", &[]).await;
    refused(&gateway, "/two", &[]).await;
    for (held, asked) in [(second, two), (third, three), (fourth, four)] {
        end(held, asked).await;
    }
}

#[tokio::test]
async fn a_tunnel_keeps_its_slot_until_it_is_closed() {
    let (_origin, _dir, gateway) = scene().await;
    let upgrade = || {
        let mut asked: Request<Bytes> = request(Method::GET, "/upgrade");
        asked.headers_mut().insert("connection", "upgrade".parse().unwrap());
        asked.headers_mut().insert("upgrade", "echo".parse().unwrap());
        asked
    };
    let open = async |asked: Request<Bytes>| {
        let (sender, body) = streamed();
        drop(sender);
        gateway.http1().await.open(asked.map(|_| body)).await.unwrap()
    };
    let first = open(upgrade()).await;
    assert_eq!(first.status(), StatusCode::SWITCHING_PROTOCOLS);
    let tunnel = hyper::upgrade::on(first).await.unwrap();
    soon("it is a tunnel", async || gateway.metric("tidegate_tunnels", "").await == 1.0).await;
    assert_eq!(open(upgrade()).await.status().as_u16(), 503);
    drop(tunnel);
    soon("its slot is free", async || open(upgrade()).await.status() == StatusCode::SWITCHING_PROTOCOLS).await;
}

#[tokio::test]
async fn a_request_body_over_its_limit_is_refused_with_and_without_a_length() {
    for http2 in [false, true] {
        let (origin, _dir, gateway) = scene().await;
        let client = async || if http2 { gateway.http2().await } else { gateway.http1().await };
        let fits = client().await.send(request(Method::POST, "/small").map(|_| Bytes::from(vec![b'x'; 1024]))).await;
        assert_eq!((fits.status.as_u16(), fits.echo()["body_bytes"].as_u64()), (200, Some(1024)));
        let known = client().await.send(request(Method::POST, "/small").map(|_| Bytes::from(vec![b'x'; 1025]))).await;
        assert_eq!((known.status.as_u16(), known.text()), (413, "the request body is too large".into()));
        assert_eq!(origin.requests(), 1, "one whose length says it never reaches the upstream");
        let (sender, body) = streamed();
        let feed = async move {
            for _ in 0..3 {
                let _read = sender.send(vec![b'x'; 500]).await;
            }
        };
        let mut client = client().await;
        let (response, ()) = tokio::join!(client.open(request(Method::POST, "/small").map(|_| body)), feed);
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "the request body is too large");
    }
}
