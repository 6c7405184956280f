//! The steps that decide who may pass, and the id of every exchange, from outside.

use http::{HeaderMap, Method, Request};
use tidegate_tests::{Answer, ConfigDir, Gateway, Origin, request, soon};

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners:
  web: {address: '127.0.0.1:0', trusted-proxies: [127.0.0.1]}
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  shared:
    cors:
      allow-origins: ['https://app.example.com', 'https://*.example.org']
      allow-methods: [PUT]
      allow-headers: [content-type]
      expose-headers: [x-origin]
      allow-credentials: true
      max-age: 10m
  public: {cors: {allow-origins: '*', allow-headers: ['*', authorization]}}
  office: {ip-access: {allow: [10.0.0.0/8, '2001:db8::/32'], deny: [10.0.0.66]}}
  ids: {request-id: {}}
  theirs: {request-id: {header: x-correlation-id, accept: true}}
routes:
  - {id: shared, path: /shared/*, middleware: [shared, office], upstream: origin}
  - {id: public, path: /public/*, middleware: [public], upstream: origin}
  - {id: office, path: /office, middleware: [ids, office], upstream: origin}
  - {id: theirs, path: /theirs, middleware: [theirs, ids], upstream: origin}
";

async fn scene() -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let mut dir = ConfigDir::new().with("origin", origin.address());
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

fn asked(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<bytes::Bytes> {
    let mut ask = request(method, path);
    for (name, value) in fields {
        ask.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    ask
}

fn sharing(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().filter_map(|name| name.as_str().strip_prefix("access-control-")).collect();
    names.sort_unstable();
    names
}

const APP: (&str, &str) = ("origin", "https://app.example.com");
const INSIDE: (&str, &str) = ("x-forwarded-for", "10.0.0.7");
const PREFLIGHT: [(&str, &str); 2] =
    [("access-control-request-method", "PUT"), ("access-control-request-headers", "content-type")];

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway() {
    let (origin, _dir, gateway) = scene().await;
    for mut client in [gateway.http1().await, gateway.http2().await] {
        let answer = client.send(asked(Method::OPTIONS, "/shared/a", &[&[APP][..], &PREFLIGHT].concat())).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        let said = ["origin", "methods", "headers", "credentials"]
            .map(|name| answer.header(&format!("access-control-allow-{name}")).to_owned());
        assert_eq!(said, ["https://app.example.com", "PUT", "content-type", "true"]);
        assert_eq!(answer.header("access-control-max-age"), "600");

        let elsewhere = ("origin", "https://evil.example");
        let answer = client.send(asked(Method::OPTIONS, "/shared/a", &[&[elsewhere][..], &PREFLIGHT].concat())).await;
        assert_eq!((answer.status.as_u16(), sharing(&answer.headers)), (200, vec![]));
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn options_that_is_no_preflight_is_the_upstreams() {
    let (_origin, _dir, gateway) = scene().await;
    let answer = gateway.http1().await.send(asked(Method::OPTIONS, "/shared/a", &[APP, INSIDE])).await;
    assert_eq!((answer.status.as_u16(), answer.echo()["method"].as_str()), (200, Some("OPTIONS")));
    assert_eq!(sharing(&answer.headers), ["allow-credentials", "allow-origin", "expose-headers"]);
}

#[tokio::test]
async fn responses_say_which_pages_may_read_them_errors_too() {
    let (_origin, _dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let wild = ("origin", "https://a.b.example.org");
    let answer = client.send(asked(Method::GET, "/shared/a", &[wild, INSIDE])).await;
    assert_eq!(answer.header("access-control-allow-origin"), wild.1);
    assert_eq!((answer.header("access-control-expose-headers"), answer.header("vary")), ("x-origin", "Origin"));
    // The refusal of a step further along.
    let answer = client.send(asked(Method::GET, "/shared/a", &[APP])).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (403, APP.1));
    let answer = client.send(asked(Method::GET, "/shared/a", &[INSIDE])).await;
    assert_eq!((sharing(&answer.headers), answer.header("vary")), (vec![], "Origin"));
    // The same for everyone, so that caches need not tell them apart.
    let answer = client.get("/public/a").await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("*", ""));
    let answer = client.send(asked(Method::OPTIONS, "/public/a", &[&[APP][..], &PREFLIGHT].concat())).await;
    assert_eq!(answer.header("access-control-allow-headers"), "*, authorization");
}

#[tokio::test]
async fn clients_pass_by_their_address_behind_trusted_proxies() {
    let (origin, dir, gateway) = scene().await;
    let mut client = gateway.http2().await;
    for (from, status) in [
        ("10.1.2.3", 200),
        ("2001:db8::7", 200),
        ("::ffff:10.1.2.3", 200),
        ("10.0.0.66", 403),
        ("192.0.2.1", 403),
        // What an untrusted proxy says of whom it speaks for is not believed.
        ("10.1.2.3, 192.0.2.1", 403),
    ] {
        let answer = client.send(asked(Method::GET, "/office", &[("x-forwarded-for", from)])).await;
        assert_eq!(answer.status, status, "{from}");
        assert!(!answer.header("x-request-id").is_empty(), "steps before see the refusal");
        if status == 403 {
            assert_eq!(answer.text(), "access is denied");
        }
    }
    assert_eq!((client.get("/office").await.status.as_u16(), origin.requests()), (403, 3));
    let counted = async || gateway.metric("tidegate_request_errors_total", "access_denied").await;
    soon("refusals are counted", async || counted().await == 4.0).await;
    let logged = || std::fs::read_to_string(dir.beside("access.log")).unwrap_or_default();
    soon("the refusal is logged", async || logged().contains("192.0.2.1 is not among those that are allowed")).await;
    // The list changes with the configuration, on connections that are open.
    dir.write("gateway.yaml", &CONFIGURATION.replace("deny: [10.0.0.66]", "deny: [10.1.0.0/16]"));
    gateway.apply().await;
    for (from, status) in [("10.0.0.66", 200), ("10.1.2.3", 403)] {
        assert_eq!(client.send(asked(Method::GET, "/office", &[("x-forwarded-for", from)])).await.status, status);
    }
}

#[tokio::test]
async fn every_exchange_has_one_id_for_upstream_client_and_log() {
    let (_origin, dir, gateway) = scene().await;
    let mut client = gateway.http1().await;
    let id = |answer: &Answer, name: &str| {
        assert_eq!(answer.echoed(name), [answer.header(name)]);
        answer.header(name).to_owned()
    };
    let forged = ("x-request-id", "forged");
    let first = client.send(asked(Method::GET, "/office", &[forged, INSIDE])).await;
    let second = client.send(asked(Method::GET, "/office", &[forged, INSIDE])).await;
    let (one, two) = (id(&first, "x-request-id"), id(&second, "x-request-id"));
    assert!(one.len() == 36 && one != two && one != "forged", "{one} {two}");
    let answer = client.send(asked(Method::GET, "/theirs", &[("x-correlation-id", "abc-1"), forged])).await;
    assert_eq!((id(&answer, "x-correlation-id"), id(&answer, "x-request-id")), ("abc-1".into(), "abc-1".into()));
    let answer = client.send(asked(Method::GET, "/theirs", &[("x-correlation-id", "a\"b")])).await;
    assert_eq!(id(&answer, "x-correlation-id").len(), 36);
    let logged = || std::fs::read_to_string(dir.beside("access.log")).unwrap_or_default();
    soon("ids are logged", async || [&one, &two].iter().all(|id| logged().contains(id.as_str()))).await;
}
