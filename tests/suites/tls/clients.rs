//! Certificates of clients: who is served, what upstreams, plugins and logs are told, and what a reload does to
//! connections that have none.

use std::{io, time::Duration};

use http::{HeaderValue, Method, Request};
use tidegate_tests::{Authority, Client, Tls, TlsOptions, eventually, plugin, request, soon, tls::Issued};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{CONFIGURATION, Scene, scene_with, write};

const OWN: &str = "{certificates: [{certificate: tls/site.pem, key: tls/site.key}]}";

fn asking(mode: &str) -> String {
    let clients = format!("{{ca: tls/clients.pem, mode: {mode}, forward-header: x-forwarded-client-cert}}");
    OWN.replace("]}", &format!("], client-certificates: {clients}}}"))
}

/// A gateway that asks for certificates as `mode` says, who signs them, and one of them.
async fn asked(mode: &str) -> (Scene, Authority, Issued) {
    let clients = Authority::new();
    let alice = clients.issue(&["alice.example"]);
    let scene = scene_with(OWN).await;
    scene.dir.write("tls/clients.pem", &clients.pem);
    let log = scene.dir.beside("access.log");
    let text = CONFIGURATION.replace(OWN, &asking(mode));
    scene.dir.write("gateway.yaml", &format!("gateway: {{access-log: {{to: '{}'}}}}{text}", log.display()));
    scene.gateway.apply().await;
    (scene, clients, alice)
}

fn client(scene: &Scene, certificate: Option<&Issued>, alpn: &[&str]) -> Tls {
    Tls::with(&scene.authority, &TlsOptions { certificate, alpn, ..TlsOptions::default() })
}

// A request and its answer, or how the connection ended: with TLS 1.3 a server refuses after the client is done.
async fn ask(stream: io::Result<TlsStream<TcpStream>>) -> io::Result<String> {
    let mut stream = stream?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn lying(path: &str) -> Request<bytes::Bytes> {
    let mut request = request(Method::GET, path);
    request.headers_mut().insert("x-forwarded-client-cert", HeaderValue::from_static("Hash=00;Subject=\"CN=root\""));
    request
}

#[tokio::test]
async fn a_client_without_the_required_certificate_is_refused_and_one_with_it_is_known() {
    let (scene, _, alice) = asked("required").await;
    let web = scene.gateway.web();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let other = Authority::new().issue(&["alice.example"]);
        for certificate in [None, Some(&other)] {
            let options = TlsOptions { certificate, versions: Some(&[version]), ..TlsOptions::default() };
            let tls = Tls::with(&scene.authority, &options);
            ask(tls.connect(web, "test.example").await).await.unwrap_err();
        }
    }
    soon("all four are counted", async || {
        let labels = "reason=\"client_certificate\"";
        scene.gateway.metric("tidegate_tls_handshake_failures_total", labels).await == 4.0
    })
    .await;
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let tls = client(&scene, Some(&alice), alpn);
        // The second one resumes: who the client is goes with the session.
        for _ in 0..2 {
            let mut known = tls.client(web, "test.example").await;
            let told = known.send(lying("/")).await.echoed("x-forwarded-client-cert");
            let [told] = &told[..] else { panic!("one field: {told:?}") };
            assert!(told.contains(";Subject=\"CN=alice.example\";DNS=alice.example"), "{told}");
            assert!(told.starts_with("Hash=") && told.split(';').next().unwrap().len() == 69, "{told}");
        }
    }
    let log = scene.dir.beside("access.log");
    let line = eventually("it is logged", Duration::from_secs(10), async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok())
    })
    .await;
    assert_eq!(line["attributes"]["tls:client.subject"], "CN=alice.example", "{line}");
    assert_eq!(line["attributes"]["tls:client.dns"], "alice.example", "{line}");
    assert_eq!((&line["tls_client"], &line["tls_server_name"]), (&"CN=alice.example".into(), &"test.example".into()));
    assert!(["1.2", "1.3"].iter().any(|version| line["tls_version"] == *version), "{line}");
    assert!(line["tls_cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS")), "{line}");
}

#[tokio::test]
async fn an_optional_certificate_is_verified_where_there_is_one_and_nobody_else_says_who_they_are() {
    let (scene, _, alice) = asked("optional").await;
    let web = scene.gateway.web();
    let mut nobody = client(&scene, None, &["h2"]).client(web, "test.example").await;
    assert_eq!(nobody.send(lying("/")).await.echoed("x-forwarded-client-cert"), [""; 0]);
    let mut known = client(&scene, Some(&alice), &["h2"]).client(web, "test.example").await;
    assert_eq!(known.send(lying("/")).await.echoed("x-forwarded-client-cert").len(), 1);
    let other = Authority::new().issue(&["alice.example"]);
    ask(client(&scene, Some(&other), &[]).connect(web, "test.example").await).await.unwrap_err();
}

