//! What an upstream is told of a client (`X-Forwarded-*`, `Forwarded`, `Via`, `traceparent`) is the same whoever on the way looks at
//! it: where nobody does, it is never put among the fields.

use tidegate_tests::{Answer, ConfigDir, Gateway, Origin, Raw, guests, plugin};

const CONFIGURATION: &str = "
listeners:
  web: {address: '127.0.0.1:0'}
upstreams:
  origin: {endpoints: ['{origin}']}
  either: {endpoints: ['{origin}', '{other}'], balance: {hash: {header: x-forwarded-for}}}
middleware:
  greeting: {module: greeting.wasm, config: {text: hello}}
  header: {module: header.wat}
  seen: {headers: {request: {set: {x-seen: yes}}}}
routes:
  - {id: plain, path: /plain, upstream: origin}
  - {id: seen, path: /seen, upstream: origin, middleware: [seen]}
  - {id: hashed, path: /hashed, upstream: either}
  - {id: passed, path: /passed, upstream: origin, middleware: [greeting]}
  - id: built-in
    path: /built-in
    upstream: origin
    middleware:
      - {ip-access: {allow: [127.0.0.0/8]}}
      - {headers: {response: {set: {x-frame-options: DENY}}}}
      - {concurrency: {exchanges-max: 100}}
      - {cors: {allow-origins: '*'}}
      - {compress: {}}
      - {rewrite: {host: test.example, path: /elsewhere}}
      - greeting
  - {id: by-header, path: /by-header, upstream: origin, middleware: [{concurrency: {exchanges-max: 9, key: {header: via}}}]}
  - {id: changed, path: /changed, upstream: origin, middleware: [greeting, header]}
  - {id: both, path: /both, upstream: origin, middleware: [greeting, seen]}
  - {id: passed-hashed, path: /passed-hashed, upstream: either, middleware: [greeting]}
  - {id: weighted, path: /weighted, targets: [{upstream: origin, weight: 1}, {upstream: either, weight: 1}]}
";

// One row a name: what the origin is told by it, by a client of HTTP/1.1 and of HTTP/2.
const TOLD: [(&str, &str, &str); 6] = [
    ("x-forwarded-for", "127.0.0.1", "127.0.0.1"),
    ("x-forwarded-proto", "http", "http"),
    ("x-forwarded-host", "test.example", "test.example"),
    ("forwarded", "for=127.0.0.1;host=test.example;proto=http", "for=127.0.0.1;host=test.example;proto=http"),
    ("host", "test.example", "test.example"),
    ("via", "1.1 tidegate", "2.0 tidegate"),
];

struct Scene {
    origins: [Origin; 2],
    dir: ConfigDir,
    gateway: Gateway,
}

async fn scene(more: &str) -> Scene {
    let origins = [Origin::start(), Origin::start()];
    let dir = ConfigDir::new().with("origin", origins[0].address()).with("other", origins[1].address());
    dir.write_bytes("greeting.wasm", &plugin("greeting"));
    dir.write("header.wat", guests::HEADER);
    dir.write("gateway.yaml", &format!("{CONFIGURATION}{more}"));
    let gateway = Gateway::start(&dir).await;
    Scene { origins, dir, gateway }
}

fn assert_told(answer: &Answer, version: usize, path: &str) {
    for (name, first, second) in TOLD {
        assert_eq!(answer.echoed(name), [[first, second][version]], "{name} on {path}, version {version}");
    }
    assert_eq!(answer.echoed("x-forwarded-port").len(), 1, "{path}");
    let trace = answer.echoed("traceparent");
    assert!(trace.len() == 1 && trace[0].len() == 55, "{path}: {trace:?}");
}

#[tokio::test]
async fn whoever_looks_at_it_it_is_the_same() {
    let scene = scene("").await;
    let clients = [scene.gateway.http1().await, scene.gateway.http2().await];
    for (version, mut client) in clients.into_iter().enumerate() {
        let others = ["/passed", "/changed", "/both", "/passed-hashed", "/built-in", "/by-header"];
        for path in ["/plain", "/seen", "/hashed", "/weighted", "/weighted"].into_iter().chain(others) {
            assert_told(&client.get(path).await, version, path);
        }
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_goes_nowhere_and_via_is_added_to() {
    let scene = scene("").await;
    for path in ["/plain", "/seen", "/passed", "/changed", "/built-in"] {
        let mut raw = Raw::connect(scene.gateway.web()).await;
        let asked = format!(
            "GET {path} HTTP/1.1\r\nhost: test.example\r\nx-forwarded-port: 1\r\nForwarded: for=9.9.9.9\r\nvia: 1.0 before\r\n\r\n"
        );
        raw.send(asked).await;
        let body = raw.response("GET").await.unwrap().body.bytes;
        let told = |name: &str| Origin::echoed(&body, name);
        assert_eq!(told("forwarded"), ["for=127.0.0.1;host=test.example;proto=http"], "{path}");
        assert_eq!(told("x-forwarded-port"), [scene.gateway.web().port().to_string()], "{path}");
        assert_eq!(told("via").join(", "), "1.0 before, 1.1 tidegate", "{path}");
        assert_eq!(told("x-forwarded-for"), ["127.0.0.1"], "{path}");
        // The next one on the connection said nothing.
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: test.example\r\n\r\n")).await;
        let body = raw.response("GET").await.unwrap().body.bytes;
        assert_eq!(Origin::echoed(&body, "via"), ["1.1 tidegate"], "{path}");
        // And the one after it is of another version.
        raw.send(format!("GET {path} HTTP/1.0\r\nhost: other.example\r\n\r\n")).await;
        let body = raw.response("GET").await.unwrap().body.bytes;
        assert_eq!(Origin::echoed(&body, "via"), ["1.0 tidegate"], "{path}");
        assert_eq!(Origin::echoed(&body, "x-forwarded-host"), ["other.example"], "{path}");
    }
}

#[tokio::test]
async fn routes_may_ask_for_what_is_told() {
    let rows = "  - {id: asked, matches: [{path: /plain, headers: {x-forwarded-proto: http}}], \
                middleware: [{respond: {status: 210}}]}\n";
    let scene = scene(rows).await;
    for mut client in [scene.gateway.http1().await, scene.gateway.http2().await] {
        assert_eq!(client.get("/plain").await.status, 210);
    }
    let answer = scene.gateway.http1().await.get("/hashed").await;
    assert_told(&answer, 0, "/hashed");
    // A reload that adds such a row finds it, too.
    let row = "  - {id: seen-by-row, matches: [{path: /seen, headers: {via: '1.1 tidegate'}}], middleware: [{respond: {status: 211}}]}\n";
    scene.dir.write("gateway.yaml", &format!("{CONFIGURATION}{row}"));
    scene.gateway.apply().await;
    assert_eq!(scene.gateway.http1().await.get("/seen").await.status, 211);
}

#[tokio::test]
async fn endpoints_may_be_chosen_by_it() {
    let scene = scene("").await;
    let mut client = scene.gateway.http1().await;
    for _ in 0..8 {
        client.get("/hashed").await;
    }
    assert_eq!(scene.origins.iter().filter(|origin| origin.requests() > 0).count(), 1);
}
