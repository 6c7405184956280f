//! Hostile guests of http-wasm.

use tidegate_tests::http_wasm::{ANSWER, NEXT, at_start, guest, handlers, on_request, on_response};

use super::{EITHER, Expected, Fails, Guest, HARMLESS, Late, Refused, Traps, large};

const LOOP: &str = "(loop $on (br $on))";

/// Lets time pass until a day has.
const SLEEP: &str = "(i64.store (i32.const 0x9018) (i64.const 86400000000000))
    (i32.store (i32.const 0x9010) (i32.const 1))
    (drop (call $poll (i32.const 0x9000) (i32.const 0x9100) (i32.const 1) (i32.const 0x9200)))";

fn made(name: &'static str, expected: Expected, request: &str, response: &str) -> Guest {
    Guest::new(name, expected, handlers(request, response))
}

fn requests(name: &'static str, expected: Expected, does: &str) -> Guest {
    made(name, expected, &format!("{does} {NEXT}"), "")
}

/// The same with imports, which stand before everything else.
fn importing(name: &'static str, expected: Expected, import: &str, does: &str) -> Guest {
    let text = handlers(&format!("{does} {NEXT}"), "");
    Guest::new(name, expected, text.replacen("(module", &format!("(module {import}"), 1))
}

fn starting(name: &'static str, expected: Expected, does: &str) -> Guest {
    Guest::new(name, expected, guest(&(at_start(does) + &on_request(NEXT) + &on_response(""))))
}

/// All of them.
pub(crate) fn corpus() -> Vec<Guest> {
    let mut all = loops();
    all.extend(resources());
    all.extend(breaches());
    all.extend(phases());
    all.extend(large(&handlers(NEXT, ""), HARMLESS, "memory"));
    all
}

fn loops() -> Vec<Guest> {
    let sleep = "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))";
    let clock = "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $now (param i32 i64 i32) (result i32)))";
    let spin = "(loop $on (drop (call $now (i32.const 1) (i64.const 0) (i32.const 0x9000))) (br $on))";
    vec![
        requests("loops in handle_request", Late, LOOP),
        made("loops in handle_response", Late, NEXT, LOOP),
        starting("loops in its start function", Refused("took longer"), LOOP),
        importing("spins on the clock", Late, clock, spin),
        importing("sleeps for a day", Late, sleep, SLEEP),
        made("traps in handle_response", Traps("unreachable"), NEXT, "unreachable"),
        requests("traps in handle_request", Traps("unreachable"), "unreachable"),
        starting("traps in its start function", Refused("failed"), "unreachable"),
    ]
}

fn resources() -> Vec<Guest> {
    let deep = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))";
    let rows = "(loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))";
    let with = |name, expected, more: &str, does: &str| {
        let text = guest(&format!("{more}\n{}{}", on_request(&format!("{does} {NEXT}")), on_response("")));
        Guest::new(name, expected, text)
    };
    let giant =
        "(drop (memory.grow (i32.const 16))) (memory.fill (i32.const 0x10000) (i32.const 65) (i32.const 1000000))";
    vec![
        requests(
            "grows its memory without end",
            Traps("memory_limit"),
            "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ),
        with("grows its table without end", HARMLESS, "(table $t 1 funcref)", rows),
        with("recurses without end", Traps("stack"), deep, "(drop (call $deep (i32.const 0)))"),
        requests("logs without end", Late, "(loop $on (call $log (i32.const 0) @\"flood\") (br $on))"),
        requests(
            "logs a million bytes of memory",
            HARMLESS,
            &format!("{giant} (call $log (i32.const 2) (i32.const 0x10000) (i32.const 1000000))"),
        ),
        requests(
            "sets a giant header value",
            EITHER,
            &format!("{giant} (call $set (i32.const 0) @\"x-giant\" (i32.const 0x10000) (i32.const 1000000))"),
        ),
        requests("adds headers without end", Fails, "(loop $on (call $add (i32.const 0) @\"x-many\" @\"1\") (br $on))"),
        made(
            "writes a body of memory without end",
            Fails,
            &format!("(loop $on (call $write (i32.const 1) (i32.const 0) (i32.const 0x10000)) (br $on)) {ANSWER}"),
            "",
        ),
        requests(
            "sets a giant target",
            EITHER,
            &format!("{giant} (call $set_uri (i32.const 0x10000) (i32.const 1000000))"),
        ),
        requests(
            "traps on every second call",
            EITHER,
            "(i32.store (i32.const 0x9000) (i32.add (i32.load (i32.const 0x9000)) (i32.const 1)))
             (if (i32.and (i32.load (i32.const 0x9000)) (i32.const 1)) (then unreachable))",
        ),
    ]
}

