//! Bodies both ways, trailers, tunnels.

use http::HeaderValue;

use super::*;

#[test]
fn a_request_body_streams_and_its_trailers_follow() {
    run(async {
        let (heard, was_heard) = tokio::sync::oneshot::channel();
        let heard = RefCell::new(Some(heard));
        let origin = Origin::new(move |_, mut peer| {
            let heard = heard.take();
            async move {
                assert!(peer.head().await.unwrap().contains("\r\ntransfer-encoding: chunked\r\n"));
                assert_eq!(peer.until(b"one\r\n").await.unwrap(), b"3\r\none\r\n");
                heard.unwrap().send(()).unwrap();
                assert_eq!(peer.until(b"\r\n\r\n").await.unwrap(), b"3\r\ntwo\r\n0\r\netag: x\r\n\r\n");
                peer.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: a\r\n\r\n2\r\nok\r\n0\r\na: b\r\n\r\n",
                )
                .await;
                peer.closed().await;
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let (feed, body) = fed();
        let mut request = room.request(Method::POST, "/");
        request.body = body;
        let feeding = async {
            feed.data("one").await;
            was_heard.await.unwrap();
            feed.data("two").await;
            let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
            feed.0.send(Ok(http_body::Frame::trailers(trailers))).await.unwrap();
            drop(feed);
        };
        let (response, ()) = tokio::join!(upstream.call(request), feeding);
        let body = response.unwrap().body.collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["a"], "b");
        assert_eq!((&body.to_bytes()[..], room.idle(&upstream)), (&b"ok"[..], 1));
    });
}

#[test]
fn a_response_that_begins_before_the_request_ends_streams_beside_it() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nready\r\n").await;
            let said = String::from_utf8(peer.until(b"0\r\n\r\n").await.unwrap()).unwrap();
            assert_eq!(said, "5\r\nagain\r\n0\r\n\r\n");
            peer.send("4\r\ndone\r\n0\r\n\r\n").await;
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let (feed, body) = fed();
        let mut request = room.request(Method::POST, "/");
        request.body = body;
        let mut response = upstream.call(request).await.unwrap();
        let ready = response.body.frame().await.unwrap().unwrap();
        assert_eq!(ready.data_ref().unwrap(), "ready");
        feed.data("again").await;
        drop(feed);
        assert_eq!(text(response).await, "done");
        assert_eq!(room.idle(&upstream), 1);
    });
}

#[test]
fn what_the_client_sends_goes_on_while_it_does_not_read() {
    run(async {
        let (heard, was_heard) = tokio::sync::oneshot::channel();
        let heard = RefCell::new(Some(heard));
        let origin = Origin::new(move |_, mut peer| {
            let heard = heard.take();
            async move {
                peer.head().await;
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
                assert!(peer.until(b"two\r\n").await.is_some());
                heard.unwrap().send(()).unwrap();
                peer.closed().await;
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let (feed, body) = fed();
        let mut request = room.request(Method::POST, "/");
        request.body = body;
        let mut response = upstream.call(request).await.unwrap();
        feed.data("one").await;
        feed.data("two").await;
        was_heard.await.unwrap();
        feed.0.send(Err(Error::new(Kind::ClientGone, "gone"))).await.unwrap();
        assert_eq!(kind(response.body.frame().await.unwrap()), Kind::ClientGone);
        assert!(response.body.frame().await.is_none());
    });
}

#[test]
fn an_early_answer_to_a_request_that_is_refused_is_passed_on() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let (feed, body) = fed();
        let mut request = room.request(Method::POST, "/");
        request.body = body;
        let response = upstream.call(request).await.unwrap();
        assert_eq!((response.head.status.as_u16(), text(response).await.as_str()), (413, "no"));
        assert!(feed.0.is_closed(), "the rest of the request is not wanted");
        assert_eq!(room.idle(&upstream), 0);
    });
}

#[test]
fn a_request_body_that_fails_ends_the_request_upstream() {
    run(async {
        let (gone, was_gone) = tokio::sync::oneshot::channel();
        let gone = RefCell::new(Some(gone));
        let origin = Origin::new(move |_, mut peer| {
            let gone = gone.take();
            async move {
                peer.head().await;
                peer.closed().await;
                gone.unwrap().send(()).unwrap();
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let (feed, body) = fed();
        let mut request = room.request(Method::POST, "/");
        request.body = body;
        feed.0.send(Err(Error::new(Kind::BodyTooLarge, "too large"))).await.unwrap();
        assert_eq!(kind(upstream.call(request).await), Kind::BodyTooLarge);
        was_gone.await.unwrap();
    });
}

#[test]
fn a_large_body_arrives_whole_through_a_slow_reader() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            peer.head().await;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n").await;
            for _ in 0..3000 {
                peer.send(&"x".repeat(1000)).await;
            }
            peer.closed().await;
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let mut response = upstream.call(room.request(Method::GET, "/")).await.unwrap();
        let mut length = 0;
        while let Some(frame) = response.body.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
            tokio::task::yield_now().await;
        }
        assert_eq!((length, room.idle(&upstream)), (3_000_000, 1));
    });
}

#[test]
fn a_head_answer_has_no_body_and_keeps_its_length() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            while peer.head().await.is_some() {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        for _ in 0..2 {
            let response = upstream.call(room.request(Method::HEAD, "/")).await.unwrap();
            assert_eq!(response.head.headers["content-length"], "1000");
            assert!(response.body.is_empty());
        }
        assert_eq!(origin.accepted.get(), 1);
    });
}

#[test]
fn a_call_takes_little_memory() {
    run(async {
        let room = Room::new();
        let upstream = room.upstream(&[], |_| {});
        let call = upstream.send(&upstream.terms, room.request(Method::GET, "/"), true);
        // What the allocator hands out without a detour.
        assert!(size_of_val(&call) <= 1024, "{} bytes", size_of_val(&call));
    });
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            let head = peer.head().await.unwrap();
            assert!(head.contains("connection: upgrade\r\nupgrade: echo\r\n"), "{head}");
            peer.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello").await;
            assert_eq!(peer.until(b"bye").await.unwrap(), b"bye");
        });
        let (room, origin) = (Room::new(), origin.await);
        let upstream = room.upstream(&[origin.address], |_| {});
        let mut request = room.request(Method::GET, "/");
        request.upgrade = Some(HeaderValue::from_static("echo"));
        let response = upstream.call(request).await.unwrap();
        assert_eq!((response.head.status.as_u16(), &response.head.headers["upgrade"]), (101, &"echo".parse().unwrap()));
        let mut end = response.tunnel.unwrap().open().await.unwrap();
        let mut said = [0; 5];
        end.read_exact(&mut said).await.unwrap();
        end.write_all(b"bye").await.unwrap();
        assert_eq!((&said, end.read(&mut [0]).await.unwrap()), (b"hello", 0));
    });
}

#[test]
fn the_host_is_the_clients_or_the_endpoints() {
    run(async {
        let origin = Origin::new(|_, mut peer| async move {
            while let Some(head) = peer.head().await {
                let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
                peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{host}", host.len())).await;
            }
        });
        let (room, origin) = (Room::new(), origin.await);
        for (preserve_host, expected) in [(true, "a.example:81".to_owned()), (false, origin.address.to_string())] {
            let upstream = room.upstream(&[origin.address], |spec| spec.preserve_host = preserve_host);
            let response = upstream.call(room.request(Method::GET, "http://a.example:81/")).await.unwrap();
            assert_eq!(text(response).await, expected);
        }
    });
}
