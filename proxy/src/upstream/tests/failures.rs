//! What each failure of an origin becomes.

use super::*;
use crate::{
    config::spec::{HealthCheck, Probe},
    state::{EndpointKey, EndpointState},
};

// What a GET becomes when each connection reads a request, answers with `answer`, and is closed.
async fn answered(answer: &'static str) -> Result<(u16, Bytes), Error> {
    let origin = Origin::new(move |_, mut peer| async move {
        peer.head().await;
        peer.send(answer).await;
    });
    let (room, origin) = (Room::new(), origin.await);
    room.get(&room.upstream(&[origin.address], |_| {})).await
}

#[test]
fn each_broken_answer_has_its_kind() {
    run(async {
        for (answer, expected) in [
            ("", Kind::UpstreamReset),
            ("HTTP/1.1 200 OK\r\n", Kind::UpstreamReset),
            ("hello\r\n\r\n", Kind::UpstreamMalformed),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Kind::UpstreamMalformed),
            ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Kind::UpstreamMalformed),
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", Kind::UpstreamReset),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Kind::UpstreamReset),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", Kind::UpstreamMalformed),
        ] {
            assert_eq!(kind(answered(answer).await), expected, "{answer:?}");
        }
        let long = Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(9000)).into_boxed_str());
        assert_eq!(kind(answered(long).await), Kind::UpstreamMalformed);
        assert_eq!(&answered("HTTP/1.0 200 OK\r\n\r\nuntil the end").await.unwrap().1[..], b"until the end");
        assert_eq!(answered("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await.unwrap().0, 204);
    });
}

#[test]
fn an_error_names_upstream_endpoint_and_cause() {
    run(async {
        let error = answered("hello\r\n\r\n").await.unwrap_err().to_string();
        assert!(error.starts_with("upstream_malformed: upstream users at 127.0.0.1:"), "{error}");
    });
}

#[test]
fn a_refused_connection_is_502_after_every_endpoint_was_tried() {
    run(async {
        let room = Room::new();
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = port.local_addr().unwrap();
        drop(port);
        let upstream = room.upstream(&[gone], |_| {});
        assert_eq!(kind(room.get(&upstream).await), Kind::UpstreamConnect);
        let origin = Origin::numbered().await;
        let upstream = room.upstream(&[gone, origin.address], |_| {});
        for _ in 0..10 {
            assert_eq!(room.get(&upstream).await.unwrap().0, 200);
        }
    });
}

#[test]
fn a_name_that_does_not_resolve_is_502() {
    run(async {
        let room = Room::new();
        let upstream = room.upstream(&[], |spec| {
            spec.endpoints = vec![Endpoint::new("tidegate.invalid:80".into())];
        });
        let error = room.get(&upstream).await.unwrap_err();
        assert_eq!(error.kind(), Kind::UpstreamConnect);
        assert!(error.to_string().contains("tidegate.invalid:80"), "{error}");
    });
}

#[test]
fn a_name_that_is_slow_to_resolve_is_504_and_does_not_hold_up_others() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let key = EndpointKey::new("slow.test:80", None);
        let state = room.states.endpoints.find_or_make(&key, || EndpointState::new(&key, 2));
        // Whoever looks the name up waits for this.
        let _resolving = state.resolving.lock().await;
        let named = |others: &[SocketAddr]| {
            room.upstream(others, |spec| {
                spec.endpoints.insert(0, Endpoint::new(key.address.to_string()));
                spec.connect_timeout = Duration::from_millis(50);
            })
        };
        assert_eq!(kind(room.get(&named(&[])).await), Kind::UpstreamConnectTimeout);
        let both = named(&[origin.address]);
        for _ in 0..4 {
            assert_eq!(room.get(&both).await.unwrap().0, 200);
        }
    });
}

#[test]
fn no_endpoint_is_503() {
    run(async {
        let room = Room::new();
        let upstream = room.upstream(&[], |_| {});
        assert_eq!(kind(room.get(&upstream).await), Kind::NoEndpoint);
    });
}

