//! A plugin as a step of a chain: its phases around the rest of the chain. A request phase that does nothing costs one
//! call; phases that are not declared cost nothing.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::Arc,
};

use http::{HeaderValue, Method, StatusCode, header};
use wasmtime::component::Resource;

use super::{
    body::{Collected, Whole, collect},
    call::{Fail, Visit},
    native::{
        fields, final_status,
        types::{self, BodyVerdict, LocalResponse, Verdict},
    },
    plugin::{Mode, Plugin},
    policy::{attempt, attempt_at_once, judge},
    pool::{Guests, InUse, Lease, Shared},
    stream::Streamed,
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Exchange, Outcome, Request, Response},
    filter::{self, Filter, Wait},
};

/// A plugin in a chain.
pub(super) struct WasmFilter {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shared: Arc<Shared>,
    pub(super) in_use: Arc<InUse>,
}

/// End-of-exchange calls of one plugin that may be under way on one worker; more are left out and logged.
const ENDING_MAX: usize = 1024;

/// What a request phase makes of a request.
type Seen = ControlFlow<Box<Response>, Box<Request>>;

impl Filter for WasmFilter {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn filter::Visit> {
        let guests = exchange.worker.locals.of::<Guests>();
        let local = guests.local(self.plugin.id);
        let adopt = || guests.adopt(&exchange.worker, &self.plugin, &self.shared, &Arc::downgrade(&self.in_use));
        let visit = Visit::new(local.unwrap_or_else(adopt), Rc::clone(exchange));
        if self.plugin.calls().end {
            ask_for_end(&visit);
        }
        visit
    }

    // Its guest sees a head through `native` alone.
    fn takes_told(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("plugin {} (module {:.12})", self.plugin.name, self.plugin.module.identity())
    }
}

impl filter::Visit for Visit {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<Seen> {
        let calls = self.local.plugin.calls();
        self.without_body.set(request.head.method == Method::HEAD);
        match (calls.request, calls.request_body) {
            (false, None) => Wait::Ready(Ok(Continue(request))),
            (true, None) => match self.local.prompt() {
                Some(guest) => Wait::Ready(on_request_at_once(&self, guest, request)),
                None => Wait::on(on_request(Shown::request(&self, request))),
            },
            (_, Some(mode)) => Wait::on(on_request_with_body(self, request, mode)),
        }
    }

    fn sees_response(&self) -> bool {
        let calls = self.local.plugin.calls();
        calls.response || calls.response_body.is_some() || calls.overlap() || !self.ahead.borrow().is_empty()
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        let calls = self.local.plugin.calls();
        if calls.overlap()
            && let Some(midway) = self.midway.take()
        {
            // What failed further along failed because the body was broken off.
            self.exchange.record.note(|recorded| recorded.error = None);
            return Wait::Ready(*midway);
        }
        if !self.skipped.get() {
            self.ahead.take().apply(&mut response.head.headers);
        }
        match (calls.response, calls.response_body.filter(|_| !self.without_body.get())) {
            (false, None) => Wait::Ready(Ok(response)),
            (true, None) => match self.local.prompt() {
                Some(guest) => Wait::Ready(on_response_at_once(&self, guest, response)),
                None => Wait::on(on_response(Shown::response(&self, response))),
            },
            (_, Some(mode)) => Wait::on(on_response_with_body(self, response, mode)),
        }
    }
}

// A head is shown before its future is made, which is moved into its box with all that it was given.
async fn on_request(shown: Shown) -> Result<Seen, Error> {
    let visit = &shown.0;
    let verdict =
        attempt(visit, "request", |exports| exports.on_request, |plugin| (plugin, Resource::new_borrow(0))).await;
    request_seen(visit, shown.take_request(), verdict?)
}

fn on_request_at_once(visit: &Rc<Visit>, guest: Lease, request: Box<Request>) -> Result<Seen, Error> {
    let shown = Shown::request(visit, request);
    let verdict = attempt_at_once(
        visit,
        ("request", guest),
        |exports| exports.on_request,
        |plugin| (plugin, Resource::new_borrow(0)),
    );
    request_seen(visit, shown.take_request(), verdict?)
}

// What a verdict makes of a request; `None`: the plugin is skipped.
fn request_seen(visit: &Visit, mut request: Box<Request>, verdict: Option<Verdict>) -> Result<Seen, Error> {
    match verdict {
        Some(Verdict::Respond(answer)) => match local_response(answer) {
            Ok(response) => return Ok(Break(Box::new(response))),
            Err(fail) => judge(visit, fail).map(|()| undo_request(visit, &mut request))?,
        },
        Some(Verdict::Proceed) => {}
        None => undo_request(visit, &mut request),
    }
    Ok(Continue(request))
}

