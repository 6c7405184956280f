//! What is compiled, instantiated and configured, and when.

use super::*;
use crate::config::diagnostic::Place;

#[test]
fn equal_modules_are_compiled_once() {
    on_worker(async {
        let bench = Bench::new();
        let (one, two) = tokio::join!(bench.module(guest!("noop")), bench.module(guest!("noop")));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(bench.wasm.counters().modules_compiled(), 1);
        drop((one, two));
        bench.module(guest!("noop")).await;
        assert_eq!(bench.wasm.counters().modules_compiled(), 2);
    });
}

#[test]
fn the_first_request_compiles_and_instantiates_nothing() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("header", guest!("header"), |_| ()).await;
        let before = (bench.wasm.counters().modules_compiled(), bench.wasm.counters().guests_instantiated());
        assert_eq!(bench.send(&[&plugin], bench.get(&[])).await.status, StatusCode::OK);
        let after = (bench.wasm.counters().modules_compiled(), bench.wasm.counters().guests_instantiated());
        assert_eq!(before, after);
    });
}

#[test]
fn many_configurations_of_a_module_share_guests() {
    on_worker(async {
        let bench = Bench::new();
        let mut built = Vec::new();
        for number in 0..200 {
            built.push(bench.build(&format!("limit-{number}"), guest!("header"), |_| ()).await.unwrap());
        }
        // One for each worker.
        assert_eq!(bench.wasm.counters().guests_instantiated(), 2);
        for built in built {
            built.adoptions.into_iter().next().unwrap()(&bench.worker).unwrap();
            assert_eq!(bench.send(&[&built.filter], bench.get(&[])).await.header("was-x-out"), Some("none"));
        }
        assert_eq!(bench.wasm.counters().guests_instantiated(), 2);
    });
}

#[test]
fn a_storm_of_reloads_leaves_no_more_guests_than_it_found() {
    on_worker(async {
        let bench = Bench::new();
        let kept = bench.plugin("kept", guest!("header"), |_| ()).await;
        let mut serving = bench.plugin("changed", guest!("header"), |_| ()).await;
        for _ in 0..50 {
            serving = bench.plugin("changed", guest!("header"), |_| ()).await;
            Wasm::sweep(&bench.worker);
            tokio::task::yield_now().await;
        }
        until(|| {
            Wasm::sweep(&bench.worker);
            bench.guests().free() <= pool::WARM_MAX
        })
        .await;
        let before = bench.wasm.counters().guests_instantiated();
        for plugin in [&kept, &serving] {
            assert_eq!(bench.send(&[plugin], bench.get(&[])).await.status, StatusCode::OK);
        }
        assert_eq!(bench.wasm.counters().guests_instantiated(), before);
        drop((kept, serving));
        until(|| {
            Wasm::sweep(&bench.worker);
            bench.guests().free() == 0
        })
        .await;
    });
}

#[test]
fn an_exchange_has_a_guest_of_its_own_where_that_is_asked_for() {
    on_worker(async {
        let bench = Bench::new();
        let plugin = bench.plugin("keep", guest!("keep"), |spec| spec.isolation = Isolation::PerRequest).await;
        let before = bench.wasm.counters().guests_instantiated();
        for _ in 0..3 {
            let got = bench.send(&[&plugin], bench.get(&[("x-in", "one")])).await;
            assert_eq!(got.header("x-out"), Some("one"));
        }
        assert_eq!(bench.wasm.counters().guests_instantiated(), before + 3);
    });
}

#[test]
fn what_a_plugin_says_of_its_configuration_points_at_the_document() {
    on_worker(async {
        let bench = Bench::new();
        let place = |line| Place { file: "gateway.yaml".into(), line, column: 5, length: 3 };
        let refused = |places: &[(&str, u32)]| {
            let places = places.iter().map(|(pointer, line)| ((*pointer).to_owned(), place(*line))).collect();
            bench.build("limits", guest!("refuse"), |spec| spec.config_places = Arc::new(places))
        };
        let found = refused(&[("", 3), ("/limit", 7)]).await.map(|_| ()).unwrap_err();
        assert_eq!((found.len(), found[0].code, found[0].at.as_ref().unwrap().line), (1, "plugin-config", 7));
        assert!(found[0].message.contains("must be positive"), "{}", found[0].message);
        let found = refused(&[("", 3)]).await.map(|_| ()).unwrap_err();
        assert_eq!(found[0].at.as_ref().unwrap().line, 3);
    });
}

#[test]
fn a_compiled_module_is_found_on_disk_and_a_damaged_one_is_not_used() {
    on_worker(async {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("modules");
        let settings = || Settings { workers: 1, guest_slots: 4, cache: Some(cache.clone()), ..Settings::default() };
        let compile = || async {
            let wasm = Wasm::new(settings(), Metrics::new(1), states()).unwrap();
            wasm.module(&Entry::new(guest!("noop"))).await.map(drop)
        };
        assert_eq!(compile().await, Ok(()));
        let file = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        let (whole, made) = (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap());
        assert_eq!(compile().await, Ok(()));
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), made, "it was loaded and not written again");
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(compile().await, Ok(()));
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
    });
}
