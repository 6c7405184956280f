//! A server of Envoy's external authorization (`envoy.service.auth.v3.Authorization`), tonic's, its messages written by hand
//! from their definition.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use prost::Message;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// Denies paths that hold `denied` (403, `x-auth-error`, a body), fails with UNAVAILABLE for those that hold `broken`, and
/// allows others: `x-user` is `alice` and `x-group` gains `auth` upstream, `x-gone` is removed, and the client is told
/// `x-by: auth`.
#[derive(Debug)]
pub struct Authz {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's address.
    pub client: String,
    /// Of the request.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Without the port.
    pub host: String,
    /// Fields by their names, pseudo-fields among them.
    pub headers: HashMap<String, String>,
    /// What was told of the body.
    pub body: String,
}

impl Authz {
    /// Starts it on the runtime of the test.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let service = Authorization(Arc::clone(&asked));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { drop(serving.await) });
        Self { address, asked, task }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Authz {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Authorization(Arc<Mutex<Vec<Asked>>>);

impl NamedService for Authorization {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for Authorization {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/envoy.service.auth.v3.Authorization/Check" => {
                    Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default()).unary(own, request).await
                }
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}

impl UnaryService<CheckRequest> for Authorization {
    type Response = CheckResponse;
    type Future = std::future::Ready<Result<Response<CheckResponse>, Status>>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let http = attributes.request.unwrap_or_default().http.unwrap_or_default();
        let client = attributes.source.and_then(|source| source.address?.socket).unwrap_or_default().address;
        let answer = answer(&http.path);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Asked {
            client,
            method: http.method,
            path: http.path,
            host: http.host,
            headers: http.headers,
            body: http.body,
        });
        std::future::ready(answer.map(Response::new))
    }
}

fn answer(path: &str) -> Result<CheckResponse, Status> {
    if path.contains("broken") {
        return Err(Status::unavailable("it is broken"));
    }
    if path.contains("denied") {
        let status = Some(HttpStatus { code: 403 });
        let headers = vec![edit("x-auth-error", "access-denied", false)];
        let denied = Denied { status, headers, body: "Access denied by external auth server".into() };
        return Ok(CheckResponse { status: Some(RpcStatus { code: 7 }), denied: Some(denied), ok: None });
    }
    let ok = Allowed {
        headers: vec![edit("x-user", "alice", false), edit("x-group", "auth", true)],
        headers_to_remove: vec!["x-gone".into()],
        response_headers_to_add: vec![edit("x-by", "auth", false)],
    };
    Ok(CheckResponse { status: Some(RpcStatus { code: 0 }), denied: None, ok: Some(ok) })
}

fn edit(key: &str, value: &str, append: bool) -> HeaderValueOption {
    let header = Some(HeaderValue { key: key.into(), value: value.into() });
    HeaderValueOption { header, append: append.then_some(BoolValue { value: true }) }
}

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<ContextRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContextRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "11")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Allowed>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    response_headers_to_add: Vec<HeaderValueOption>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    header: Option<HeaderValue>,
    #[prost(message, optional, tag = "2")]
    append: Option<BoolValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct BoolValue {
    #[prost(bool, tag = "1")]
    value: bool,
}
