//! The gateway over io_uring (`--io-uring`): what it does over epoll it does over a ring. All other suites can be run this way as
//! well (`TIDEGATE_TEST_IO_URING=1`); these are about what a ring makes different: many asks with one call, bytes that are
//! on their way when a connection ends, buffers that all connections share.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Method;
use tidegate_tests::{Client, ConfigDir, Gateway, Origin, Raw, WEB, request, soon, wire::digest};
use tokio_tungstenite::tungstenite::Message;

const LARGE: usize = 10_000_000;

fn configuration(edit: u64) -> String {
    format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{mark: {{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}}}
routes: [{{id: all, path: /*, middleware: [mark], upstream: origin}}]
"
    )
}

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("gateway.yaml", &configuration(1));
    let gateway = Gateway::on_ring(&dir).await;
    assert_eq!(gateway.metric("tidegate_io_uring_workers", "").await, 2.0, "this kernel permits no io_uring");
    (origin, dir, gateway)
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other_and_all_at_once() {
    let (origin, _dir, gateway) = scene().await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        for number in 0..200 {
            assert_eq!(client.get(&format!("/{number}")).await.echo()["target"], format!("/{number}"));
        }
    }
    assert!(origin.accepted() <= 4, "{} connections to the origin", origin.accepted());
    let mut pipelined = Raw::connect(gateway.web()).await;
    let asked: String = (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    pipelined.send(asked).await;
    for number in 0..50 {
        let answer = pipelined.response("GET").await.unwrap();
        assert_eq!(Origin::echo(&answer.body.bytes)["target"], format!("/{number}"));
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_wait_for_who_reads_slowly() {
    let (origin, _dir, gateway) = scene().await;
    let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let mut client = gateway.http1().await;
    let upload = request(Method::POST, "/").map(|_| body.clone().into());
    let echo = client.send(upload).await.echo();
    assert_eq!((echo["body_bytes"].as_u64(), echo["body_digest"].as_u64()), (Some(LARGE as u64), Some(digest(&body))));
    let mut slow = Raw::connect(gateway.web()).await;
    slow.send(format!("GET /bytes/{LARGE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(slow.head().await.status(), 200);
    let mut came = 0;
    while came < LARGE {
        let next = (LARGE - came).min(50_000);
        slow.exactly(next).await;
        came += next;
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.rest().await, b"");
    // An upload that its origin does not read is held up: no more is taken than sockets and the gateway's own bounds hold.
    let mut hold = origin.hold("/held");
    let mut up = Raw::connect(gateway.web()).await;
    let head = format!("POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", LARGE * 4);
    up.send(head).await;
    let _held = hold.next().await;
    let mut sent = 0;
    let piece = vec![1; 100_000];
    while tokio::time::timeout(Duration::from_millis(300), up.try_send(&piece)).await.is_ok_and(|sent| sent.is_ok()) {
        sent += piece.len();
        assert!(sent < LARGE * 4, "all of it was taken though nobody reads it");
    }
}

#[tokio::test]
async fn who_does_not_read_keeps_nobody_else_from_being_served() {
    let (_origin, _dir, gateway) = scene().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        let mut raw = Raw::connect(gateway.web()).await;
        raw.send(format!("GET /bytes/{LARGE} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        silent.push(raw);
    }
    soon("they are all being answered", async || gateway.metric("tidegate_live_exchanges", "").await >= 64.0).await;
    let mut clients = [gateway.http1().await, gateway.http2().await, gateway.http1().await];
    for _ in 0..50 {
        for client in &mut clients {
            assert_eq!(client.get("/bytes/100000").await.body.len(), 100_000);
        }
    }
    // And each of them has its answer when it reads at last.
    for mut raw in silent.drain(..4) {
        assert_eq!(raw.response("GET").await.unwrap().body.bytes.len(), LARGE);
    }
    drop(silent);
    soon("those that closed are gone", async || gateway.metric("tidegate_live_exchanges", "").await == 0.0).await;
}

#[tokio::test]
async fn a_tunnel_carries_messages_of_every_size() {
    let (_origin, dir, gateway) = scene().await;
    let (mut websocket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/websocket", gateway.web())).await.unwrap();
    for (edit, size) in [1, 100, 10_000, 1_000_000].into_iter().enumerate() {
        let message = Message::binary(vec![7; size]);
        websocket.send(message.clone()).await.unwrap();
        assert_eq!(websocket.next().await.unwrap().unwrap(), message);
        dir.write("gateway.yaml", &configuration(edit as u64 + 2));
        gateway.apply().await;
    }
    websocket.close(None).await.unwrap();
    soon("the tunnel is closed", async || gateway.metric("tidegate_tunnels", "").await == 0.0).await;
}

#[tokio::test]
async fn a_client_that_resets_ends_its_exchange() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/slow");
    let mut client = Raw::connect(gateway.web()).await;
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut held = hold.next().await;
    client.reset();
    held.gone().await;
    soon("its exchange is over", async || gateway.metric("tidegate_live_exchanges", "").await == 0.0).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_origin_closed_is_not_used_again() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/once");
    let mut client = gateway.http1().await;
    for round in 0..20 {
        let asked = tokio::spawn(async move { (client.get("/once").await, client) });
        let mut held = hold.next().await;
        held.answer(200, "once").await;
        // The answer does not say so.
        drop(held);
        let (answer, another) = asked.await.unwrap();
        assert_eq!(answer.text(), "once");
        client = another;
        soon("the connection is closed", async || origin.open() == 0).await;
        // It could not be sent a second time.
        let answer = client.send(request(Method::POST, "/")).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_gateway_does() {
    let (origin, _dir, gateway) = scene().await;
    let mut hold = origin.hold("/slow");
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..8 {
        clients.push(gateway.http1().await);
    }
    let asked: Vec<_> =
        clients.into_iter().map(|mut client| tokio::spawn(async move { client.get("/slow").await.text() })).collect();
    let mut held = Vec::new();
    for _ in &asked {
        held.push(hold.next().await);
    }
    let ended = tokio::spawn(gateway.shutdown(Duration::from_secs(10)));
    for mut held in held {
        held.answer(200, &"to the end ".repeat(20_000)).await;
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap().len(), 11 * 20_000);
    }
    assert!(ended.await.unwrap(), "everything ended in time");
}

#[tokio::test]
async fn reloads_among_requests_fail_none() {
    let (_origin, dir, gateway) = scene().await;
    let web = gateway.web();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let (mut client, mut last) = (Client::http1(web).await, 0);
                while last < 20 {
                    let answer = client.get("/bytes/1000").await;
                    assert_eq!((answer.status, answer.body.len()), (http::StatusCode::OK, 1000));
                    last = answer.header("x-edit").parse::<u64>().unwrap();
                }
            })
        })
        .collect();
    for edit in 2..=20 {
        dir.write("gateway.yaml", &configuration(edit));
        gateway.apply().await;
    }
    for asking in asking {
        asking.await.unwrap();
    }
}
