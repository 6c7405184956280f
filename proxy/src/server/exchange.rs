//! One request and its response: takes the generation (the only place that does), checks, routes, runs the chain, and
//! makes a response of whatever comes back. From routing on it holds the route's plan and a pin, never the table.
//! (`selection` asks the tables that choose by themselves; almost no request meets one.)

use std::{convert::Infallible, future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body::Body as _;

use super::{
    admit::{self, Admitted},
    call, connect,
    inbound::{self, Arriving},
    life::{Asked, Life},
    outbound::{self, Outbound},
    rerouting::{Among, Rerouting},
    selection,
    session::Session,
    tunnel::Switch,
};
use crate::{
    config::spec::Listener,
    error::{Error, Kind},
    exchange::{ClientIdentity, Exchange, Request, Response},
    route,
    snapshot::{ListenerPlan, WorkerPlan, WorkerSnapshot},
};

/// Serves one request.
pub(super) async fn serve(
    session: Rc<Session>,
    request: http::Request<Arriving>,
) -> Result<http::Response<Outbound>, Infallible> {
    let method = request.method().clone();
    let Some(arrived) = arrive(&session, request) else { return Ok(unlistened()) };
    let arrived = if arrived.is_to_be_asked_about() { Box::pin(selection::choose(arrived)).await } else { arrived };
    let (life, generation, ready) = arrived.proceed();
    let mut response = match ready {
        Ok((plan, mut request, among)) => {
            if is_for_the_server(&mut request) {
                capabilities()
            } else {
                run(&life, &plan, request, among).await
            }
        }
        Err(error) => refuse(&life, &error),
    };
    call::answer(&life.exchange, &mut response);
    if let Some(generation) = generation {
        response.head.headers.insert(&GENERATION, generation);
    }
    if let Some(elsewhere) = session.elsewhere() {
        response.head.headers.insert(header::ALT_SVC, elsewhere);
    }
    Ok(switch_or_respond(response, &method, life))
}

type Ready = Result<(Rc<WorkerPlan>, Box<Request>, Option<Box<Among>>), Error>;

/// A request that has a plan, and nothing more yet. In a box, because it goes from hand to hand.
pub(super) struct Arrived {
    pub(super) life: Box<Life>,
    pub(super) exchange: Rc<Exchange>,
    pub(super) snapshot: Rc<WorkerSnapshot>,
    pub(super) head: http::request::Parts,
    pub(super) plan: Rc<WorkerPlan>,
    pub(super) admitted: Result<Admitted, Error>,
    incoming: Arriving,
    ordinal: u64,
    // Of the listener: whether it has tables to ask, and what bounds a body. Copied, as a count of its holders would be
    // written by every worker.
    asks: bool,
    /// A table has chosen its route.
    pub(super) chosen: bool,
    body_limits: (Option<u64>, Duration),
    generation: Option<HeaderValue>,
}

// From a head to a plan, or to what is wrong with it. None when the listener is gone.
fn arrive(session: &Rc<Session>, mut request: http::Request<Arriving>) -> Option<Box<Arrived>> {
    let opening = connect::open(&mut request);
    let (mut head, incoming) = request.into_parts();
    let snapshot = session.door.view.take(&head);
    let listener = snapshot.shared().listeners.get(&session.door.name)?;
    session.adopt(&listener.spec);
    let ordinal = session.begin_exchange();
    let exchange = exchange(session, &listener.spec, &head, &snapshot);
    let admitted = match session.take_fault(ordinal) {
        Some(error) => Err(error),
        None if session.is_unfit() => Err(Error::new(Kind::Misdirected, NARROWED)),
        None => admit::admit(session, &listener.spec, &mut head, (ordinal, &exchange.trace)),
    };
    let mut admitted = admitted.and_then(|admitted| directed(session, listener, admitted));
    let generation = listener.spec.generation_header.then(|| HeaderValue::from(exchange.generation()));
    let section = listener.section(admitted.as_ref().map_or("", Admitted::host));
    let asks = !section.selections.is_empty();
    let plan = match &mut admitted {
        Ok(admitted) => {
            exchange.told.replace(admitted.told.take());
            if asks || section.table.looks_at_fields() || exchange.spans.is_some() {
                exchange.spell_out(&mut head.headers);
            }
            let matched = section.table.find(&route_head(&head, admitted.host())).unwrap_or(&section.fallback);
            snapshot.plan(matched)
        }
        Err(_) => snapshot.plan(&section.fallback),
    };
    let mut life = Life::new(
        session,
        &exchange,
        &plan,
        asked(&head, &admitted, plan.plan().sink.is_on() || exchange.spans.is_some()),
    );
    life.opening = opening;
    life.early = incoming.early();
    let limits = &listener.spec.limits;
    let body_limits = (limits.body_bytes_max, limits.body_idle_timeout);
    let arrived = Arrived {
        life,
        exchange,
        snapshot,
        head,
        plan,
        admitted,
        incoming,
        ordinal,
        asks,
        chosen: false,
        body_limits,
        generation,
    };
    Some(Box::new(arrived))
}

// On a connection that was made for a host of the same section, where the listener has any.
fn directed(session: &Session, listener: &ListenerPlan, admitted: Admitted) -> Result<Admitted, Error> {
    let asked = session.connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    if admitted.named && listener.is_misdirected(asked, admitted.host()) {
        return Err(Error::new(Kind::Misdirected, "the connection was made for a host of another section"));
    }
    Ok(admitted)
}

impl Arrived {
    // Whether a table may have a say in its route.
    fn is_to_be_asked_about(&self) -> bool {
        self.asks && self.admitted.is_ok()
    }

    // To a request on its plan, or to what is wrong with it.
    fn proceed(self: Box<Self>) -> (Box<Life>, Option<HeaderValue>, Ready) {
        let Self {
            mut life,
            exchange,
            snapshot,
            mut head,
            plan,
            admitted,
            incoming,
            ordinal,
            chosen,
            body_limits,
            generation,
            ..
        } = *self;
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return (life, generation, Err(error)),
        };
        if head.method == Method::TRACE && !plan.plan().chain.takes_trace() {
            let error = Error::new(Kind::MethodNotAllowed, "TRACE is forwarded only where a step asks for it");
            return (life, generation, Err(error));
        }
        let bytes_max = plan.plan().body_bytes_max.or(body_limits.0);
        if let (Some(max), Some(length)) = (bytes_max, incoming.size_hint().exact())
            && length > max
        {
            life.session.spoil();
            return (life, generation, Err(inbound::too_large(max)));
        }
        let (body, received) = inbound::body(&life.session, ordinal, incoming, (bytes_max, body_limits.1));
        life.received = received;
        exchange.put_on(plan.facts());
        if !(plan.plan().chain.takes_told() && plan.plan().end.takes_told()) {
            exchange.spell_out(&mut head.headers);
        }
        let Admitted { known, named, upgrade, rpc, told: _ } = admitted;
        exchange.rpc.set(rpc);
        call::set_deadline(&exchange, plan.plan().timeout, &head.headers);
        let authority = known.authority.clone();
        let among = (!chosen && plan.plan().chain.reroutes())
            .then(|| Box::new(Among { snapshot, known, named, plan: Rc::clone(&plan), bytes_max: body_limits.0 }));
        life.upgrade.clone_from(&upgrade);
        (life, generation, Ok((plan, Box::new(Request { head, authority, body, upgrade, exchange }), among)))
    }
}

