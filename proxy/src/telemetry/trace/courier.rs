//! Carries batches to a collector over one connection that is made when it is needed: OTLP over gRPC (HTTP/2) or over
//! HTTP/1.1. Says of a failure whether it is worth another attempt (OTLP specification 1.3, failures). Keeps nothing.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::encode;
use crate::{
    config::spec::Otlp,
    tls::{Connector, Offer, Socket},
};

/// Who carries.
pub(super) struct Courier {
    to: Otlp,
    connector: Option<Arc<Connector>>,
    link: Option<Link>,
}

enum Link {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a batch was not taken, in words.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be, later; after this time, where the collector says so.
    Later(String, Option<Duration>),
    /// It never will be.
    Refused(String),
}

/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

impl Courier {
    /// To this collector, with `connector` where it is spoken to over TLS.
    pub(super) fn new(to: &Otlp, connector: Option<Arc<Connector>>) -> Self {
        Self { to: to.clone(), connector, link: None }
    }

    /// Delivers a batch; answers how many spans of it the collector rejected, and its words.
    ///
    /// # Errors
    /// Where it was not taken.
    pub(super) async fn deliver(&mut self, batch: Bytes) -> Result<(u64, String), Failure> {
        let timeout = self.to.timeout;
        let outcome = tokio::time::timeout(timeout, self.attempt(batch)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Failure::Later(format!("no answer within timeout ({} ms)", timeout.as_millis()), None))
        });
        // What went wrong with a connection is not known to be over.
        if outcome.is_err() {
            self.link = None;
        }
        outcome
    }

    async fn attempt(&mut self, batch: Bytes) -> Result<(u64, String), Failure> {
        let request = self.request(batch);
        let link = match self.link.take().filter(Link::is_open) {
            Some(link) => link,
            None => self.connect().await.map_err(|why| Failure::Later(why, None))?,
        };
        let broken = |error: hyper::Error| Failure::Later(format!("the connection broke: {}", whole(&error)), None);
        let response = match self.link.insert(link) {
            Link::Http1(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await
            }
            Link::Http2(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await
            }
        };
        let (head, body) = response.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Failure::Later(format!("its answer broke off: {error}"), None))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let answer = Response::from_parts(head, body.to_bytes());
        if self.to.grpc { grpc(&answer, &trailers) } else { http(&answer) }
    }

    fn request(&self, batch: Bytes) -> Request<Full<Bytes>> {
        let (grpc, host) = (self.to.grpc, self.authority());
        let body = if grpc { framed(&batch) } else { batch };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        let scheme = if self.to.tls.is_some() { "https" } else { "http" };
        let target = if grpc { format!("{scheme}://{host}{}", self.to.path) } else { self.to.path.clone() };
        *request.uri_mut() = target.parse().unwrap_or_default();
        let fields = request.headers_mut();
        fields.extend(self.to.headers.iter().cloned());
        fields.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if grpc {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            if let Ok(host) = HeaderValue::try_from(host) {
                fields.insert(header::HOST, host);
            }
        }
        request
    }

    fn authority(&self) -> String {
        let Otlp { host, port, .. } = &self.to;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    async fn connect(&self) -> Result<Link, String> {
        let place = self.authority();
        let wrong = |error: &dyn std::fmt::Display| format!("cannot connect to {place}: {error}");
        let stream = TcpStream::connect((self.to.host.as_str(), self.to.port)).await.map_err(|error| wrong(&error))?;
        let _slower = stream.set_nodelay(true).is_err();
        let offer = if self.to.grpc { Offer::Http2 } else { Offer::Http1 };
        let socket = match &self.connector {
            None => Socket::Plain(stream),
            Some(connector) => connector.connect(stream, &self.to.host, offer).await.map_err(|error| wrong(&error))?,
        };
        let socket = TokioIo::new(socket);
        Ok(if self.to.grpc {
            let shaken = http2::handshake(TokioExecutor::new(), socket).await;
            let (sender, connection) = shaken.map_err(|error| wrong(&error))?;
            // Its end shows in the requests that it carries.
            tokio::spawn(async move { drop(connection.await) });
            Link::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(socket).await.map_err(|error| wrong(&error))?;
            tokio::spawn(async move { drop(connection.await) });
            Link::Http1(sender)
        })
    }
}

const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

impl Link {
    fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

fn whole(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

// One message, not compressed.
fn framed(batch: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(batch.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(batch.len()).unwrap_or(u32::MAX));
    framed.put_slice(batch);
    framed.freeze()
}

fn grpc(answer: &Response<Bytes>, trailers: &HeaderMap) -> Result<(u64, String), Failure> {
    let field = |name: &HeaderName| {
        let value = trailers.get(name).or_else(|| answer.headers().get(name))?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let Some(code) = field(&GRPC_STATUS).and_then(|code| code.parse::<u8>().ok()) else {
        let why = format!("it does not speak gRPC, and answers {}", answer.status());
        let gone = matches!(answer.status().as_u16(), 429 | 502 | 503 | 504);
        return Err(if gone { Failure::Later(why, None) } else { Failure::Refused(why) });
    };
    let why = || format!("gRPC status {code}: {}", field(&GRPC_MESSAGE).unwrap_or_default());
    match code {
        0 => Ok(encode::rejected(answer.body().get(5..).unwrap_or_default())),
        // Cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable, data loss.
        1 | 4 | 8 | 10 | 11 | 14 | 15 => Err(Failure::Later(why(), None)),
        _ => Err(Failure::Refused(why())),
    }
}

fn http(answer: &Response<Bytes>) -> Result<(u64, String), Failure> {
    let why = || format!("it answers {}", answer.status());
    match answer.status() {
        status if status.is_success() => Ok(encode::rejected(answer.body())),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Later(why(), after.map(Duration::from_secs)))
        }
        _ => Err(Failure::Refused(why())),
    }
}

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
