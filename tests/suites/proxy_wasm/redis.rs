//! Redis, as plugins of Higress call it: introduced when they are configured, asked in a request, answered by a callback.

use tidegate_tests::{
    ConfigDir, Gateway, Origin, WEB,
    proxy_wasm::{CONTINUE, callback, guest, request_headers, told},
    redis::Redis,
};

use super::calls::importing;

const IMPORTS: &str = "
(import \"env\" \"proxy_redis_init\" (func $redis_init (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import \"env\" \"proxy_redis_call\" (func $redis (param i32 i32 i32 i32 i32) (result i32)))
(import \"env\" \"proxy_continue_stream\" (func $go (param i32) (result i32)))";

/// Introduces itself to `name`; sends the request's field `x-command` there, and tells of the answer in `x-answer`.
fn asking(name: &str, user: &str, password: &str, timeout_ms: u32) -> String {
    let configure =
        format!("(i32.eqz (call $redis_init @\"{name}\" @\"{user}\" @\"{password}\" (i32.const {timeout_ms})))");
    let ask = format!(
        "(global.set $stream (local.get $id))
         (drop (call $get (i32.const 0) @\"x-command\" (i32.const 0x8000) (i32.const 0x8004)))
         (call $tell @\"x-call\" (call $redis @\"{name}\" (call $words) (i32.const 0x8010)))
         (i32.ne (i32.load (i32.const 0x8010)) (i32.const 0))"
    );
    let answered = "(drop (call $effective (global.get $stream)))
        (call $tell @\"x-failed\" (local.get $status))
        (drop (call $replace (i32.const 0) @\"x-size\" (call $digits (local.get $size))))
        (call $show (i32.const 0) @\"x-answer\" (call $buffer (i32.const 9) (i32.const 0) (i32.sub (local.get $size) (i32.const 2)) (i32.const 0x8000) (i32.const 0x8004)))
        (drop (call $go (i32.const 0)))";
    // Each comma of the field ends a line.
    let words = "(func $words (result i32 i32) (local $from i32) (local $to i32)
        (local.set $to (i32.const 0x9000))
        (loop $next
          (if (i32.lt_u (local.get $from) (call $given_length))
            (then
              (if (i32.eq (i32.load8_u (i32.add (call $given) (local.get $from))) (i32.const 44))
                (then
                  (i32.store16 (local.get $to) (i32.const 0x0a0d))
                  (local.set $to (i32.add (local.get $to) (i32.const 2))))
                (else
                  (i32.store8 (local.get $to) (i32.load8_u (i32.add (call $given) (local.get $from))))
                  (local.set $to (i32.add (local.get $to) (i32.const 1)))))
              (local.set $from (i32.add (local.get $from) (i32.const 1)))
              (br $next))))
        (i32.const 0x9000) (i32.sub (local.get $to) (i32.const 0x9000)))\n";
    let body = String::from("(global $stream (mut i32) (i32.const 0))\n")
        + words
        + &callback("proxy_on_configure", "$root $size", &configure)
        + &request_headers(&ask)
        + &callback("proxy_on_response_headers", "$id $fields $end", CONTINUE)
        + &told("proxy_on_redis_call_response", "$root $token $status $size", answered);
    importing(IMPORTS, &guest("0_2_100", &body))
}

async fn scene(redis: &Redis, module: &str, more: &str) -> (Origin, ConfigDir, Gateway) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address()).with("redis", redis.address());
    dir.write("guest.wat", module);
    let yaml = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}, redis: {{endpoints: ['{{redis}}']}}}}
middleware:
  plugin: {{module: guest.wat, grants: {{upstreams: [redis]}}{more}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
"
    );
    dir.write("gateway.yaml", &yaml);
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway)
}

// What the callback was told: whether it failed, how long the answer is, and the answer without its end, where that is one line.
async fn ask(gateway: &Gateway, command: &str) -> (String, String, String) {
    let mut request = tidegate_tests::request(http::Method::GET, "/");
    request.headers_mut().insert("x-command", command.parse().unwrap());
    let answer = gateway.http1().await.send(request).await;
    assert_eq!(answer.status, 200);
    let told = |name| answer.echoed(name).concat();
    if told("x-failed").is_empty() {
        return (told("x-call"), String::new(), String::new());
    }
    (told("x-failed"), told("x-size"), told("x-answer"))
}

fn is(told: (String, String, String), expected: [&str; 3]) {
    assert_eq!([&*told.0, &*told.1, &*told.2], expected);
}

const SET: &str = "*3,$3,SET,$1,a,$2,me,";
const GET: &str = "*2,$3,GET,$1,a,";
const INCR: &str = "*2,$4,INCR,$1,n,";
const WHAT: &str = "*1,$1,?,";
const UNKNOWN: &str = "-ERR unknown command";

#[tokio::test]
async fn a_command_is_answered_on_one_connection() {
    let redis = Redis::start(None).await;
    let (_origin, dir, gateway) = scene(&redis, &asking("redis", "", "", 1000), "").await;
    let answers = [(SET, "5", "+OK"), (GET, "8", ""), (INCR, "4", ":1"), (INCR, "4", ":2"), (WHAT, "22", UNKNOWN)];
    for (command, length, answer) in answers {
        is(ask(&gateway, command).await, ["a", length, answer]);
    }
    assert_eq!(redis.commands(), ["SET a me", "GET a", "INCR n", "INCR n", "?"]);
    // A connection belongs to no exchange, and outlives a change of something else.
    dir.edit("gateway.yaml", "id: all", "id: every");
    let generation = gateway.apply().await;
    gateway.only(generation).await;
    is(ask(&gateway, INCR).await, ["a", "4", ":3"]);
    // One a worker.
    assert!(redis.connections() <= 2, "{}", redis.connections());
}

#[tokio::test]
async fn it_introduces_itself_as_it_was_told_to() {
    let redis = Redis::start(Some("secret")).await;
    let (_origin, dir, gateway) = scene(&redis, &asking("redis?db=3", "me", "secret", 1000), "").await;
    is(ask(&gateway, INCR).await, ["a", "4", ":1"]);
    assert_eq!(redis.commands(), ["AUTH me secret", "SELECT 3", "INCR n"]);
    dir.write("guest.wat", &asking("redis", "", "wrong", 1000));
    gateway.apply().await;
    is(ask(&gateway, INCR).await, ["b", "0", ""]);
}

#[tokio::test]
async fn what_does_not_answer_fails_and_is_asked_anew() {
    let redis = Redis::start(None).await;
    let (_origin, _dir, gateway) =
        scene(&redis, &asking("redis", "", "", 300), ", limits: {call-bytes-max: 64KiB}").await;
    for command in ["*1,$5,BREAK,", "*1,$4,HANG,", "*2,$4,LONG,$6,100000,"] {
        is(ask(&gateway, command).await, ["b", "0", ""]);
        is(ask(&gateway, WHAT).await, ["a", "22", UNKNOWN]);
    }
}

#[tokio::test]
async fn what_is_no_command_and_whom_it_did_not_name_is_refused() {
    let redis = Redis::start(None).await;
    let (_origin, dir, gateway) = scene(&redis, &asking("redis", "", "", 300), "").await;
    for command in ["GET a,", "*1,$4,PING,*1,$4,PING,", "*2,$4,PING,", "+OK,"] {
        is(ask(&gateway, command).await, ["c", "", ""]);
    }
    assert!(redis.commands().is_empty());
    dir.write("guest.wat", &asking("other", "", "", 300));
    let refused = gateway.reload().await;
    assert_eq!(refused["outcome"], "refused", "{refused}");
}