#[tokio::test]
async fn a_listener_that_now_demands_certificates_ends_connections_without_one_after_their_exchange() {
    let (scene, _, alice) = asked("optional").await;
    let web = scene.gateway.web();
    let mut hold = scene.origin.hold("/held");
    let (mut busy, mut idle, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let tls = client(&scene, None, alpn);
        let mut client_busy = tls.client(web, "test.example").await;
        assert_eq!(client_busy.get("/").await.status, 200);
        busy.push(tokio::spawn(async move { (client_busy.get("/held").await, client_busy) }));
        let mut client_idle = tls.client(web, "test.example").await;
        assert_eq!(client_idle.get("/").await.status, 200);
        idle.push(client_idle);
        let mut with = client(&scene, Some(&alice), alpn).client(web, "test.example").await;
        assert_eq!(with.get("/").await.status, 200);
        known.push(with);
    }
    let held = [hold.next().await, hold.next().await];
    scene.dir.edit("gateway.yaml", "mode: optional", "mode: required");
    let generation = scene.gateway.apply().await;
    for client in &idle {
        soon("an idle connection without a certificate ends", async || client.is_closed()).await;
    }
    for mut held in held {
        held.answer(200, "done").await;
        held.keep();
    }
    for busy in busy {
        let (answer, client) = busy.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "done"));
        assert!(answer.generation() < generation);
        soon("a busy one ends after its exchange", async || client.is_closed()).await;
    }
    for client in &mut known {
        assert_eq!(client.get("/").await.generation(), generation, "one with a certificate stays");
    }
    ask(client(&scene, None, &[]).connect(web, "test.example").await).await.unwrap_err();
}

#[tokio::test]
async fn a_session_does_not_outlive_the_authority_that_it_was_verified_by() {
    let (scene, _, alice) = asked("required").await;
    let web = scene.gateway.web();
    let tls = client(&scene, Some(&alice), &["http/1.1"]);
    let mut open = tls.client(web, "test.example").await;
    assert_eq!(open.get("/").await.status, 200);
    let successor = Authority::new();
    let bob = successor.issue(&["bob.example"]);
    scene.dir.write("tls/clients.pem", &successor.pem);
    scene.gateway.apply().await;
    soon("the connection that the old one vouched for ends", async || open.is_closed()).await;
    ask(tls.connect(web, "test.example").await).await.unwrap_err();
    let mut with = client(&scene, Some(&bob), &["h2"]).client(web, "test.example").await;
    assert_eq!(with.get("/").await.status, 200);
}

#[tokio::test]
async fn a_file_without_an_authority_is_refused() {
    let (scene, _, _) = asked("required").await;
    for (text, code) in [
        ("nothing\n", "no-certificate"),
        ("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "bad-certificate"),
    ] {
        scene.dir.write("tls/clients.pem", text);
        let attempt = scene.gateway.reload().await;
        assert_eq!(attempt["diagnostics"][0]["code"], code, "{attempt:#}");
    }
    write(&scene.dir, "clients", &scene.site);
    let attempt = scene.gateway.reload().await;
    assert_eq!(attempt["outcome"], "applied", "any certificate may be trusted: {attempt:#}");
}

#[tokio::test]
async fn a_listener_that_takes_up_tls_ends_connections_without() {
    let (scene, _, _) = asked("optional").await;
    let plain = scene.gateway.listener("plain");
    let mut client = Client::http1(plain).await;
    assert_eq!(client.get("/").await.status, 200);
    let own = format!("plain: {{address: '127.0.0.1:0', tls: {OWN}}}");
    scene.dir.edit("gateway.yaml", "plain: {address: '127.0.0.1:0'}", &own);
    scene.gateway.apply().await;
    soon("it ends", async || client.is_closed()).await;
}

#[tokio::test]
async fn plugins_know_who_the_client_is() {
    let (scene, clients, alice) = asked("required").await;
    let bob = clients.issue(&["bob.example"]);
    scene.dir.write_bytes("rate-limit.wasm", &plugin("rate-limit"));
    let limit = "{module: rate-limit.wasm, config: {requests: 1, per: 1h, key: {attribute: 'tls:client.subject'}}}";
    scene.dir.edit("gateway.yaml", "routes:\n", &format!("middleware: {{limit: {limit}}}\nroutes:\n"));
    scene.dir.edit("gateway.yaml", "path: /*, upstream", "path: /*, middleware: [limit], upstream");
    scene.gateway.apply().await;
    for (certificate, expected) in [(&alice, 200), (&alice, 429), (&bob, 200), (&bob, 429)] {
        let mut known = client(&scene, Some(certificate), &["h2"]).client(scene.gateway.web(), "test.example").await;
        assert_eq!(known.get("/").await.status, expected);
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_taken_for_none_where_that_is_asked_for() {
    let (scene, _, alice) = asked("optional-unverified").await;
    let stranger = Authority::new().issue(&["alice.example"]);
    for (certificate, known) in [(Some(&alice), true), (Some(&stranger), false), (None, false)] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let options =
                TlsOptions { certificate, versions: Some(&[version]), alpn: &["h2"], ..TlsOptions::default() };
            let tls = Tls::with(&scene.authority, &options);
            // The second one resumes.
            for _ in 0..2 {
                let mut client = tls.client(scene.gateway.web(), "test.example").await;
                let answer = client.send(lying("/")).await;
                let told = answer.echoed("x-forwarded-client-cert");
                assert_eq!((answer.status.as_u16(), told.len()), (200, usize::from(known)), "{version:?} {told:?}");
            }
        }
    }
}