async fn on_request_with_body(visit: Rc<Visit>, mut request: Box<Request>, mode: Mode) -> Result<Seen, Error> {
    if visit.local.plugin.calls().request {
        request = match on_request(Shown::request(&visit, request)).await? {
            Continue(request) => request,
            answered @ Break(_) => return Ok(answered),
        };
    }
    match mode {
        _ if visit.skipped.get() || visit.request_body.get().skip => Ok(Continue(request)),
        Mode::Buffered(bytes_max) => on_whole_request(&visit, request, bytes_max).await,
        Mode::Streamed => {
            if !request.body.is_empty() {
                request.head.headers.remove(header::CONTENT_LENGTH);
                request.body = Body::stream(Streamed::request(&visit, request.body.take()));
            }
            Ok(Continue(request))
        }
    }
}

async fn on_whole_request(visit: &Rc<Visit>, mut request: Box<Request>, bytes_max: usize) -> Result<Seen, Error> {
    let whole = match collect(request.body.take(), bytes_max).await? {
        Collected::Whole(whole) => whole,
        Collected::Over(body) if visit.request_body.get().pass_large => {
            request.body = body;
            return Ok(Continue(request));
        }
        Collected::Over(_) => {
            let detail = format!("plugin {} takes bodies up to {bytes_max} bytes", visit.local.name);
            return Err(Error::new(Kind::BodyTooLarge, detail));
        }
    };
    let bytes = whole.bytes.to_vec();
    let shown = Shown::request(visit, request);
    let verdict = attempt(
        visit,
        "request-body",
        |exports| exports.on_request_body,
        |plugin| (plugin, Resource::new_borrow(0), bytes),
    )
    .await;
    let mut request = shown.take_request();
    let whole = match verdict? {
        Some(BodyVerdict::Respond(answer)) => match local_response(answer) {
            Ok(response) => return Ok(Break(Box::new(response))),
            Err(fail) => {
                judge(visit, fail)?;
                undo_request(visit, &mut request);
                whole
            }
        },
        Some(BodyVerdict::Replace(bytes)) => {
            request.head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            Whole { bytes: bytes.into(), trailers: whole.trailers }
        }
        Some(BodyVerdict::Pass) => whole,
        None => {
            undo_request(visit, &mut request);
            whole
        }
    };
    request.body = whole.into_body();
    Ok(Continue(request))
}

async fn on_response(shown: Shown) -> Result<Response, Error> {
    let visit = &shown.0;
    let verdict =
        attempt(visit, "response", |exports| exports.on_response, |plugin| (plugin, Resource::new_borrow(0))).await;
    response_seen(visit, shown.take_response(), verdict?)
}

fn on_response_at_once(visit: &Rc<Visit>, guest: Lease, response: Response) -> Result<Response, Error> {
    let shown = Shown::response(visit, response);
    let verdict = attempt_at_once(
        visit,
        ("response", guest),
        |exports| exports.on_response,
        |plugin| (plugin, Resource::new_borrow(0)),
    );
    response_seen(visit, shown.take_response(), verdict?)
}

