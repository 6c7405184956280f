//! The plugins that ship, as clients and upstreams meet them: the cases of `tests/tables/plugins/*.txt`, over sockets,
//! through the real gateway. `tests/tables/plugins/README.md` says how a case is written.

use std::{fs, path::Path};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use tidegate_tests::{
    Answer, ConfigDir, Gateway, Origin, WEB,
    origin::{Held, Hold},
    request,
};

#[tokio::test]
async fn key_auth_behaves_as_its_table_says() {
    table("key-auth", 25).await;
}

#[tokio::test]
async fn json_transform_behaves_as_its_table_says() {
    table("json-transform", 40).await;
}

/// One request, what the upstream is to see of it and to answer, and what the client is to get.
#[derive(Default)]
struct Case {
    line: usize,
    title: String,
    sent: Message,
    seen: Option<Message>,
    unseen: bool,
    answered: Message,
    got: Message,
}

#[derive(Default)]
struct Message {
    start: String,
    fields: Vec<(String, String)>,
    absent: Vec<String>,
    chunked: bool,
    body: Option<Vec<u8>>,
}

struct Scene {
    dir: ConfigDir,
    gateway: Gateway,
    held: Hold,
    _origin: Origin,
}

async fn table(plugin: &str, cases_min: usize) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(top.join(format!("tables/plugins/{plugin}.txt"))).unwrap();
    let mut scene = scene(plugin, top).await;
    let (mut title, mut case, mut played) = (String::new(), None::<Case>, 0);
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)).chain([(0, "")]) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let starts = mark.is_empty() || matches!(mark, "==" | "config" | "wrong") || (mark == ">" && is_start(rest));
        if starts && let Some(case) = case.take() {
            play(&mut scene, case).await;
            played += 1;
        }
        match mark {
            "" | "#" => {}
            "==" => rest.clone_into(&mut title),
            "config" => {
                let attempt = configure(&mut scene, plugin, rest).await;
                assert_ne!(attempt["outcome"], "refused", "{plugin}.txt:{number}: {attempt:#}");
            }
            "wrong" => {
                let (config, said) = rest.rsplit_once(" -> ").unwrap();
                let attempt = configure(&mut scene, plugin, config).await;
                refused(&attempt, said, &format!("{plugin}.txt:{number}"));
                played += 1;
            }
            ">" if is_start(rest) => {
                let sent = Message { start: rest.to_owned(), ..Message::default() };
                case = Some(Case { line: number, title: title.clone(), sent, ..Case::default() });
            }
            _ => {
                let case = case.as_mut().unwrap_or_else(|| panic!("{plugin}.txt:{number}: no request: {line}"));
                note(case, mark, rest, &format!("{plugin}.txt:{number}"));
            }
        }
    }
    assert!(played >= cases_min, "only {played} cases were played");
}

async fn scene(plugin: &str, top: &Path) -> Scene {
    let origin = Origin::start();
    let held = origin.hold("/held");
    let dir = ConfigDir::new().with("origin", origin.address());
    let file = format!("{plugin}.wasm");
    let module = fs::read(top.join("../plugins/dist").join(&file));
    let module = module.unwrap_or_else(|error| panic!("{file}: {error} (make plugins)"));
    dir.write_bytes(&format!("plugins/{file}"), &module);
    dir.write(
        "gateway.yaml",
        &format!("{WEB}routes: [{{id: none, path: /*, middleware: [{{respond: {{status: 404}}}}]}}]\n"),
    );
    let gateway = Gateway::start(&dir).await;
    Scene { dir, gateway, held, _origin: origin }
}

