//! Plugins that are called at once, on their worker's own stack: those whose time is 2 ms or less, and that cannot wait.

use super::*;

fn two_milliseconds(spec: &mut spec::Plugin) {
    spec.limits.call_timeout = Duration::from_millis(2);
}

/// Makes the plugin fail, and tells how, and whether another task of the worker was looked at before it was over.
async fn fails_beside_another(bench: &Bench, plugin: &Arc<dyn Filter>, trigger: &'static str) -> (Got, bool) {
    let over = std::cell::Cell::new(false);
    let failing = async {
        let got = bench.send(&[plugin], bench.get(&[(trigger, "1")])).await;
        over.set(true);
        got
    };
    // Looked at after it, in each round.
    let other = async { !over.get() };
    tokio::join!(failing, other)
}

#[test]
fn a_loop_holds_its_worker_for_its_time_and_no_longer() {
    on_worker(async {
        let bench = Bench::new();
        let prompt = bench.plugin("prompt", guest!("loop"), two_milliseconds).await;
        let (got, gave_way) = fails_beside_another(&bench, &prompt, "x-loop").await;
        assert_eq!((got.status.as_u16(), got.error(), gave_way), (503, Some("plugin_timeout"), false));
        assert_eq!(bench.send(&[&prompt], bench.get(&[])).await.status, StatusCode::OK);
        let patient = |spec: &mut spec::Plugin| spec.limits.call_timeout = Duration::from_millis(500);
        let patient = bench.plugin("patient", guest!("loop"), patient).await;
        let (got, gave_way) = fails_beside_another(&bench, &patient, "x-loop").await;
        assert_eq!((got.error(), gave_way), (Some("plugin_timeout"), true));
    });
}

#[test]
fn what_can_wait_never_holds_its_worker() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("sleep", guest!("sleep"), two_milliseconds).await;
        let (got, gave_way) = fails_beside_another(&bench, &plugin, "x-long").await;
        assert_eq!((got.error(), gave_way), (Some("plugin_timeout"), true));
    });
}

#[test]
fn failures_are_those_of_any_plugin() {
    on_worker(async {
        let bench = Bench::new();
        let overflow = guest!("trap").replace("(unreachable)", "(call $deep)");
        let overflow = overflow.replace("(data (i32", "(func $deep (call $deep) (call $deep))\n  (data (i32");
        for (name, text) in [("trap", guest!("trap").to_owned()), ("overflow", overflow)] {
            let plugin = bench.plugin(name, &text, two_milliseconds).await;
            let before = bench.wasm.counters().guests_instantiated();
            let failed = bench.send(&[&plugin], bench.get(&[("x-trap", "1")])).await;
            assert_eq!((failed.status.as_u16(), failed.error()), (503, Some("plugin_failed")), "{name}");
            for _ in 0..3 {
                assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK, "{name}");
            }
            assert_eq!(bench.wasm.counters().guests_instantiated(), before + 1, "{name}");
        }
        let open = |spec: &mut spec::Plugin| {
            two_milliseconds(spec);
            spec.on_failure = FailurePolicy::Open;
        };
        let plugin = bench.plugin("error", guest!("error"), open).await;
        let got = bench.send(&[&plugin], bench.get(&[])).await;
        assert_eq!((got.status, got.header("was-x-half"), got.error()), (StatusCode::OK, None, None));
    });
}

#[test]
fn phases_see_what_they_would_otherwise() {
    on_worker(async {
        let bench = Bench::new();
        for name in ["header", "keep", "deny"] {
            let text = match name {
                "header" => guest!("header"),
                "keep" => guest!("keep"),
                _ => guest!("deny"),
            };
            let prompt = bench.plugin("a", text, two_milliseconds).await;
            let usual = bench.plugin("a", text, |_| ()).await;
            let request = || bench.get(&[("x-in", "1")]);
            let prompt = bench.send(&[&prompt], request()).await;
            let usual = bench.send(&[&usual], request()).await;
            assert_eq!(
                (prompt.status, prompt.headers, prompt.body),
                (usual.status, usual.headers, usual.body),
                "{name}"
            );
        }
    });
}
