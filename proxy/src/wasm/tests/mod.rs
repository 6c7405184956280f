//! Tests of the room: small guests in the text format (`guests/*.wat`), a chain around them, and an end that says
//! what it got.

mod containment;
mod loading;
mod phases;
mod prompt;
mod pulling;
mod reuse;
mod told;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::{
    config::spec::{FailurePolicy, Grants, Isolation, ModuleTerms, PluginLimits},
    error::Error,
    exchange::{Body, Call, Exchange, Outcome, Request, Response, testing},
    filter::{Action, Chain, Origin, Step},
};

/// The text of a guest.
macro_rules! guest {
    ($name:literal) => {
        include_str!(concat!("guests/", $name, ".wat"))
    };
}
use guest;

/// A Wasm room, a worker, and an upstream.
struct Bench {
    wasm: Arc<Wasm>,
    metrics: Arc<Metrics>,
    worker: Rc<Worker>,
    grants: BTreeMap<spec::Name, Arc<dyn Call>>,
}

/// What came back to the client.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
    exchange: Rc<Exchange>,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            workers: 2,
            guest_slots: 64,
            address_space: AddressSpace::Full,
            compile_threads: 1,
            cache: None,
        };
        let metrics = Metrics::new(2);
        let wasm = Wasm::new(settings, Arc::clone(&metrics), states()).unwrap();
        Self { wasm, metrics, worker: Rc::new(Worker::new(0)), grants: BTreeMap::new() }
    }

    async fn module(&self, text: &str) -> Arc<Module> {
        self.wasm.module(&Entry::new(text.to_owned())).await.unwrap()
    }

    /// A plugin called `name`, adopted by the worker.
    async fn plugin(&self, name: &str, text: &str, change: impl FnOnce(&mut spec::Plugin)) -> Arc<dyn Filter> {
        let built = self.build(name, text, change).await.unwrap();
        let mut adoptions = built.adoptions.into_iter();
        adoptions.next().unwrap()(&self.worker).unwrap();
        built.filter
    }

    async fn build(
        &self,
        name: &str,
        text: &str,
        change: impl FnOnce(&mut spec::Plugin),
    ) -> Result<Built, Vec<Diagnostic>> {
        let mut spec = spec();
        change(&mut spec);
        let module = self.module(text).await;
        self.wasm.plugin(&name.into(), &spec, module, self.grants.clone(), self.metrics.plugin(name)).await
    }

    async fn send(&self, filters: &[&Arc<dyn Filter>], request: Box<Request>) -> Got {
        let exchange = Rc::clone(&request.exchange);
        let response = chain(filters).run(request, &end(Echo)).await;
        let (status, headers) = (response.head.status, response.head.headers);
        let body = match response.body.collect().await {
            Ok(body) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            Err(error) => format!("broken off: {}", error.kind().name()),
        };
        let outcome = Outcome {
            status: status.as_u16(),
            request_bytes: 0,
            response_bytes: body.len() as u64,
            duration: Duration::ZERO,
            error: None,
        };
        exchange.finish(outcome);
        Got { status, headers, body, exchange }
    }

    fn get(&self, headers: &[(&'static str, &str)]) -> Box<Request> {
        let mut request = testing::request_on(testing::exchange_on(&self.worker), Method::GET, "/a/b?c=d");
        for (name, value) in headers {
            request.head.headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    fn post(&self, body: Body) -> Box<Request> {
        let mut request = self.get(&[]);
        (request.head.method, request.body) = (Method::POST, body);
        request
    }

    fn guests(&self) -> Rc<Guests> {
        self.worker.locals.of::<Guests>()
    }
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn error(&self) -> Option<&'static str> {
        self.exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| kind.name()))
    }
}

fn states() -> Arc<States> {
    States::new(2, tokio::runtime::Handle::current())
}

fn spec() -> spec::Plugin {
    spec::Plugin {
        module: "plugin.wat".into(),
        module_terms: ModuleTerms::default(),
        module_place: None,
        config: serde_json::Value::Null,
        config_places: Arc::default(),
        grants: Grants::default(),
        limits: PluginLimits::default(),
        on_failure: FailurePolicy::Closed,
        fall_back: false,
        isolation: Isolation::Reused,
        proxy_wasm: spec::ProxyWasm::default(),
        environment: Vec::new(),
    }
}

/// What ends a chain.
fn end(call: impl Call + 'static) -> Arc<dyn Call> {
    Arc::new(call)
}

fn chain(filters: &[&Arc<dyn Filter>]) -> Chain {
    let step = |filter: &&Arc<dyn Filter>| Step {
        name: "step".into(),
        origin: Origin::Route,
        action: Action::Around(Arc::clone(filter)),
    };
    Chain::new(filters.iter().map(step))
}

/// Answers with the request's fields, each as `was-<name>`, its target as `was-target`, and its body.
struct Echo;

impl Call for Echo {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            let mut response = Response::empty(StatusCode::OK);
            let headers = &mut response.head.headers;
            for (name, value) in &request.head.headers {
                headers.append(http::HeaderName::try_from(format!("was-{name}")).unwrap(), value.clone());
            }
            headers.insert("was-target", HeaderValue::from_str(&request.head.uri.to_string()).unwrap());
            response.body = Body::full(request.body.collect().await?.to_bytes());
            Ok(response)
        })
    }
}

/// A body of these chunks, and what of it was polled for.
struct Chunks(std::collections::VecDeque<Bytes>, Rc<RefCell<usize>>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        *self.1.borrow_mut() += 1;
        std::task::Poll::Ready(self.0.pop_front().map(|chunk| Ok(http_body::Frame::data(chunk))))
    }
}

fn chunks(chunks: &[&'static str]) -> Body {
    Body::stream(Chunks(chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect(), Rc::default()))
}

/// Runs a test on a worker's kind of runtime.
fn on_worker<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Lets other tasks run until `done`.
async fn until(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "what was waited for did not come");
        tokio::task::yield_now().await;
    }
}
