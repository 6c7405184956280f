//! What belongs to an exchange as a whole: whose it is, what it pins, what is known and recorded of it.
//! Lives on one worker, behind an `Rc`, until the last byte and the last end-of-exchange step.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderMap, Version, response};
use smallvec::SmallVec;

use super::{OpenSpan, Secured, SpanKind, Spans, Told, TraceContext, Worker, rpc::Rpc, trace::TRACEPARENT};
use crate::{
    drain::{Pin, Place},
    error::{Error, Kind},
};

/// The client's connection, as far as an exchange may know it.
#[derive(Debug)]
pub struct Connection {
    /// Name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The address at the other end of the socket, or what a PROXY header told of it (a proxy's, perhaps; see
    /// [`Exchange::client`]).
    pub peer: SocketAddr,
    /// Our end of the socket, or the address that a PROXY header says was connected to; with the port that the client
    /// connected to where the listener says so.
    pub local: SocketAddr,
    /// The proxy that told both by PROXY protocol, if one did.
    pub proxy: Option<IpAddr>,
    /// Whether it is encrypted.
    pub secure: bool,
    /// What its handshake settled, where it is.
    pub tls: Option<Box<Secured>>,
}

/// The route that an exchange is on, as filters and plugins may know it.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// The route's id.
    pub id: Arc<str>,
    /// The path prefix that matched, without a trailing slash (`/api`); empty where a prefix of `/`, or none, matched.
    pub prefix: Arc<str>,
    /// The path pattern that matched, as traces name it (`http.route`): `/api/*`, `/users/{id}`.
    pub pattern: Arc<str>,
}

/// One request and its response: identity, pin, facts and record.
#[derive(Debug)]
pub struct Exchange {
    /// The worker that it lives on.
    pub worker: Rc<Worker>,
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// The version that the client speaks.
    pub version: Version,
    /// The client's address, behind trusted proxies.
    pub client: IpAddr,
    /// Whether the client's own request was encrypted (`https`), behind trusted proxies.
    pub secure: bool,
    /// When its head was complete.
    pub started: Instant,
    /// Under which ids it is traced.
    pub trace: TraceContext,
    /// Its spans, where it is traced.
    pub spans: Option<Rc<Spans>>,
    /// When it must be over, where its route says so.
    pub deadline: Cell<Option<Instant>>,
    /// Whether it is a call of gRPC.
    pub rpc: Cell<Rpc>,
    /// What its own call to an upstream tells beside the request's fields, with a `traceparent`: there where nobody on the way
    /// looks at fields, or nobody has yet, and the end of the chain [takes it](super::Call::takes_told).
    pub told: RefCell<Option<Rc<Told>>>,
    /// Interim responses of the upstream (RFC 9110 section 15.2) that the client was not sent yet.
    pub interims: RefCell<Vec<response::Parts>>,
    /// What plugins and logs share, by namespaced name (`key-auth.consumer`).
    pub attributes: RefCell<Vec<(String, String)>>,
    /// What the access log will say.
    pub record: Record,
    route: RefCell<Option<Rc<RouteFacts>>>,
    choice: Cell<Choice>,
    at_end: RefCell<Steps>,
    expiry: RefCell<Option<Place>>,
    pin: Pin,
}

type AtEnd = Box<dyn FnOnce(Rc<Exchange>, Outcome)>;

#[derive(Default)]
struct Steps(SmallVec<[AtEnd; 1]>);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Steps({})", self.0.len())
    }
}

impl Exchange {
    /// A new exchange, pinning its generation.
    pub fn new(
        worker: Rc<Worker>,
        connection: Rc<Connection>,
        (version, client, secure): (Version, IpAddr, bool),
        trace: TraceContext,
        pin: Pin,
    ) -> Self {
        Self {
            worker,
            connection,
            version,
            client,
            secure,
            started: Instant::now(),
            trace,
            spans: None,
            deadline: Cell::new(None),
            rpc: Cell::default(),
            told: RefCell::default(),
            interims: RefCell::default(),
            attributes: RefCell::default(),
            record: Record::default(),
            route: RefCell::default(),
            choice: Cell::default(),
            at_end: RefCell::default(),
            expiry: RefCell::default(),
            pin,
        }
    }

    /// Another exchange of the same client on the same route and generation, which nobody waits for: what it records is
    /// nobody's, and it has no time limit of its own.
    pub fn aside(&self) -> Self {
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let client = (self.version, self.client, self.secure);
        let attributes = RefCell::new(self.attributes.borrow().clone());
        let aside = Self::new(worker, connection, client, self.trace, self.pin.again());
        Self { route: self.route.clone(), attributes, ..aside }
    }

    /// The route that it is on, once there is one.
    pub fn route(&self) -> Option<Rc<RouteFacts>> {
        self.route.borrow().clone()
    }

