//! A plugin of http-wasm as a step of a chain: its two handlers, its own answers, and what they make of the messages.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    body::Side,
    pool::{Leased, Shared},
    visit::{Answer, Visit, feature},
};
use crate::{
    config::spec::FailurePolicy,
    error::Error,
    exchange::{Body, Exchange, Outcome, Request, Response},
    filter::{self, Filter, Wait},
    wasm::pool::InUse,
};

/// See the module.
pub(super) struct HttpWasmFilter {
    pub(super) shared: Arc<Shared>,
    pub(super) in_use: Arc<InUse>,
}

/// Ends of exchanges that one plugin's guests are told of at a time on one worker; beyond them the guests are dropped.
const ENDING_MAX: usize = 1024;

type Seen = ControlFlow<Box<Response>, Box<Request>>;

impl Filter for HttpWasmFilter {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn filter::Visit> {
        let leased = exchange.worker.locals.of::<Leased>();
        let adopt = || leased.adopt(&exchange.worker, &self.shared, &Arc::downgrade(&self.in_use));
        Visit::new(leased.local(self.shared.plugin.id).unwrap_or_else(adopt), exchange)
    }

    fn takes_trace(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let plugin = &self.shared.plugin;
        format!("plugin {} (http-wasm module {:.12})", plugin.name, plugin.module.identity())
    }
}

impl filter::Visit for Visit {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<Seen> {
        Wait::on(on_request(self, request))
    }

    fn sees_response(&self) -> bool {
        let changes = || self.response.borrow().is_there() || self.response_body.borrow().is_changed();
        !self.skipped.get() && (self.lease.borrow().is_some() || changes())
    }

    fn response(self: Rc<Self>, response: Response) -> Wait<Response> {
        Wait::on(on_response(self, response))
    }
}

async fn on_request(visit: Rc<Visit>, request: Box<Request>) -> Result<Seen, Error> {
    if !visit.local.breaker.allows() {
        return visit.left_alone().map(|()| Continue(request));
    }
    let Request { head, authority, body, upgrade, exchange } = *request;
    let open = visit.local.plugin().on_failure == FailurePolicy::Open;
    let before = open.then(|| (head.clone(), authority.clone()));
    visit.request.replace(Some((head, authority)));
    visit.request_body.replace(Side::new(body));
    let called = visit.handle_request().await;
    let (next, context) = match called {
        Ok(result) => (result as u32 != 0, (result >> 32) as u32),
        Err(fail) => {
            visit.judge(fail)?;
            let (head, authority) = before.expect("only where the policy is open is a failure none");
            let body = visit.request_body.take().into_original();
            drop((visit.response.take(), visit.response_body.take()));
            return Ok(Continue(Box::new(Request { head, authority, body, upgrade, exchange })));
        }
    };
    let lease = visit.lease.take();
    if !next {
        lease.into_iter().for_each(|lease| lease.release());
        return Ok(Break(Box::new(own_answer(&visit))));
    }
    let (mut head, authority) = visit.request.take().expect("shown above, and only taken here");
    if visit.local.plugin().module.http_wasm().sees_response {
        visit.context.set(context);
        visit.lease.replace(lease);
        visit.request.replace(Some((head.clone(), authority.clone())));
        tell_of_end(&visit);
    } else {
        lease.into_iter().for_each(|lease| lease.release());
    }
    let body = sent(&mut head.headers, visit.request_body.take(), false);
    Ok(Continue(Box::new(Request { head, authority, body, upgrade, exchange })))
}

// The answer that a guest made in the upstream's place.
fn own_answer(visit: &Visit) -> Response {
    let Answer { status, edits, .. } = visit.response.take();
    let mut response = Response::empty(status.unwrap_or(StatusCode::OK));
    edits.apply(&mut response.head.headers);
    let bodiless = is_bodiless(response.head.status);
    response.body = sent(&mut response.head.headers, visit.response_body.take(), bodiless);
    response
}

