//! WASI preview 1 as guests of http-wasm need it, and how they start and end.

use tidegate_tests::{
    ConfigDir, Gateway, Origin,
    http_wasm::{ANSWER, guest, handlers, on_request, on_response},
};

use super::{scene, write};

/// A guest with these imports of WASI.
fn with(imports: &[(&str, &str)], body: &str) -> String {
    let import = |(name, types): &(&str, &str)| {
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {types}))\n")
    };
    let imports: String = imports.iter().map(import).collect();
    guest(body).replacen("(module", &format!("(module {imports}"), 1)
}

#[tokio::test]
async fn guests_have_clocks_random_bytes_an_environment_and_output() {
    let two = "(param i32 i32) (result i32)";
    let imports = [
        ("clock_time_get", "(param i32 i64 i32) (result i32)"),
        ("random_get", two),
        ("environ_sizes_get", two),
        ("environ_get", two),
        ("args_sizes_get", two),
        ("fd_write", "(param i32 i32 i32 i32) (result i32)"),
        ("fd_prestat_get", two),
        ("sched_yield", "(result i32)"),
    ];
    let does = format!(
        "(i32.store (i32.const 0x9000) (i32.const 0x9010)) (i32.store (i32.const 0x9004) (i32.const 3))
         (i32.store (i32.const 0x9010) (i32.const 0x0a6968))
         (call $tell (i32.const 1) @\"x-write\" (call $fd_write (i32.const 1) (i32.const 0x9000) (i32.const 1) (i32.const 0x9020)))
         (call $tell (i32.const 1) @\"x-written\" (i32.load (i32.const 0x9020)))
         (call $tell (i32.const 1) @\"x-clock\" (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0x9100)))
         (call $tell (i32.const 1) @\"x-now\" (i32.wrap_i64 (i64.div_u (i64.load (i32.const 0x9100)) (i64.const 1000000000))))
         (call $tell (i32.const 1) @\"x-random\" (call $random_get (i32.const 0x9200) (i32.const 16)))
         (call $tell (i32.const 1) @\"x-zero\" (i64.eqz (i64.load (i32.const 0x9200))))
         (drop (call $args_sizes_get (i32.const 0x9300) (i32.const 0x9304)))
         (call $tell (i32.const 1) @\"x-args\" (i32.load (i32.const 0x9300)))
         (drop (call $environ_sizes_get (i32.const 0x9400) (i32.const 0x9404)))
         (call $tell (i32.const 1) @\"x-variables\" (i32.load (i32.const 0x9400)))
         (drop (call $environ_get (i32.const 0x9408) (i32.const 0x8000)))
         (call $show (i32.const 1) @\"x-environment\" (i32.load (i32.const 0x9404)))
         (call $tell (i32.const 1) @\"x-file\" (call $fd_prestat_get (i32.const 3) (i32.const 0x9500)))
         (drop (call $sched_yield))
         {ANSWER}"
    );
    let module = with(&imports, &(on_request(&does) + &on_response("")));
    let (_origin, _dir, gateway) = scene(&module, ", environment: {MODE: block, LEVEL: '3'}").await;
    let answer = gateway.http1().await.get("/").await;
    let field = |name: &str| answer.header(name).to_owned();
    assert_eq!((field("x-write"), field("x-written"), field("x-clock")), ("0".into(), "3".into(), "0".into()));
    assert!(field("x-now").parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!((field("x-random"), field("x-zero"), field("x-args")), ("0".into(), "0".into(), "0".into()));
    let mut environment: Vec<_> = answer.header("x-environment").split_terminator(',').collect();
    environment.sort_unstable();
    assert_eq!((field("x-variables"), environment), ("2".into(), vec!["LEVEL=3", "MODE=block"]));
    assert_eq!(field("x-file"), "8", "there are no files");
}

#[tokio::test]
async fn a_guest_sleeps_without_holding_up_its_worker_and_within_its_time() {
    let imports = [
        ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
        ("clock_time_get", "(param i32 i64 i32) (result i32)"),
    ];
    // One subscription to the monotonic clock: 20 ms, or an hour.
    let does = format!(
        "(drop (call $uri (i32.const 0x8000) (i32.const 64)))
         (i64.store (i32.const 0x9000) (i64.const 77)) (i32.store (i32.const 0x9010) (i32.const 1))
         (i64.store (i32.const 0x9018) (i64.const 20000000))
         (if (i32.eq (i32.load8_u (i32.const 0x8001)) (i32.const 108))
           (then (i64.store (i32.const 0x9018) (i64.const 3600000000000))))
         (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0x9200)))
         (call $tell (i32.const 1) @\"x-poll\" (call $poll_oneoff (i32.const 0x9000) (i32.const 0x9100) (i32.const 1) (i32.const 0x9180)))
         (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0x9208)))
         (call $tell (i32.const 1) @\"x-events\" (i32.load (i32.const 0x9180)))
         (call $tell (i32.const 1) @\"x-whose\" (i32.load (i32.const 0x9100)))
         (call $tell (i32.const 1) @\"x-slept\" (i64.ge_u
           (i64.sub (i64.load (i32.const 0x9208)) (i64.load (i32.const 0x9200))) (i64.const 20000000)))
         {ANSWER}"
    );
    let module = with(&imports, &(on_request(&does) + &on_response("")));
    let (_origin, _dir, gateway) = scene(&module, ", limits: {call-timeout: 300ms}").await;
    let answer = gateway.http1().await.get("/short").await;
    let field = |name: &str| answer.header(name).to_owned();
    assert_eq!((field("x-poll"), field("x-events"), field("x-whose")), ("0".into(), "1".into(), "77".into()));
    assert_eq!(field("x-slept"), "1");
    assert_eq!(gateway.http1().await.get("/long").await.status, 503);
}

#[tokio::test]
async fn a_guest_starts_before_it_is_asked_and_may_end_its_program_in_good_order() {
    let exit = [("proc_exit", "(param i32)")];
    for (name, ends) in [("_start", ""), ("_start", "(call $proc_exit (i32.const 0))"), ("_initialize", "")] {
        let body = format!(
            "(global $started (mut i32) (i32.const 0))
             (func (export \"{name}\") (global.set $started (i32.const 1)) {ends})"
        ) + &on_request(&format!(
            "(call $tell (i32.const 1) @\"x-started\" (global.get $started)) {ANSWER}"
        )) + &on_response("");
        let (_origin, _dir, gateway) = scene(&with(&exit, &body), "").await;
        assert_eq!(gateway.http1().await.get("/").await.header("x-started"), "1", "{name} {ends}");
    }
}

#[tokio::test]
async fn a_guest_that_does_not_start_refuses_the_tree_with_what_it_said() {
    let exit = [("proc_exit", "(param i32)")];
    let (_origin, dir, gateway) = scene(&handlers(ANSWER, ""), "").await;
    let serves = gateway.status().await["generation"].clone();
    let body = |does: &str| {
        with(&exit, &(format!("(func (export \"_start\") {does})") + &on_request(ANSWER) + &on_response("")))
    };
    let cases = [
        ("(call $log (i32.const 2) @\"no such rule\") unreachable", "it does not start: no such rule"),
        ("(call $proc_exit (i32.const 3))", "it ended itself with the code 3"),
        ("(drop (call $method (i32.const 0) (i32.const 0)))", "no request is under way"),
        ("(drop (memory.grow (i32.const 4096))) (loop $on (br_if $on (i32.const 0))) unreachable", "memory"),
    ];
    for (does, said) in cases {
        dir.write("guest.wat", &body(does));
        write(&dir, ", config: {rule: x}");
        let attempt = gateway.reload().await;
        assert_eq!(attempt["outcome"], "refused", "{does}");
        assert!(attempt.to_string().contains(said), "{does}: {attempt}");
    }
    assert_eq!(gateway.status().await["generation"], serves);
    assert_eq!(gateway.http1().await.get("/").await.status, 200);
}

#[tokio::test]
async fn modules_of_older_tools_run_as_they_are() {
    // Features of 64 bits, WASI under its first name, and what AssemblyScript leaves behind.
    let module = r#"(module
        (import "http_handler" "enable_features" (func $features (param i64) (result i64)))
        (import "http_handler" "set_status_code" (func $status (param i32)))
        (import "wasi_unstable" "fd_close" (func $close (param i32) (result i32)))
        (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (import "env" "seed" (func $seed (result f64)))
        (memory (export "memory") 1)
        (func (export "_start") (if (i64.ne (call $features (i64.const 3)) (i64.const 3)) (then unreachable)))
        (func (export "handle_request") (result i64)
          (if (f64.lt (call $seed) (f64.const 0)) (then (call $abort (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1))))
          (call $status (i32.add (i32.const 202) (call $close (i32.const 1)))) (i64.const 0))
        (func (export "handle_response") (param i32 i32)))"#;
    let (_origin, _dir, gateway) = scene(module, "").await;
    assert_eq!(gateway.http1().await.get("/").await.status, 202);
}

/// Modules that `scripts/languages.sh` builds of `examples/plugins/http-wasm`, where `TIDEGATE_LANGUAGES` names its folder.
#[tokio::test]
async fn the_same_plugin_in_every_language_does_the_same() {
    let Some(built) = std::env::var_os("TIDEGATE_LANGUAGES").map(std::path::PathBuf::from) else { return };
    let origin = Origin::start();
    for name in ["http-wasm-go", "http-wasm-rust", "http-wasm-c", "http-wasm-assemblyscript"] {
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write_bytes("guest.wasm", &std::fs::read(built.join(format!("{name}.wasm"))).unwrap());
        let yaml = format!(
            "{}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  plugin: {{module: guest.wasm, config: Hello, limits: {{memory-bytes-max: 64MiB}}}}
routes: [{{id: all, path: /*, middleware: [plugin], upstream: origin}}]
",
            tidegate_tests::WEB
        );
        dir.write("gateway.yaml", &yaml);
        let gateway = Gateway::start(&dir).await;
        for mut client in [gateway.http1().await, gateway.http2().await] {
            let mut asked = tidegate_tests::request(http::Method::POST, "/");
            asked.headers_mut().insert("x-name", "Ada".parse().unwrap());
            *asked.body_mut() = "a secret in a body".into();
            let answer = client.send(asked).await;
            assert_eq!(answer.echoed("x-greeting"), ["Hello, Ada"], "{name}");
            assert_eq!(answer.echo()["body_digest"], tidegate_tests::wire::digest(b"a ###### in a body"), "{name}");
            assert_eq!(answer.header("x-by"), name, "{name}");
            assert_eq!(client.get("/denied").await.status, 403, "{name}");
        }
    }
}
