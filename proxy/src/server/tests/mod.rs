//! The server over real sockets, in front of a chain that is made by hand.

mod stage;
mod table;

use stage::Stage;

#[test]
fn one_connection_serves_one_request_after_another() {
    Stage::default().run(async |stage| {
        let mut client = stage.connect().await;
        for target in ["/first", "/second?x=1"] {
            let answer = client.ask(&format!("GET {target} HTTP/1.1\r\nHost: A.example\r\n\r\n")).await;
            assert_eq!((answer.status, &*answer.body), (200, &*format!("GET {target} a.example ")));
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
fn http2_by_prior_knowledge_is_served_too() {
    Stage::default().run(async |stage| {
        let answer = stage.ask_http2("GET", "http://a.example/x").await;
        assert_eq!((answer.status, &*answer.body), (200, "GET /x a.example "));
    });
}

#[test]
fn a_door_that_closes_ends_idle_connections_and_lets_busy_ones_finish() {
    Stage::default().run(async |stage| {
        let mut idle = stage.connect().await;
        let mut busy = stage.connect().await;
        idle.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na").await;
        stage.until(|| stage.open_exchanges() == 1).await;
        stage.door().close();
        idle.expect_end().await;
        busy.send("b").await;
        let answer = busy.answer().await;
        assert_eq!((&*answer.body, answer.field("connection")), ("POST / a ab", Some("close")));
        busy.expect_end().await;
        stage.door().empty().await;
    });
}
