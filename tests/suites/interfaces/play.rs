//! How the cases are played for one interface: one gateway, a host for each case, everything that is wrong told at once.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, WEB, eventually, request, streamed, wire};

use super::rows::{Ask, Case, cases, pair};

/// Who plays.
pub(super) struct Column<'a> {
    pub(super) interface: &'a str,
    /// Settings that each plugin gets.
    pub(super) limits: &'a str,
    /// The module that plays a guest.
    pub(super) module: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

struct Stage {
    origin: Origin,
    side: Origin,
    gateway: Gateway,
    _dir: ConfigDir,
}

/// Plays every case that the interface has a way for.
pub(super) async fn play(column: &Column<'_>) {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.reason(column.interface).is_none()).collect();
    let stage = set(column, &cases).await;
    let mut wrong = Vec::new();
    for case in &cases {
        for protocol in ["http1", "http2"] {
            if case.over.as_deref().is_none_or(|over| over == protocol) {
                let seen = stage.play(case, protocol).await;
                wrong.extend(seen.into_iter().map(|what| format!("{} over {protocol}: {what}", case.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n  {}", column.interface, wrong.join("\n  "));
    stage.gateway.shutdown(Duration::from_secs(5)).await;
}

async fn set(column: &Column<'_>, cases: &[Case]) -> Stage {
    let (origin, side) = (Origin::start(), Origin::named("side"));
    let dir = ConfigDir::new().with("origin", origin.address()).with("side", side.address());
    let (mut middleware, mut routes) = (String::new(), String::new());
    for case in cases {
        for guest in &case.chain {
            let module = (column.module)(guest);
            let module = module.unwrap_or_else(|| panic!("{} has no guest for {guest}", column.interface));
            // Text or binary, it is the same to the gateway by the file's name alone.
            let kind = if module.starts_with(b"\0asm") { "wasm" } else { "wat" };
            dir.write_bytes(&format!("{guest}.{kind}"), &module);
            let own = match column.interface {
                interface if interface.starts_with("wasi:http") => format!("environment: {{CASE: {guest}}}"),
                interface if interface.starts_with("proxy-wasm") => {
                    format!("config: {guest}, proxy-wasm: {{vm-id: {}, root-id: guest}}", case.name)
                }
                _ => format!("config: {guest}"),
            };
            writeln!(
                middleware,
                "  {guest}: {{module: {guest}.{kind}, {own}, grants: {{upstreams: [side]}}, {}}}",
                column.limits
            )
            .expect("writing to a string does not fail");
        }
        let (name, chain) = (&case.name, case.chain.join(", "));
        writeln!(routes, "  - {{id: {name}, host: {name}.test, path: /*, middleware: [{chain}], upstream: origin}}")
            .expect("writing to a string does not fail");
    }
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}, side: {{endpoints: ['{{side}}']}}}}
middleware:
{middleware}
routes:
{routes}
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    Stage { origin, side, gateway, _dir: dir }
}

impl Stage {
    // What is not as it should be.
    async fn play(&self, case: &Case, protocol: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for ask in &case.asks {
            // A connection each: one whose request was answered before it was read is of no use to the next.
            let mut client = match protocol {
                "http1" => self.gateway.http1().await,
                _ => self.gateway.http2().await,
            };
            let before = (self.origin.requests(), self.side.requests());
            let answer = send(&mut client, &case.name, ask).await;
            if !ask.expected.iter().any(|(word, _)| word == "status") && answer.status != 200 {
                wrong.push(format!("{} {}: {} {}", ask.method, ask.target, answer.status, answer.text()));
                continue;
            }
            let reached = self.origin.requests() - before.0;
            for (word, rest) in &ask.expected {
                let seen = match &**word {
                    "reached" => (if reached == 0 { "no" } else { "yes" }).to_owned(),
                    "called" => (self.side.requests() - before.1).to_string(),
                    "metric" => {
                        let series = rest.split(" = ").next().unwrap_or_default();
                        let (name, labels) = series.split_once(' ').unwrap_or((series, ""));
                        // It is counted when the exchange is over, which the client may not wait for.
                        let counted = async || {
                            let now = format!("{series} = {}", self.gateway.metric(name, labels).await);
                            (now == *rest).then_some(now)
                        };
                        eventually(&case.name, Duration::from_secs(20), counted).await
                    }
                    word => seen(word, rest, &answer),
                };
                if !matches(&seen, rest) {
                    wrong.push(format!("{} {}: {word} {rest}, but {seen}", ask.method, ask.target));
                }
            }
        }
        wrong
    }
}

pub(super) async fn send(client: &mut Client, host: &str, ask: &Ask) -> Answer {
    let method: Method = ask.method.parse().expect("a method");
    let mut asked = request(method, &format!("http://{host}.test{}", ask.target));
    for (name, value) in &ask.fields {
        let name: HeaderName = name.parse().expect("a name");
        asked.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    if ask.body.is_empty() {
        return client.send(asked).await;
    }
    let (sender, body) = streamed();
    let (pieces, trailer) = (ask.body.clone(), ask.trailer.clone());
    let fed = tokio::spawn(async move {
        for piece in pieces {
            sender.send(Bytes::from(piece)).await;
        }
        if let Some((name, value)) = trailer {
            sender.trailer(name.leak(), value.leak()).await;
        }
    });
    let opened = client.open(asked.map(|_| body)).await.expect("it is answered");
    let answer = Answer::read(opened).await.expect("its body is whole");
    fed.await.expect("a body is fed");
    answer
}

// What stands in the place of what is expected.
fn seen(word: &str, rest: &str, answer: &Answer) -> String {
    let field = |all: &HeaderMap, name: &str| {
        let values = all.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        format!("{name}: {}", values.collect::<Vec<_>>().join(" | "))
    };
    match word {
        "status" => answer.status.as_u16().to_string(),
        "body" => answer.text(),
        "has" => field(&answer.headers, &pair(rest).0),
        "trailer" => field(&answer.trailers, &pair(rest).0),
        "without" if answer.headers.contains_key(rest) => field(&answer.headers, rest),
        "without" => rest.to_owned(),
        "saw" => {
            let name = pair(rest).0;
            format!("{name}: {}", answer.echoed(&name).join(" | "))
        }
        "unseen" if answer.echoed(rest).is_empty() => rest.to_owned(),
        "unseen" => answer.echoed(rest).join(" | "),
        "target" => answer.echo()["target"].as_str().unwrap_or_default().to_owned(),
        // Of a body the origin tells no more than its digest.
        "received" if answer.echo()["body_digest"] == wire::digest(rest.as_bytes()) => rest.to_owned(),
        "received" => format!("another body of {} bytes", answer.echo()["body_bytes"]),
        "saw-trailer" => {
            let name = pair(rest).0;
            let trailers = answer.echo()["trailers"].clone();
            let found = trailers.as_array().into_iter().flatten().filter(|trailer| trailer[0] == *name);
            let values: Vec<_> = found.map(|trailer| trailer[1].as_str().unwrap_or_default().to_owned()).collect();
            format!("{name}: {}", values.join(" | "))
        }
        _ => panic!("not understood: {word}"),
    }
}

fn matches(seen: &str, expected: &str) -> bool {
    expected.strip_suffix('*').map_or_else(|| seen == expected, |beginning| seen.starts_with(beginning))
}
