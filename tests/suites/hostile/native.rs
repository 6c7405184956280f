//! Hostile guests of the native ABI. Each is the same skeleton with one thing that it does.

use super::{EITHER, Expected, Fails, Guest, HARMLESS, Late, Refused, Traps, large};

/// What a guest is made of: the bodies of its functions.
#[derive(Default)]
struct Parts {
    /// Of `on-request`; `$request` is the request, which is dropped after it.
    request: &'static str,
    /// Of `create`.
    create: &'static str,
    /// Of `cabi_realloc`, before it gives memory.
    realloc: &'static str,
    /// Further fields of the module.
    more: &'static str,
    /// Whether the request is not dropped.
    keeps: bool,
}

const HANDLER: &str = "tidegate:plugin/handler@0.1.0";

fn wat(parts: &Parts) -> String {
    let Parts { request, create, realloc, more, keeps } = parts;
    let drop = if *keeps { "" } else { "(call $drop (local.get $request))" };
    format!(
        "(module
  (import \"tidegate:plugin/http@0.1.0\" \"[method]request.path\" (func $path (param i32 i32)))
  (import \"tidegate:plugin/http@0.1.0\" \"[method]request.header\" (func $header (param i32 i32 i32 i32)))
  (import \"tidegate:plugin/http@0.1.0\" \"[method]request.set-header\" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import \"tidegate:plugin/http@0.1.0\" \"[method]request.append-header\" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import \"tidegate:plugin/http@0.1.0\" \"[resource-drop]request\" (func $drop (param i32)))
  (import \"tidegate:plugin/clock@0.1.0\" \"sleep\" (func $sleep (param i64)))
  (import \"tidegate:plugin/clock@0.1.0\" \"monotonic-ns\" (func $now (result i64)))
  (import \"tidegate:plugin/random@0.1.0\" \"bytes\" (func $random (param i32 i32)))
  (import \"tidegate:plugin/log@0.1.0\" \"write\" (func $log (param i32 i32 i32)))
  (import \"tidegate:plugin/metrics@0.1.0\" \"define\" (func $define (param i32 i32 i32 i32)))
  (import \"tidegate:plugin/kv@0.1.0\" \"set\" (func $kv (param i32 i32 i32 i32 i32 i64 i32)))
  (import \"tidegate:plugin/exchange@0.1.0\" \"keep\" (func $keep (param i32 i32 i32)))
  (import \"tidegate:plugin/exchange@0.1.0\" \"set-attribute\" (func $attribute (param i32 i32 i32 i32 i32)))
  (import \"tidegate:plugin/upstream@0.1.0\" \"call\" (func $call
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import \"[export]{HANDLER}\" \"[resource-new]plugin\" (func $new (param i32) (result i32)))
  (memory (export \"memory\") 16)
  (data (i32.const 0) \"x-hostileoriginGET/held/free\")
  (data (i32.const 64) \"\\ff\\fe\\fd\\fc\")
  (global $base (mut i32) (i32.const 8192))
  (global $heap (mut i32) (i32.const 8192))
  (global $count (mut i32) (i32.const 0))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))
  ;; Calls the upstream: /held is never answered, /free is.
  (func $ask (param $at i32)
    (call $call (i32.const 9) (i32.const 6) (i32.const 15) (i32.const 3) (local.get $at) (i32.const 5)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i64.const 0) (i32.const 3072)))
  (func $name_of_count
    (i32.store8 (i32.const 128) (i32.add (i32.const 97) (i32.and (global.get $count) (i32.const 15))))
    (i32.store8 (i32.const 129) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $count) (i32.const 4)) (i32.const 15))))
    (i32.store8 (i32.const 130) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $count) (i32.const 8)) (i32.const 15))))
    (i32.store8 (i32.const 131) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $count) (i32.const 12)) (i32.const 15))))
    (global.set $count (i32.add (global.get $count) (i32.const 1))))
  (func (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) (result i32)
    {realloc}
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))
  (func (export \"{HANDLER}#[static]plugin.create\") (param i32 i32) (result i32)
    {create}
    (global.set $base (global.get $heap))
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))
  (func (export \"{HANDLER}#[method]plugin.on-request\") (param $self i32) (param $request i32) (result i32)
    (local $n i32)
    (global.set $heap (global.get $base))
    {request}
    {drop}
    (i32.const 2048))
  {more}
)"
    )
}

