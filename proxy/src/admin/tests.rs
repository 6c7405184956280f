//! The endpoints over real sockets, with a gateway that only remembers what it was asked.

use std::{
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::Value;
use std::io::{Read, Write};

use super::*;
use crate::{
    config::diagnostic::Diagnostic,
    drain::Live,
    reload::status::{Attempt, LiveGeneration, Outcome, Phase, Phases, Revision, Status, Trigger, Work},
    source::Tree,
    telemetry::{Timestamp, UpstreamSample, log},
};

#[derive(Default)]
struct Remembers {
    asked: Mutex<Vec<String>>,
    refuses: bool,
}

impl Remembers {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().expect("no panic").push(what.into());
    }

    fn attempt(&self, trigger: Trigger, dry_run: bool) -> Attempt {
        let mut phases_ms = Phases::default();
        phases_ms.add(Phase::Read, Duration::from_millis(2));
        Attempt {
            at: Timestamp::now(),
            trigger,
            outcome: if self.refuses { Outcome::Refused } else { Outcome::Applied },
            dry_run,
            generation_before: 6,
            generation: if self.refuses { 6 } else { 7 },
            work: Work::default(),
            diagnostics: vec![Diagnostic::warning("shadowed-route", "route `b` is never reached")],
            phases_ms,
            report: "warning: route `b` is never reached\n".into(),
        }
    }
}

impl Control for Remembers {
    fn status(&self) -> Status {
        Status {
            version: "0",
            generation: 7,
            revision: vec![Revision { source: "./gateway".into(), revision: 3, hash: "ab".into() }],
            hash: "abc".into(),
            serving_since: Timestamp::now(),
            started: Timestamp::now(),
            uptime_s: 0,
            workers: 2,
            last_attempt: Some(self.attempt(Trigger::Watch, false)),
            live_generations: vec![LiveGeneration { live: Live { generation: 7, exchanges: 2, age_s: 1 }, tunnels: 1 }],
            sources: Vec::new(),
            needs_restart: Vec::new(),
            degraded: Vec::new(),
            fallbacks: Vec::new(),
        }
    }

    fn reload(&self, trigger: Trigger, dry_run: bool) -> BoxFuture<'_, Attempt> {
        self.note(format!("reload {} {dry_run}", trigger.name()));
        std::future::ready(self.attempt(trigger, dry_run)).boxed()
    }

    fn check(&self, tree: Tree) -> BoxFuture<'_, Vec<Diagnostic>> {
        let paths: Vec<_> = tree.layers.iter().flat_map(|layer| layer.entries.keys().map(|path| &**path)).collect();
        self.note(format!("check {}", paths.join(" ")));
        let found = if self.refuses { vec![Diagnostic::error("unknown-field", "no field `x`")] } else { Vec::new() };
        std::future::ready(found).boxed()
    }

    fn config(&self, explain: bool) -> String {
        format!("# explain: {explain}\n")
    }

    fn explain<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Explanation, String>> {
        self.note(format!("explain {} {} {:?} {:?}", ask.method, ask.url, ask.headers, ask.listener));
        let explanation = Explanation { generation: 7, route: Some("users".into()), ..Explanation::default() };
        Box::pin(std::future::ready(Ok(explanation)))
    }

    fn ready(&self) -> Result<Vec<String>, String> {
        if self.refuses { Err("shutting down".into()) } else { Ok(vec!["the last good tree serves".into()]) }
    }

    fn upstreams(&self) -> Vec<UpstreamSample> {
        vec![UpstreamSample { name: "users".into(), panics: false, endpoints: Vec::new() }]
    }

    fn metrics(&self) -> String {
        "tidegate_generation 7\n".into()
    }
}

struct Running {
    admin: Admin,
    control: Arc<Remembers>,
    folder: tempfile::TempDir,
}

async fn run(control: Remembers, token: Option<&str>, trust_loopback: bool) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        address: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        socket: Some(folder.path().join("admin.sock")),
        token: token.map(|token| Secret(token.into())),
        trust_loopback,
    };
    let control = Arc::new(control);
    let admin = Admin::start(settings, Arc::clone(&control) as Arc<dyn Control>).await.expect("started");
    Running { admin, control, folder }
}

/// Status, head and body.
type Answer = (u16, String, String);

impl Running {
    /// `request` is the head's lines; `Connection: close` is added.
    async fn tcp(&self, request: &str, body: &str) -> Answer {
        let address = self.admin.address().expect("bound");
        let bytes = message(request, body);
        blocking(move || exchange(TcpStream::connect(address).expect("connected"), &bytes)).await
    }

    async fn unix(&self, request: &str, body: &str) -> Answer {
        let path = self.folder.path().join("admin.sock");
        let bytes = message(request, body);
        blocking(move || exchange(UnixStream::connect(path).expect("connected"), &bytes)).await
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.control.asked.lock().expect("no panic"))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let end = Duration::from_secs(20);
    tokio::time::timeout(end, tokio::task::spawn_blocking(work)).await.expect("in time").expect("no panic")
}

