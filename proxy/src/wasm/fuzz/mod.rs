//! The fuzz targets of this room: bytes become a guest that calls the host's functions in any order and with any numbers, in each
//! of its phases. Whatever it does, its exchanges come to an end, a failure is the plugin's, a status is one of the
//! specification, and the host does not panic. Built for tests and by `cargo fuzz` only.

mod component;
mod core;
#[cfg(test)]
mod misled;
mod text;

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::{runtime::Runtime, task::LocalSet};

use super::{AddressSpace, Settings, Wasm};
use crate::{
    config::spec::{self, FailurePolicy, Grants, Isolation, ModuleTerms, PluginLimits},
    error::Error,
    exchange::{Body, Call, Outcome, Request, Response, Worker, testing},
    filter::{Action, Chain, Filter, Origin, Step},
    source::Entry,
    state::States,
    telemetry::Metrics,
};

/// Whose functions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The functions of `proxy/wit/plugin.wit`.
    Native,
    /// Proxy-Wasm's, with those of WASI preview 1.
    ProxyWasm,
    /// http-wasm's, with those of WASI preview 1.
    HttpWasm,
    /// Those of `wasi:http` and what belongs to it.
    WasiHttp,
}

/// A status that is none of the specification ends in this trap, which no guest comes to otherwise.
const NO_STATUS: &str = "integer divide by zero";
/// What a guest may take: enough for what it does, and what a target may wait.
const TIME: Duration = Duration::from_millis(30);

/// Runs the target.
///
/// # Panics
/// When the host does not do as it should.
pub fn run(interface: Interface, data: &[u8]) {
    play(&match interface {
        Interface::Native => component::native(data),
        Interface::WasiHttp => component::wasi_http(data),
        Interface::ProxyWasm => core::proxy_wasm(data),
        Interface::HttpWasm => core::http_wasm(data),
    });
}

fn play(text: &str) {
    thread_local! {
        static RIG: Rig = Rig::new();
    }
    RIG.with(|rig| LocalSet::new().block_on(&rig.runtime, rig.play(text)));
}

// A room that is used again and again: what it costs to make one is more than what a guest does.
struct Rig {
    runtime: Runtime,
    wasm: Arc<Wasm>,
    metrics: Arc<Metrics>,
}

impl Rig {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (workers, guest_slots, address_space) = (1, 16, AddressSpace::Small);
        let settings = Settings { workers, guest_slots, address_space, compile_threads: 1, cache: None };
        let metrics = Metrics::new(workers);
        let states = States::new(workers, runtime.handle().clone());
        let wasm = Wasm::new(settings, Arc::clone(&metrics), states).expect("room for an engine");
        Self { runtime, wasm, metrics }
    }

    async fn play(&self, text: &str) {
        let worker = Rc::new(Worker::new(0));
        for on_failure in [FailurePolicy::Closed, FailurePolicy::Open] {
            // A guest may fail while it is made, which refuses it.
            let Some(plugin) = self.plugin(&worker, text, on_failure).await else { return };
            for body in ["", "hello"] {
                exchange(&worker, &plugin, body, (text, on_failure)).await;
            }
        }
        let bytes = self.metrics.plugin(NAME).instantiations();
        assert!(bytes < 1_000_000, "guests are not made without end");
    }

    async fn plugin(&self, worker: &Rc<Worker>, text: &str, on_failure: FailurePolicy) -> Option<Arc<dyn Filter>> {
        let module = self.wasm.module(&Entry::new(text.to_owned())).await;
        let module = module.unwrap_or_else(|error| panic!("the module fits: {error}\n{text}"));
        let upstream: Arc<dyn Call> = Arc::new(Echo);
        let grants = BTreeMap::from([("u".into(), upstream)]);
        let series = self.metrics.plugin(NAME);
        let built = self.wasm.plugin(&NAME.into(), &spec(on_failure), module, grants, series).await.ok()?;
        for adopt in built.adoptions {
            adopt(worker).expect("a worker takes its guests");
        }
        Some(built.filter)
    }
}

const NAME: &str = "any";

async fn exchange(
    worker: &Rc<Worker>,
    plugin: &Arc<dyn Filter>,
    body: &'static str,
    (text, on_failure): (&str, FailurePolicy),
) {
    let mut request = testing::request_on(testing::exchange_on(worker), Method::POST, "/a?b=c");
    request.body = if body.is_empty() { Body::empty() } else { Body::full(body) };
    let exchange = Rc::clone(&request.exchange);
    let step = Step { name: "step".into(), origin: Origin::Route, action: Action::Around(Arc::clone(plugin)) };
    let upstream: Arc<dyn Call> = Arc::new(Echo);
    let chain = Chain::new([step]);
    let response = chain.run(request, &upstream);
    let answered = tokio::time::timeout(1000 * TIME, async {
        let response = response.await;
        let status = response.head.status;
        (status, response.body.collect().await.is_ok())
    });
    let Ok((status, whole)) = answered.await else { panic!("the exchange came to no end:\n{text}") };
    let failed = exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, why)| (kind.name(), why.clone())));
    exchange.finish(Outcome {
        status: status.as_u16(),
        request_bytes: 0,
        response_bytes: 0,
        duration: TIME,
        error: None,
    });
    if let Some((kind, why)) = failed {
        assert!(kind.starts_with("plugin"), "{kind}: {why}\n{text}");
        assert!(!why.contains(NO_STATUS), "a status that there is not\n{text}");
        // What was read of a body, or sent of an answer, cannot be done without the plugin.
        assert!(on_failure == FailurePolicy::Closed || !whole || status.is_server_error(), "{why}\n{text}");
    }
}

/// Answers with the request's body.
struct Echo;

impl Call for Echo {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            let mut response = Response::empty(StatusCode::OK);
            response.body = Body::full(request.body.collect().await?.to_bytes());
            Ok(response)
        })
    }
}

fn spec(on_failure: FailurePolicy) -> spec::Plugin {
    let limits = PluginLimits {
        call_timeout: TIME,
        exchange_timeout: TIME,
        memory_bytes_max: Some(1 << 20),
        kv_bytes_max: 1 << 16,
        ..PluginLimits::default()
    };
    spec::Plugin {
        module: "any.wat".into(),
        module_terms: ModuleTerms::default(),
        module_place: None,
        config: serde_json::Value::Null,
        config_places: Arc::default(),
        grants: Grants::default(),
        limits,
        on_failure,
        fall_back: false,
        isolation: Isolation::Reused,
        proxy_wasm: spec::ProxyWasm::default(),
        environment: vec![("A".into(), "1".into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Interface, &str); 4] = [
        (Interface::Native, "native"),
        (Interface::ProxyWasm, "proxy_wasm"),
        (Interface::HttpWasm, "http_wasm"),
        (Interface::WasiHttp, "wasi_http"),
    ];

    #[test]
    fn the_corpus_holds() {
        for (interface, name) in ALL {
            let corpus = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/{}"), name);
            let files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(files.len() >= 2, "{corpus} has only {}", files.len());
            for file in files {
                run(interface, &std::fs::read(file).unwrap());
            }
        }
    }

    #[test]
    fn addresses_and_lengths_that_are_not_the_guests_do_no_harm_in_any_function() {
        let guests = misled::guests();
        assert!(guests.len() > 100, "{} guests", guests.len());
        guests.iter().for_each(|text| play(text));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(10))]
        #[test]
        fn whatever_a_guest_calls_its_exchange_comes_to_an_end(data in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            for (interface, _) in ALL {
                run(interface, &data);
            }
        }
    }
}