fn guest(name: &'static str, expected: Expected, parts: Parts) -> Guest {
    Guest::new(name, expected, wat(&parts))
}

fn requests(name: &'static str, expected: Expected, request: &'static str) -> Guest {
    guest(name, expected, Parts { request, ..Parts::default() })
}

/// So many times.
macro_rules! times {
    ($count:literal, $does:literal) => {
        concat!(
            "(loop $on ",
            $does,
            " (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const ",
            $count,
            "))))"
        )
    };
}

/// All of them.
pub(crate) fn corpus() -> Vec<Guest> {
    let mut all = loops();
    all.extend(memory());
    all.extend(floods());
    all.extend(breaches());
    all.extend(large(&wat(&Parts::default()), HARMLESS, "memory"));
    all
}

fn loops() -> Vec<Guest> {
    const LOOP: &str = "(loop $on (br $on))";
    let parts = |part: fn(&mut Parts)| {
        let mut parts = Parts::default();
        part(&mut parts);
        parts
    };
    vec![
        requests("loops in on-request", Late, LOOP),
        guest(
            "loops in on-response",
            Late,
            parts(|parts| {
                parts.more = "(func (export \"tidegate:plugin/handler@0.1.0#[method]plugin.on-response\")
                    (param i32 i32) (result i32) (loop $on (br $on)) (i32.const 2048))";
            }),
        ),
        guest(
            "loops in on-end",
            EITHER,
            parts(|parts| {
                parts.more = "(func (export \"tidegate:plugin/handler@0.1.0#[method]plugin.on-end\")
                    (param i32 i32 i64 i64 i64 i32 i32 i32) (result i32) (loop $on (br $on)) (i32.const 2048))";
            }),
        ),
        guest("loops in create", Refused("took longer"), parts(|parts| parts.create = LOOP)),
        guest(
            "loops in its start function",
            Refused("took longer"),
            parts(|parts| parts.more = "(func $begin (loop $on (br $on))) (start $begin)"),
        ),
        guest(
            "loops in cabi_realloc",
            Late,
            parts(|parts| {
                parts.realloc = "(if (i32.ne (global.get $base) (i32.const 8192)) (then (loop $on (br $on))))";
                parts.create = "(global.set $heap (i32.const 8200))";
                parts.request = "(call $path (local.get $request) (i32.const 3072))";
            }),
        ),
        requests("spins on the clock", Late, "(loop $on (br_if $on (i64.ne (call $now) (i64.const 0))))"),
        requests("sleeps for a century", Late, "(call $sleep (i64.const 3000000000000000000))"),
        requests("never ends an outbound call", Late, "(call $ask (i32.const 18))"),
        requests(
            "traps on every second call",
            EITHER,
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
            (if (i32.and (global.get $count) (i32.const 1)) (then unreachable))",
        ),
        requests("recurses without end", Traps("stack"), "(drop (call $deep (i32.const 0)))"),
    ]
}

fn memory() -> Vec<Guest> {
    vec![
        requests(
            "grows its memory without end",
            Traps("memory_limit"),
            "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ),
        requests(
            "writes to all of its memory",
            HARMLESS,
            "(drop (memory.grow (i32.const 48))) (memory.fill (i32.const 65536) (i32.const 7) (i32.const 3000000))",
        ),
        guest(
            "grows its table without end",
            HARMLESS,
            Parts {
                more: "(table $t 1 funcref)",
                request: "(loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))",
                ..Parts::default()
            },
        ),
        requests(
            "fills its key-value space of memory",
            EITHER,
            times!(
                "200",
                "(call $name_of_count) (call $kv (i32.const 128) (i32.const 4) (i32.const 8192) (i32.const 900000)
                (i32.const 0) (i64.const 0) (i32.const 3072))"
            ),
        ),
        requests(
            "keeps all of its memory",
            HARMLESS,
            "(call $keep (i32.const 8192) (i32.const 1000000) (i32.const 3072))",
        ),
    ]
}

