//! The question as Envoy asks it, by gRPC: `envoy.service.auth.v3.Authorization/Check`. Of its messages as much as is said
//! and heard here; fields that others put into an answer are passed over.

use std::{collections::HashMap, net::SocketAddr, ops::ControlFlow, rc::Rc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Limited};
use prost::Message;

use super::{Verdict, question::passes};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Body, Exchange, Request, Response, is_framing, rpc},
};

/// What is asked about `request`, of whose body this much is told.
pub(super) fn question(spec: &spec::ForwardAuth, request: &Request, body: &[u8]) -> Result<Box<Request>, Error> {
    let attributes = Attributes {
        source: Some(source(&request.exchange)),
        destination: Some(peer(request.exchange.connection.local)),
        request: Some(AskedRequest { http: Some(asked(spec, request, body)) }),
    };
    let message = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame
        .put_u32(u32::try_from(message.len()).map_err(|_| Error::new(Kind::BodyTooLarge, "forward-auth: over 4 GiB"))?);
    frame.put_slice(&message);
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::POST;
    head.uri = Uri::from_static("/envoy.service.auth.v3.Authorization/Check");
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(parent) = request.head.headers.get("traceparent") {
        head.headers.insert("traceparent", parent.clone());
    }
    let (authority, exchange) = (request.authority.clone(), Rc::clone(&request.exchange));
    Ok(Box::new(Request { head, authority, body: Body::full(frame.freeze()), upgrade: None, exchange }))
}

/// What the answer says of `request`, whose fields are changed as it says.
pub(super) async fn verdict(answer: Response, request: &mut Request) -> Result<Verdict, Error> {
    let said = read(answer).await?;
    let passes = said.status.as_ref().is_none_or(|status| status.code == 0);
    Ok(match said.http {
        Some(Http::Denied(denied)) => ControlFlow::Break(Box::new(denied.response())),
        Some(Http::Ok(ok)) if passes => {
            for name in ok.headers_to_remove.iter().filter_map(|name| changeable(name)) {
                request.head.headers.remove(name);
            }
            ok.headers.iter().for_each(|option| option.apply(&mut request.head.headers));
            let fields = ok.response_headers_to_add.iter().filter_map(Edit::field);
            ControlFlow::Continue(fields.collect())
        }
        None if passes => ControlFlow::Continue(Vec::new()),
        _ => ControlFlow::Break(Box::new(Response::empty(StatusCode::FORBIDDEN))),
    })
}

async fn read(answer: Response) -> Result<CheckResponse, Error> {
    let failed = |why: String| Error::new(Kind::UpstreamMalformed, format!("forward-auth: by gRPC: {why}"));
    if answer.head.status != StatusCode::OK {
        return Err(failed(format!("it is answered with {}", answer.head.status)));
    }
    let whole = Limited::new(answer.body, ANSWER_BYTES_MAX).collect().await;
    let whole = whole.map_err(|error| failed(format!("its answer: {error}")))?;
    let status = whole.trailers().and_then(rpc::status).or_else(|| rpc::status(&answer.head.headers));
    if let Some(code) = status.filter(|code| *code != 0) {
        return Err(failed(format!("it failed with the status {code}")));
    }
    let bytes = whole.to_bytes();
    let message = match bytes.first_chunk::<FRAME_HEAD_BYTES>() {
        Some([0, length @ ..]) if u32::from_be_bytes(*length) as usize == bytes.len() - FRAME_HEAD_BYTES => {
            bytes.slice(FRAME_HEAD_BYTES..)
        }
        _ => return Err(failed("its answer is not one plain message".into())),
    };
    CheckResponse::decode(message).map_err(|error| failed(format!("its answer: {error}")))
}

const FRAME_HEAD_BYTES: usize = 5;
const ANSWER_BYTES_MAX: usize = 256 << 10;

fn asked(spec: &spec::ForwardAuth, request: &Request, body: &[u8]) -> AskedHttp {
    let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let scheme = if request.exchange.connection.secure { "https" } else { "http" };
    let mut headers: HashMap<String, String> = HashMap::new();
    let lent = request.head.headers.iter().filter(|(name, _)| passes_check(spec, name));
    for (name, value) in lent {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.to_string())
            .and_modify(|all| *all = format!("{all},{value}"))
            .or_insert_with(|| value.into());
    }
    let own = [
        (":method", request.head.method.as_str()),
        (":path", target),
        (":authority", request.authority.as_str()),
        (":scheme", scheme),
    ];
    headers.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let id = headers.get("x-request-id").cloned().unwrap_or_default();
    let text = std::str::from_utf8(body).ok();
    AskedHttp {
        id,
        method: request.head.method.to_string(),
        headers,
        path: target.to_owned(),
        host: request.authority.to_string(),
        scheme: scheme.to_owned(),
        size: http_body::Body::size_hint(&request.body).exact().map_or(-1, |size| i64::try_from(size).unwrap_or(-1)),
        protocol: protocol(request.exchange.version).to_owned(),
        body: text.unwrap_or_default().to_owned(),
        raw_body: if text.is_none() { Bytes::copy_from_slice(body) } else { Bytes::new() },
    }
}

