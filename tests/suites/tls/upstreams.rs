//! TLS to upstreams: verified unless somebody says at length that it is not to be, and anew after a change.

use bytes::Bytes;
use http::Method;
use tidegate_tests::{
    Authority, Client, ConfigDir, Gateway, Origin, Process, Raw, WEB, free_address, request, soon,
    tls::{Front, Issued},
};
use tokio::net::TcpStream;

struct Scene {
    authority: Authority,
    origin: Origin,
    front: Front,
    dir: ConfigDir,
    gateway: Gateway,
}

type Issue = fn(&Authority) -> Issued;

/// A gateway to an origin behind TLS that shows `issued`; `tls` is what its upstream says.
async fn scene(tls: &str, issue: impl Fn(&Authority) -> Issued) -> Scene {
    let (authority, origin) = (Authority::new(), Origin::start());
    let front = Front::start(origin.address(), &issue(&authority), None).await;
    let dir = ConfigDir::new().with("front", front.address);
    dir.write("tls/ca.pem", &authority.pem);
    dir.write("gateway.yaml", &configuration(tls));
    let gateway = Gateway::start(&dir).await;
    Scene { authority, origin, front, dir, gateway }
}

fn configuration(tls: &str) -> String {
    format!(
        "{WEB}upstreams: {{origin: {{endpoints: ['{{front}}'], tls: {tls}}}}}\nroutes: [{{id: all, path: /*, upstream: origin}}]\n"
    )
}

fn local(authority: &Authority) -> Issued {
    authority.issue(&["origin.internal", "127.0.0.1"])
}

#[tokio::test]
async fn bodies_and_upgrades_pass_and_connections_are_kept() {
    let scene = scene("{ca: tls/ca.pem}", local).await;
    let mut client = scene.gateway.http1().await;
    for _ in 0..5 {
        let body = Bytes::from(vec![7; 500_000]);
        let answer = client.send(request(Method::POST, "/echo").map(|_| body)).await;
        assert_eq!(answer.echo()["body_bytes"], 500_000);
        assert_eq!(client.get("/bytes/2000000").await.body.len(), 2_000_000);
        let mut chunks = request(Method::GET, "/chunks/30");
        chunks.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        assert_eq!(client.send(chunks).await.trailers.len(), 1);
    }
    assert_eq!(scene.front.seen().len(), 1, "one client, one worker, one connection");
    assert_eq!(scene.front.seen()[0].server_name, None, "an address is no name");
    let mut raw = Raw::connect(scene.gateway.web()).await;
    raw.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert_eq!(raw.head().await.status(), 101);
    raw.send("hello").await;
    assert_eq!(raw.exactly(5).await, b"hello");
    assert!(scene.origin.requests() >= 16);
}

#[tokio::test]
async fn what_an_endpoint_shows_is_verified() {
    let cases: [(&str, Issue, u16); 14] = [
        ("{ca: tls/ca.pem}", local, 200),
        ("{ca: tls/ca.pem, server-name: origin.internal}", local, 200),
        ("{ca: tls/ca.pem, server-name: origin.internal, min-version: 1.3}", local, 200),
        ("{ca: tls/ca.pem, server-name: other.internal}", local, 502),
        ("{ca: tls/ca.pem}", |authority| authority.issue(&["origin.internal"]), 502),
        ("{ca: tls/ca.pem}", |authority| authority.expired(&["127.0.0.1"]), 502),
        ("{ca: tls/ca.pem}", |_| local(&Authority::new()), 502),
        ("{ca: tls/ca.pem, subject-alt-names: [other.internal, 'spiffe://a/b', internal.test]}", local, 502),
        ("{ca: tls/ca.pem, server-name: origin.internal, subject-alt-names: origin.internal}", local, 200),
        (
            "{ca: tls/ca.pem, server-name: other.internal, subject-alt-names: [x.in.test]}",
            |it| it.issue(&["*.in.test"]),
            200,
        ),
        ("{ca: tls/ca.pem, subject-alt-names: '*.in.test'}", |it| it.issue(&["*.in.test"]), 200),
        ("{ca: tls/ca.pem, subject-alt-names: '*.in.test'}", |it| it.issue(&["x.in.test"]), 502),
        ("{ca: tls/ca.pem, subject-alt-names: x.test}", |_| Authority::new().issue(&["x.test"]), 502),
        ("{dangerously-accept-any-certificate: true}", |_| Authority::new().expired(&["x"]), 200),
    ];
    for (tls, issue, status) in cases {
        let scene = scene(tls, issue).await;
        let answer = scene.gateway.http1().await.get("/").await;
        assert_eq!(answer.status.as_u16(), status, "{tls}");
        let asked = ["origin.internal", "other.internal"]
            .into_iter()
            .find(|name| tls.contains(&format!("server-name: {name}")));
        let seen = scene.front.seen();
        assert!(seen.iter().all(|seen| seen.server_name.as_deref() == asked), "{tls}: {seen:?}");
        assert_eq!(scene.origin.requests(), usize::from(status == 200), "{tls}: nothing is sent before it is verified");
    }
}

