//! Hostile guests of Proxy-Wasm 0.2.1.

use tidegate_tests::proxy_wasm::{CONTINUE, PAUSE, callback, guest, request_headers, told};

use super::{Answers, EITHER, Expected, Guest, HARMLESS, Late, Refused, Traps, large};

const LOOP: &str = "(loop $on (br $on))";

fn made(name: &'static str, expected: Expected, body: &str) -> Guest {
    Guest::new(name, expected, guest("0_2_1", body))
}

/// The same with an import before everything else, where imports belong.
fn importing(name: &'static str, expected: Expected, import: &str, body: &str) -> Guest {
    let wat = guest("0_2_1", body).replacen("(module", &format!("(module {import}"), 1);
    Guest::new(name, expected, wat)
}

fn requests(name: &'static str, expected: Expected, does: &str) -> Guest {
    made(name, expected, &request_headers(&format!("{does} {CONTINUE}")))
}

// A worker's exchanges share a VM and take turns in it: what one callback costs may be another exchange's failure, if the
// module is the same.

/// All of them.
pub(crate) fn corpus() -> Vec<Guest> {
    let mut all = loops();
    all.extend(resources());
    all.extend(phases());
    all.extend(exits());
    all.extend(large(&guest("0_2_1", &request_headers(CONTINUE)), HARMLESS, "memory"));
    all
}

fn loops() -> Vec<Guest> {
    let goes_on = request_headers(CONTINUE);
    let looping = |name, expected, callback: String| made(name, expected, &(callback + &goes_on));
    let number = |name: &str, params: &str| callback(name, params, &format!("{LOOP} (i32.const 0)"));
    vec![
        looping("loops in proxy_on_vm_start", Refused("took longer"), number("proxy_on_vm_start", "$root $size")),
        looping("loops in proxy_on_configure", Refused("took longer"), number("proxy_on_configure", "$root $size")),
        made("loops in proxy_on_request_headers", Late, &number("proxy_on_request_headers", "$id $fields $end")),
        looping("loops in proxy_on_response_headers", Late, number("proxy_on_response_headers", "$id $fields $end")),
        looping(
            "loops in proxy_on_context_create",
            EITHER,
            told("proxy_on_context_create", "$id $parent", &format!("(if (local.get $parent) (then {LOOP}))")),
        ),
        looping("loops in proxy_on_log", EITHER, told("proxy_on_log", "$id", LOOP)),
        looping("loops in proxy_on_done", EITHER, number("proxy_on_done", "$id")),
        looping("loops in proxy_on_delete", EITHER, told("proxy_on_delete", "$id", LOOP)),
        looping(
            "loops in proxy_on_tick",
            EITHER,
            callback("proxy_on_configure", "$root $size", "(drop (call $ticks (i32.const 5))) (i32.const 1)")
                + &told("proxy_on_tick", "$root", LOOP),
        ),
        looping(
            "loops in its start function",
            Refused("took longer"),
            format!("(func $begin {LOOP}) (start $begin)\n"),
        ),
    ]
}

fn resources() -> Vec<Guest> {
    vec![
        requests(
            "grows its memory without end",
            Traps("memory_limit"),
            "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ),
        made(
            "recurses without end",
            Traps("stack"),
            &("(func $deep (call $deep) (call $deep))\n".to_owned() + &request_headers("(call $deep) (i32.const 0)")),
        ),
        requests("logs without end", Late, "(loop $on (drop (call $log (i32.const 2) @\"flood\")) (br $on))"),
        requests(
            "sets a giant header value",
            EITHER,
            "(memory.fill (i32.const 0x8000) (i32.const 65) (i32.const 0x8000))
             (drop (call $replace (i32.const 0) @\"x-giant\" (i32.const 0x8000) (i32.const 0x8000)))",
        ),
        requests(
            "adds headers without end",
            Late,
            "(loop $on (drop (call $add (i32.const 0) @\"x-many\" @\"1\")) (br $on))",
        ),
        requests(
            "shares data of memory without end",
            Late,
            "(loop $on (drop (call $share @\"key\" (i32.const 0) (i32.const 0xffff) (i32.const 0))) (br $on))",
        ),
        requests(
            "fills a queue with memory without end",
            Late,
            "(drop (call $register @\"queue\" (i32.const 0x8010)))
             (loop $on (drop (call $enqueue (i32.load (i32.const 0x8010)) (i32.const 0) (i32.const 0xffff))) (br $on))",
        ),
        requests(
            "calls upstreams without end",
            EITHER,
            "(local $n i32)
             (loop $on
               (drop (call $http_call @\"origin\" (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                 (i32.const 0) (i32.const 50) (i32.const 0x8010)))
               (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000))))",
        ),
    ]
}

fn phases() -> Vec<Guest> {
    vec![
        // An exchange that nobody lets go on ends when its plugin's time is over.
        made("never resumes", Answers(&[503, 504]), &request_headers(PAUSE)),
        importing(
            "resumes twice what is not paused",
            EITHER,
            "(import \"env\" \"proxy_continue_stream\" (func $resume (param i32) (result i32)))",
            &request_headers(
                "(drop (call $resume (i32.const 0))) (drop (call $resume (i32.const 0)))
                 (drop (call $resume (i32.const 77))) (i32.const 0)",
            ),
        ),
        requests("answers with an action that there is not", EITHER, "(return (i32.const 4711))"),
        requests(
            "makes a context its own that there is not",
            HARMLESS,
            "(drop (call $effective (i32.const 4711))) (drop (call $effective (i32.const -1)))",
        ),
        requests(
            "reads maps of other phases",
            HARMLESS,
            "(drop (call $add (i32.const 2) @\"a\" @\"b\")) (drop (call $add (i32.const 77) @\"a\" @\"b\"))",
        ),
        requests("says that it is done in the middle", HARMLESS, "(drop (call $done))"),
        requests(
            "hands over addresses beyond its memory",
            EITHER,
            "(drop (call $replace (i32.const 0) (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))
             (drop (call $log (i32.const 2) (i32.const -1) (i32.const -1)))
             (drop (call $property (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))
             (drop (call $share (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))",
        ),
        requests("hands over memory that is another's", Traps("memory"), "(i32.store (i32.const -4) (i32.const 1))"),
    ]
}

fn exits() -> Vec<Guest> {
    let exit = "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))\n";
    let leaves = |name, code: u32| {
        let does = format!("(call $exit (i32.const {code})) (i32.const 0)");
        importing(name, Traps("other"), exit, &request_headers(&does))
    };
    vec![
        leaves("exits with 0", 0),
        leaves("exits with 1", 1),
        importing(
            "exits while it starts",
            Refused("ended itself"),
            exit,
            &(callback("proxy_on_vm_start", "$root $size", "(call $exit (i32.const 3)) (i32.const 1)")
                + &request_headers(CONTINUE)),
        ),
        requests("traps", Traps("unreachable"), "unreachable"),
        made(
            "says that its configuration is wrong",
            Refused("returns false"),
            &(callback("proxy_on_configure", "$root $size", "(i32.const 0)") + &request_headers(CONTINUE)),
        ),
    ]
}
