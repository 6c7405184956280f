//! Upgrades: a tunnel that outlives its exchange and holds nothing of it.

use http::{HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::stage::{Stage, act};
use crate::exchange::{Response, Tunnel};

// Agrees to every upgrade that is asked for, and sends back whatever comes, in upper case.
fn shouting() -> Stage {
    act(async |request| {
        let mut response = Response::empty(StatusCode::SWITCHING_PROTOCOLS);
        let protocol = request.upgrade.unwrap_or(HeaderValue::from_static("unasked"));
        response.head.headers.insert(header::UPGRADE, protocol);
        let (ours, mut theirs) = duplex(64);
        tokio::task::spawn_local(async move {
            let mut bytes = [0; 16];
            while let Ok(read @ 1..) = theirs.read(&mut bytes).await {
                bytes.make_ascii_uppercase();
                theirs.write_all(&bytes[..read]).await.unwrap();
            }
        });
        response.tunnel = Some(Tunnel::new(async { Ok(Box::new(ours) as _) }));
        Ok(response)
    })
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn a_tunnel_carries_bytes_both_ways_and_pins_nothing() {
    shouting().run(async |stage| {
        let mut client = stage.connect().await;
        client.send(format!("{ASK}early ")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        client.send("and late").await;
        assert_eq!(client.exactly(14).await, "EARLY AND LATE");
        assert_eq!(stage.open_exchanges(), 0);
        assert_eq!(stage.door().hall.tunnels.by_generation(), [(7, 1)]);
        stage.door().close();
        client.send("still there").await;
        assert_eq!(client.exactly(11).await, "STILL THERE");
        drop(client);
        stage.door().empty().await;
        assert_eq!(stage.door().hall.tunnels.by_generation(), []);
    });
}

#[test]
fn a_silent_tunnel_ends() {
    let short = std::time::Duration::from_millis(20);
    shouting().limits(|limits| limits.tunnel_idle_timeout = short).run(async |stage| {
        let mut client = stage.connect().await;
        client.send(ASK).await;
        client.head().await;
        client.expect_end().await;
    });
}

#[test]
fn a_switch_that_nobody_asked_for_is_an_error() {
    shouting().run(async |stage| {
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nx",
        ] {
            assert_eq!(stage.connect().await.ask(request).await.status, 502, "{request}");
        }
    });
}