async fn configure(scene: &mut Scene, plugin: &str, config: &str) -> Value {
    scene.dir.write(
        "gateway.yaml",
        &format!(
            "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware: {{{plugin}: {{module: plugins/{plugin}.wasm, config: {config}}}}}
routes: [{{id: all, path: /*, middleware: [{plugin}], upstream: origin}}]
"
        ),
    );
    scene.gateway.reload().await
}

// Each of what was to be said, `POINTER words`, is said, and the place is that of the value: the configuration stands in
// the fourth line.
fn refused(attempt: &Value, said: &str, place: &str) {
    assert_eq!(attempt["outcome"], "refused", "{place}: {attempt:#}");
    let diagnostics = attempt["diagnostics"].as_array().unwrap();
    for wanted in said.split("; ") {
        let (pointer, words) = wanted.split_once(' ').unwrap();
        let is_it = |found: &&Value| {
            let message = found["message"].as_str().unwrap_or_default();
            message.contains(&format!(" at {pointer}: ")) && message.contains(words)
        };
        let found = diagnostics.iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("{place}: nothing of {wanted}: {attempt:#}"));
        assert_eq!(found["at"]["line"], 4, "{place}: {found:#}");
        assert!(found["at"]["column"].as_u64().is_some_and(|column| column > 40), "{place}: {found:#}");
    }
}

fn is_start(rest: &str) -> bool {
    rest.split_once(' ').is_some_and(|(method, _)| method.bytes().all(|byte| byte.is_ascii_uppercase()))
}

fn note(case: &mut Case, mark: &str, rest: &str, place: &str) {
    let (side, is_body) = mark.strip_suffix('|').map_or((mark, false), |side| (side, true));
    let message = match side {
        ">" => &mut case.sent,
        "^" => &mut case.answered,
        "<" => &mut case.got,
        "=" if rest == "-" => {
            case.unseen = true;
            return;
        }
        "=" => case.seen.get_or_insert_default(),
        _ => panic!("{place}: unknown mark {mark}"),
    };
    if is_body {
        message.body = Some(expanded(rest));
    } else if let Some(name) = rest.strip_prefix('!') {
        message.absent.push(name.to_owned());
    } else if rest == "chunked" {
        message.chunked = true;
    } else if let Some((name, value)) = rest.split_once(": ") {
        message.fields.push((name.to_owned(), value.to_owned()));
    } else {
        rest.clone_into(&mut message.start);
    }
}

async fn play(scene: &mut Scene, case: Case) {
    let place = format!("line {}: {}: {}", case.line, case.title, case.sent.start);
    let (method, target) = case.sent.start.split_once(' ').unwrap();
    let mut head = request(method.parse::<Method>().unwrap(), target);
    for (name, value) in &case.sent.fields {
        let value = HeaderValue::from_bytes(&expanded(value)).unwrap();
        head.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
    }
    let outgoing = head.map(|_| Bytes::from(case.sent.body.clone().unwrap_or_default()));
    let answer = {
        // A connection of its own: one that is refused in the middle of its body is closed.
        let mut client = scene.gateway.http1().await;
        let exchange = async { client.send(outgoing).await };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => {
                assert!(case.seen.is_none(), "{place}: the upstream is not asked: {} {}", answer.status, answer.text());
                answer
            }
            held = scene.held.next() => {
                assert!(!case.unseen, "{place}: the upstream is asked");
                answer_held(held, &case, &place).await;
                exchange.await
            }
        }
    };
    check(&case.got, &answer, &place);
}

async fn answer_held(mut held: Held, case: &Case, place: &str) {
    let body = held.whole().await.unwrap().bytes;
    if let Some(seen) = &case.seen {
        let start = format!("{} {}", held.head.method(), held.head.target());
        assert!(seen.start.is_empty() || seen.start == start, "{place}: the upstream sees {start}");
        let values = |name: &str| {
            let named = held.head.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        for (name, value) in &seen.fields {
            assert_eq!(values(name), [value.as_str()], "{place}: {name} at the upstream");
        }
        for name in &seen.absent {
            assert_eq!(values(name), Vec::<String>::new(), "{place}: {name} at the upstream");
        }
        if let Some(wanted) = &seen.body {
            assert_eq!(text(&body), text(wanted), "{place}: the body at the upstream");
        }
    }
    let answered = &case.answered;
    let status = answered.start.parse::<u16>().unwrap_or(200);
    let fields: String = answered.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let body = answered.body.clone().unwrap_or_default();
    if answered.chunked {
        held.begin(status, &fields).await;
        held.chunk(&body).await;
        held.end("").await;
    } else {
        let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 {status} Whatever\r\n{length}{fields}\r\n");
        // Where the plugin refuses it, it need not be read to its end.
        drop(held.try_send([head.as_bytes(), &body].concat()).await);
    }
    held.keep();
}

fn check(wanted: &Message, answer: &Answer, place: &str) {
    let status: u16 = wanted.start.parse().unwrap_or(200);
    assert_eq!(answer.status.as_u16(), status, "{place}: {}", answer.text());
    for (name, value) in &wanted.fields {
        assert_eq!(answer.header(name), value, "{place}: {name}");
    }
    for name in &wanted.absent {
        assert!(!answer.headers.contains_key(name), "{place}: {name}: {}", answer.header(name));
    }
    if let Some(body) = &wanted.body {
        assert_eq!(text(&answer.body), text(body), "{place}: the body");
    }
}

// `\xHH` is a byte, `<<TEXT*N>>` is N times the text.
fn expanded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<<").into_iter().chain(rest.find("\\x")).min() {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        if let Some(repeated) = rest[at..].strip_prefix("<<") {
            let (inside, after) = repeated.split_once(">>").unwrap();
            let (piece, count) = inside.rsplit_once('*').unwrap();
            bytes.extend(piece.repeat(count.parse().unwrap()).into_bytes());
            rest = after;
        } else {
            bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
            rest = &rest[at + 4..];
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

// Short enough to read where a test fails, and told apart by length where it is not.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown: String = text.chars().take(400).collect();
    format!("{shown} ({} bytes)", bytes.len())
}
