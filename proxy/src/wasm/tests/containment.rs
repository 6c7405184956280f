//! What plugins cannot do: hurt anybody but themselves.

use super::*;

/// Sends one request that makes the plugin fail and then one that does not.
async fn fails_then_works(bench: &Bench, plugin: &Arc<dyn Filter>, trigger: &'static str) -> (Got, Got) {
    let failed = bench.send(&[plugin], bench.get(&[(trigger, "1")])).await;
    (failed, bench.send(&[plugin], bench.get(&[])).await)
}

#[test]
fn a_trap_is_503_and_the_next_request_gets_a_fresh_guest() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("trap", guest!("trap"), |_| ()).await;
        let before = bench.wasm.counters().guests_instantiated();
        let (failed, worked) = fails_then_works(&bench, &plugin, "x-trap").await;
        assert_eq!((failed.status.as_u16(), failed.error()), (503, Some("plugin_failed")));
        assert!(!failed.body.contains("unreachable"), "the client is told nothing of the trap");
        assert_eq!(worked.status, StatusCode::OK);
        assert_eq!(bench.wasm.counters().guests_instantiated(), before + 1);
    });
}

#[test]
fn an_endless_loop_ends_at_its_deadline_and_others_go_on_meanwhile() {
    on_worker(async {
        let bench = Bench::new();
        let limit = |spec: &mut spec::Plugin| spec.limits.call_timeout = Duration::from_millis(200);
        let plugin = bench.plugin("loop", guest!("loop"), limit).await;
        let others = async {
            let mut done = 0;
            while done < 20 {
                assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK);
                done += 1;
            }
            std::time::Instant::now()
        };
        let looping = async {
            let failed = bench.send(&[&plugin], bench.get(&[("x-loop", "1")])).await;
            (failed, std::time::Instant::now())
        };
        let ((failed, ended), others) = tokio::join!(looping, others);
        assert_eq!((failed.status.as_u16(), failed.error()), (503, Some("plugin_timeout")));
        assert!(others < ended, "the others were through before the loop was ended");
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK);
    });
}

#[test]
fn memory_has_a_bound() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("bomb", guest!("memory-bomb"), |_| ()).await;
        let got = bench.send(&[&plugin], bench.get(&[])).await;
        assert_eq!((got.status.as_u16(), got.error()), (503, Some("plugin_failed")));
        let text = got.exchange.record.read(|recorded| recorded.error.as_ref().unwrap().1.clone());
        assert!(text.starts_with("plugin_failed: plugin bomb: "), "{text}");
    });
}

#[test]
fn a_suspended_guest_ends_at_the_deadline_too() {
    on_worker(async {
        let bench = Bench::new();
        let limit = |spec: &mut spec::Plugin| spec.limits.call_timeout = Duration::from_millis(200);
        let plugin = bench.plugin("sleep", guest!("sleep"), limit).await;
        let (failed, worked) = fails_then_works(&bench, &plugin, "x-long").await;
        assert_eq!((failed.status.as_u16(), failed.error()), (503, Some("plugin_timeout")));
        assert_eq!(worked.status, StatusCode::OK);
    });
}

#[test]
fn the_time_of_an_exchange_ends_its_plugins_calls() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("sleep", guest!("sleep"), |_| ()).await;
        let request = bench.get(&[("x-long", "1")]);
        request.exchange.deadline.set(Some(std::time::Instant::now() + Duration::from_millis(50)));
        assert_eq!(bench.send(&[&plugin], request).await.error(), Some("plugin_timeout"));
    });
}

#[test]
fn while_all_guests_are_suspended_fresh_ones_serve_up_to_the_bound() {
    on_worker(async {
        let bench = Bench::new();
        // Two workers share the bound, so one has three.
        let plugin = bench.plugin("sleep", guest!("sleep"), |spec| spec.limits.guests_max = 6).await;
        let before = bench.wasm.counters().guests_instantiated();
        let plugins = [&plugin];
        let all = (0..5).map(|_| bench.send(&plugins, bench.get(&[])));
        let got = futures_util::future::join_all(all).await;
        let served = got.iter().filter(|got| got.status == StatusCode::OK).count();
        let refused = got.iter().filter(|got| got.error() == Some("plugin_overloaded")).count();
        assert_eq!((served, refused), (3, 2));
        assert_eq!(bench.wasm.counters().guests_instantiated(), before + 2);
    });
}

#[test]
fn under_the_policy_open_the_request_goes_on_as_it_was() {
    on_worker(async {
        let bench = Bench::new();
        let open = |spec: &mut spec::Plugin| spec.on_failure = FailurePolicy::Open;
        let plugin = bench.plugin("error", guest!("error"), open).await;
        let got = bench.send(&[&plugin], bench.get(&[])).await;
        assert_eq!((got.status, got.header("was-x-half"), got.error()), (StatusCode::OK, None, None));
        let closed = bench.plugin("error", guest!("error"), |_| ()).await;
        let got = bench.send(&[&closed], bench.get(&[])).await;
        assert_eq!((got.status.as_u16(), got.error()), (503, Some("plugin_failed")));
    });
}

#[test]
fn a_plugin_that_fails_on_and_on_is_left_alone() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("trap", guest!("trap"), |_| ()).await;
        let before = bench.wasm.counters().guests_instantiated();
        for _ in 0..100 {
            assert_eq!(bench.send(&[&plugin], bench.get(&[("x-trap", "1")])).await.status.as_u16(), 503);
        }
        let made = bench.wasm.counters().guests_instantiated() - before;
        assert!(made < 100, "{made} guests for 100 requests");
    });
}

#[test]
fn a_breach_of_the_abi_is_a_trap() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("leak", guest!("leak"), |_| ()).await;
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.error(), Some("plugin_failed"));
    });
}

#[test]
fn a_flood_of_messages_delays_nobody_for_long() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("flood", guest!("log-flood"), |_| ()).await;
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK);
    });
}

#[test]
fn a_client_that_goes_away_leaves_no_guest_behind() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("sleep", guest!("sleep"), |spec| spec.limits.guests_max = 2).await;
        {
            let request = bench.get(&[("x-long", "1")]);
            let plugins = [&plugin];
            let sent = bench.send(&plugins, request);
            let gone = tokio::time::timeout(Duration::from_millis(20), sent).await;
            assert!(gone.is_err());
        }
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK);
    });
}
