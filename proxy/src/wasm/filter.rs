//! A plugin as a step of a chain: its phases around the rest of the chain. A request phase that does nothing costs one
//! call; phases that are not declared cost nothing.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::Arc,
};

use futures_util::future::LocalBoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use wasmtime::component::Resource;

use super::{
    body::{Collected, Streamed, Whole, collect},
    call::{Fail, Visit},
    native::{
        fields, final_status,
        types::{self, BodyVerdict, LocalResponse, Verdict},
    },
    plugin::{Calls, Mode, Plugin},
    policy::{attempt, judge},
    pool::{Guests, InUse, Shared},
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Exchange, Outcome, Request, Response},
    filter::{Filter, Next},
};

/// A plugin in a chain.
pub(super) struct WasmFilter {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shared: Arc<Shared>,
    pub(super) calls: Calls,
    pub(super) in_use: Arc<InUse>,
}

/// End-of-exchange calls of one plugin that may be under way on one worker; more are left out and logged.
const ENDING_MAX: usize = 1024;

impl Filter for WasmFilter {
    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> LocalBoxFuture<'a, Result<Response, Error>> {
        Box::pin(self.run(request, next))
    }

    fn describe(&self) -> String {
        format!("plugin {} (module {:.12})", self.plugin.name, self.plugin.module.identity())
    }
}

impl WasmFilter {
    async fn run(&self, request: Request, next: Next<'_>) -> Result<Response, Error> {
        let exchange = Rc::clone(&request.exchange);
        let visit = self.visit(&exchange);
        if self.calls.end {
            ask_for_end(&visit, &exchange);
        }
        let without_body = request.head.method == Method::HEAD;
        let request = match self.request(&visit, &exchange, request).await? {
            Continue(request) => request,
            Break(response) => return Ok(response),
        };
        let response = next.run(request).await;
        if self.calls.overlap()
            && let Some(midway) = visit.midway.take()
        {
            // What failed further along failed because the body was broken off.
            exchange.record.note(|recorded| recorded.error = None);
            return midway;
        }
        if !self.calls.response && self.calls.response_body.is_none() {
            return Ok(response);
        }
        let response = self.response(&visit, &exchange, response).await?;
        if without_body { Ok(response) } else { self.response_body(&visit, &exchange, response).await }
    }

    fn visit(&self, exchange: &Exchange) -> Rc<Visit> {
        let guests = exchange.worker.locals.of::<Guests>();
        let local = guests.local(self.plugin.id);
        let adopt = || guests.adopt(&exchange.worker, &self.plugin, &self.shared, &Arc::downgrade(&self.in_use));
        Visit::new(local.unwrap_or_else(adopt))
    }

    async fn request(
        &self,
        visit: &Rc<Visit>,
        exchange: &Rc<Exchange>,
        mut request: Request,
    ) -> Result<ControlFlow<Response, Request>, Error> {
        if self.calls.request {
            let shown = Shown::request(visit, request);
            let call = visit.call(exchange, |exports| exports.on_request, |plugin| (plugin, Resource::new_borrow(0)));
            let verdict = attempt(visit, exchange, call).await;
            request = shown.take_request();
            match verdict? {
                Some(Verdict::Respond(answer)) => match local_response(answer) {
                    Ok(response) => return Ok(Break(response)),
                    Err(fail) => judge(visit, exchange, fail).map(|()| undo_request(visit, &mut request))?,
                },
                Some(Verdict::Proceed) => {}
                None => undo_request(visit, &mut request),
            }
        }
        match self.calls.request_body {
            Some(Mode::Buffered(bytes_max)) => self.whole_request(visit, exchange, request, bytes_max).await,
            Some(Mode::Streamed) if !request.body.is_empty() && !visit.skipped.get() => {
                request.head.headers.remove(header::CONTENT_LENGTH);
                request.body = Body::stream(Streamed::request(visit, exchange, request.body));
                Ok(Continue(request))
            }
            Some(Mode::Streamed) | None => Ok(Continue(request)),
        }
    }

