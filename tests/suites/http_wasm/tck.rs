//! The compatibility kit of http-wasm (`tck` of http-wasm-host-go): its cases under their names, in both generations that
//! there are of it. The first answers what it only looked at by itself; the second always goes on, and says so in the
//! response. Each case is a guest of its own that makes the kit's host calls, on the route that its test id selects.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Method;
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, WEB, http_wasm::guest};

struct Case {
    id: String,
    method: Method,
    target: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: usize,
    /// What the guest does with the request; leaves whether something is wrong.
    does: String,
    /// Goes on to the backend in either generation.
    next: bool,
    /// What the backend must have seen: `method`, `target`, or values of a field.
    seen: Vec<(&'static str, Vec<&'static str>)>,
}

fn case(id: impl Into<String>, does: impl Into<String>) -> Case {
    Case {
        id: id.into(),
        method: Method::GET,
        target: "/",
        fields: Vec::new(),
        body: 0,
        does: does.into(),
        next: false,
        seen: Vec::new(),
    }
}

fn is(call: &str, expected: &str) -> String {
    format!(
        "(i32.eqz (call $same (i32.const 0x8000) (call ${call} (i32.const 0x8000) (i32.const 2048)) @\"{expected}\"))"
    )
}

fn cases() -> Vec<Case> {
    let mut all = vec![case("get_protocol_version", "(i32.const 0)")];
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        let looks = case(format!("get_method/{method}"), is("method", method));
        all.push(Case { method: method.parse().unwrap(), ..looks });
    }
    let sets = case("set_method", "(call $set_method @\"POST\") (i32.const 0)");
    all.push(Case { next: true, seen: vec![("method", vec!["POST"])], ..sets });
    let targets = [
        ("simple", "/simple"),
        ("simple/escaping", "/simple%26clean"),
        ("query", "/animal?name=panda"),
        ("query/escaping", "/disney?name=chip%26dale"),
    ];
    for (name, target) in targets {
        all.push(Case { target, ..case(format!("get_uri/{name}"), is("uri", target)) });
        let sets = case(format!("set_uri/{name}"), format!("(call $set_uri @\"{target}\") (i32.const 0)"));
        all.push(Case { next: true, seen: vec![("target", vec![target])], ..sets });
    }
    all.extend(fields());
    for (name, bytes) in [("empty", 0), ("small", 5), ("medium", 2048), ("large", 4096), ("xlarge", 5000)] {
        // A read of nothing ends the kit's loop, too.
        let does = format!(
            "(local.set $n (call $read_all (i32.const 0) (i32.const 2048)))
             (i32.or (i32.ne (local.get $n) (i32.const {bytes})) (call $not_all_a (local.get $n)))"
        );
        all.push(Case { method: Method::POST, body: bytes, ..case(format!("read_body/request/{name}"), does) });
    }
    let address = "(local.set $n (call $source (i32.const 0x8000) (i32.const 2048)))
        (i32.or
          (i32.eqz (call $same (i32.const 0x8000) (i32.const 10) @\"127.0.0.1:\"))
          (i32.or (i32.le_u (local.get $n) (i32.const 10)) (i32.gt_u (local.get $n) (i32.const 15))))";
    all.push(case("get_source_addr", address));
    all
}

fn fields() -> Vec<Case> {
    let mut all = Vec::new();
    let values = [
        ("lowercase-key", "single-header", vec!["value"]),
        ("mixedcase-key", "Single-Header", vec!["value"]),
        ("not-exists", "not-header", vec![]),
        ("multiple-values", "multi-header", vec!["value1", "value2"]),
    ];
    for (name, field, expected) in values {
        let (count, all_of_them): (_, String) =
            (expected.len(), expected.iter().map(|value| format!("{value}\\00")).collect());
        let does = format!(
            "
             (local.set $got (call $values (i32.const 0) @\"{field}\" (i32.const 0x8000) (i32.const 2048)))
             (i32.or (i32.ne (call $count (local.get $got)) (i32.const {count}))
               (i32.eqz (call $same (i32.const 0x8000) (call $length (local.get $got)) @\"{all_of_them}\")))"
        );
        let looks = case(format!("get_header_values/request/{name}"), does);
        all.push(Case { fields: expected.into_iter().map(|value| (field, value)).collect(), ..looks });
    }
    let named = "
        (local.set $got (call $names (i32.const 0) (i32.const 0x8000) (i32.const 2048)))
        (i32.eqz (i32.and
          (call $has (call $length (local.get $got)) @\"a-header\")
          (call $has (call $length (local.get $got)) @\"b-header\")))";
    all.push(Case {
        fields: vec![("a-header", "value1"), ("b-header", "2")],
        ..case("get_header_names/request", named)
    });
    let changes = [
        ("set_header_value", "new", "$set", "new-header", vec!["value"]),
        ("set_header_value", "existing", "$set", "existing-header", vec!["value"]),
        ("add_header_value", "new", "$add", "new-header", vec!["value"]),
        ("add_header_value", "existing", "$add", "existing-header", vec!["bear", "value"]),
        ("remove_header", "new", "$remove", "new-header", vec![]),
        ("remove_header", "existing", "$remove", "existing-header", vec![]),
    ];
    for (function, name, call, field, expected) in changes {
        let value = if call == "$remove" { "" } else { "@\"value\"" };
        let does = format!("(call {call} (i32.const 0) @\"{field}\" {value}) (i32.const 0)");
        let changes = case(format!("{function}/request/{name}"), does);
        let mut seen = vec![(field, expected)];
        if field == "new-header" {
            seen.push(("existing-header", vec!["bear"]));
        }
        all.push(Case { fields: vec![("existing-header", "bear")], next: true, seen, ..changes });
    }
    all
}

const HELPERS: &str = "
(global $version_length (mut i32) (i32.const 0))
;; Whether one of the texts at 0x8000, each ended by a zero byte, is this one.
(func $has (param $size i32) (param $text i32) (param $length i32) (result i32)
  (local $at i32) (local $end i32)
  (local.set $at (i32.const 0x8000))
  (loop $text
    (local.set $end (local.get $at))
    (loop $byte
      (if (i32.load8_u (local.get $end)) (then (local.set $end (i32.add (local.get $end) (i32.const 1))) (br $byte))))
    (if (call $same (local.get $at) (i32.sub (local.get $end) (local.get $at)) (local.get $text) (local.get $length))
      (then (return (i32.const 1))))
    (local.set $at (i32.add (local.get $end) (i32.const 1)))
    (br_if $text (i32.lt_u (local.get $at) (i32.add (i32.const 0x8000) (local.get $size)))))
  (i32.const 0))
(func $not_all_a (param $length i32) (result i32)
  (block $end
    (loop $next
      (br_if $end (i32.eqz (local.get $length)))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br_if $next (i32.eq (i32.load8_u (i32.add (i32.const 0x10000) (local.get $length))) (i32.const 97)))
      (return (i32.const 1))))
  (i32.const 0))
(func (export \"_start\")
  (if (i32.ne (call $features (i32.const 7)) (i32.const 7)) (then unreachable)))";

const HANDLED: &str = "(call $set (i32.const 1) @\"x-httpwasm-tck-handled\" @\"1\")";

fn module(case: &Case, second: bool) -> String {
    let next = u32::from(second || case.next);
    let version = case.id == "get_protocol_version";
    let (own, later) = match (version, second) {
        (false, _) => ("", ""),
        (true, false) => ("(call $write (i32.const 1) (i32.const 0x9000) (global.get $version_length))", ""),
        (true, true) => ("", "(call $write (i32.const 1) (i32.const 0x9000) (global.get $version_length))"),
    };
    let response = if second { format!("{HANDLED} {later}") } else { String::new() };
    guest(&format!(
        "{HELPERS}
         (func $wrong (result i32) (local $n i32) (local $got i64) {})
         (func (export \"handle_request\") (result i64)
           (global.set $version_length (call $version (i32.const 0x9000) (i32.const 64)))
           (if (call $wrong) (then
             (call $set_status (i32.const 500))
             (call $set (i32.const 1) @\"x-httpwasm-tck-failed\" @\"it is not as it should be\")
             {HANDLED} (return (i64.const 0))))
           {own}
           {HANDLED}
           (i64.const {next}))
         (func (export \"handle_response\") (param i32 i32) {response})",
        case.does
    ))
}

async fn kit(second: bool) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let cases = cases();
    let (mut middleware, mut routes) = (String::new(), String::new());
    for (number, case) in cases.iter().enumerate() {
        dir.write(&format!("tck/{number}.wat"), &module(case, second));
        writeln!(middleware, "  tck-{number}: {{module: tck/{number}.wat}}").unwrap();
        writeln!(
            routes,
            "  - {{id: case-{number}, path: /*, headers: {{x-httpwasm-tck-testid: {}}}, middleware: [tck-{number}], upstream: origin}}",
            case.id
        )
        .unwrap();
    }
    let upstreams = "upstreams: {origin: {endpoints: ['{origin}']}}";
    dir.write("gateway.yaml", &format!("{WEB}\n{upstreams}\nmiddleware:\n{middleware}routes:\n{routes}"));
    let gateway = Gateway::start(&dir).await;
    for (mut client, version) in [(gateway.http1().await, "HTTP/1.1"), (gateway.http2().await, "HTTP/2.0")] {
        for case in &cases {
            let answer = ask(&mut client, case).await;
            let at = format!("{} over {version}: {} {:?}", case.id, answer.text(), answer.headers);
            assert_eq!(answer.header("x-httpwasm-tck-handled"), "1", "{at}");
            assert_ne!(answer.status, 500, "{at}");
            if case.id == "get_protocol_version" {
                assert_eq!(answer.text(), version, "{at}");
            }
            for (what, expected) in &case.seen {
                match *what {
                    "method" | "target" => assert_eq!(answer.echo()[what], expected[0], "{at}"),
                    field => assert_eq!(&answer.echoed(field), expected, "{at}"),
                }
            }
        }
    }
    assert!(cases.len() >= 31, "the kit has that many");
}

async fn ask(client: &mut Client, case: &Case) -> Answer {
    let mut request = tidegate_tests::request(case.method.clone(), case.target);
    for (name, value) in &case.fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request.headers_mut().insert("x-httpwasm-tck-testid", case.id.parse().unwrap());
    *request.body_mut() = Bytes::from("a".repeat(case.body));
    client.send(request).await
}

#[tokio::test]
async fn the_kit_that_answers_by_itself_passes_whole() {
    kit(false).await;
}

#[tokio::test]
async fn the_kit_that_goes_on_passes_whole() {
    kit(true).await;
}