fn floods() -> Vec<Guest> {
    vec![
        requests("logs without end", Late, "(loop $on (call $log (i32.const 2) (i32.const 0) (i32.const 9)) (br $on))"),
        requests("logs a million bytes", HARMLESS, "(memory.fill (i32.const 8192) (i32.const 65) (i32.const 1000000))
            (call $log (i32.const 3) (i32.const 8192) (i32.const 1000000))"),
        guest("logs without end in create", Refused("took longer"), Parts {
            create: "(loop $on (call $log (i32.const 2) (i32.const 0) (i32.const 9)) (br $on))",
            ..Parts::default()
        }),
        requests("sets a giant header value", HARMLESS, "(memory.fill (i32.const 8192) (i32.const 65) (i32.const 1000000))
            (call $set (local.get $request) (i32.const 0) (i32.const 9) (i32.const 8192) (i32.const 1000000) (i32.const 3072))"),
        requests("adds headers without end", Late,
            "(loop $on (call $append (local.get $request) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 3072)) (br $on))"),
        requests("sets attributes without end", Late,
            "(loop $on (call $name_of_count) (call $attribute (i32.const 128) (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 3072)) (br $on))"),
        requests("defines metrics without end", EITHER,
            times!("100000", "(call $name_of_count) (call $define (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 3072))")),
        requests("calls upstreams without end", EITHER, times!("10000", "(call $ask (i32.const 23))")),
        requests("asks for 4 GiB of random bytes", Traps("other"), "(call $random (i32.const -1) (i32.const 3072))"),
        requests("fails with a million bytes of reasons", Fails,
            "(memory.fill (i32.const 8192) (i32.const 65) (i32.const 1000000))
             (i32.store8 (i32.const 2304) (i32.const 1)) (i32.store (i32.const 2308) (i32.const 8192))
             (i32.store (i32.const 2312) (i32.const 1000000)) (call $drop (local.get $request)) (return (i32.const 2304))"),
    ]
}

fn breaches() -> Vec<Guest> {
    let bad = |name, call: &'static str| requests(name, Traps("other"), call);
    vec![
        bad(
            "names a header beyond its memory",
            "(call $set (local.get $request) (i32.const -8) (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 3072))",
        ),
        bad(
            "names a header of 4 GiB",
            "(call $header (local.get $request) (i32.const 0) (i32.const -1) (i32.const 3072))",
        ),
        bad("wants an answer beyond its memory", "(call $path (local.get $request) (i32.const -4))"),
        bad("logs from beyond its memory", "(call $log (i32.const 2) (i32.const -1) (i32.const -1))"),
        bad("logs at no level", "(call $log (i32.const 77) (i32.const 0) (i32.const 9))"),
        bad("logs what is not UTF-8", "(call $log (i32.const 2) (i32.const 64) (i32.const 4))"),
        bad("keeps what is beyond its memory", "(call $keep (i32.const -1) (i32.const 100) (i32.const 3072))"),
        bad(
            "stores a key beyond its memory",
            "(call $kv (i32.const -1) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 9) (i64.const 0) (i32.const 3072))",
        ),
        bad("uses a request that is not there", "(call $path (i32.const 4711) (i32.const 3072))"),
        bad("drops its request twice", "(call $drop (local.get $request))"),
        guest("does not drop its request", Traps("other"), Parts { keeps: true, ..Parts::default() }),
        bad("answers from beyond its memory", "(call $drop (local.get $request)) (return (i32.const -4))"),
        bad(
            "answers with what there is not",
            "(i32.store8 (i32.const 2304) (i32.const 9)) (call $drop (local.get $request)) (return (i32.const 2304))",
        ),
        guest(
            "gives memory that it does not have",
            Traps("other"),
            Parts {
                realloc: "(if (i32.ne (global.get $base) (i32.const 8192)) (then (return (i32.const -8))))",
                create: "(global.set $heap (i32.const 8200))",
                request: "(call $path (local.get $request) (i32.const 3072))",
                ..Parts::default()
            },
        ),
        guest(
            "calls the host again from within it",
            Traps("other"),
            Parts {
                realloc: "(if (i32.ne (global.get $base) (i32.const 8192)) (then (drop (call $now))))",
                create: "(global.set $heap (i32.const 8200))",
                request: "(call $path (local.get $request) (i32.const 3072))",
                ..Parts::default()
            },
        ),
        guest(
            "asks for an exchange while it is created",
            Refused("failed"),
            Parts { create: "(call $keep (i32.const 0) (i32.const 9) (i32.const 3072))", ..Parts::default() },
        ),
        guest("traps while it is created", Refused("failed"), Parts { create: "unreachable", ..Parts::default() }),
    ]
}