    /// Puts it on a route. The server does, once it has chosen one.
    pub fn put_on(&self, route: &Rc<RouteFacts>) {
        self.route.replace(Some(Rc::clone(route)));
    }

    /// Puts what the upstream is told among the request's fields, if it is not there, for somebody who looks at them.
    pub fn spell_out(&self, headers: &mut HeaderMap) {
        if let Some(told) = self.told.take() {
            told.spell_out(headers);
            headers.insert(&TRACEPARENT, self.trace.traceparent(self.trace.span_id));
        }
    }

    /// A step changed what decides the route, and asks to have it chosen anew before the next one.
    pub fn reroute(&self) {
        if self.choice.get() == Choice::Stands {
            self.choice.set(Choice::Open);
        }
    }

    /// The request has, by its route's own configuration, taken on what routes are not chosen by: the choice stands.
    pub fn keep_route(&self) {
        self.choice.set(Choice::Final);
    }

    /// Whether somebody asked for another route since this was asked.
    pub fn is_to_be_rerouted(&self) -> bool {
        let open = self.choice.get() == Choice::Open;
        if open {
            self.choice.set(Choice::Stands);
        }
        open
    }

    /// The generation that this exchange began and will end on.
    pub fn generation(&self) -> u64 {
        self.pin.generation()
    }

    /// Whether its generation's time is over; if not, the task is woken when it is.
    pub fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        self.pin.poll_expired(&self.expiry, cx)
    }

    /// Asks for `step` to run when the exchange is over, in whichever way.
    pub fn at_end(&self, step: impl FnOnce(Rc<Self>, Outcome) + 'static) {
        self.at_end.borrow_mut().0.push(Box::new(step));
    }

    /// Runs the steps asked for by [`Exchange::at_end`], in the order of asking. The server calls it, once.
    pub fn finish(self: &Rc<Self>, outcome: Outcome) {
        let steps = std::mem::take(&mut *self.at_end.borrow_mut());
        for step in steps.0 {
            step(Rc::clone(self), outcome);
        }
    }

    /// Begins a span below `parent`, or else below the exchange's own, where the exchange is traced.
    #[inline]
    pub fn span(&self, kind: SpanKind, parent: Option<u64>, name: impl FnOnce() -> String) -> Option<OpenSpan> {
        self.spans.as_ref().and_then(|spans| spans.begin(kind, name(), parent))
    }

    /// How much of the exchange's time is left at `now`, where its route sets a limit.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.get().map(|deadline| deadline.saturating_duration_since(now))
    }
}

// Whether the choice of its route may be made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Stands,
    Open,
    Final,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The status sent, or that would have been.
    pub status: u16,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration: Duration,
    /// What failed, if anything.
    pub error: Option<Kind>,
}

/// What happened on the way, for logs and metrics.
#[derive(Default)]
pub struct Record(RefCell<Recorded>);

/// The fields of a [`Record`].
#[derive(Debug, Default)]
pub struct Recorded {
    /// The upstream's name, once one was chosen.
    pub upstream: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<SocketAddr>,
    /// Connections asked for, retries included.
    pub attempts: u32,
    /// From the first attempt to the last attempt's response head.
    pub upstream_time: Option<Duration>,
    /// What each plugin took, in the order of the chain.
    pub steps: SmallVec<[StepTime; 4]>,
    /// The status of a call of gRPC, once its answer said one.
    pub grpc_status: Option<u16>,
    /// What failed, and the text for the log.
    pub error: Option<(Kind, String)>,
}

/// The time that one step of the chain took for itself.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// The middleware's name.
    pub name: Arc<str>,
    /// Inside the plugin, all phases.
    pub time: Duration,
}

impl Record {
    /// Changes the record.
    pub fn note(&self, change: impl FnOnce(&mut Recorded)) {
        change(&mut self.0.borrow_mut());
    }

    /// Reads the record.
    pub fn read<T>(&self, read: impl FnOnce(&Recorded) -> T) -> T {
        read(&self.0.borrow())
    }

    /// Remembers the first failure; later ones are its consequences.
    pub fn fail(&self, error: &Error) {
        self.note(|recorded| {
            recorded.error.get_or_insert_with(|| (error.kind(), error.to_string()));
        });
    }

    /// Adds to the time of the step called `name`, whose place among the others `place` keeps from the first time on.
    pub fn spend(&self, place: &Cell<Option<usize>>, name: &Arc<str>, time: Duration) {
        self.note(|recorded| match place.get().and_then(|place| recorded.steps.get_mut(place)) {
            Some(step) => step.time += time,
            None => {
                place.set(Some(recorded.steps.len()));
                recorded.steps.push(StepTime { name: Arc::clone(name), time });
            }
        });
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.borrow().fmt(f)
    }
}
