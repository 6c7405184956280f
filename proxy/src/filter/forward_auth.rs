//! Asks an upstream whether a request may pass: one sub-request without the body. An answer of the 2xx class lets it
//! pass, and fields of it go on to the upstream and back to the client; any other answer is the client's. Where nobody
//! answers, the request is refused.

use std::{cell::RefCell, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::BodyExt as _;

use super::{Filter, Visit, Wait, own::PerWorker};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Body, Call, Exchange, Request, Response, is_framing},
};

/// The step.
pub(super) struct ForwardAuth {
    desk: PerWorker<Arc<Desk>, Box<dyn Fn() -> Arc<Desk> + Send + Sync>>,
    does: String,
}

impl ForwardAuth {
    /// A step that asks `call`.
    pub(super) fn new(spec: &spec::ForwardAuth, call: Arc<dyn Call>) -> Self {
        let does = format!("ask {} for {}", spec.upstream, spec.path);
        let spec = spec.clone();
        let make = move || Arc::new(Desk { spec: spec.clone(), call: Arc::clone(&call) });
        Self { desk: PerWorker::new(Box::new(make)), does }
    }
}

impl Filter for ForwardAuth {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Asking { desk: Arc::clone(self.desk.of(exchange)), for_client: RefCell::default() })
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

/// Who is asked, on one worker.
struct Desk {
    spec: spec::ForwardAuth,
    call: Arc<dyn Call>,
}

/// Of one exchange.
struct Asking {
    desk: Arc<Desk>,
    for_client: RefCell<Vec<(HeaderName, HeaderValue)>>,
}

impl Visit for Asking {
    fn request(self: Rc<Self>, mut request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        Wait::on(async move {
            let answer = self.desk.ask(&request).await?;
            if !answer.head.status.is_success() {
                return Ok(ControlFlow::Break(Box::new(answer)));
            }
            let given = &answer.head.headers;
            self.desk.carry(given, &mut request.head.headers)?;
            let copies = |name: &HeaderName| {
                given.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect::<Vec<_>>()
            };
            *self.for_client.borrow_mut() = self.desk.spec.client_headers.iter().flat_map(copies).collect();
            drain(answer.body);
            Ok(ControlFlow::Continue(request))
        })
    }

    fn sees_response(&self) -> bool {
        !self.for_client.borrow().is_empty()
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        let headers = &mut response.head.headers;
        let fields = self.for_client.take();
        for (name, _) in fields.iter().filter(|(name, _)| name != header::SET_COOKIE) {
            headers.remove(name);
        }
        for (name, value) in fields {
            // A head of more than 24,000 fields is over every limit; what does not fit is left out.
            let _full = headers.try_append(name, value).is_err();
        }
        Wait::Ready(Ok(response))
    }
}

impl Desk {
    async fn ask(&self, request: &Request) -> Result<Response, Error> {
        let sent = self.sub_request(request)?;
        let timeout = self.spec.timeout;
        tokio::time::timeout(timeout, self.call.call(sent)).await.unwrap_or_else(|_| {
            let upstream = &self.spec.upstream;
            let why = format!("forward-auth: upstream {upstream} did not answer within {} ms", timeout.as_millis());
            Err(Error::new(Kind::UpstreamTimeout, why))
        })
    }

    fn sub_request(&self, request: &Request) -> Result<Box<Request>, Error> {
        let full = |full| Error::because(Kind::HeadTooLarge, "forward-auth: too many fields", full);
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = Method::GET;
        head.uri = Uri::try_from(&self.spec.path)
            .map_err(|error| Error::because(Kind::Internal, "forward-auth: a checked path is a target", error))?;
        let passes = |name: &HeaderName| match &self.spec.request_headers {
            Some(named) => named.contains(name) || ALWAYS.contains(name),
            None => !is_framing(name) && !OF_THE_RESOURCE.contains(name),
        };
        for (name, value) in request.head.headers.iter().filter(|(name, _)| passes(name)) {
            head.headers.try_append(name, value.clone()).map_err(full)?;
        }
        let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let asked = [(&FORWARDED_METHOD, request.head.method.as_str()), (&FORWARDED_URI, target)];
        for (name, text) in asked {
            let value = HeaderValue::from_str(text)
                .map_err(|error| Error::because(Kind::MalformedRequest, "forward-auth: the target", error))?;
            head.headers.try_insert(name, value).map_err(full)?;
        }
        let (authority, exchange) = (request.authority.clone(), Rc::clone(&request.exchange));
        Ok(Box::new(Request { head, authority, body: Body::empty(), upgrade: None, exchange }))
    }

    // What the client sent under these names is never passed on.
    fn carry(&self, from: &HeaderMap, to: &mut HeaderMap) -> Result<(), Error> {
        for name in &self.spec.upstream_headers {
            to.remove(name);
            for value in from.get_all(name) {
                let full = to.try_append(name, value.clone());
                full.map_err(|full| Error::because(Kind::HeadTooLarge, "forward-auth: too many fields", full))?;
            }
        }
        Ok(())
    }
}

// Reads the end of an answer, so that its connection may be used again; nobody waits for it.
fn drain(body: Body) {
    if body.is_empty() {
        return;
    }
    tokio::task::spawn_local(async move {
        let mut body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
        let read = async { while let Some(Ok(_)) = body.frame().await {} };
        // A slower one costs its connection.
        let _late = tokio::time::timeout(ANSWER_TIMEOUT, read).await.is_err();
    });
}

const ANSWER_BYTES_MAX: usize = 64 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
static FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// What tells of the request itself goes with every sub-request.
static ALWAYS: [HeaderName; 5] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("traceparent"),
];

/// What is meant for the resource: an answer of 304 or 206 to the sub-request would say nothing.
static OF_THE_RESOURCE: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

#[cfg(test)]
mod tests;