fn exchange(
    session: &Session,
    listener: &Listener,
    head: &http::request::Parts,
    snapshot: &WorkerSnapshot,
) -> Rc<Exchange> {
    let (client, secure) = session.trust.borrow().origin(&session.connection, &head.headers, &listener.trusted_proxies);
    let mut trace = session.ids.continue_from(&head.headers);
    let tracer = snapshot.shared().tracer.as_ref();
    let spans = tracer.and_then(|tracer| tracer.decide(&mut trace, &head.headers, &session.ids));
    let (worker, connection) = (Rc::clone(&session.door.worker), Rc::clone(&session.connection));
    let known = connection.tls.as_ref().and_then(|tls| tls.client.as_ref()).map(ClientIdentity::attributes);
    let mut exchange = Exchange::new(worker, connection, (head.version, client, secure), trace, snapshot.pin());
    exchange.spans = spans;
    if let Some(known) = known {
        *exchange.attributes.borrow_mut() = known;
    }
    Rc::new(exchange)
}

fn asked(head: &http::request::Parts, admitted: &Result<Admitted, Error>, is_told: bool) -> Asked {
    let field = |name| head.headers.get(name).filter(|_| is_told).cloned();
    Asked {
        method: head.method.clone(),
        target: head.uri.clone(),
        authority: admitted.as_ref().ok().map(|admitted| admitted.known.authority.clone()),
        user_agent: field(header::USER_AGENT),
        referer: field(header::REFERER),
    }
}

/// What of a request for `host` decides its route.
pub(super) fn route_head<'a>(head: &'a http::request::Parts, host: &'a str) -> route::Head<'a> {
    route::Head {
        host,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        method: &head.method,
        headers: &head.headers,
    }
}