fn message(request: &str, body: &str) -> Vec<u8> {
    let (line, rest) = request.split_once('\n').unwrap_or((request, "Host: localhost"));
    let fields = rest.replace('\n', "\r\n");
    let length = body.len();
    format!("{line} HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Answer {
    // A server that answers early may close before it has read everything.
    let _sent = stream.write_all(bytes).is_ok();
    let mut answer = Vec::new();
    let _read = stream.read_to_end(&mut answer).is_ok();
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_answers_over_both() {
    log::init(log::Form::Text, "warn").expect("levels");
    let running = run(Remembers::default(), None, true).await;
    for request in ["GET /-/status", "GET /-/ready", "GET /-/live", "GET /-/config", "GET /metrics", "HEAD /-/live"] {
        assert_eq!(running.tcp(request, "").await.0, 200, "{request}");
        assert_eq!(running.unix(request, "").await.0, 200, "{request}");
    }
    let ready = json(&running.tcp("GET /-/ready", "").await.2);
    assert_eq!((&ready["ready"], &ready["degraded"][0]), (&true.into(), &"the last good tree serves".into()));
    let status = json(&running.tcp("GET /-/status", "").await.2);
    assert_eq!(status["generation"], 7);
    assert_eq!(status["revision"][0]["revision"], 3);
    assert_eq!(status["last_attempt"]["outcome"], "applied");
    assert_eq!(status["last_attempt"]["phases_ms"]["read"], 2.0);
    let live = serde_json::json!([{"generation": 7, "exchanges": 2, "age_s": 1, "tunnels": 1}]);
    assert_eq!(status["live_generations"], live);
    let (_, head, body) = running.tcp("GET /metrics", "").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(body, "tidegate_generation 7\n");
    assert_eq!(running.unix("GET /-/config?explain=1", "").await.2, "# explain: true\n");
    let explained = running.tcp("GET /-/explain?method=POST&url=http%3A%2F%2Fa.example%2Fx&header=A:+b", "").await;
    assert_eq!(json(&explained.2)["route"], "users");
    assert_eq!(running.asked(), [r#"explain POST http://a.example/x {"a": "b"} None"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_answers_with_what_came_of_it() {
    let running = run(Remembers::default(), None, true).await;
    let (status, _, body) = running.tcp("POST /-/reload", "").await;
    assert_eq!((status, &json(&body)["generation_before"], &json(&body)["generation"]), (200, &6.into(), &7.into()));
    assert_eq!(json(&body)["report"], "warning: route `b` is never reached\n");
    assert_eq!(running.unix("POST /-/reload?dry_run=1", "").await.0, 200);
    assert_eq!(running.asked(), ["reload admin false", "reload admin true"]);
    assert_eq!(running.tcp("POST /-/reload?dryrun=1", "").await.0, 400, "a misspelt dry run does not reload");
    assert_eq!(running.asked(), Vec::<String>::new());
    let refusing = run(Remembers { refuses: true, ..Remembers::default() }, None, true).await;
    let (status, _, body) = refusing.tcp("POST /-/reload", "").await;
    assert_eq!((status, &json(&body)["outcome"]), (422, &"refused".into()));
    assert_eq!(json(&body)["diagnostics"][0]["code"], "shadowed-route");
    let (status, _, body) = refusing.tcp("GET /-/ready", "").await;
    assert_eq!((status, &json(&body)["reason"]), (503, &"shutting down".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_checked_without_being_taken() {
    let running = run(Remembers::default(), None, true).await;
    let (status, _, body) = running.tcp("POST /-/check", r#"{"entries": {"a.yaml": "x", "b": {"base64": ""}}}"#).await;
    assert_eq!((status, &json(&body)["valid"]), (200, &true.into()));
    assert_eq!(running.asked(), ["check a.yaml b"]);
    assert_eq!(running.tcp("POST /-/check", "nonsense").await.0, 400);
    let refusing = run(Remembers { refuses: true, ..Remembers::default() }, None, true).await;
    let (status, _, body) = refusing.tcp("POST /-/check", r#"{"entries": {}}"#).await;
    assert_eq!((status, &json(&body)["diagnostics"][0]["code"]), (422, &"unknown-field".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_of_the_log_are_set_for_a_while_and_put_back() {
    log::init(log::Form::Text, "warn").expect("levels");
    let running = run(Remembers::default(), None, true).await;
    let set =
        running.tcp("PUT /-/log-level", r#"{"target": "tidegate::some_room", "level": "debug", "ttl": "10m"}"#).await;
    let ours = |body: &str| json(body)["levels"].to_string().contains("tidegate::some_room");
    assert!(set.0 == 200 && ours(&set.2), "{set:?}");
    assert!(ours(&running.tcp("GET /-/log-level", "").await.2));
    let reset = running.tcp("PUT /-/log-level", r#"{"target": "tidegate::some_room", "level": null}"#).await;
    assert!(reset.0 == 200 && !ours(&reset.2), "{reset:?}");
    for bad in ["", r#"{"level": "loud"}"#, r#"{"level": "info", "ttl": "soon"}"#, r#"{"levle": "info"}"#] {
        assert_eq!(running.tcp("PUT /-/log-level", bad).await.0, 400, "{bad}");
    }
}

// What an endpoint asks for is a table of its own, in `guard`; here, that it is asked at the door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_turned_away_at_the_door() {
    let running = run(Remembers::default(), Some("s3cret"), false).await;
    for (request, status) in [
        ("GET /-/status", 200),
        ("GET /-/status\nHost: evil.example", 403),
        ("GET /-/live\nHost: localhost\nOrigin: https://evil.example", 403),
        ("POST /-/reload", 401),
        ("POST /-/reload\nHost: localhost\nAuthorization: Bearer wrong", 401),
        ("POST /-/reload\nHost: localhost\nAuthorization: Bearer s3cret", 200),
        ("POST /-/reload\nHost: localhost\nAuthorization: Bearer s3cret\nOrigin: https://evil.example", 403),
        ("PUT /-/log-level", 401),
        ("POST /-/check", 401),
        ("GET /-/status\nX: y", 400),
    ] {
        assert_eq!(running.tcp(request, "").await.0, status, "{request}");
    }
    assert_eq!(running.asked(), ["reload admin false"]);
    assert_eq!(running.unix("POST /-/reload", "").await.0, 200);
    let untrusting = run(Remembers::default(), None, false).await;
    let (status, _, body) = untrusting.tcp("POST /-/reload", "").await;
    assert_eq!(status, 403);
    assert!(json(&body)["error"].as_str().is_some_and(|error| error.contains("trust-loopback")), "{body}");
    assert_eq!(untrusting.unix("POST /-/reload", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_too_large_is_said_in_json() {
    let running = run(Remembers::default(), None, true).await;
    let (status, _, body) = running.tcp("GET /nothing", "").await;
    assert!(status == 404 && json(&body)["error"].as_str().is_some_and(|error| error.contains("GET /-/status")));
    let (status, head, _) = running.tcp("DELETE /-/log-level", "").await;
    assert!(status == 405 && head.contains("allow: get, put"), "{head}");
    let (status, _, body) = running.tcp("PUT /-/log-level", &"x".repeat(20 * 1024)).await;
    assert!(status == 413 && json(&body)["error"].is_string(), "{status} {body}");
    for (request, status) in [
        ("GET /-/explain", 400),
        ("GET /-/explain?url=http://[", 400),
        ("GET /-/explain?url=/&method=GE%20T", 400),
        ("GET /-/explain?url=/&header=nonsense", 400),
        ("GET /-/status?x=1", 400),
    ] {
        assert_eq!(running.tcp(request, "").await.0, status, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_endpoints_are_gone() {
    let running = run(Remembers::default(), None, true).await;
    let (address, path) = (running.admin.address().expect("bound"), running.folder.path().join("admin.sock"));
    drop(running.admin);
    assert!(!path.exists());
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "the port is still open");
        tokio::task::yield_now().await;
    }
}

#[test]
fn settings_come_from_the_command_line_before_the_documents() {
    let tcp = |text: &str| text.parse::<Address>().expect("an address");
    let (here, unix) = (tcp("127.0.0.1:1"), tcp("unix:/x"));
    let documents = Process { admin: Some(([127, 0, 0, 1], 2).into()), ..Process::default() };
    let distrusts = Process { admin_trust_loopback: Some(false), ..Process::default() };
    let printed = |flag: Option<&Address>, process: &Process, quickstart| {
        let settings = Settings::new(flag, process, quickstart).expect("allowed");
        let socket = settings.socket.map(|path| path.display().to_string());
        (settings.address.map(|address| address.port()), socket, settings.trust_loopback)
    };
    let none = Process::default();
    assert_eq!(printed(None, &none, true), (Some(9901), None, true), "the quickstart trusts this machine");
    assert_eq!(printed(None, &none, false), (Some(9901), None, false));
    assert_eq!(printed(Some(&here), &none, false), (Some(1), None, true), "so does --admin on loopback");
    assert_eq!(printed(Some(&here), &distrusts, true), (Some(1), None, false), "unless told not to");
    assert_eq!(printed(Some(&here), &documents, false), (Some(1), None, true));
    assert_eq!(printed(None, &documents, false), (Some(2), None, false));
    assert_eq!(printed(Some(&unix), &none, false), (None, Some("/x".into()), false));
    assert_eq!(printed(Some(&unix), &documents, false), (Some(2), Some("/x".into()), false));
    let away = tcp("0.0.0.0:9901");
    assert!(Settings::new(Some(&away), &none, false).is_err_and(|error| error.contains("token")));
    let token = Process { admin_token: Some(Secret("s".into())), ..Process::default() };
    assert!(Settings::new(Some(&away), &token, false).is_ok_and(|settings| !settings.trust_loopback));
}
