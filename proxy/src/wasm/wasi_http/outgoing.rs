//! Where a guest's requests go: along the rest of the chain, to an upstream that is granted, or nowhere. A task on the
//! worker does the work, and a channel is all that is between, because a store must be `Send` and an exchange is not.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{Method, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, task::AbortHandle};
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody};

use super::{
    answer::Given,
    data::strip,
    errors::to_guest,
    handling::{Handling, Received, with_active},
    lodge::Lodging,
};
use crate::{
    exchange::{self, Authority, Body, Call, ParentSpan, Timers, trace::TRACEPARENT},
    wasm::journal::Level,
};

/// The host that stands for the rest of the chain.
const NEXT: &str = "next";

/// A request that is on its way.
pub(super) struct Begun {
    answer: oneshot::Receiver<Received>,
    limit: Option<Duration>,
    _task: Option<Task>,
}

/// Ends the task of a request that nobody waits for any more.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where a request goes.
enum To {
    Next,
    Upstream(Arc<dyn Call>),
}

/// Sends a request of the guest at work.
///
/// # Errors
/// What the guest is told where it may not.
pub(super) fn begin(request: Request<WasiBody>, options: RequestOptions) -> Result<Begun, WasiError> {
    // While a component is tried out there is nothing to call.
    with_active(|handling| send(handling, request, options)).unwrap_or(Err(WasiError::HttpRequestDenied))
}

impl Begun {
    /// Waits for the answer's head.
    pub(super) async fn answer(self) -> Received {
        let gone = |_| WasiError::ConnectionTerminated;
        match self.limit {
            None => self.answer.await.map_err(gone)?,
            Some(limit) => match tokio::time::timeout(limit, self.answer).await {
                Ok(answer) => answer.map_err(gone)?,
                Err(_) => Err(WasiError::HttpResponseTimeout),
            },
        }
    }
}

fn send(handling: &Rc<Handling>, request: Request<WasiBody>, options: RequestOptions) -> Result<Begun, WasiError> {
    let (mut head, body) = request.into_parts();
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(WasiError::HttpRequestMethodInvalid);
    }
    let uri = std::mem::take(&mut head.uri);
    let to = destination(handling, &uri)?;
    let calls = handling.calls.get();
    if calls >= handling.local.shared.plugin.limits.calls_max {
        return Err(refuse(handling, format!("{calls} requests in one exchange are as many as it may send")));
    }
    handling.calls.set(calls + 1);
    let authority = match &to {
        To::Next => Some(handling.authority.clone()),
        To::Upstream(_) => uri.authority().cloned(),
    };
    let authority = authority.ok_or(WasiError::HttpRequestUriInvalid)?;
    head.uri = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    strip(&mut head.headers);
    let given = Given::sent(body, &head.headers, handling);
    let exchange = Rc::clone(&handling.exchange);
    let mut request = Box::new(exchange::Request { head, authority, body: Body::empty(), upgrade: None, exchange });
    let limit = options.first_byte_timeout.map(|first| first + options.connect_timeout.unwrap_or_default());
    match to {
        To::Next => Ok(Begun { answer: handling.ask_next(request, given), limit, _task: None }),
        To::Upstream(upstream) => {
            trace(handling, &mut request);
            let (sender, answer) = oneshot::channel();
            let timers = handling.exchange.worker.locals.of::<Timers>();
            let pace = options.between_bytes_timeout;
            let task = tokio::task::spawn_local(async move {
                request.body = given.settled().await;
                let answered = upstream.call(request).await;
                let received = answered.map(|response| received(response, timers, pace).1);
                // Nobody waits any more where this fails.
                drop(sender.send(received.map_err(|error| to_guest(&error))));
            });
            Ok(Begun { answer, limit, _task: Some(Task(task.abort_handle())) })
        }
    }
}

/// A response as a guest has it, and its body as the exchange has it.
pub(super) fn received(
    response: exchange::Response,
    timers: Rc<Timers>,
    pace: Option<Duration>,
) -> (Rc<Lodging>, Response<WasiBody>) {
    let lodging = Lodging::new(response.body).paced(timers, pace);
    let body = lodging.lodge().boxed_unsync();
    (lodging, Response::from_parts(response.head, body))
}

// What is granted by name comes first; the request's own authority means the rest of the chain, unless it is such a
// name: then a client that writes another's name into `Host` would decide where a request goes.
fn destination(handling: &Handling, uri: &Uri) -> Result<To, WasiError> {
    let authority = uri.authority().ok_or(WasiError::HttpRequestUriInvalid)?;
    let secure = uri.scheme() != Some(&Scheme::HTTP);
    let own =
        same(authority, &handling.authority, secure) || same(authority, &handling.authority, handling.exchange.secure);
    let granted = granted(handling, authority, secure);
    if authority.as_str().eq_ignore_ascii_case(NEXT) || (own && granted.is_none()) {
        if handling.may_ask_next() {
            return Ok(To::Next);
        }
        return Err(refuse(handling, "it asked for the rest of the chain before, or has answered".into()));
    }
    match granted {
        Some(_) if own => {
            let why =
                format!("a request to {authority}, which the client asked for and which is granted, is ambiguous");
            Err(refuse(handling, why))
        }
        Some(upstream) => Ok(To::Upstream(upstream)),
        None => {
            let why = format!(
                "a request to {authority} is not granted; `grants: {{upstreams: [NAME]}}` or `grants: {{hosts: [\"{}\"]}}` \
                 would grant it",
                named(authority, secure)
            );
            Err(refuse(handling, why))
        }
    }
}

fn granted(handling: &Handling, authority: &Authority, secure: bool) -> Option<Arc<dyn Call>> {
    let grants = &handling.local.shared.plugin.grants;
    let usual = authority.port_u16().is_none_or(|port| port == 80 || port == 443);
    let name = named(authority, secure);
    // Names of hosts are told without regard to case, and some guests write them in lower case.
    let found = |name: &str| grants.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, call)| call);
    let upstream = if usual { found(authority.host()) } else { None };
    upstream.or_else(|| found(&name)).cloned()
}

// As `grants: {hosts: …}` calls it.
fn named(authority: &Authority, secure: bool) -> String {
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let scheme = if secure { "https://" } else { "" };
    format!("{scheme}{}:{port}", authority.host().to_ascii_lowercase())
}

fn same(one: &Authority, other: &Authority, secure: bool) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

// Says so in the log, where whoever runs the plugin can see what it lacks.
fn refuse(handling: &Handling, why: String) -> WasiError {
    handling.log(Level::Warn, why);
    WasiError::HttpRequestDenied
}

// What a guest asks for is part of the same trace, unless it says otherwise.
fn trace(handling: &Handling, request: &mut exchange::Request) {
    let trace = &handling.exchange.trace;
    if !request.head.headers.contains_key(&TRACEPARENT) {
        // Among more fields than a head can have, it is not there.
        drop(request.head.headers.try_insert(&TRACEPARENT, trace.traceparent(trace.span_id)));
    }
    if let Some(span) = handling.span() {
        request.head.extensions.insert(ParentSpan(span));
    }
}