#[tokio::test]
async fn without_a_ca_it_is_whom_the_system_trusts() {
    let scene = scene("{dangerously-accept-any-certificate: true}", local).await;
    let attempt = scene.gateway.status().await;
    assert!(attempt.to_string().contains("unverified-upstream"), "{attempt:#}");
    scene.dir.write("gateway.yaml", &configuration("{}"));
    let attempt = scene.gateway.reload().await;
    if attempt["outcome"] == "refused" {
        // A machine that trusts nobody.
        assert_eq!(attempt["diagnostics"][0]["code"], "no-roots", "{attempt:#}");
        return;
    }
    assert_eq!(scene.gateway.http1().await.get("/").await.status, 502);
}

#[tokio::test]
async fn a_certificate_is_shown_to_who_asks_for_one() {
    let clients = Authority::new();
    let own = clients.issue(&["gateway.internal"]);
    let scene = scene("{ca: tls/ca.pem}", local).await;
    let front = Front::start(scene.origin.address(), &local(&scene.authority), Some(&clients)).await;
    let asked = configuration("{ca: tls/ca.pem}").replace("{front}", &front.address.to_string());
    scene.dir.write("gateway.yaml", &asked);
    scene.gateway.apply().await;
    assert_eq!(scene.gateway.http1().await.get("/").await.status, 502);
    scene.dir.write("tls/own.pem", &own.pem);
    scene.dir.write("tls/own.key", &own.key);
    let shows =
        asked.replace("tls: {ca: tls/ca.pem}", "tls: {ca: tls/ca.pem, certificate: tls/own.pem, key: tls/own.key}");
    scene.dir.write("gateway.yaml", &shows);
    scene.gateway.apply().await;
    assert_eq!(scene.gateway.http1().await.get("/").await.status, 200);
    assert_eq!(front.seen().last().unwrap().certificate.as_ref(), Some(&own.der));
}

#[tokio::test]
async fn a_change_verifies_anew_and_uses_no_connection_of_before() {
    let scene = scene("{ca: tls/ca.pem}", local).await;
    let mut client = scene.gateway.http1().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    let handshakes = scene.front.seen().len();
    scene.dir.write("tls/ca.pem", &Authority::new().pem);
    scene.gateway.apply().await;
    assert_eq!(client.get("/").await.status, 502, "the kept connection was verified by another authority");
    scene.dir.write("tls/ca.pem", &scene.authority.pem);
    scene.dir.edit("gateway.yaml", "tls: {ca: tls/ca.pem}", "tls: {ca: tls/ca.pem, server-name: origin.internal}");
    scene.gateway.apply().await;
    assert_eq!(client.get("/").await.status, 200);
    let seen = scene.front.seen();
    assert_eq!(seen.len(), handshakes + 1);
    assert!(!seen.last().unwrap().resumed);
}

#[tokio::test]
async fn health_checks_speak_tls_as_well() {
    let checked =
        "{{ca: tls/ca.pem}}, health-check: {{path: /status/200, interval: 20ms, unhealthy-after: 1, healthy-after: 1}}";
    let scene = scene(&checked.replace("{{", "{").replace("}}", "}"), local).await;
    let healthy = async |state: &str| scene.gateway.metric("tidegate_upstream_endpoints", state).await;
    soon("a check was answered", async || scene.origin.requests() > 0).await;
    assert_eq!(healthy("state=\"healthy\"").await, 1.0);
    scene.dir.write("tls/ca.pem", &Authority::new().pem);
    scene.gateway.apply().await;
    soon("who cannot be verified is not healthy", async || healthy("state=\"unhealthy\"").await == 1.0).await;
}

#[tokio::test]
async fn a_target_may_be_a_url_of_https_that_is_verified_by_whom_the_system_trusts() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let front = Front::start(origin.address(), &local(&authority), None).await;
    let dir = ConfigDir::new();
    for (trusted, expected) in [(&authority, 200), (&Authority::new(), 502)] {
        let (web, admin) = (free_address(), free_address().to_string());
        let target = format!("routes: [{{id: all, path: /*, target: 'https://{}'}}]\n", front.address);
        dir.write("gateway.yaml", &format!("listeners: {{web: {{address: '{web}'}}}}\n{target}"));
        let file = dir.beside("trusted.pem");
        std::fs::write(&file, &trusted.pem).unwrap();
        let config = dir.path();
        let arguments = ["run", "--config", config.to_str().unwrap(), "--admin", &admin];
        let nobody = dir.beside("nobody");
        let _process = Process::start_in(&arguments, &[("SSL_CERT_FILE", &file), ("SSL_CERT_DIR", &nobody)]);
        soon("the gateway listens", async || TcpStream::connect(web).await.is_ok()).await;
        assert_eq!(Client::http1(web).await.get("/").await.status, expected);
    }
    assert_eq!(origin.requests(), 1);
}
