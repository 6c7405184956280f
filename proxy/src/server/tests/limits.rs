//! Limits and timeouts. No time is asserted: what is short here is far shorter than a test's patience.

use std::{future::pending, time::Duration};

use http::StatusCode;

use super::stage::{Stage, act};
use crate::exchange::{Body, Response};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_body_over_its_limit_is_refused_by_its_length_and_by_its_bytes() {
    let requests = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n",
    ];
    for request in requests {
        Stage::default().limits(|limits| limits.body_bytes_max = Some(4)).run(async |stage| {
            let mut client = stage.connect().await;
            let fits = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd").await;
            assert_eq!(fits.status, 200);
            let answer = client.ask(request).await;
            assert_eq!((answer.status, answer.field("connection")), (413, Some("close")), "{request}");
        });
    }
}

#[test]
fn a_head_that_does_not_come_is_answered_and_an_idle_connection_is_not() {
    Stage::default().limits(|limits| limits.head_timeout = SHORT).run(async |stage| {
        let mut client = stage.connect().await;
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHo").await.status, 408);
        client.expect_end().await;
        assert_eq!(stage.connect().await.ask("GET / HTTP/1.1\r\nHo").await.status, 408);
    });
    Stage::default().limits(|limits| limits.keep_alive_timeout = SHORT).run(async |stage| {
        stage.connect().await.expect_end().await;
        let mut client = stage.connect().await;
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.expect_end().await;
    });
}

#[test]
fn a_body_that_does_not_come_is_answered() {
    Stage::default().limits(|limits| limits.body_idle_timeout = SHORT).run(async |stage| {
        let mut client = stage.connect().await;
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
    });
}

#[test]
fn an_exchange_whose_time_is_up_is_answered_and_its_connection_lives() {
    let mut never = act(async |request| match request.head.uri.path() {
        "/never" => pending().await,
        _ => Ok(Response::empty(StatusCode::OK)),
    });
    never.timeout = Some(SHORT);
    never.run(async |stage| {
        let mut client = stage.connect().await;
        assert_eq!(client.ask("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 504);
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        let never = http::Request::get("http://a/never");
        assert_eq!(stage.ask_http2(never).await.status, 504);
    });
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let endless = act(async |_| {
        let mut response = Response::empty(StatusCode::OK);
        response.body = Body::full(vec![b'x'; 64 << 20]);
        Ok(response)
    });
    endless.limits(|limits| limits.write_idle_timeout = SHORT).run(async |stage| {
        let mut client = stage.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stage.until(|| stage.door().hall.connections() == 1).await;
        stage.until(|| stage.door().hall.connections() == 0).await;
        assert_eq!(stage.open_exchanges(), 0);
    });
}

#[test]
fn a_connection_serves_as_many_requests_as_it_may() {
    Stage::default().limits(|limits| limits.requests_per_connection_max = Some(2)).run(async |stage| {
        let mut client = stage.connect().await;
        let first = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(first.field("connection"), None);
        let last = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(last.field("connection"), Some("close"));
        client.expect_end().await;
    });
}

#[test]
fn connections_over_the_limit_are_closed_and_leave_the_others_alone() {
    Stage::default().limits(|limits| limits.connections_max = 1).run(async |stage| {
        let mut first = stage.connect().await;
        first.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut second = stage.connect().await;
        assert_eq!(second.all().await.0, "");
        assert_eq!(first.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        drop(first);
        stage.until(|| stage.door().hall.connections() == 0).await;
        assert_eq!(stage.connect().await.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    });
}
