//! Hostile components of `wasi:http`: the probe of `tests/guests/wasi-http`, which does what its path says, and components
//! in text, for what no compiler makes.

use tidegate_tests::plugin;

use super::{EITHER, Expected, Fails, Guest, Late, Refused, Traps, large};

/// All of them.
pub(crate) fn corpus() -> Vec<Guest> {
    let mut all = probes();
    all.extend(components());
    // It has no answer.
    all.extend(large(&wat(&Parts::default()), Fails, "failed"));
    all
}

fn probes() -> Vec<Guest> {
    let probe = plugin("wasi-http-probe");
    let asked = |name, expected: Expected, path| Guest { path, ..Guest::new(name, expected, probe.clone()) };
    vec![
        asked("loops in handle", Late, "/loop"),
        asked("traps in handle", Traps("unreachable"), "/trap"),
        asked("grows its memory without end", Traps("memory_limit"), "/bomb"),
        asked("recurses without end", Traps("stack"), "/deep"),
        asked("never answers", Fails, "/nothing"),
        asked("waits for an hour", Late, "/wait").waits(),
        asked("never ends an outbound call", Late, "/to/http/origin/held").waits(),
        asked("exits in good order and does not answer", Fails, "/exit/well"),
        asked("exits with an error", Fails, "/exit/badly"),
        asked("answers with an error code", Fails, "/error"),
        asked("prints a hundred thousand lines", EITHER, "/print/100000"),
        asked("answers and loops", EITHER, "/linger/loop"),
        asked("answers and waits", EITHER, "/linger/wait"),
        asked("asks for the rest of the chain twice", EITHER, "/twice"),
    ]
}

/// What a component in text is made of.
#[derive(Default)]
struct Parts {
    /// What `handle` does with `$request` and `$out`.
    handle: &'static str,
    /// Further fields of its module.
    more: &'static str,
    /// What its allocator does before it gives memory.
    realloc: &'static str,
    /// Whether `$request` and `$out` are not dropped.
    keeps: bool,
}

const VERSION: &str = "0.2.3";

fn wat(Parts { handle, more, realloc, keeps }: &Parts) -> String {
    let drops = if *keeps { "" } else { "(call $drop_request (local.get $request)) (call $drop_out (local.get $out))" };
    format!(
        "(component
  (import \"wasi:http/types@{VERSION}\" (instance $types
    (export \"incoming-request\" (type $request (sub resource)))
    (export \"response-outparam\" (type (sub resource)))
    (export \"[method]incoming-request.path-with-query\"
      (func (param \"self\" (borrow $request)) (result (option string))))))
  (import \"wasi:clocks/monotonic-clock@{VERSION}\" (instance $clock (export \"now\" (func (result u64)))))
  (import \"wasi:random/random@{VERSION}\" (instance $random
    (export \"get-random-bytes\" (func (param \"len\" u64) (result (list u8))))))
  (alias export $types \"incoming-request\" (type $incoming))
  (alias export $types \"response-outparam\" (type $outparam))
  (core module $libc
    (memory (export \"memory\") 2)
    (global $heap (mut i32) (i32.const 8192))
    (func (export \"realloc\") (param i32 i32 i32) (param $size i32) (result i32)
      {realloc}
      (global.get $heap)
      (global.set $heap (i32.add (global.get $heap) (local.get $size)))))
  (core instance $libc (instantiate $libc))
  (core func $path (canon lower (func $types \"[method]incoming-request.path-with-query\")
    (memory $libc \"memory\") (realloc (func $libc \"realloc\"))))
  (core func $now (canon lower (func $clock \"now\")))
  (core func $bytes (canon lower (func $random \"get-random-bytes\")
    (memory $libc \"memory\") (realloc (func $libc \"realloc\"))))
  (core func $drop_request (canon resource.drop $incoming))
  (core func $drop_out (canon resource.drop $outparam))
  (core module $main
    (import \"libc\" \"memory\" (memory 2))
    (import \"host\" \"path\" (func $path (param i32 i32)))
    (import \"host\" \"now\" (func $now (result i64)))
    (import \"host\" \"bytes\" (func $bytes (param i64 i32)))
    (import \"host\" \"drop-request\" (func $drop_request (param i32)))
    (import \"host\" \"drop-out\" (func $drop_out (param i32)))
    {more}
    (func (export \"handle\") (param $request i32) (param $out i32)
      {handle}
      {drops}))
  (core instance $main (instantiate $main
    (with \"libc\" (instance $libc))
    (with \"host\" (instance
      (export \"path\" (func $path))
      (export \"now\" (func $now))
      (export \"bytes\" (func $bytes))
      (export \"drop-request\" (func $drop_request))
      (export \"drop-out\" (func $drop_out))))))
  (func $handle (param \"request\" (own $incoming)) (param \"response-out\" (own $outparam))
    (canon lift (core func $main \"handle\")))
  (instance $handler (export \"handle\" (func $handle)))
  (export \"wasi:http/incoming-handler@{VERSION}\" (instance $handler)))"
    )
}

fn component(name: &'static str, expected: Expected, parts: &Parts) -> Guest {
    // As bytes: the gateway takes components in text, too, but only their author wants to see them compiled each time.
    let bytes = wat::parse_str(wat(parts)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Guest::new(name, expected, bytes)
}

fn components() -> Vec<Guest> {
    let does = |name, expected, handle| component(name, expected, &Parts { handle, ..Parts::default() });
    vec![
        does("spins on the clock", Late, "(loop $on (br_if $on (i64.ne (call $now) (i64.const 0))))"),
        does("asks for random bytes of memory it has not", Fails, "(call $bytes (i64.const -1) (i32.const 1024))"),
        does("wants an answer beyond its memory", Traps("other"), "(call $path (local.get $request) (i32.const -4))"),
        does("uses a request that is not there", Traps("other"), "(call $path (i32.const 4711) (i32.const 1024))"),
        does("drops its request twice", Traps("other"), "(call $drop_request (local.get $request))"),
        does("drops its way to answer", Fails, ""),
        component("drops nothing", Fails, &Parts { keeps: true, ..Parts::default() }),
        component(
            "loops in its start function",
            Refused("took longer"),
            &Parts { more: "(func $begin (loop $on (br $on))) (start $begin)", ..Parts::default() },
        ),
        component(
            "traps in its start function",
            Refused("failed"),
            &Parts { more: "(func $begin unreachable) (start $begin)", ..Parts::default() },
        ),
        component(
            "grows its table without end",
            Fails,
            &Parts {
                more: "(table $t 1 funcref)",
                handle: "(loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))",
                ..Parts::default()
            },
        ),
        component(
            "loops in its allocator",
            Late,
            &Parts {
                realloc: "(loop $on (br $on))",
                handle: "(call $path (local.get $request) (i32.const 1024))",
                ..Parts::default()
            },
        ),
        component(
            "gives memory that it does not have",
            Traps("other"),
            &Parts {
                realloc: "(return (i32.const -8))",
                handle: "(call $path (local.get $request) (i32.const 1024))",
                ..Parts::default()
            },
        ),
    ]
}
