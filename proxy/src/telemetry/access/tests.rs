//! The access log from exchange to file: hostile input, rotation, targets that fail, queues that overflow.

use std::{net::SocketAddr, path::Path, rc::Rc, time::Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    config::spec::{AccessLog, LogFormat, LogTarget},
    error::{Error, Kind},
    exchange::{RouteFacts, StepTime, testing},
    telemetry::names::ACCESS_FIELDS,
};

const OUTCOME: Outcome =
    Outcome { status: 200, request_bytes: 3, response_bytes: 4, duration: Duration::from_micros(1500), error: None };

fn spec(path: &Path, format: LogFormat) -> AccessLog {
    let to = Some(LogTarget::File(path.to_str().expect("UTF-8").to_owned()));
    AccessLog { to, format, queue_lines_max: 8192 }
}

fn line<'a>(exchange: &'a Exchange, path: &'a str) -> Line<'a> {
    let (user_agent, referer) = (None, None);
    Line { exchange, method: &Method::GET, authority: "a.example", path, user_agent, referer, outcome: &OUTCOME }
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

fn full_exchange() -> Rc<Exchange> {
    let exchange = testing::exchange();
    exchange.put_on(&Rc::new(RouteFacts { id: "users".into(), prefix: "".into(), pattern: "".into() }));
    exchange.record.note(|record| {
        record.upstream = Some("users".into());
        record.endpoint = Some(SocketAddr::from(([10, 0, 1, 20], 8080)));
        record.attempts = 2;
        record.grpc_status = Some(14);
        record.upstream_time = Some(Duration::from_micros(900));
        record.steps.push(StepTime { name: "auth".into(), time: Duration::from_micros(7) });
    });
    exchange.record.fail(&Error::new(Kind::UpstreamReset, "10.0.1.20:8080 closed"));
    exchange.attributes.borrow_mut().push(("key-auth.consumer".into(), "alice".into()));
    exchange
}

#[test]
fn a_line_says_all_there_is_to_say() {
    let exchange = full_exchange();
    let (agent, referer) = (HeaderValue::from_static("curl/8"), HeaderValue::from_static("http://b.example/"));
    let line = Line { user_agent: Some(&agent), referer: Some(&referer), ..line(&exchange, "/a?b=c") };
    let mut scratch = Scratch::default();
    let json = Format::new(&LogFormat::Json).expect("valid");
    let object: Value = serde_json::from_slice(json.line(&line, &mut scratch)).expect("JSON");
    let object = object.as_object().expect("an object");
    let named: Vec<_> = object.keys().map(String::as_str).collect();
    let all: Vec<_> = ACCESS_FIELDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, all);
    for (field, value) in [
        ("path", Value::from("/a")),
        ("query", "b=c".into()),
        ("duration_ms", 1.5.into()),
        ("endpoint", "10.0.1.20:8080".into()),
        ("grpc_status", 14.into()),
        ("plugins_ms", serde_json::json!({"auth": 0.007})),
        ("error", "upstream_reset".into()),
        ("error_detail", "upstream_reset: 10.0.1.20:8080 closed".into()),
        ("trace_id", format!("{:032x}", 1).into()),
        ("attributes", serde_json::json!({"key-auth.consumer": "alice"})),
    ] {
        assert_eq!(object[field], value, "{field}");
    }
    let template = "%{client} %{method} \"%{path}\" %{status} %{plugins_ms} %{attributes} %{route}";
    let template = Format::new(&LogFormat::Text(template.into())).expect("valid");
    let text = "127.0.0.1 GET \"/a\" 200 auth=0.007 key-auth.consumer=alice users\n";
    assert_eq!(std::str::from_utf8(template.line(&line, &mut scratch)), Ok(text));
}

#[test]
fn what_is_unknown_is_left_out_of_json_and_is_a_dash_in_a_template() {
    let exchange = testing::exchange();
    exchange.put_on(&Rc::new(RouteFacts { id: "".into(), prefix: "".into(), pattern: "".into() }));
    let fields = ["route", "upstream", "status", "query"].map(str::to_owned).to_vec();
    let mut scratch = Scratch::default();
    let json = Format::new(&LogFormat::JsonFields(fields)).expect("valid");
    assert_eq!(json.line(&line(&exchange, "/"), &mut scratch), b"{\"status\":200}\n");
    let text = Format::new(&LogFormat::Text("%{route}|%{plugins_ms}|%{error}".into())).expect("valid");
    assert_eq!(text.line(&line(&exchange, "/"), &mut scratch), b"-|-|-\n");
    assert!(Format::new(&LogFormat::JsonFields(vec!["statsu".into()])).is_err());
}

