//! The same modules here and in Envoy, asked the same: what comes of it must be the same, but for what is known to differ,
//! with its reason. Left out where `TIDEGATE_ENVOY` names no binary.

use std::fmt::Write as _;

use http::HeaderMap;
use tidegate_tests::{
    Answer, ConfigDir, Gateway, Origin, WEB,
    envoy::{self, Envoy, Filter},
    interfaces::compared,
};

use super::{
    play::send,
    rows::{Ask, ask},
};

/// A module that is compared.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) module: Vec<u8>,
    pub(super) configuration: String,
    pub(super) asks: Vec<Ask>,
    /// `http1` or `http2`; both where nothing is said.
    pub(super) over: Option<String>,
    /// Why it is not the same.
    pub(super) differs: Option<String>,
}

#[tokio::test]
async fn modules_do_here_what_they_do_in_envoy() {
    let Some(binary) = envoy::binary() else { return };
    compare(&binary, &subjects()).await;
}

/// Guests that `make test-languages` has built against the SDKs, all of which do the same, and the examples that the SDK for
/// Rust published.
const BUILT: [&str; 13] = [
    "assemblyscript",
    "c",
    "go",
    "rust",
    "rust-0.1",
    "examples-0.1.0/hello_world",
    "examples-0.1.0/http_auth_random",
    "examples-0.1.0/http_headers",
    "examples-0.2.0/hello_world",
    "examples-0.2.0/http_auth_random",
    "examples-0.2.0/http_body",
    "examples-0.2.0/http_config",
    "examples-0.2.0/http_headers",
];

#[tokio::test]
async fn guests_of_the_sdks_do_here_what_they_do_in_envoy() {
    let (Some(binary), Some(folder)) = (envoy::binary(), std::env::var_os("TIDEGATE_PROXY_WASM")) else { return };
    let subject = |name: &&str| {
        let path = std::path::Path::new(&folder).join(format!("{name}.wasm"));
        let asks =
            ["GET / ; x-name: Ada", "GET /deny", "GET /call", "GET /body", "GET /hello", "POST / ; body one | two"];
        Subject {
            name: name.replace(['/', '_', '.'], "-"),
            module: std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            configuration: "Hello".into(),
            asks: asks.iter().map(|line| ask(line)).collect(),
            over: None,
            differs: None,
        }
    };
    compare(&binary, &BUILT.iter().map(subject).collect::<Vec<_>>()).await;
}

fn subjects() -> Vec<Subject> {
    let texts = compared().into_iter().map(|(name, text)| {
        let told = |word: &str| {
            let mark = format!(";; {word} ");
            text.lines().filter_map(|line| line.strip_prefix(&*mark).map(str::to_owned)).collect::<Vec<_>>()
        };
        let differs = text.lines().find_map(|line| line.strip_prefix(";; differs: ")).map(str::to_owned);
        Subject {
            asks: told("ask").iter().map(|line| ask(line)).collect(),
            over: told("over").pop(),
            module: wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")),
            configuration: "abcdef".into(),
            name,
            differs,
        }
    });
    texts.collect()
}

/// Asks both the same of every module; everything that is not as in Envoy is told at once.
pub(super) async fn compare(binary: &std::path::PathBuf, subjects: &[Subject]) {
    let (origin, side) = (Origin::start(), Origin::named("side"));
    let held = side.hold("/late");
    let closed = tidegate_tests::free_address();
    let origins = [
        ("origin", origin.address()),
        ("side", side.address()),
        ("auth", side.address()),
        ("httpbin", side.address()),
        ("cluster", side.address()),
        ("closed", closed),
    ];
    let filters: Vec<_> = subjects
        .iter()
        .map(|subject| Filter { name: &subject.name, module: &subject.module, configuration: &subject.configuration })
        .collect();
    let envoy = Envoy::start(binary, &origins, &filters).await;
    let (_dir, gateway) = ours(&origins, subjects).await;
    let mut wrong = Vec::new();
    for subject in subjects {
        let mut found = Vec::new();
        for protocol in ["http1", "http2"] {
            if subject.over.as_deref().is_some_and(|over| over != protocol) {
                continue;
            }
            for ask in &subject.asks {
                // A connection each: one that a module broke is of no use to the next.
                let mut theirs = envoy.client(&subject.name, protocol).await;
                let mut own = if protocol == "http1" { gateway.http1().await } else { gateway.http2().await };
                let theirs = told(send(&mut theirs, &subject.name, ask).await);
                let own = told(send(&mut own, &subject.name, ask).await);
                found.extend(
                    difference(&theirs, &own)
                        .map(|what| format!("over {protocol}: {} {}:\n{what}", ask.method, ask.target)),
                );
            }
        }
        match (&subject.differs, found.is_empty()) {
            (None, false) => wrong.push(format!("{}: {}", subject.name, found.join("\n"))),
            (Some(reason), true) => wrong.push(format!("{}: does not differ any more: {reason}", subject.name)),
            _ => {}
        }
    }
    drop(held);
    assert!(wrong.is_empty(), "not as in Envoy:\n{}\n{}", wrong.join("\n"), envoy.log());
}