// Pointers and lengths of every host call that are nobody's.
fn breaches() -> Vec<Guest> {
    let bad = |name, does: &str| requests(name, Traps("other"), does);
    vec![
        Guest {
            more: ", config: some",
            ..bad("reads its configuration to beyond its memory", "(drop (call $config (i32.const -1) (i32.const -1)))")
        },
        bad("logs from beyond its memory", "(call $log (i32.const 0) (i32.const -1) (i32.const -1))"),
        bad("reads the method to beyond its memory", "(drop (call $method (i32.const -1) (i32.const -1)))"),
        bad("sets a method from beyond its memory", "(call $set_method (i32.const -1) (i32.const -1))"),
        bad("reads the target to beyond its memory", "(drop (call $uri (i32.const -1) (i32.const -1)))"),
        bad("sets a target from beyond its memory", "(call $set_uri (i32.const -1) (i32.const -1))"),
        bad("reads the version to beyond its memory", "(drop (call $version (i32.const -1) (i32.const -1)))"),
        bad("reads an address to beyond its memory", "(drop (call $source (i32.const -1) (i32.const -1)))"),
        bad("reads names to beyond its memory", "(drop (call $names (i32.const 0) (i32.const -1) (i32.const -1)))"),
        bad(
            "reads values to beyond its memory",
            "(drop (call $values (i32.const 0) (i32.const -1) (i32.const -1) (i32.const -1) (i32.const -1)))",
        ),
        bad("names a field beyond its memory", "(call $set (i32.const 0) (i32.const -1) (i32.const -1) @\"value\")"),
        bad("adds a field beyond its memory", "(call $add (i32.const 0) @\"name\" (i32.const -1) (i32.const -1))"),
        bad("removes a field beyond its memory", "(call $remove (i32.const 0) (i32.const -1) (i32.const -1))"),
        bad("reads a body to beyond its memory", "(drop (call $read (i32.const 0) (i32.const -1) (i32.const -1)))"),
        bad("writes a body from beyond its memory", "(call $write (i32.const 1) (i32.const -1) (i32.const -1))"),
        bad("names a kind of fields that there is not", "(call $set (i32.const 77) @\"name\" @\"value\")"),
        bad("names a kind of body that there is not", "(drop (call $read (i32.const 77) (i32.const 0) (i32.const 8)))"),
        requests("logs at no level", EITHER, "(call $log (i32.const 77) @\"text\")"),
        requests("sets a status that there is not", EITHER, "(call $set_status (i32.const 77777))"),
        requests("enables features that there are not", HARMLESS, "(drop (call $features (i32.const -1)))"),
    ]
}

fn phases() -> Vec<Guest> {
    let exit = "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))";
    vec![
        importing("exits with 0", Fails, exit, "(call $exit (i32.const 0))"),
        importing("exits with 1", Fails, exit, "(call $exit (i32.const 1))"),
        starting("changes an exchange while it starts", Refused("failed"), "(call $set (i32.const 0) @\"a\" @\"b\")"),
        made(
            "changes a request that has gone on",
            EITHER,
            NEXT,
            "(call $set_method @\"POST\") (call $set_uri @\"/other\") (call $set (i32.const 0) @\"a\" @\"b\")",
        ),
        made("changes a response that is not buffered", EITHER, NEXT, "(call $set (i32.const 1) @\"a\" @\"b\")"),
        requests(
            "reads a response that is not there",
            EITHER,
            "(drop (call $read (i32.const 1) (i32.const 0x9000) (i32.const 64)))",
        ),
        made("hands over a context of its own", HARMLESS, "(i64.const -1)", ""),
    ]
}
