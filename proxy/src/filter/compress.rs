//! Compresses responses as they stream, in the coding that the client likes best (RFC 9110 section 12.5.3). What waits for
//! more is flushed first, so an event reaches its reader when it happens.
//!
//! Left alone: what is encoded already, parts (206), what says `no-transform`, types that are not listed, bodies known to
//! be small. A compressed response is another representation: its strong `ETag` becomes weak, and `Vary` says so.
//! Bounded: a worker compresses so many responses at a time, and further ones pass as they are.

mod accept;
mod body;
mod coder;

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;

use self::{body::Compressed, coder::Coder};
use super::{Filter, Visit, Wait, lists, own::PerWorker};
use crate::{
    config::spec::{self, Coding},
    exchange::{Body, Exchange, Request, Response, Worker},
};

/// The step.
pub(super) struct Compress {
    rules: PerWorker<Arc<spec::Compress>, Box<dyn Fn() -> Arc<spec::Compress> + Send + Sync>>,
    does: String,
}

impl Compress {
    /// A step that compresses so.
    pub(super) fn new(spec: &spec::Compress) -> Self {
        let names: Vec<_> = spec.codings.iter().map(|coding| coding.name()).collect();
        let (does, own) = (format!("compress with {}", names.join(", ")), spec.clone());
        Self { does, rules: PerWorker::new(Box::new(move || Arc::new(own.clone()))) }
    }
}

impl Filter for Compress {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Compressing {
            rules: Arc::clone(self.rules.of(exchange)),
            worker: RefCell::new(Some(Rc::clone(&exchange.worker))),
            coding: Cell::new(None),
            head: Cell::new(false),
            refuses: Cell::new(false),
        })
    }

    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

/// Of one exchange.
struct Compressing {
    rules: Arc<spec::Compress>,
    worker: RefCell<Option<Rc<Worker>>>,
    coding: Cell<Option<Coding>>,
    // Whether the request is one for the head alone.
    head: Cell<bool>,
    // Whether it says `no-transform`.
    refuses: Cell<bool>,
}

impl Visit for Compressing {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        let headers = &request.head.headers;
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        self.coding.set(accept::best(accepted, &self.rules.codings));
        self.refuses.set(lists::has(headers, &header::CACHE_CONTROL, "no-transform"));
        self.head.set(request.head.method == Method::HEAD);
        Wait::Ready(Ok(ControlFlow::Continue(request)))
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        if self.refuses.get() || lists::has(&response.head.headers, &header::CACHE_CONTROL, "no-transform") {
            return Wait::Ready(Ok(response));
        }
        if response.head.status == StatusCode::NOT_MODIFIED {
            // What it names is what was sent before: compressed, where it would be now.
            if self.coding.get().is_some() {
                weaken(&mut response.head.headers);
            }
        } else if self.may_compress(&response) {
            lists::vary_on(&mut response.head.headers, "Accept-Encoding");
            self.compress(&mut response);
        }
        Wait::Ready(Ok(response))
    }
}

impl Compressing {
    fn compress(&self, response: &mut Response) {
        let Some((coding, worker)) = self.coding.get().zip(self.worker.take()) else { return };
        if !response.body.is_empty() {
            let Some(coder) = Coder::new(coding, &self.rules.levels, &worker) else { return };
            response.body = Body::stream(Compressed::new(response.body.take(), coder));
        } else if !self.head.get() {
            return;
        }
        mark(&mut response.head.headers, coding);
    }

    fn may_compress(&self, response: &Response) -> bool {
        let (status, headers) = (response.head.status, &response.head.headers);
        let whole = (status.is_success() || status.is_client_error() || status.is_server_error())
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT);
        let encodings = || headers.get_all(header::CONTENT_ENCODING).iter();
        whole
            && response.tunnel.is_none()
            && !headers.contains_key(header::CONTENT_RANGE)
            && encodings().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
            && headers.get(header::CONTENT_TYPE).is_some_and(|kind| self.is_listed(kind))
            && self.length(response).is_none_or(|length| length >= self.rules.body_bytes_min)
    }

    fn length(&self, response: &Response) -> Option<u64> {
        if self.head.get() {
            let length = response.head.headers.get(header::CONTENT_LENGTH);
            return length.and_then(|length| length.to_str().ok()?.parse().ok());
        }
        response.body.size_hint().exact()
    }

    fn is_listed(&self, kind: &HeaderValue) -> bool {
        let kind = kind.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        self.rules.types.iter().any(|listed| listed.covers(kind))
    }
}

fn mark(headers: &mut HeaderMap, coding: Coding) {
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
    let _full = headers.try_insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name())).is_err();
    weaken(headers);
}

fn weaken(headers: &mut HeaderMap) {
    let weak = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    let weak = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

// What is no longer so once a body is encoded.
static OF_THE_BYTES: [HeaderName; 7] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

#[cfg(test)]
mod tests;