#[test]
fn silence_is_504_before_the_head_and_an_error_in_the_body() {
    run(async {
        let origin = Origin::new(|number, mut peer| async move {
            peer.head().await;
            if number == 1 {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
            }
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |spec| {
            (spec.response_timeout, spec.idle_timeout) = (Duration::from_millis(30), Duration::from_millis(30));
        });
        let silent = room.get(&upstream).await.unwrap_err();
        assert_eq!((silent.kind(), silent.kind().status().as_u16()), (Kind::UpstreamTimeout, 504));
        assert_eq!(kind(room.get(&upstream).await), Kind::UpstreamIdleTimeout);
        assert_eq!(room.idle(&upstream), 0);
    });
}

#[test]
fn a_reset_in_the_midst_of_a_body_is_an_error_of_the_body() {
    run(async {
        let (read, was_read) = tokio::sync::oneshot::channel::<()>();
        let was_read = RefCell::new(Some(was_read));
        let origin = Origin::new(move |_, mut peer| {
            let was_read = was_read.take();
            async move {
                peer.head().await;
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
                was_read.unwrap().await.unwrap();
                peer.reset();
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let mut response = upstream.call(room.request(Method::GET, "/")).await.unwrap();
        let first = response.body.frame().await.unwrap().unwrap();
        assert_eq!(first.data_ref().unwrap(), "hello");
        read.send(()).unwrap();
        assert_eq!(kind(response.body.frame().await.unwrap()), Kind::UpstreamReset);
        assert!(response.body.frame().await.is_none());
    });
}

#[test]
fn dropping_the_call_closes_the_connection_at_once() {
    run(async {
        let (seen, was_seen) = tokio::sync::oneshot::channel();
        let (gone, was_gone) = tokio::sync::oneshot::channel();
        let signals = RefCell::new(Some((seen, gone)));
        let origin = Origin::new(move |_, mut peer| {
            let (seen, gone) = signals.take().unwrap();
            async move {
                peer.head().await;
                seen.send(()).unwrap();
                peer.closed().await;
                gone.send(()).unwrap();
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        tokio::select! {
            _ = upstream.call(room.request(Method::GET, "/")) => unreachable!("nobody answers"),
            seen = was_seen => seen.unwrap(),
        }
        was_gone.await.unwrap();
        assert_eq!(upstream.balancer.look(|standing| standing.roster.members[0].endpoint.gauges.in_flight_total()), 0);
    });
}

#[test]
fn an_active_check_takes_an_endpoint_out_and_brings_it_back() {
    run(async {
        let healthy = Rc::new(Cell::new(false));
        let now = Rc::clone(&healthy);
        let checked = Origin::new(move |_, mut peer| {
            let now = Rc::clone(&now);
            async move {
                while let Some(head) = peer.head().await {
                    let status = if head.starts_with("GET /healthz ") && !now.get() { 503 } else { 200 };
                    peer.send(&format!("HTTP/1.1 {status} x\r\ncontent-length: 1\r\n\r\na")).await;
                }
            }
        });
        let plain = Origin::new(|_, mut peer| async move {
            while peer.head().await.is_some() {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb").await;
            }
        });
        let (room, checked, plain) = (Room::new(), checked.await, plain.await);
        let check = HealthCheck {
            probe: Probe::Http {
                path: "/healthz".into(),
                method: Method::GET,
                host: None,
                status: vec![(200, 399)],
                headers: Vec::new(),
            },
            port: None,
            interval: Duration::from_millis(10),
            unhealthy_interval: Duration::from_millis(10),
            jitter_percent: 10,
            timeout: Duration::from_secs(20),
            unhealthy_after: 2,
            healthy_after: 2,
            initially_healthy: true,
        };
        let upstream = room.upstream(&[checked.address, plain.address], |spec| spec.health_check = Some(check));
        let verdict = |upstream: &Upstream| {
            upstream.balancer.look(|standing| standing.roster.members[0].verdict.clone().unwrap())
        };
        let (verdict, of) = (verdict(&upstream), verdict);
        while verdict.is_healthy() {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            assert_eq!(&room.get(&upstream).await.unwrap().1[..], b"b");
        }
        let again = room.upstream(&[checked.address], |spec| spec.health_check = upstream.spec.health_check.clone());
        assert!(Arc::ptr_eq(&of(&again), &verdict), "an unchanged check is the same");
        healthy.set(true);
        while !verdict.is_healthy() {
            tokio::task::yield_now().await;
        }
        while room.get(&upstream).await.unwrap().1 != b"a"[..] {}
    });
}