// All of the request is told, where nothing else is said: nobody takes the question for one to the resource.
fn passes_check(spec: &spec::ForwardAuth, name: &HeaderName) -> bool {
    if spec.request_headers.is_some() { passes(spec, name) } else { !is_framing(name) }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn source(exchange: &Exchange) -> Peer {
    let port = if exchange.client == exchange.connection.peer.ip() { exchange.connection.peer.port() } else { 0 };
    let client = exchange.connection.tls.as_ref().and_then(|tls| tls.client.as_ref());
    let principal =
        client.map(|client| client.uris.first().or_else(|| client.dns_names.first()).unwrap_or(&client.subject));
    Peer { principal: principal.cloned().unwrap_or_default(), ..peer(SocketAddr::new(exchange.client, port)) }
}

fn peer(socket: SocketAddr) -> Peer {
    let inner = Socket { address: socket.ip().to_string(), port: socket.port().into() };
    Peer { address: Some(Address { socket: Some(inner) }), principal: String::new() }
}

// A name that an answer may change.
fn changeable(name: &str) -> Option<HeaderName> {
    let name = name.parse::<HeaderName>().ok()?;
    (!is_framing(&name) && name != header::HOST).then_some(name)
}

impl Edit {
    fn field(&self) -> Option<(HeaderName, HeaderValue)> {
        let header = self.header.as_ref()?;
        let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
        Some((changeable(&header.key)?, HeaderValue::from_bytes(value).ok()?))
    }

    // What coexists is replaced, unless something else is said.
    fn apply(&self, headers: &mut HeaderMap) {
        let Some((name, value)) = self.field() else { return };
        let there = headers.contains_key(&name);
        if self.append.as_ref().is_some_and(|append| append.value) {
            let _full = headers.try_append(name, value).is_err();
        } else if !(there && self.append_action == ADD_IF_ABSENT || !there && self.append_action == OVERWRITE_IF_EXISTS)
        {
            let _full = headers.try_insert(name, value).is_err();
        }
    }
}

const ADD_IF_ABSENT: i32 = 1;
const OVERWRITE_IF_EXISTS: i32 = 3;

impl Denied {
    fn response(self) -> Response {
        let code = self.status.and_then(|status| u16::try_from(status.code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok()).filter(|code| code.as_u16() >= 200);
        let mut response = Response::empty(code.unwrap_or(StatusCode::FORBIDDEN));
        response.body = Body::full(self.body);
        for (name, value) in self.headers.iter().filter_map(Edit::field) {
            let _full = response.head.headers.try_append(name, value).is_err();
        }
        response
    }
}

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "2")]
    destination: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<AskedRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
    #[prost(string, tag = "4")]
    principal: String,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket: Option<Socket>,
}

#[derive(Clone, PartialEq, Message)]
struct Socket {
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint32, tag = "3")]
    port: u32,
}

#[derive(Clone, PartialEq, Message)]
struct AskedRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<AskedHttp>,
}

#[derive(Clone, PartialEq, Message)]
struct AskedHttp {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(int64, tag = "9")]
    size: i64,
    #[prost(string, tag = "10")]
    protocol: String,
    #[prost(string, tag = "11")]
    body: String,
    #[prost(bytes = "bytes", tag = "12")]
    raw_body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(oneof = "Http", tags = "2, 3")]
    http: Option<Http>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Http {
    #[prost(message, tag = "2")]
    Denied(Denied),
    #[prost(message, tag = "3")]
    Ok(Allowed),
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Edit>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Edit>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    response_headers_to_add: Vec<Edit>,
}

/// `HeaderValueOption`.
#[derive(Clone, PartialEq, Message)]
struct Edit {
    #[prost(message, optional, tag = "1")]
    header: Option<Field>,
    #[prost(message, optional, tag = "2")]
    append: Option<Flag>,
    #[prost(int32, tag = "3")]
    append_action: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "bytes", tag = "3")]
    raw_value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Flag {
    #[prost(bool, tag = "1")]
    value: bool,
}
