//! Which connections are kept, for how long, and who gets them.

use super::*;

#[test]
fn a_connection_is_used_again_the_last_one_first() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let both = tokio::join!(room.get(&upstream), room.get(&upstream));
        assert_eq!((both.0.unwrap().0, both.1.unwrap().0, room.idle(&upstream)), (200, 200, 2));
        let last = room.get(&upstream).await.unwrap().1;
        for _ in 0..10 {
            assert_eq!(room.get(&upstream).await.unwrap().1, last);
        }
        assert_eq!(origin.accepted.get(), 2);
    });
}

#[test]
fn another_upstream_with_the_same_endpoint_and_more_finds_the_connections() {
    run(async {
        let (room, origin, other) = (Room::new(), Origin::numbered().await, Origin::numbered().await);
        let before = room.upstream(&[origin.address], |_| {});
        room.get(&before).await.unwrap();
        drop(before);
        let after = room.upstream(&[origin.address, other.address], |_| {});
        for _ in 0..6 {
            room.get(&after).await.unwrap();
        }
        assert_eq!((origin.accepted.get(), other.accepted.get()), (1, 1));
    });
}

#[test]
fn no_more_are_kept_than_allowed_and_none_for_longer() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let upstream = room.upstream(&[origin.address], |spec| {
            (spec.pool_idle_max, spec.pool_idle_timeout) = (3, Duration::from_secs(2));
        });
        let three = tokio::join!(room.get(&upstream), room.get(&upstream), room.get(&upstream));
        assert!(three.0.is_ok() && three.1.is_ok() && three.2.is_ok());
        assert_eq!(room.idle(&upstream), 2);
        room.sweep();
        assert_eq!(room.idle(&upstream), 2);
        room.sweep();
        assert_eq!(room.idle(&upstream), 0);
        let gauges = &upstream.balancer.members()[0].endpoint.gauges;
        assert_eq!((gauges.connections(), gauges.in_flight_total()), (0, 0));
    });
}

#[test]
fn a_response_that_says_close_ends_its_connection() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        for _ in 0..3 {
            assert_eq!(&room.get(&upstream).await.unwrap().1[..], b"ok");
        }
        assert_eq!((origin.accepted.get(), room.idle(&upstream)), (3, 0));
    });
}

#[test]
fn bytes_after_a_response_end_its_connection() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n").await;
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        room.get(&upstream).await.unwrap();
        assert_eq!(room.idle(&upstream), 0);
    });
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_not_used() {
    run(async {
        let (closing, closed) = (Rc::new(tokio::sync::Notify::new()), Rc::new(tokio::sync::Notify::new()));
        let (close, done) = (Rc::clone(&closing), Rc::clone(&closed));
        let origin = Origin::new(move |number, mut peer| {
            let (close, done) = (Rc::clone(&close), Rc::clone(&done));
            async move {
                while peer.head().await.is_some() {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    if number == 0 {
                        close.notified().await;
                        drop(peer);
                        return done.notify_one();
                    }
                }
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        room.get(&upstream).await.unwrap();
        closing.notify_one();
        closed.notified().await;
        // Not idempotent: it could not be sent again.
        let response = upstream.call(room.request(Method::POST, "/")).await.unwrap();
        assert_eq!((response.head.status.as_u16(), origin.accepted.get()), (200, 2));
    });
}

// The script of an origin that answers once on its first connection and ends it at the second request, unanswered.
async fn closes_at_the_second(number: usize, mut peer: Peer) {
    while let Some(_head) = peer.head().await {
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        if number == 0 {
            peer.head().await;
            return peer.reset();
        }
    }
}

#[test]
fn a_request_that_met_a_closing_connection_is_sent_once_more() {
    run(async {
        for body in ["", "content"] {
            let (room, origin) = (Room::new(), Origin::new(closes_at_the_second).await);
            let upstream = room.upstream(&[origin.address], |_| {});
            room.get(&upstream).await.unwrap();
            let mut request = room.request(Method::PUT, "/");
            request.body = Body::full(body);
            let exchange = Rc::clone(&request.exchange);
            assert_eq!(text(upstream.call(request).await.unwrap()).await, "ok");
            assert_eq!((origin.accepted.get(), exchange.record.read(|record| record.attempts)), (2, 2));
        }
    });
}

#[test]
fn a_request_that_may_have_had_an_effect_is_not_sent_twice() {
    run(async {
        let (room, origin) = (Room::new(), Origin::new(closes_at_the_second).await);
        let upstream = room.upstream(&[origin.address], |_| {});
        room.get(&upstream).await.unwrap();
        assert_eq!(kind(upstream.call(room.request(Method::POST, "/")).await), Kind::UpstreamReset);
        assert_eq!(origin.accepted.get(), 1);
    });
}

#[test]
fn the_limit_on_connections_holds() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbe").await;
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |spec| spec.connections_max = 1);
        let first = upstream.call(room.request(Method::GET, "/")).await.unwrap();
        assert_eq!(kind(room.get(&upstream).await), Kind::UpstreamConnectionsMax);
        drop(first);
        assert!(upstream.call(room.request(Method::GET, "/")).await.is_ok(), "the first one was closed");
    });
}

#[test]
fn at_the_limit_a_connection_that_another_worker_keeps_makes_room() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let upstream = room.upstream(&[origin.address], |spec| spec.connections_max = 1);
        let other = room.other();
        for number in [b"0", b"1", b"2"] {
            let room = if number == b"1" { &other } else { &room };
            assert_eq!(&room.get(&upstream).await.unwrap().1[..], number);
        }
        assert_eq!(upstream.balancer.members()[0].endpoint.gauges.connections(), 1);
    });
}

#[test]
fn a_worker_that_ends_closes_its_connections() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let upstream = room.upstream(&[origin.address], |_| {});
        room.get(&upstream).await.unwrap();
        let late = upstream.call(room.request(Method::GET, "/")).await.unwrap();
        room.worker.locals.clear();
        assert_eq!(text(late).await, "0");
        assert_eq!(upstream.balancer.members()[0].endpoint.gauges.connections(), 0);
    });
}

#[test]
fn a_side_call_leaves_no_trace_in_the_record() {
    run(async {
        let (room, origin) = (Room::new(), Origin::numbered().await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let request = room.request(Method::GET, "/");
        let exchange = Rc::clone(&request.exchange);
        SideCall(Arc::clone(&upstream)).call(request).await.unwrap();
        assert!(exchange.record.read(|record| record.upstream.is_none() && record.attempts == 0));
        upstream.call(testing::request_on(Rc::clone(&exchange), Method::GET, "/")).await.unwrap();
        exchange.record.read(|record| {
            assert_eq!((record.upstream.as_deref(), record.endpoint), (Some("users"), Some(origin.address)));
            assert!(record.attempts == 1 && record.upstream_time.is_some());
        });
    });
}