// The body that goes on, and the length that its head says.
fn sent(headers: &mut HeaderMap, side: Side, bodiless: bool) -> Body {
    let changed = side.is_changed();
    let body = if bodiless { Body::empty() } else { side.into_body() };
    if changed {
        match http_body::Body::size_hint(&body).exact() {
            Some(length) if !bodiless => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
            _ => drop(headers.remove(header::CONTENT_LENGTH)),
        }
    }
    body
}

const fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

async fn on_response(visit: Rc<Visit>, mut response: Response) -> Result<Response, Error> {
    visit.after_next.set(true);
    said_before(&visit, &mut response);
    if visit.lease.borrow().is_none() {
        return Ok(response);
    }
    let is_error = visit.exchange.record.read(|recorded| recorded.error.is_some());
    let open = visit.local.plugin().on_failure == FailurePolicy::Open;
    let before = open.then(|| response.head.clone());
    let Response { head, body, tunnel } = response;
    let mut side = Side::new(body);
    if visit.has(feature::BUFFER_RESPONSE) && visit.has(feature::TRAILERS) && tunnel.is_none() {
        side.gather(visit.local.plugin().limits.buffer_bytes_max).await?;
    }
    visit.response_body.replace(side);
    visit.response.replace(Answer { head: Some(head), switches: tunnel.is_some(), ..Answer::default() });
    let called = visit.handle_response(is_error).await;
    let side = visit.response_body.take();
    let head = visit.response.take().head.expect("put there above, and only taken here");
    let mut response = Response { head, body: Body::empty(), tunnel };
    if let Err(fail) = called {
        visit.judge(fail)?;
        response.head = before.expect("only where the policy is open is a failure none");
        response.body = side.into_original();
        return Ok(response);
    }
    visit.lease.take().into_iter().for_each(|lease| lease.release());
    let bodiless = is_bodiless(response.head.status) && side.is_changed();
    response.body = sent(&mut response.head.headers, side, bodiless);
    Ok(response)
}

// What the guest said of the response before there was one: fields that are set take the place of the response's, a body
// stands before its body, a status holds unless the response is the guest's to change when it is there.
fn said_before(visit: &Visit, response: &mut Response) {
    let Answer { status, edits, .. } = visit.response.take();
    edits.apply(&mut response.head.headers);
    if let Some(status) = status.filter(|_| response.tunnel.is_none() && !visit.has(feature::BUFFER_RESPONSE)) {
        response.head.status = status;
    }
    let side = visit.response_body.take();
    if side.is_changed() && response.tunnel.is_none() && !is_bodiless(response.head.status) {
        response.head.headers.remove(header::CONTENT_LENGTH);
        response.body = side.before(response.body.take());
    }
}

// A guest that is told of a request is told of its end, too, whatever becomes of the exchange.
fn tell_of_end(visit: &Rc<Visit>) {
    let asked = Rc::clone(visit);
    visit.exchange.at_end(move |_, outcome| {
        let ending = asked.local.ending.get();
        if asked.lease.borrow().is_some() && ending < ENDING_MAX {
            asked.local.ending.set(ending + 1);
            tokio::task::spawn_local(async move {
                end(&asked, outcome).await;
                asked.local.ending.set(asked.local.ending.get() - 1);
            });
        }
    });
}

async fn end(visit: &Rc<Visit>, outcome: Outcome) {
    visit.after_next.set(true);
    let mut head = Response::empty(StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::BAD_GATEWAY)).head;
    head.headers = HeaderMap::new();
    visit.response.replace(Answer { head: Some(head), ..Answer::default() });
    visit.response_body.replace(Side::default());
    match visit.handle_response(true).await {
        Ok(()) => visit.lease.take().into_iter().for_each(|lease| lease.release()),
        // The exchange is over: a failure is logged and counted, and changes nothing.
        Err(fail) => drop(visit.judge(fail)),
    }
}

impl Answer {
    // Whether something was said of it.
    fn is_there(&self) -> bool {
        self.status.is_some() || !self.edits.is_empty()
    }
}
