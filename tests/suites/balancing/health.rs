//! Active health checks: what is asked, what is good, what follows.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use bytes::Bytes;
use tidegate_tests::{Authority, Gateway, Origin, soon, tls::Front};
use tokio::net::TcpListener;

use super::{Scene, counts, states};

async fn becomes(gateway: &Gateway, expected: &[&str]) {
    soon(&format!("the endpoints are {expected:?}"), async || states(gateway).await == expected).await;
}

const OFTEN: &str = "interval: 20ms, unhealthy-after: 2, healthy-after: 2";

#[tokio::test]
async fn an_http_check_asks_as_it_is_told_and_takes_the_statuses_that_are_good() {
    let scene = Scene::new(2);
    let mut asked = scene.origins[0].hold("/healthz");
    let what =
        "path: '/healthz?deep=1', method: HEAD, host: users.example, headers: {x-probe: 'yes'}, status: [204, 300-399]";
    let gateway = scene.start(&format!("endpoints: {{all}}, health-check: {{{what}, {OFTEN}}}")).await;
    let mut held = asked.next().await;
    assert_eq!(held.head.first, "HEAD /healthz?deep=1 HTTP/1.1");
    let field = |name: &str| held.head.field(name);
    assert_eq!((field("host").as_deref(), field("x-probe").as_deref()), (Some("users.example"), Some("yes")));
    held.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    // The other one answers 200, which is none of them; its turn comes again when the check is another one.
    tokio::spawn(async move {
        loop {
            asked.next().await.send("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    becomes(&gateway, &["healthy", "unhealthy"]).await;
    let upstream = gateway.upstream("users").await;
    assert_eq!(upstream["endpoints"][1]["failure"], "the status is 200 OK", "{upstream:#}");
    assert_eq!(counts(&mut gateway.http1().await, 10).await.get("a"), Some(&10));
    assert_eq!(gateway.metric("tidegate_upstream_endpoints", "state=\"unhealthy\"").await, 1.0);
}

#[tokio::test]
async fn an_endpoint_goes_and_comes_back_and_one_that_begins_unhealthy_waits_for_its_first_check() {
    let scene = Scene::new(2);
    let check = format!("health-check: {{path: /healthz, {OFTEN}}}");
    let gateway = scene.start(&format!("endpoints: {{all}}, {check}")).await;
    scene.origins[1].fail(Some(503));
    becomes(&gateway, &["healthy", "unhealthy"]).await;
    let counts = counts(&mut gateway.http1().await, 10).await;
    assert_eq!(counts.get("a"), Some(&10), "{counts:?}");
    // What is known of it outlives a reload.
    scene.write(&format!("endpoints: ['{{b}}', '{{a}}'], {check}, panic-threshold: never"));
    gateway.apply().await;
    assert_eq!(states(&gateway).await, ["unhealthy", "healthy"]);
    scene.origins[1].fail(None);
    becomes(&gateway, &["healthy", "healthy"]).await;
    let fresh = Origin::named("fresh");
    let mut ready = fresh.hold("/ready");
    let dir = tidegate_tests::ConfigDir::new().with("fresh", fresh.address());
    dir.write(
        "gateway.yaml",
        "listeners: {web: {address: '127.0.0.1:0'}}\nroutes: [{id: all, path: /*, upstream: users}]\nupstreams: {users: \
         {endpoints: ['{fresh}'], panic-threshold: never, health-check: {path: /ready, initially: unhealthy, timeout: 60s}}}",
    );
    let gateway = Gateway::start(&dir).await;
    let mut held = ready.next().await;
    let refused = gateway.http1().await.get("/").await;
    assert_eq!(refused.status, 503);
    held.answer(200, "").await;
    becomes(&gateway, &["healthy"]).await;
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_tcp_check_wants_a_connection_and_may_ask_another_port() {
    let scene = Scene::new(2);
    let other = Origin::named("other");
    let port = other.address().port();
    let gateway =
        scene.start(&format!("endpoints: ['{{a}}'], health-check: {{tcp: true, port: {port}, {OFTEN}}}")).await;
    soon("the other port is asked", async || other.accepted() > 1).await;
    becomes(&gateway, &["healthy"]).await;
    other.stop();
    becomes(&gateway, &["unhealthy"]).await;
    assert_eq!(counts(&mut gateway.http1().await, 4).await.get("a"), Some(&4), "the only one is used all the same");
}

// A server of grpc.health.v1.Health that says `status`, or that it knows no such service where it is 99.
async fn health_server(status: Arc<AtomicU8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let status = Arc::clone(&status);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let status = status.load(Relaxed);
                    tokio::spawn(async move { drop(answer(request, respond, status).await) });
                }
            });
        }
    });
    address
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    status: u8,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    if head.uri.path() == "/healthz" {
        let answer = http::Response::builder().status(if status == 1 { 200 } else { 503 });
        respond.send_response(answer.body(()).unwrap(), true)?;
        return Ok(());
    }
    let message = body.data().await.expect("a request has a message")?;
    let right = head.uri.path() == "/grpc.health.v1.Health/Check" && message[..] == *b"\0\0\0\0\x07\x0a\x05users";
    let answer = http::Response::builder().header("content-type", "application/grpc");
    if !right || status == 99 {
        respond.send_response(answer.header("grpc-status", "5").body(()).unwrap(), true)?;
        return Ok(());
    }
    let mut stream = respond.send_response(answer.body(()).unwrap(), false)?;
    stream.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false)?;
    stream.send_trailers([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())].into_iter().collect())
}

