//! How connections are made and shared: by ALPN or as told, streams up to what the endpoint allows, kept over reloads,
//! ended when they are not used.

use futures_util::future::join_all;
use http::Method;
use tidegate_tests::{
    Authority, ConfigDir, Gateway, Origin, WEB,
    http2::{Origin2, Settings},
    request, soon, streamed,
    tls::Front,
};

use super::before;

// Clients on both workers, more or less.
async fn ask_often(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.http1().await.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn requests_share_one_connection_of_each_worker() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(gateway.http2().await);
    }
    let requests = clients.iter().flat_map(|client| (0..10).map(|_| client.another())).map(|mut client| async move {
        assert_eq!(client.get("/bytes/10000").await.body.len(), 10_000);
    });
    join_all(requests).await;
    assert_eq!(origin.requests(), 80);
    assert!(origin.accepted() <= 2, "{} connections", origin.accepted());
}

#[tokio::test]
async fn a_full_connection_is_followed_by_another_up_to_connections_max() {
    let origin = Origin2::with(Settings { streams_max: Some(2), ..Settings::default() }).await;
    let (_dir, gateway) = before(&origin, "connections-max: 3, connect-timeout: 300ms").await;
    let client = gateway.http2().await;
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut client = client.another();
        open.push(client.open(request(Method::GET, "/begin").map(|_| streamed().1)).await.unwrap());
    }
    assert_eq!((origin.accepted(), origin.streams_most()), (3, 2));
    assert_eq!(client.another().get("/").await.status, 503);
    // A place that becomes free is taken.
    let waiting = {
        let mut client = client.another();
        tokio::spawn(async move { client.get("/").await.status })
    };
    open.pop();
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(origin.accepted(), 3);
}

#[tokio::test]
async fn alpn_decides_where_the_protocol_is_left_open() {
    let (authority, plain, multiplexed) = (Authority::new(), Origin::start(), Origin2::start().await);
    let issued = authority.issue(&["127.0.0.1"]);
    let old = Front::speaking(plain.address(), &issued, None, &["http/1.1"]).await;
    let silent = Front::speaking(plain.address(), &issued, None, &[]).await;
    let new = Front::speaking(multiplexed.address, &issued, None, &["h2", "http/1.1"]).await;
    let dir = ConfigDir::new();
    dir.write("ca.pem", &authority.pem);
    let upstream = |name: &str, front: &Front, protocol: &str| {
        format!("  {name}: {{endpoints: ['{}'], tls: {{ca: ca.pem}}{protocol}}}\n", front.address)
    };
    let upstreams = [
        upstream("old", &old, ""),
        upstream("silent", &silent, ", protocol: auto"),
        upstream("new", &new, ""),
        upstream("told", &new, ", protocol: h2"),
        upstream("wrong", &old, ", protocol: h2, connect-timeout: 2s"),
    ]
    .concat();
    let routes: String = ["old", "silent", "new", "told", "wrong"]
        .map(|name| format!("  - {{id: {name}, path: /{name}, upstream: {name}}}\n"))
        .concat();
    dir.write("gateway.yaml", &format!("{WEB}upstreams:\n{upstreams}routes:\n{routes}"));
    let gateway = Gateway::start(&dir).await;
    let mut client = gateway.http1().await;
    for (path, speaker) in [("/old", "origin"), ("/silent", "origin"), ("/new", "origin2"), ("/told", "origin2")] {
        for _ in 0..3 {
            assert_eq!(client.get(path).await.echo()["origin"], speaker, "{path}");
        }
    }
    assert_eq!(client.get("/new").await.echo()["scheme"], "https");
    assert_eq!(client.get("/wrong").await.status, 502);
    // `new` and `told` lead to one endpoint, so they share its connection.
    assert_eq!(new.seen().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_http2_is_a_502_that_says_so() {
    let origin = Origin::start();
    let (dir, gateway) = super::gateway(&format!("endpoints: ['{}'], protocol: h2c", origin.address())).await;
    assert_eq!(gateway.http1().await.get("/").await.status, 502);
    drop(dir);
}

#[tokio::test]
async fn connections_outlive_reloads_and_not_their_idle_timeout() {
    let origin = Origin2::start().await;
    let (dir, gateway) = before(&origin, "pool-idle-timeout: 2s").await;
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/").await.status, 200);
    dir.edit("gateway.yaml", "id: all", "id: every");
    gateway.reload().await;
    assert_eq!(client.get("/").await.generation(), 2);
    assert_eq!(origin.accepted(), 1);
    soon("the connection is closed", async || origin.open() == 0).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.accepted(), 2);
}

#[tokio::test]
async fn a_stream_lives_on_through_reloads() {
    let origin = Origin2::start().await;
    let (dir, gateway) = before(&origin, "").await;
    let (sender, body) = streamed();
    let mut client = gateway.http2().await;
    let response = client.open(request(Method::POST, "/stream").map(|_| body)).await.unwrap();
    for edit in 0..10 {
        dir.write("other.yaml", &format!("middleware: {{m{edit}: {{headers: {{response: {{set: {{a: b}}}}}}}}}}\n"));
        gateway.reload().await;
        sender.send("more").await;
    }
    drop(sender);
    let answer = tidegate_tests::Answer::read(response).await.unwrap();
    assert_eq!((answer.text(), answer.generation()), ("more".repeat(10), 1));
    ask_often(&gateway, 1).await;
}

#[tokio::test]
async fn protocols_that_cannot_be_are_diagnostics() {
    for (upstream, hint) in [
        ("endpoints: ['127.0.0.1:1'], protocol: h2", "protocol: h2c"),
        ("endpoints: ['127.0.0.1:1'], tls: {}, protocol: h2c", "protocol: h2`"),
        ("endpoints: ['127.0.0.1:1'], http2: {streams-max: 0}", "streams-max"),
    ] {
        let dir = ConfigDir::new();
        dir.write("gateway.yaml", &format!("{WEB}upstreams: {{origin: {{{upstream}}}}}\n"));
        let why = Gateway::try_start(&dir).await.unwrap_err();
        assert!(why.contains(hint), "{why}");
    }
}
