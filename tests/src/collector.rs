//! A collector of traces, over real sockets, in a thread of its own: gRPC by tonic's server, HTTP by hyper's. It keeps
//! what it is sent, and answers what the test tells it to.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use crate::eventually;

/// A running collector; ended with the value.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    grpc: bool,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What came in one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Of the request.
    pub headers: HeaderMap,
    /// The path, where it came over HTTP.
    pub path: String,
    /// What is said of the sender.
    pub resource: BTreeMap<String, String>,
    /// In the order sent.
    pub spans: Vec<Seen>,
}

/// One span, as a test reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The same of its parent; empty where it has none.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
    /// W3C flags and what is known of the parent.
    pub flags: u32,
    /// Its name.
    pub name: String,
    /// `Server`, `Client`, `Internal`.
    pub kind: String,
    /// By name; numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed, and the message.
    pub failed: Option<String>,
    /// Of its events: name, then attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// Nanoseconds since the epoch: begin and end.
    pub time: (u64, u64),
}

#[derive(Debug, Default)]
struct State {
    batches: Mutex<Vec<Batch>>,
    answers: Mutex<Option<Answer>>,
}

/// What the next batches are answered with, until the test says otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// They are not taken: this code, or this status.
    Refuse(Code, u16),
    /// They are taken, all but so many spans of each.
    Reject(i64),
    /// There is none.
    Silence,
}

impl Collector {
    /// One that speaks gRPC.
    pub fn grpc() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a free port"), true)
    }

    /// One that speaks HTTP/1.1.
    pub fn http() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a free port"), false)
    }

    /// One on a socket that is bound already.
    pub fn on(listener: TcpListener, grpc: bool) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let (state, (stop, stopped)) = (Arc::<State>::default(), oneshot::channel());
        let own = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a bound socket joins a runtime");
                tokio::select! {
                    () = serve(listener, own, grpc) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, grpc, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is spoken to, as `protocol` has it.
    pub const fn protocol(&self) -> &'static str {
        if self.grpc { "grpc" } else { "http/protobuf" }
    }

    /// Answers this from now on; `None` is to take everything.
    pub fn answer(&self, answer: Option<Answer>) {
        *lock(&self.state.answers) = answer;
    }

    /// What came so far.
    pub fn batches(&self) -> Vec<Batch> {
        lock(&self.state.batches).clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Seen> {
        self.batches().into_iter().flat_map(|batch| batch.spans).collect()
    }

    /// Waits until there are `count` spans.
    pub async fn wait_for(&self, count: usize) -> Vec<Seen> {
        let what = format!("the collector has {count} spans");
        eventually(&what, Duration::from_secs(20), async || {
            let spans = self.spans();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }

    /// Ends it: the port is closed, and every connection with it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the collector does not panic");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end();
    }
}

impl Seen {
    /// The value of an attribute; empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl State {
    // Keeps what came and says what is to be answered; `None` is nothing.
    async fn take(
        &self,
        headers: &HeaderMap,
        path: &str,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, (Code, u16)> {
        let answer = *lock(&self.answers);
        let rejected = match answer {
            Some(Answer::Refuse(code, status)) => return Err((code, status)),
            Some(Answer::Silence) => std::future::pending().await,
            Some(Answer::Reject(count)) => count,
            None => 0,
        };
        let batches = request.resource_spans.into_iter().map(|of_one| Batch {
            headers: headers.clone(),
            path: path.to_owned(),
            resource: of_one.resource.map(|resource| pairs(resource.attributes)).unwrap_or_default(),
            spans: of_one.scope_spans.into_iter().flat_map(|scope| scope.spans).map(seen).collect(),
        });
        lock(&self.batches).extend(batches);
        let message = if rejected > 0 { "too many".to_owned() } else { String::new() };
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message };
        Ok(ExportTraceServiceResponse { partial_success: Some(partial) })
    }
}

struct Service(Arc<State>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (fields, _, message) = request.into_parts();
        let taken = self.0.take(&fields.into_headers(), "", message).await;
        taken.map(tonic::Response::new).map_err(|(code, _)| Status::new(code, "not now"))
    }
}

async fn serve(listener: tokio::net::TcpListener, state: Arc<State>, grpc: bool) {
    if grpc {
        let incoming = futures_util::stream::unfold(listener, async |listener| {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let service = TraceServiceServer::new(Service(state));
        drop(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await);
        return;
    }
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let answer = service_fn(move |request| http(Arc::clone(&state), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn http(state: Arc<State>, request: hyper::Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let message = ExportTraceServiceRequest::decode(body.collect().await?.to_bytes()).expect("a batch is a message");
    let mut response = Response::new(Full::default());
    match state.take(&head.headers, head.uri.path(), message).await {
        Ok(answer) => *response.body_mut() = Full::new(answer.encode_to_vec().into()),
        Err((_, status)) => *response.status_mut() = StatusCode::from_u16(status).expect("a status"),
    }
    Ok(response)
}

fn seen(span: Span) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let failed = span.status.clone().filter(|status| status.code == 2).map(|status| status.message);
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        flags: span.flags,
        kind: format!("{:?}", span.kind()),
        name: span.name,
        attributes: pairs(span.attributes),
        failed,
        events: span.events.into_iter().map(|event| (event.name, pairs(event.attributes))).collect(),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn pairs(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let value = |pair: &KeyValue| pair.value.clone().and_then(|value| value.value).map(text).unwrap_or_default();
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
