//! The vocabulary of one exchange (a request and its response), neutral of protocol and of HTTP library: what the
//! server hands to filters, filters to the upstream, and back. Must not name hyper, wasmtime or a configuration.

mod body;
mod context;
mod local;
pub mod rpc;
mod secured;
mod select;
mod span;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
mod timer;
mod told;
pub mod trace;
mod tunnel;
pub mod websocket;

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use http::{HeaderName, HeaderValue, StatusCode, header, request, response};

pub use body::{Body, BodyStream};
pub use context::{Connection, Exchange, Outcome, Record, Recorded, RouteFacts, StepTime};
pub use local::{Adoption, Locals, Worker};
pub use secured::{ClientIdentity, Secured};
pub use select::{Asked, Select, Trial};
pub use span::{OpenSpan, ParentSpan, Span, SpanFailure, SpanKind, SpanSink, SpanValue, Spans, TracedSpans};
pub use timer::{Elapsed, Timeout, Timers};
pub use told::Told;
pub use trace::TraceContext;
pub use tunnel::{Duplex, Tunnel};

use crate::error::{Error, Kind};

/// A request on its way to an upstream. `head.uri` is in origin form with scheme and authority set apart in
/// [`Request::authority`]; hop-by-hop fields are already gone. It goes from hand to hand in a box: it is large.
#[derive(Debug)]
pub struct Request {
    /// Method, target (path and query only) and fields.
    pub head: request::Parts,
    /// `Host` or `:authority`, lower-cased, with the port if one was sent; what goes out as `Host`.
    pub authority: Authority,
    /// The body, streamed.
    pub body: Body,
    /// The protocol that the client asks to upgrade to (RFC 9110 section 7.8), if it did.
    pub upgrade: Option<HeaderValue>,
    /// What belongs to the exchange as a whole.
    pub exchange: Rc<Exchange>,
}

/// The host, and the port if one was given, that a request is for.
pub type Authority = http::uri::Authority;

/// A response on its way to the client.
#[derive(Debug)]
pub struct Response {
    /// Status and fields; hop-by-hop fields are already gone.
    pub head: response::Parts,
    /// The body, streamed, with its trailers.
    pub body: Body,
    /// For a 101: the upstream's end of the tunnel.
    pub tunnel: Option<Tunnel>,
}

impl Response {
    /// A response without fields and body.
    pub fn empty(status: StatusCode) -> Self {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = status;
        Self { head, body: Body::empty(), tunnel: None }
    }

    /// A short text.
    pub fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Self {
        let mut response = Self::empty(status);
        response.head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.body = Body::full(text);
        response
    }

    /// What the client is told of a failed exchange: the status and text of its kind and when to try again, nothing
    /// of the detail.
    pub fn of_error(error: &Error) -> Self {
        let mut response = Self::text(error.kind().status(), error.kind().client_text());
        if let Some(seconds) = error.retry_after_seconds() {
            response.head.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Whether a field frames a message or belongs to one connection (RFC 9110 section 7.6.1): the server and the upstream
/// read and write these, and no step of a chain may.
pub fn is_framing(name: &HeaderName) -> bool {
    static FRAMING: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    FRAMING.contains(name)
}

/// Whether a field belongs to one connection of HTTP/1, so that no message that comes in frames may have it (RFC 9113
/// section 8.2.2, RFC 9114 section 4.2). `TE` aside, which may say `trailers`.
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// How a filter or guest reaches an upstream, and how a chain ends.
pub trait Call: Send + Sync {
    /// Sends `request` and answers with the head of the response; its body follows as a stream.
    ///
    /// # Errors
    /// Of the upstream's or the gateway's fault; never a status that the upstream itself sent.
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>>;

    /// Connects to where `request` would go, for a protocol that is not HTTP: nothing of it is sent.
    ///
    /// # Errors
    /// Where there is no connection, and of what leads to no endpoint of its own.
    fn open<'a>(&'a self, _request: &'a Request) -> LocalBoxFuture<'a, Result<Box<dyn Duplex>, Error>> {
        Box::pin(std::future::ready(Err(Error::new(Kind::NoEndpoint, "it takes requests alone"))))
    }

    /// Whether it sends what [`Exchange::told`] holds by itself; otherwise that has to be among the request's fields.
    fn takes_told(&self) -> bool {
        false
    }
}