#[tokio::test]
async fn a_grpc_check_asks_for_its_service() {
    let scene = Scene::new(1);
    let status = Arc::new(AtomicU8::new(1));
    let address = health_server(Arc::clone(&status)).await;
    let check = format!("health-check: {{grpc: {{service: users}}, {OFTEN}}}");
    let gateway = scene.start(&format!("endpoints: ['{address}'], {check}")).await;
    becomes(&gateway, &["healthy"]).await;
    for (said, why) in [(2, "its serving status is 2"), (99, "grpc-status is 5")] {
        status.store(said, Relaxed);
        becomes(&gateway, &["unhealthy"]).await;
        soon(why, async || gateway.upstream("users").await["endpoints"][0]["failure"] == why).await;
        status.store(1, Relaxed);
        becomes(&gateway, &["healthy"]).await;
    }
}

#[tokio::test]
async fn an_http_check_speaks_http2_where_the_endpoint_speaks_nothing_else() {
    let scene = Scene::new(0);
    let status = Arc::new(AtomicU8::new(2));
    let address = health_server(Arc::clone(&status)).await;
    let check = format!("protocol: h2c, health-check: {{path: /healthz, {OFTEN}}}");
    let gateway = scene.start(&format!("endpoints: ['{address}'], {check}")).await;
    becomes(&gateway, &["unhealthy"]).await;
    status.store(1, Relaxed);
    becomes(&gateway, &["healthy"]).await;
}

#[tokio::test]
async fn a_grpc_check_over_tls_verifies_whom_it_asks() {
    let (scene, authority) = (Scene::new(0), Authority::new());
    scene.dir.write("tls/ca.pem", &authority.pem);
    let status = Arc::new(AtomicU8::new(1));
    let address = health_server(Arc::clone(&status)).await;
    let issued = authority.issue(&["health.test"]);
    let front = Front::speaking(address, &issued, None, &["h2"]).await;
    let check = format!("health-check: {{grpc: {{service: users}}, initially: unhealthy, {OFTEN}}}");
    let users =
        |name: &str| format!("endpoints: ['{}'], tls: {{ca: tls/ca.pem, server-name: {name}}}, {check}", front.address);
    let gateway = scene.start(&users("health.test")).await;
    becomes(&gateway, &["healthy"]).await;
    status.store(2, Relaxed);
    becomes(&gateway, &["unhealthy"]).await;
    status.store(1, Relaxed);
    becomes(&gateway, &["healthy"]).await;
    // Somebody else is not asked.
    scene.write(&users("other.test"));
    gateway.apply().await;
    becomes(&gateway, &["unhealthy"]).await;
    assert!(front.seen().iter().all(|seen| seen.server_name.as_deref() == Some("health.test")), "{:?}", front.seen());
}
