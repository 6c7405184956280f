//! HTTP/2 by prior knowledge.

use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use super::stage::{Stage, act};
use crate::exchange::{Body, Response};

#[test]
fn requests_are_served_and_answered() {
    Stage::default().run(async |stage| {
        let answer = stage.ask_http2(Request::get("http://A.example/a/../x?y")).await;
        assert_eq!((answer.status, &*answer.body), (200, "GET /x?y a.example "));
        assert_eq!(answer.field("tidegate-generation"), Some("7"));
    });
}

#[test]
fn what_http1_could_not_carry_is_refused() {
    Stage::default().run(async |stage| {
        let refused = [
            (Request::get("http://a/").header("host", "b"), 400),
            (Request::get("http://a/%00"), 400),
            (Request::get("http://user@a/"), 400),
            (Request::post("http://a/").header("expect", "x"), 417),
            (Request::trace("http://a/"), 405),
        ];
        for (request, status) in refused {
            let shown = format!("{request:?}");
            assert_eq!(stage.ask_http2(request).await.status, status, "{shown}");
        }
        let agrees = Request::get("http://a/").header("host", "A");
        assert_eq!(stage.ask_http2(agrees).await.status, 200);
    });
}

#[test]
fn cookie_crumbs_are_one_field_again() {
    let end = act(async |request| {
        let cookies: Vec<_> = request.head.headers.get_all("cookie").iter().map(|it| it.to_str().unwrap()).collect();
        Ok(Response::text(StatusCode::OK, cookies.join("|")))
    });
    end.run(async |stage| {
        let crumbs = Request::get("http://a/").header("cookie", "a=1").header("cookie", "b=2");
        assert_eq!(stage.ask_http2(crumbs).await.body, "a=1; b=2");
    });
}

#[test]
fn trailers_go_through_and_lose_what_may_not_be_there() {
    let end = act(async |_| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        trailers.insert("content-length", 9.into());
        let frames = [Ok(Frame::data("data".into())), Ok(Frame::trailers(trailers))];
        let mut response = Response::empty(StatusCode::OK);
        response.body = Body::stream(StreamBody::new(futures_util::stream::iter(frames)));
        Ok(response)
    });
    end.run(async |stage| {
        let answer = stage.ask_http2(Request::get("http://a/")).await;
        assert_eq!((&*answer.body, answer.field("grpc-status")), ("data", Some("0")));
        assert_eq!(answer.field("content-length"), None);
    });
}

#[test]
fn a_stream_that_is_reset_ends_its_exchange() {
    act(async |_| std::future::pending().await).run(async |stage| {
        let mut sender = stage.connect_http2().await;
        let request = Request::get("http://a/").body(http_body_util::Full::default()).unwrap();
        let asking = tokio::task::spawn_local(sender.send_request(request));
        stage.until(|| stage.open_exchanges() == 1).await;
        asking.abort();
        stage.until(|| stage.open_exchanges() == 0).await;
    });
}

#[test]
fn a_client_that_takes_nothing_of_a_stream_is_let_go() {
    let endless = act(async |_| {
        let frames = futures_util::stream::repeat_with(|| Ok(Frame::data(vec![b'x'; 1 << 16].into())));
        let mut response = Response::empty(StatusCode::OK);
        response.body = Body::stream(StreamBody::new(frames));
        Ok(response)
    });
    let short = std::time::Duration::from_millis(20);
    endless.limits(|limits| limits.write_idle_timeout = short).run(async |stage| {
        let mut sender = stage.connect_http2().await;
        let request = Request::get("http://a/").body(http_body_util::Full::default()).unwrap();
        let unread = sender.send_request(request).await.unwrap();
        stage.until(|| stage.door().hall.connections() == 0 && stage.open_exchanges() == 0).await;
        drop(unread);
    });
}

#[test]
fn floods_end_the_connection() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let ping: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\x0012345678";
    // HEADERS with `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a` (indexed and literal), then its reset.
    let reset = |stream: u8| {
        [
            &[0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 0x01, b'a'][..],
            &[0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 8],
        ]
        .concat()
    };
    let resets: Vec<u8> = (0..100).flat_map(|stream| reset(stream * 2 + 1)).collect();
    for flood in [ping[..17].repeat(30), resets] {
        let few = Stage::default().limits(|limits| {
            limits.control_frames_max = 20;
            limits.resets_max = 20;
        });
        few.run(async |stage| {
            let mut client = stage.connect().await;
            client.send(preface).await;
            // The other end may be gone before all is sent: that is the point.
            drop(client.try_send(&flood).await);
            let (said, _) = client.all().await;
            // GOAWAY, 8 bytes of it on stream 0, whose last four are ENHANCE_YOUR_CALM.
            assert!(said.contains("\0\0\x08\x07\0\0\0\0\0") && said.ends_with("\0\0\0\x0b"), "{said:?}");
            stage.until(|| stage.door().hall.connections() == 0 && stage.open_exchanges() == 0).await;
        });
    }
}

#[test]
fn a_door_that_closes_lets_streams_finish() {
    Stage::default().run(async |stage| {
        let mut sender = stage.connect_http2().await;
        let request = || Request::get("http://a/").body(http_body_util::Full::default()).unwrap();
        assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
        stage.door().close();
        stage.door().empty().await;
    });
}
