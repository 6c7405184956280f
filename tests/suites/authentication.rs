//! Basic authentication, forward authentication and the maintenance page, from outside.

use std::{net::SocketAddr, process::Command};

use http::{Method, Request};
use tidegate_tests::{ConfigDir, Gateway, Origin, request, soon};

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners:
  web: {address: '127.0.0.1:0', trusted-proxies: [127.0.0.1]}
upstreams:
  origin: {endpoints: ['{origin}']}
  auth: {endpoints: ['{auth}']}
middleware:
  staff: {basic-auth: {users: '${file:staff.htpasswd}', realm: staff only, header: x-user}}
  sso:
    forward-auth:
      upstream: auth
      path: /verify
      timeout: 300ms
      upstream-headers: [x-user]
      client-headers: [set-cookie]
  closed: {maintenance: {retry-after: 10m, allow: [10.0.0.0/8], body: '${file:pages/closed.html}'}}
routes:
  - {id: staff, path: /staff, middleware: [staff], upstream: origin}
  - {id: sso, path: /sso/*, middleware: [sso], upstream: origin}
  - {id: closed, path: /closed, middleware: [closed], upstream: origin}
  - {id: gone, path: /gone, middleware: [{maintenance: {}}]}
";

// The first by crypt(3), the second from the test vectors of the reference implementation.
const STAFF: &str = "# staff
alice:$2b$04$yeKvDYzQWYijGcIpYGcDRe0GMy/.kOC9UyTIeH9W/QIBESjmQCbHC
bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4
";

struct Scene {
    origin: Origin,
    auth: Origin,
    dir: ConfigDir,
    gateway: Gateway,
}

async fn scene() -> Scene {
    let (origin, auth) = (Origin::start(), Origin::named("auth"));
    let mut dir = ConfigDir::new().with("origin", origin.address()).with("auth", auth.address());
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("staff.htpasswd", STAFF);
    dir.write("pages/closed.html", "<h1>Back at noon</h1>\n");
    dir.write("gateway.yaml", CONFIGURATION);
    let gateway = Gateway::start(&dir).await;
    Scene { origin, auth, dir, gateway }
}

fn asked(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<bytes::Bytes> {
    let mut ask = request(method, path);
    for (name, value) in fields {
        ask.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    ask
}

// Status and body, as curl has them.
async fn curl(web: SocketAddr, path: &str, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-w", "\n%{http_code}"]).args(arguments).arg(format!("http://{web}{path}"));
    let output = tokio::task::spawn_blocking(move || command.output().expect("curl is installed")).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn who_has_a_password_passes() {
    let Scene { origin, dir, gateway, .. } = scene().await;
    for (user, status) in [
        ("alice:secret", "200"),
        ("bob:password", "200"),
        ("alice:secret", "200"),
        ("alice:password", "401"),
        ("nobody:secret", "401"),
    ] {
        let (got, body) = curl(gateway.web(), "/staff", &["-u", user, "-H", "x-user: root"]).await;
        assert_eq!(got, status, "{user}");
        if status == "200" {
            let name = user.split(':').next().unwrap();
            assert_eq!(Origin::echoed(body.as_bytes(), "x-user"), [name]);
            assert!(Origin::echoed(body.as_bytes(), "authorization").is_empty());
            let logged = || std::fs::read_to_string(dir.beside("access.log")).unwrap_or_default();
            soon("the user is logged", async || logged().contains(&format!("\"basic-auth.user\":\"{name}\""))).await;
        } else {
            assert_eq!(body, "credentials are required");
        }
    }
    let answer = gateway.http2().await.get("/staff").await;
    let challenge = "Basic realm=\"staff only\", charset=\"UTF-8\"";
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, challenge));
    assert_eq!(origin.requests(), 3);
    let log = std::fs::read_to_string(dir.beside("access.log")).unwrap();
    assert!(!log.contains("secret") && !log.contains("YWxpY2U6"), "{log}");
}

#[tokio::test]
async fn a_changed_list_of_users_holds_from_the_next_request_on() {
    let Scene { origin: _origin, dir, gateway, .. } = scene().await;
    let alice = ("authorization", "Basic YWxpY2U6c2VjcmV0");
    let mut client = gateway.http1().await;
    assert_eq!(client.send(asked(Method::GET, "/staff", &[alice])).await.status, 200);
    dir.write("staff.htpasswd", &STAFF.replace("alice:", "carol:"));
    gateway.apply().await;
    assert_eq!(client.send(asked(Method::GET, "/staff", &[alice])).await.status, 401);
    dir.write("staff.htpasswd", "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    let attempt = gateway.reload().await;
    assert_eq!(attempt["outcome"], "refused");
    assert!(!attempt.to_string().contains("5en6G6"), "{attempt:#}");
}

#[tokio::test]
async fn the_configuration_is_shown_without_hashes() {
    let Scene { dir, gateway, .. } = scene().await;
    let shown = gateway.ask(Method::GET, "/-/config").await.text();
    assert!(shown.contains("${file:staff.htpasswd}") && !shown.contains("yeKvDYzQ"), "{shown}");
    let users: Vec<_> = STAFF.lines().skip(1).map(|line| format!("'{line}'").replace("alice", "carol")).collect();
    dir.write("gateway.yaml", &CONFIGURATION.replace("'${file:staff.htpasswd}'", &format!("[{}]", users.join(", "))));
    gateway.apply().await;
    let shown = gateway.ask(Method::GET, "/-/config").await.text();
    assert!(shown.contains("carol:$2b$04$...") && shown.contains("bob:$argon2id$v=19$m=256,t=2,p=1$AAAA"), "{shown}");
    assert!(!shown.contains("yeKvDYzQ") && !shown.contains("nf65EOg"), "{shown}");
}

#[tokio::test]
async fn an_upstream_decides_who_passes() {
    let Scene { origin, auth, gateway, .. } = scene().await;
    let mut verify = auth.hold("/verify");
    let web = gateway.web();
    let ask = |fields: Vec<(&'static str, &'static str)>| {
        tokio::spawn(async move {
            let mut client = tidegate_tests::Client::http2(web).await;
            let mut ask = asked(Method::POST, "/sso/a?b=c", &fields);
            *ask.body_mut() = "a body".into();
            client.send(ask).await
        })
    };
    let asking = ask(vec![("cookie", "session=1"), ("x-user", "forged"), ("x-forwarded-for", "192.0.2.9")]);
    let mut held = verify.next().await;
    assert_eq!((held.head.method(), held.head.target()), ("GET", "/verify"));
    assert_eq!(held.whole().await.unwrap().bytes, b"");
    for (name, value) in [
        ("cookie", "session=1"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/sso/a?b=c"),
        ("x-forwarded-host", "test.example"),
        ("x-forwarded-for", "192.0.2.9, 127.0.0.1"),
    ] {
        assert_eq!(held.head.field(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(origin.requests(), 0, "it waits for the answer");
    held.send("HTTP/1.1 200 OK\r\nx-user: alice\r\nset-cookie: seen=1\r\ncontent-length: 2\r\n\r\nok").await;
    let answer = asking.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (200, "seen=1"));
    assert_eq!((answer.echoed("x-user"), &answer.echo()["body_bytes"]), (vec!["alice".into()], &6.into()));
    held.keep();

    let asking = ask(vec![]);
    let mut held = verify.next().await;
    held.send("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 5\r\n\r\nlogin").await;
    let answer = asking.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("location"), answer.text().as_str()), (302, "/login", "login"));
    held.keep();

    // Who does not answer lets nobody pass.
    let asking = ask(vec![]);
    let held = verify.next().await;
    assert_eq!(asking.await.unwrap().status, 504);
    drop(held);
    auth.stop();
    assert_eq!(ask(vec![]).await.unwrap().status, 502);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn a_page_is_shown_while_something_is_worked_on() {
    let Scene { origin, dir, gateway, .. } = scene().await;
    let mut client = gateway.http1().await;
    let answer = client.get("/closed").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "<h1>Back at noon</h1>"));
    let said = ["retry-after", "content-type", "cache-control"].map(|name| answer.header(name));
    assert_eq!(said, ["600", "text/html; charset=utf-8", "no-store"]);
    let inside = asked(Method::GET, "/closed", &[("x-forwarded-for", "10.1.2.3")]);
    assert_eq!(client.send(inside).await.status, 200);
    let answer = client.get("/gone").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (503, "text/plain; charset=utf-8"));
    assert_eq!(origin.requests(), 1);
    dir.write("gateway.yaml", &CONFIGURATION.replace("{retry-after: 10m", "{enabled: false, retry-after: 10m"));
    gateway.apply().await;
    assert_eq!(client.get("/closed").await.status, 200);
}
