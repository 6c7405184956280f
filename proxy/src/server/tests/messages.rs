//! Requests and responses of HTTP/1 as they go through.

use http::StatusCode;

use super::stage::{Stage, act};
use crate::exchange::{Body, Response};

#[test]
fn one_connection_serves_one_request_after_another() {
    Stage::default().run(async |stage| {
        let mut client = stage.connect().await;
        for target in ["/first", "/second?x=1"] {
            let answer = client.ask(&format!("GET {target} HTTP/1.1\r\nHost: A.example\r\n\r\n")).await;
            assert_eq!((answer.status, &*answer.body), (200, &*format!("GET {target} a.example ")));
            assert_eq!(answer.field("tidegate-generation"), Some("7"));
            assert_eq!(answer.field("via"), Some("1.1 tidegate"));
            assert_eq!(answer.field("connection"), None);
        }
    });
}

#[test]
fn bodies_go_in_and_out() {
    Stage::default().run(async |stage| {
        let mut client = stage.connect().await;
        let chunked =
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(client.ask(chunked).await.body, "POST /c a abc");
        let sized = "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz";
        assert_eq!(client.ask(sized).await.body, "POST /l a xyz");
    });
}

#[test]
fn the_target_is_forwarded_in_its_normal_form() {
    Stage::default().run(async |stage| {
        let mut client = stage.connect().await;
        for (sent, forwarded) in [
            ("/a/../b//c/%7Ed?x=%2f", "/b/c/~d?x=%2f"),
            ("http://a", "/"),
            ("http://a?x=1", "/?x=1"),
            ("http://a/./x", "/x"),
        ] {
            let answer = client.ask(&format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert_eq!(answer.body, format!("GET {forwarded} a "), "{sent}");
        }
    });
}

#[test]
fn a_request_without_host_is_for_the_address_it_came_to() {
    Stage::default().run(async |stage| {
        let answer = stage.connect().await.ask("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(answer.body, format!("GET / {} ", stage.address()));
    });
}

#[test]
fn the_upstream_is_told_of_the_client_and_nothing_of_its_connection() {
    let tell = act(async |request| {
        let mut lines: Vec<_> =
            request.head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        Ok(Response::text(StatusCode::OK, lines.join("\n")))
    });
    tell.run(async |stage| {
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\n\
            Keep-Alive: 1\r\nX-Forwarded-For: 6.6.6.6\r\nTE: trailers\r\n\
            Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n\r\n";
        let answer = stage.connect().await.ask(request).await;
        let (traces, others): (Vec<_>, Vec<_>) =
            answer.body.lines().partition(|line| line.starts_with("traceparent: 00-0af7651916cd43dd8448eb211c80319c-"));
        assert_eq!(traces.len(), 1);
        assert!(!traces[0].contains("b7ad6b7169203331") && traces[0].ends_with("-01"));
        let port = format!("x-forwarded-port: {}", stage.address().port());
        let expected = [
            "forwarded: for=127.0.0.1;host=a.example;proto=http",
            "host: a.example",
            "te: trailers",
            "tracestate: a=b",
            "via: 1.1 tidegate",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a.example",
            &port,
            "x-forwarded-proto: http",
        ];
        assert_eq!(others, expected);
    });
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let end = act(async |request| {
        let status = request.head.uri.path()[1..].parse().unwrap();
        let mut response = Response::text(status, "body");
        response.head.headers.insert("content-length", 4.into());
        Ok(response)
    });
    end.run(async |stage| {
        let mut client = stage.connect().await;
        for (request, length) in [("HEAD /200", Some("4")), ("GET /204", None), ("GET /304", None)] {
            client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let head = client.head().await;
            let found = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(found, length, "{request}: {head}");
        }
        assert_eq!(client.ask("GET /200 HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "body");
    });
}

#[test]
fn a_length_that_a_step_left_wrong_is_put_right() {
    let end = act(async |_| {
        let mut response = Response::empty(StatusCode::OK);
        response.head.headers.insert("content-length", 400.into());
        response.body = Body::full("four");
        Ok(response)
    });
    end.run(async |stage| {
        let mut client = stage.connect().await;
        for _ in 0..2 {
            assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "four");
        }
    });
}

#[test]
fn errors_are_short_and_say_nothing_of_the_inside() {
    Stage::default().run(async |stage| {
        let answer = stage.connect().await.ask("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((answer.status, &*answer.body), (400, "the request is malformed"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(answer.field("tidegate-generation"), Some("7"));
        let answer = stage.connect().await.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((answer.status, answer.field("allow").is_some()), (405, true));
    });
}
