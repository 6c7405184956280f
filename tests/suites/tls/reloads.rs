//! Certificates are part of the snapshot: what a renewed file changes, and what it leaves alone.

use rustls::HandshakeKind;
use tidegate_tests::{Client, Gateway, Tls, TlsOptions, soon};

use super::{CONFIGURATION, scene, write};

#[tokio::test]
async fn a_renewed_certificate_is_live_on_the_next_handshake_and_no_connection_ends() {
    let scene = scene().await;
    let mut open = Vec::new();
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let tls = Tls::with(&scene.authority, &TlsOptions { alpn, ..TlsOptions::default() });
        let mut client = tls.client(scene.gateway.web(), "test.example").await;
        assert_eq!(client.get("/").await.generation(), 1);
        open.push(client);
    }
    let address = scene.gateway.web();
    let renewed = scene.authority.issue(&["test.example"]);
    write(&scene.dir, "site", &renewed);
    assert_eq!(scene.gateway.apply().await, 2);
    assert_eq!(scene.gateway.web(), address);
    for _ in 0..8 {
        let tls = Tls::trusting(&scene.authority);
        assert_eq!(tls.shown(address, "test.example").await.unwrap(), renewed.der);
    }
    for client in &mut open {
        assert_eq!(client.get("/").await.generation(), 2);
    }
    let accepted = scene.gateway.metric("tidegate_connections_accepted_total", "listener=\"web\"").await;
    assert_eq!(accepted, 10.0, "nobody had to connect anew");
}

#[tokio::test]
async fn a_renewed_file_is_noticed_by_itself() {
    let scene = scene().await;
    let gateway = Gateway::watching(&scene.dir).await;
    let renewed = scene.authority.issue(&["test.example"]);
    write(&scene.dir, "site", &renewed);
    soon("the renewed certificate is shown", async || {
        let tls = Tls::trusting(&scene.authority);
        tls.shown(gateway.web(), "test.example").await.is_ok_and(|shown| shown == renewed.der)
    })
    .await;
}

#[tokio::test]
async fn an_equal_tree_swaps_nothing() {
    let scene = scene().await;
    write(&scene.dir, "site", &scene.site);
    assert_eq!(scene.gateway.reload().await["outcome"], "unchanged");
}

#[tokio::test]
async fn a_session_is_resumed_on_every_worker_and_after_a_reload() {
    let scene = scene().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let versions: &[_] = &[version];
        let tls = Tls::with(&scene.authority, &TlsOptions { versions: Some(versions), ..TlsOptions::default() });
        let mut kinds = Vec::new();
        for round in 0..10 {
            if round == 5 {
                write(&scene.dir, "site", &scene.authority.issue(&["test.example"]));
                scene.gateway.apply().await;
            }
            let stream = tls.connect(scene.gateway.web(), "test.example").await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind());
            // The ticket comes with the answer.
            let mut client = Client::over(stream, false).await;
            assert_eq!(client.get("/").await.status, 200);
        }
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
    }
    let resumed = scene.gateway.metric("tidegate_tls_handshakes_total", "kind=\"resumed\"").await;
    assert_eq!(resumed, 18.0);
}

#[tokio::test]
async fn a_listener_takes_up_tls_and_gives_it_up_on_the_same_port() {
    let scene = scene().await;
    let tls = Tls::trusting(&scene.authority);
    let address = scene.gateway.web();
    let plain =
        CONFIGURATION.replace("    tls: {certificates: [{certificate: tls/site.pem, key: tls/site.key}]}\n", "");
    scene.dir.write("gateway.yaml", &plain);
    scene.gateway.apply().await;
    assert_eq!(scene.gateway.web(), address);
    assert_eq!(Client::http1(address).await.get("/").await.status, 200);
    tls.connect(address, "test.example").await.unwrap_err();
    scene.dir.write("gateway.yaml", CONFIGURATION);
    scene.gateway.apply().await;
    assert_eq!(tls.client(address, "test.example").await.get("/").await.status, 200);
}

#[tokio::test]
async fn metrics_say_when_certificates_expire() {
    let scene = scene().await;
    let name = "tidegate_tls_certificate_expiry_timestamp_seconds";
    let expiry = async || scene.gateway.metric(name, "listener=\"web\",certificate=\"./tls/site.pem\"").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let first = expiry().await;
    assert!(first > now, "{first}");
    write(&scene.dir, "site", &scene.authority.expired(&["test.example"]));
    scene.gateway.apply().await;
    let second = expiry().await;
    assert!(second > 0.0 && second < now, "{second}");
}