    async fn whole_request(
        &self,
        visit: &Rc<Visit>,
        exchange: &Rc<Exchange>,
        mut request: Request,
        bytes_max: usize,
    ) -> Result<ControlFlow<Response, Request>, Error> {
        let whole = match collect(request.body.take(), bytes_max).await? {
            Collected::Whole(whole) => whole,
            Collected::Over(_) => {
                let detail = format!("plugin {} takes bodies up to {bytes_max} bytes", self.plugin.name);
                return Err(Error::new(Kind::BodyTooLarge, detail));
            }
        };
        let bytes = whole.bytes.to_vec();
        let shown = Shown::request(visit, request);
        let call =
            visit.call(exchange, |exports| exports.on_request_body, |plugin| (plugin, Resource::new_borrow(0), bytes));
        let verdict = attempt(visit, exchange, call).await;
        let mut request = shown.take_request();
        let whole = match verdict? {
            Some(BodyVerdict::Respond(answer)) => match local_response(answer) {
                Ok(response) => return Ok(Break(response)),
                Err(fail) => {
                    judge(visit, exchange, fail)?;
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

    async fn response(
        &self,
        visit: &Rc<Visit>,
        exchange: &Rc<Exchange>,
        response: Response,
    ) -> Result<Response, Error> {
        if !self.calls.response {
            return Ok(response);
        }
        let shown = Shown::response(visit, response);
        let call = visit.call(exchange, |exports| exports.on_response, |plugin| (plugin, Resource::new_borrow(0)));
        let verdict = attempt(visit, exchange, call).await;
        let mut response = shown.take_response();
        match verdict? {
            Some(Verdict::Proceed) => {}
            Some(Verdict::Respond(answer)) => match local_response(answer) {
                Ok(answer) if response.tunnel.is_none() => response = answer,
                Ok(_) => judge(visit, exchange, Fail::Contract("it answers in place of a protocol switch"))?,
                Err(fail) => judge(visit, exchange, fail)?,
            },
            None => undo_response(visit, &mut response),
        }
        if matches!(response.head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            && !response.body.is_empty()
        {
            response.head.headers.remove(header::CONTENT_LENGTH);
            response.body = Body::empty();
        }
        Ok(response)
    }

    async fn response_body(
        &self,
        visit: &Rc<Visit>,
        exchange: &Rc<Exchange>,
        mut response: Response,
    ) -> Result<Response, Error> {
        let status = response.head.status;
        let none = response.tunnel.is_some()
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.calls.response_body {
            Some(_) if none || visit.skipped.get() => Ok(response),
            Some(Mode::Streamed) if !response.body.is_empty() => {
                response.head.headers.remove(header::CONTENT_LENGTH);
                response.body = Body::stream(Streamed::response(visit, exchange, response.body));
                Ok(response)
            }
            Some(Mode::Buffered(bytes_max)) => self.whole_response(visit, exchange, response, bytes_max).await,
            Some(Mode::Streamed) | None => Ok(response),
        }
    }

    async fn whole_response(
        &self,
        visit: &Rc<Visit>,
        exchange: &Rc<Exchange>,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Response, Error> {
        let whole = match collect(response.body.take(), bytes_max).await? {
            Collected::Whole(whole) => whole,
            Collected::Over(body) => {
                judge(visit, exchange, Fail::Contract("a response body is over the limit for buffering it"))?;
                response.body = body;
                return Ok(response);
            }
        };
        let bytes = whole.bytes.to_vec();
        let shown = Shown::response(visit, response);
        let call =
            visit.call(exchange, |exports| exports.on_response_body, |plugin| (plugin, Resource::new_borrow(0), bytes));
        let verdict = attempt(visit, exchange, call).await;
        let mut response = shown.take_response();
        response.body = match verdict? {
            Some(BodyVerdict::Replace(bytes)) => {
                response.head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
                Whole { bytes: bytes.into(), trailers: whole.trailers }.into_body()
            }
            Some(BodyVerdict::Respond(answer)) => match local_response(answer) {
                Ok(answer) => return Ok(answer),
                Err(fail) => {
                    judge(visit, exchange, fail)?;
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
}

/// Shows a head to the host functions; gone when this is dropped, in whichever way the call ends.
struct Shown<'a>(&'a Visit);

impl<'a> Shown<'a> {
    fn request(visit: &'a Visit, request: Request) -> Self {
        visit.request.replace(Some(request));
        Self(visit)
    }

    fn response(visit: &'a Visit, response: Response) -> Self {
        visit.response.replace(Some(response));
        Self(visit)
    }

    fn take_request(self) -> Request {
        self.0.request.take().expect("shown since this was made, and taken once")
    }

    fn take_response(self) -> Response {
        self.0.response.take().expect("shown since this was made, and taken once")
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        drop((self.0.request.take(), self.0.response.take()));
    }
}

fn undo_request(visit: &Visit, request: &mut Request) {
    if let Some((head, authority)) = visit.undo_request.take() {
        (request.head, request.authority) = (head, authority);
    }
}

fn undo_response(visit: &Visit, response: &mut Response) {
    if let Some(head) = visit.undo_response.take() {
        response.head = head;
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

fn ask_for_end(visit: &Rc<Visit>, exchange: &Exchange) {
    let visit = Rc::clone(visit);
    exchange.at_end(move |exchange, outcome| {
        let ending = visit.local.ending.get();
        if visit.skipped.get() || ending >= ENDING_MAX {
            if ending >= ENDING_MAX {
                tracing::warn!(
                    plugin = &*visit.local.name,
                    "{ENDING_MAX} ends of exchanges are waiting; one is left out"
                );
            }
            return;
        }
        visit.local.ending.set(ending + 1);
        tokio::task::spawn_local(async move {
            end(&visit, &exchange, outcome).await;
            visit.local.ending.set(visit.local.ending.get() - 1);
        });
    });
}

async fn end(visit: &Rc<Visit>, exchange: &Rc<Exchange>, outcome: Outcome) {
    let outcome = types::Outcome {
        status: outcome.status,
        request_bytes: outcome.request_bytes,
        response_bytes: outcome.response_bytes,
        duration_ns: u64::try_from(outcome.duration.as_nanos()).unwrap_or(u64::MAX),
        error: outcome.error.map(|kind| kind.name().to_owned()),
    };
    let call = visit.call(exchange, |exports| exports.on_end, |plugin| (plugin, outcome));
    // The exchange is over: a failure is logged and counted, and changes nothing.
    drop(attempt(visit, exchange, call).await);
}