async fn ours(origins: &[(&str, std::net::SocketAddr)], subjects: &[Subject]) -> (ConfigDir, Gateway) {
    let dir = ConfigDir::new();
    let (mut middleware, mut routes) = (String::new(), String::new());
    for Subject { name, module, configuration, .. } in subjects {
        dir.write_bytes(&format!("{name}.wasm"), module);
        writeln!(
            middleware,
            "  {name}: {{module: {name}.wasm, config: {configuration:?}, grants: {{upstreams: [side, auth, httpbin, cluster, closed]}}, \
             proxy-wasm: {{root-id: guest}}}}"
        )
        .expect("writing to a string does not fail");
        writeln!(routes, "  - {{id: all-{name}, host: {name}.test, path: /*, middleware: [{name}], upstream: origin}}")
            .expect("writing to a string does not fail");
    }
    let mut upstreams = String::new();
    for (name, address) in origins {
        writeln!(upstreams, "  {name}: {{endpoints: ['{address}']}}").expect("writing to a string does not fail");
    }
    dir.write("gateway.yaml", &format!("{WEB}upstreams:\n{upstreams}middleware:\n{middleware}routes:\n{routes}"));
    let gateway = Gateway::start(&dir).await;
    (dir, gateway)
}

// What a client, and the origin, saw of it, line by line; nothing that only tells one proxy from another, such as the number of
// fields (`x-fields`), or trailers of an upstream over HTTP/1.1 (`x-digest`), which Envoy reads only where it is told to.
fn told(answer: Answer) -> Vec<String> {
    let mut lines = vec![format!("status {}", answer.status.as_u16())];
    // A plugin that failed: Envoy has no words for it, the gateway its own.
    if answer.status == 503 && ["", "the service is unavailable"].contains(&&*answer.text()) {
        return lines;
    }
    let own = |name: &str| {
        name == "content-type"
            || name.starts_with("grpc-")
            || (name.starts_with("x-")
                && !name.starts_with("x-envoy-")
                && !name.starts_with("x-forwarded-")
                && !["x-request-id", "x-fields", "x-digest"].contains(&name))
    };
    let fields = |what: &str, all: &HeaderMap| {
        let kept = all.iter().filter(|(name, _)| own(name.as_str()));
        kept.map(|(name, value)| format!("{what} {name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect::<Vec<_>>()
    };
    lines.extend(fields("field", &answer.headers));
    lines.extend(fields("trailer", &answer.trailers));
    match serde_json::from_slice::<serde_json::Value>(&answer.body) {
        Ok(echo) if echo["target"].is_string() => {
            lines.push(format!("origin saw {} {} {}", echo["method"], echo["target"], echo["body_digest"]));
            for what in ["headers", "trailers"] {
                let pairs = echo[what].as_array().cloned().unwrap_or_default();
                let pairs = pairs.iter().map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), pair[1].clone()));
                lines.extend(
                    pairs
                        .filter(|(name, _)| own(name) || name == "host")
                        .map(|(name, value)| format!("origin saw {what} {name}: {value}")),
                );
            }
        }
        _ => lines.push(format!("body {}", answer.text())),
    }
    lines.sort();
    lines
}

fn difference(theirs: &[String], own: &[String]) -> Option<String> {
    let only = |of: &[String], without: &[String], who: &str| {
        of.iter().filter(|line| !without.contains(line)).map(|line| format!("    {who}: {line}")).collect::<Vec<_>>()
    };
    let mut lines = only(theirs, own, "Envoy");
    lines.extend(only(own, theirs, "here "));
    (!lines.is_empty()).then(|| lines.join("\n"))
}