// The chain, until its response or the end of the exchange's time.
async fn run(life: &Life, plan: &WorkerPlan, request: Box<Request>, among: Option<Box<Among>>) -> Response {
    let plan = plan.plan();
    let rerouting = among.map(|among| Rerouting::new(life, among));
    let mut chain = pin!(match &rerouting {
        None => Either::Left(plan.chain.run(request, &plan.end)),
        Some(rerouting) => Either::Right(plan.chain.run_rerouted(request, &plan.end, rerouting)),
    });
    let outcome = poll_fn(|cx| {
        let polled = chain.as_mut().poll(cx);
        pass_interims_on(life);
        match polled {
            Poll::Ready(response) => Poll::Ready(Ok(response)),
            Poll::Pending => life.poll_overdue(cx).map(Err),
        }
    });
    let response = outcome.await.unwrap_or_else(|error| refuse(life, &error));
    poll_fn(|cx| life.session.interims.poll_written(cx)).await;
    response
}

// RFC 9110 section 15.2: a proxy forwards them; a client of HTTP/1.0 knows none.
fn pass_interims_on(life: &Life) {
    let mut interims = life.exchange.interims.borrow_mut();
    if !interims.is_empty() {
        let early = life.early.as_deref();
        let knows = early.is_some() || life.exchange.version == Version::HTTP_11;
        for head in interims.drain(..).filter(|_| knows) {
            match early {
                Some(early) => early.push(head),
                None => life.session.interims.push(head),
            }
        }
    }
}

// The one place of this room where an error becomes a response; the chain has its own, for the same text.
fn refuse(life: &Life, error: &Error) -> Response {
    life.exchange.record.fail(error);
    tracing::debug!(listener = &*life.session.door.name, peer = %life.session.connection.peer, %error, "refused");
    let framing_in_doubt = matches!(
        error.kind(),
        Kind::MalformedRequest
            | Kind::ExpectationFailed
            | Kind::UriTooLong
            | Kind::HeadTooLarge
            | Kind::RequestTimeout
            | Kind::BodyTooLarge
    );
    if framing_in_doubt {
        life.session.spoil();
    }
    let mut response = Response::of_error(error);
    if error.kind() == Kind::MethodNotAllowed {
        response.head.headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

fn switch_or_respond(mut response: Response, method: &Method, mut life: Box<Life>) -> http::Response<Outbound> {
    if !response.head.status.is_informational() {
        return outbound::respond(response, method, life);
    }
    let tunnel = response.tunnel.take().filter(|_| response.head.status == StatusCode::SWITCHING_PROTOCOLS);
    let wrong = match (tunnel, life.upgrade.clone()) {
        (Some(tunnel), Some(protocol)) => {
            let switch = Switch::new(tunnel, &life);
            let Some(opening) = life.opening.take() else {
                *life.session.switch.borrow_mut() = Some(switch);
                return outbound::switch(response, protocol, life);
            };
            match opening.switch(&mut response, switch, &life) {
                Ok(()) => return outbound::connected(response, life),
                Err(wrong) => wrong,
            }
        }
        _ => Error::new(Kind::UpstreamMalformed, "an interim response in place of a final one"),
    };
    let response = refuse(&life, &wrong);
    outbound::respond(response, method, life)
}

// `OPTIONS *` that no route takes is about the gateway itself (RFC 9110 section 9.3.7).
fn is_for_the_server(request: &mut Request) -> bool {
    let is_unrouted = || request.exchange.route().is_some_and(|route| route.id.is_empty());
    let is_options = request.head.method == Method::OPTIONS;
    is_options && (request.head.uri.path() == "*" && is_unrouted() || ends_here(&mut request.head.headers))
}

// Whether a request may be forwarded no further; if it may, it is counted (RFC 9110 section 7.6.2).
fn ends_here(headers: &mut HeaderMap) -> bool {
    let allowed = headers.get(header::MAX_FORWARDS).and_then(|count| count.to_str().ok()?.parse::<u64>().ok());
    let Some(allowed) = allowed else { return false };
    let Some(left) = allowed.checked_sub(1) else { return true };
    headers.insert(header::MAX_FORWARDS, HeaderValue::from(left));
    false
}

fn capabilities() -> Response {
    let mut response = Response::empty(StatusCode::NO_CONTENT);
    response.head.headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

// A request on a connection whose listener a swap has just taken away: no configuration says what to do with it.
fn unlistened() -> http::Response<Outbound> {
    let response = Response::of_error(&Error::new(Kind::NoRoute, "the listener is gone"));
    let (mut head, body) = (response.head, response.body);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    http::Response::from_parts(head, Outbound::plain(body))
}

const NARROWED: &str = "the listener asks for more by now than this connection's handshake settled";
// What `Allow` says of methods that are not forwarded; any other may be.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
static GENERATION: header::HeaderName = header::HeaderName::from_static("tidegate-generation");