// As `request_seen`.
fn response_seen(visit: &Visit, mut response: Response, verdict: Option<Verdict>) -> Result<Response, Error> {
    match verdict {
        Some(Verdict::Proceed) => {}
        Some(Verdict::Respond(answer)) => match local_response(answer) {
            Ok(answer) if response.tunnel.is_none() => response = answer,
            Ok(_) => judge(visit, Fail::Contract("it answers in place of a protocol switch"))?,
            Err(fail) => judge(visit, fail)?,
        },
        None => undo_response(visit, &mut response),
    }
    if matches!(response.head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !response.body.is_empty() {
        response.head.headers.remove(header::CONTENT_LENGTH);
        response.body = Body::empty();
    }
    Ok(response)
}

async fn on_response_with_body(visit: Rc<Visit>, mut response: Response, mode: Mode) -> Result<Response, Error> {
    if visit.local.plugin.calls().response {
        response = on_response(Shown::response(&visit, response)).await?;
    }
    let status = response.head.status;
    let none = response.tunnel.is_some()
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match mode {
        _ if none || visit.skipped.get() || visit.response_body.get().skip => Ok(response),
        Mode::Streamed if !response.body.is_empty() => {
            response.head.headers.remove(header::CONTENT_LENGTH);
            response.body = Body::stream(Streamed::response(&visit, response.body));
            Ok(response)
        }
        Mode::Streamed => Ok(response),
        Mode::Buffered(bytes_max) => on_whole_response(&visit, response, bytes_max).await,
    }
}

async fn on_whole_response(visit: &Rc<Visit>, mut response: Response, bytes_max: usize) -> Result<Response, Error> {
    let whole = match collect(response.body.take(), bytes_max).await? {
        Collected::Whole(whole) => whole,
        Collected::Over(body) => {
            if !visit.response_body.get().pass_large {
                judge(visit, Fail::TooLarge(bytes_max))?;
            }
            response.body = body;
            return Ok(response);
        }
    };
    let bytes = whole.bytes.to_vec();
    let shown = Shown::response(visit, response);
    let verdict = attempt(
        visit,
        "response-body",
        |exports| exports.on_response_body,
        |plugin| (plugin, Resource::new_borrow(0), bytes),
    )
    .await;
    let mut response = shown.take_response();
    response.body = match verdict? {
        Some(BodyVerdict::Replace(bytes)) => {
            response.head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            Whole { bytes: bytes.into(), trailers: whole.trailers }.into_body()
        }
        Some(BodyVerdict::Respond(answer)) => match local_response(answer) {
            Ok(answer) => return Ok(answer),
            Err(fail) => {
                judge(visit, fail)?;
                undo_response(visit, &mut response);
                whole.into_body()
            }
        },
        Some(BodyVerdict::Pass) => whole.into_body(),
        None => {
            undo_response(visit, &mut response);
            whole.into_body()
        }
    };
    Ok(response)
}

/// Shows a head to the host functions; gone when this is dropped, in whichever way the call ends.
struct Shown(Rc<Visit>);

impl Shown {
    fn request(visit: &Rc<Visit>, request: Box<Request>) -> Self {
        visit.request.replace(Some(request));
        Self(Rc::clone(visit))
    }

    fn response(visit: &Rc<Visit>, response: Response) -> Self {
        visit.response.replace(Some(response));
        Self(Rc::clone(visit))
    }

    // To be called once.
    fn take_request(&self) -> Box<Request> {
        self.0.request.take().expect("shown since this was made, and taken once")
    }

    // To be called once.
    fn take_response(&self) -> Response {
        self.0.response.take().expect("shown since this was made, and taken once")
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop((self.0.request.take(), self.0.response.take()));
    }
}

fn undo_request(visit: &Visit, request: &mut Request) {
    if let Some(before) = visit.undo_request.take() {
        let told;
        (request.head, request.authority, told) = *before;
        visit.exchange.told.replace(told);
    }
}

fn undo_response(visit: &Visit, response: &mut Response) {
    if let Some(head) = visit.undo_response.take() {
        response.head = *head;
    }
}

/// A plugin's own answer.
pub(super) fn local_response(answer: LocalResponse) -> Result<Response, Fail> {
    let malformed =
        |_: types::Refusal| Fail::Contract("its answer is not valid HTTP, or sets a field that is not its to set");
    let mut response = Response::empty(final_status(answer.status).map_err(malformed)?);
    response.head.headers = fields(answer.fields).map_err(malformed)?;
    response.body = Body::full(answer.body);
    Ok(response)
}

fn ask_for_end(visit: &Rc<Visit>) {
    let asked = Rc::clone(visit);
    visit.exchange.at_end(move |_, outcome| {
        let local = &asked.local;
        let ending = local.ending.get();
        if ending >= ENDING_MAX {
            tracing::warn!(plugin = &*local.name, "{ENDING_MAX} ends of exchanges are waiting; one is left out");
        } else if !asked.skipped.get() {
            local.ending.set(ending + 1);
            tokio::task::spawn_local(async move {
                end(&asked, outcome).await;
                asked.local.ending.set(asked.local.ending.get() - 1);
            });
        }
    });
}

async fn end(visit: &Rc<Visit>, outcome: Outcome) {
    let outcome = types::Outcome {
        status: outcome.status,
        request_bytes: outcome.request_bytes,
        response_bytes: outcome.response_bytes,
        duration_ns: u64::try_from(outcome.duration.as_nanos()).unwrap_or(u64::MAX),
        error: outcome.error.map(|kind| kind.name().to_owned()),
    };
    // The exchange is over: a failure is logged and counted, and changes nothing.
    drop(attempt(visit, "end", |exports| exports.on_end, |plugin| (plugin, outcome)).await);
}
