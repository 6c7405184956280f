//! Asks an upstream whether a request may pass, by one sub-request: in HTTP, where an answer of the 2xx class lets it
//! pass, or by gRPC as Envoy does. Fields of the answer go on to the upstream and back to the client; any other answer is
//! the client's. Where nobody answers, the request is refused.

mod check;
mod question;

use std::{cell::RefCell, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;

use super::{Filter, Visit, Wait, own::PerWorker};
use crate::{
    config::spec::{self, AuthQuestion},
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
        let does = match &spec.asks {
            AuthQuestion::Path(path) => format!("ask {} for {path}", spec.upstream),
            AuthQuestion::Own(prefix) => format!("ask {} for {prefix}/*", spec.upstream),
            AuthQuestion::Check => format!("ask {} by gRPC", spec.upstream),
        };
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

/// Whether a request passes: with these fields for the client, or not, with this answer.
type Verdict = ControlFlow<Box<Response>, Vec<(HeaderName, HeaderValue)>>;

impl Visit for Asking {
    fn request(self: Rc<Self>, mut request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
        Wait::on(async move {
            let body = question::held(&mut request, self.desk.spec.body_bytes_max).await?;
            let verdict = match self.desk.spec.asks {
                AuthQuestion::Check => self.desk.check(&mut request, &body).await?,
                _ => self.desk.ask(&mut request, body).await?,
            };
            Ok(match verdict {
                ControlFlow::Break(answer) => ControlFlow::Break(answer),
                ControlFlow::Continue(fields) => {
                    *self.for_client.borrow_mut() = fields;
                    ControlFlow::Continue(request)
                }
            })
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
    async fn ask(&self, request: &mut Request, body: Bytes) -> Result<Verdict, Error> {
        let answer = self.send(question::of(&self.spec, request, body)?).await?;
        if !answer.head.status.is_success() {
            return Ok(ControlFlow::Break(Box::new(answer)));
        }
        let given = &answer.head.headers;
        self.carry(given, &mut request.head.headers)?;
        let copies = |name: &HeaderName| {
            given.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        let for_client = self.spec.client_headers.iter().flat_map(copies).collect();
        drain(answer.body);
        Ok(ControlFlow::Continue(for_client))
    }

    async fn check(&self, request: &mut Request, body: &[u8]) -> Result<Verdict, Error> {
        let answer = self.send(check::question(&self.spec, request, body)?).await?;
        // What the client sent under these names is never passed on.
        for name in &self.spec.upstream_headers.named {
            request.head.headers.remove(name);
        }
        check::verdict(answer, request).await
    }

    async fn send(&self, sent: Box<Request>) -> Result<Response, Error> {
        let timeout = self.spec.timeout;
        tokio::time::timeout(timeout, self.call.call(sent)).await.unwrap_or_else(|_| {
            let upstream = &self.spec.upstream;
            let why = format!("forward-auth: upstream {upstream} did not answer within {} ms", timeout.as_millis());
            Err(Error::new(Kind::UpstreamTimeout, why))
        })
    }

    // What the client sent under these names is never passed on.
    fn carry(&self, from: &HeaderMap, to: &mut HeaderMap) -> Result<(), Error> {
        let carried = &self.spec.upstream_headers;
        let others = from.keys().filter(|name| carried.all && !OF_THE_ANSWER.contains(name) && !is_framing(name));
        let others = others.filter(|name| !carried.named.contains(name));
        for name in carried.named.iter().chain(others) {
            to.remove(name);
            for value in from.get_all(name) {
                to.try_append(name, value.clone()).map_err(question::full)?;
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

/// What tells of an answer, and of nobody's request.
static OF_THE_ANSWER: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::HOST,
    header::DATE,
    header::SERVER,
    header::VARY,
    header::VIA,
    header::ETAG,
    header::LAST_MODIFIED,
];

#[cfg(test)]
mod tests;