proptest! {
    #[test]
    fn hostile_input_is_one_line_of_valid_json(
        path in ".*",
        authority in ".*",
        agent in proptest::collection::vec(any::<u8>(), 0..300),
        attribute in (".*", ".*"),
        detail in ".*",
    ) {
        let exchange = testing::exchange();
        exchange.attributes.borrow_mut().push(attribute.clone());
        exchange.record.fail(&Error::new(Kind::Internal, detail));
        let agent = HeaderValue::from_bytes(&agent).ok();
        let line = Line { user_agent: agent.as_ref(), authority: &authority, ..line(&exchange, &path) };
        let mut scratch = Scratch::default();
        let json = Format::new(&LogFormat::Json).expect("valid");
        let text = json.line(&line, &mut scratch);
        prop_assert_eq!(text.iter().filter(|byte| byte.is_ascii_control()).count(), 1, "the line end alone");
        let object: Value = serde_json::from_slice(text).expect("JSON");
        let query = object.get("query").and_then(Value::as_str).map_or(String::new(), |query| format!("?{query}"));
        prop_assert_eq!(object["path"].as_str().expect("text").to_owned() + &query, path.clone());
        prop_assert_eq!(object["attributes"][&attribute.0].as_str(), Some(attribute.1.as_str()));
        let template = Format::new(&LogFormat::Text("%{path} %{user_agent}".into())).expect("valid");
        let text = template.line(&line, &mut scratch);
        prop_assert!(std::str::from_utf8(text).is_ok());
        prop_assert_eq!(text.iter().filter(|byte| byte.is_ascii_control()).count(), 1);
    }
}

#[test]
fn lines_of_every_worker_reach_the_file_and_closing_writes_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let log = Log::start(2, Metrics::new(2)).expect("a thread");
    let sink = log.sink(&spec(&path, LogFormat::Text("%{path}".into()))).expect("a sink");
    assert!(sink.is_on() && !Sink::default().is_on());
    let exchange = testing::exchange();
    for number in 0..1000 {
        sink.write(number % 2, &line(&exchange, &format!("/{number}")));
    }
    assert!(log.close(Duration::from_secs(20)));
    let written = std::fs::read_to_string(&path).expect("written");
    let mut lines: Vec<_> = written.lines().map(|line| line[1..].parse().expect("a number")).collect();
    let even: Vec<usize> = lines.iter().copied().filter(|number| number % 2 == 0).collect();
    assert!(even.is_sorted(), "in order within a worker");
    lines.sort_unstable();
    assert_eq!(lines, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_renamed_file_is_let_go_when_asked_to_reopen() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = Log::start(1, Metrics::new(1)).expect("a thread");
    let sink = log.sink(&spec(&path, LogFormat::Text("%{path}".into()))).expect("a sink");
    let exchange = testing::exchange();
    let holds = |path: &Path, text: &str| std::fs::read_to_string(path).is_ok_and(|read| read == text);
    sink.write(0, &line(&exchange, "/1"));
    eventually("the first line is written", || holds(&path, "/1\n"));
    std::fs::rename(&path, &rotated).expect("renamed");
    sink.write(0, &line(&exchange, "/2"));
    eventually("the old file is written on", || holds(&rotated, "/1\n/2\n"));
    log.reopen();
    eventually("the new file is there", || path.exists());
    sink.write(0, &line(&exchange, "/3"));
    eventually("the new file is written", || holds(&path, "/3\n"));
}

#[test]
fn a_full_queue_and_a_full_disk_are_counted_and_survived() {
    let metrics = Metrics::new(1);
    let log = Log::start(1, Arc::clone(&metrics)).expect("a thread");
    let full = log.sink(&spec(Path::new("/dev/full"), LogFormat::Json)).expect("a sink");
    let exchange = testing::exchange();
    full.write(0, &line(&exchange, "/"));
    eventually("the lost line is counted", || metrics.access_lines_dropped() == 1);
    let closed = log.close(Duration::from_secs(20));
    assert!(closed, "the thread ends");
    // Nobody reads the queue any more, so it fills.
    let few = AccessLog { queue_lines_max: 4, ..spec(Path::new("/dev/null"), LogFormat::Json) };
    let few = log.sink(&few).expect("a sink");
    (0..10).for_each(|_| few.write(0, &line(&exchange, "/")));
    assert_eq!(metrics.access_lines_dropped(), 1 + 6);
    let endless = "x".repeat(100);
    (0..1000).for_each(|_| exchange.attributes.borrow_mut().push((endless.clone(), endless.clone())));
    few.write(0, &line(&exchange, "/"));
    assert_eq!(metrics.access_lines_dropped(), 1 + 6 + 1, "a line beyond the limit");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_answer() {
    let log = Log::start(1, Metrics::new(1)).expect("a thread");
    let error = log.sink(&spec(Path::new("/nowhere/access.log"), LogFormat::Json)).expect_err("refused");
    assert!(error.starts_with("cannot open the access log `/nowhere/access.log`: "), "{error}");
    let off = AccessLog { to: None, format: LogFormat::Json, queue_lines_max: 1 };
    assert!(!log.sink(&off).expect("off").is_on());
}

#[test]
fn a_target_that_no_configuration_names_any_more_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let log = Log::start(1, Metrics::new(1)).expect("a thread");
    let sink = log.sink(&spec(&path, LogFormat::Text("%{path}".into()))).expect("a sink");
    sink.write(0, &line(&testing::exchange(), "/1"));
    drop(sink);
    eventually("what was sent is written", || std::fs::read_to_string(&path).is_ok_and(|read| read == "/1\n"));
    let name = path.to_str().expect("UTF-8");
    let open = || {
        let held = std::fs::read_dir("/proc/self/fd").expect("there").flatten();
        held.filter_map(|held| std::fs::read_link(held.path()).ok()).any(|to| to.to_str() == Some(name))
    };
    eventually("the file is closed", || !open());
    let again = log.sink(&spec(&path, LogFormat::Text("%{path}".into()))).expect("a sink");
    again.write(0, &line(&testing::exchange(), "/2"));
    eventually("a new sink appends", || std::fs::read_to_string(&path).is_ok_and(|read| read == "/1\n/2\n"));
}
