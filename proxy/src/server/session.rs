//! One client connection, as its tasks see it: the IO below hyper, the exchanges above, the bodies in between. All on
//! one worker. Knows nothing of HTTP versions.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use http::HeaderValue;

use super::{
    Door, Resident, alarm::Alarm, authority::Known, forwarded::Trust, interim::Interims, life, proxied::Ends,
    tunnel::Switch,
};
use crate::{
    config::spec::{Limits, Listener, ListenerTls, Part},
    error::Error,
    exchange::{Connection, Exchange, Secured, Timers, trace::Ids},
};

/// When a piece of a stream's response was handed over that is not taken yet, if there is one.
pub(super) type Handed = Cell<Option<Instant>>;

/// A tunnel on a stream of a connection; see [`Session::hold_open`].
#[derive(Debug)]
pub(super) struct Held(Rc<Session>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(Instant::now());
        self.0.resident.wake();
    }
}

/// What the parts of one connection share.
#[derive(Debug)]
pub(super) struct Session {
    /// The listener on this worker.
    pub(super) door: Rc<Door>,
    /// What an exchange may know of the connection.
    pub(super) connection: Rc<Connection>,
    /// The timer of the connection's own task.
    pub(super) alarm: Alarm,
    /// For the timers of other tasks.
    pub(super) timers: Rc<Timers>,
    /// For trace and span ids.
    pub(super) ids: Rc<Ids>,
    /// The last authority that was asked for, and what follows from it.
    pub(super) known: RefCell<Option<Rc<Known>>>,
    /// What is forwarded about the peer.
    pub(super) trust: RefCell<Rc<Trust>>,
    /// What is to be written before the response, past hyper.
    pub(super) interims: Interims,
    /// A protocol switch that the last response agreed to.
    pub(super) switch: RefCell<Option<Switch>>,
    policy: RefCell<Arc<Part<Listener>>>,
    // Where else clients are told to come (RFC 7838).
    elsewhere: RefCell<Option<HeaderValue>>,
    // It came there already.
    arrived: Cell<bool>,
    resident: Resident,
    // Requests begun, and those of them that are not over.
    begun: Cell<u64>,
    open: Cell<u32>,
    ended_well: Cell<u64>,
    streams: RefCell<Vec<Weak<Handed>>>,
    // Of a connection whose requests come one after the other.
    under_way: RefCell<Option<Rc<Exchange>>>,
    idle_since: Cell<Instant>,
    closing: Cell<bool>,
    // The listener asks for more than the handshake settled.
    unfit: Cell<bool>,
    resting: Cell<bool>,
    // The last summons of the door that it followed.
    heeded: Cell<u32>,
    broken: Cell<bool>,
    fault: RefCell<Option<(u64, Error)>>,
    multiplexed: Cell<bool>,
    // The ordinal of the request that asks for another protocol, 0 for none.
    held: Cell<u64>,
    reader: RefCell<Option<Waker>>,
}

impl Session {
    /// A new connection, or none when its listener is gone, or asks for more than the handshake settled.
    pub(super) fn begin(
        door: &Rc<Door>,
        Ends { peer, local, proxy }: Ends,
        secured: Option<Box<Secured>>,
    ) -> Option<Rc<Self>> {
        let snapshot = door.view.stable();
        let policy = Arc::clone(&snapshot.shared().listeners.get(&door.name)?.spec);
        let local = policy.public_port.map_or(local, |port| SocketAddr::new(local.ip(), port));
        let (listener, secure) = (Arc::clone(&door.name), secured.is_some());
        let connection = Connection { listener, peer, local, proxy, secure, tls: secured };
        // It may have changed while the client shook hands.
        if !is_admitted(&connection, &policy) {
            return None;
        }
        let locals = &door.worker.locals;
        let timers = locals.of::<Timers>();
        Some(Rc::new(Self {
            resident: door.enter(),
            alarm: Alarm::new(Rc::clone(&timers)),
            timers,
            ids: locals.of(),
            known: RefCell::default(),
            trust: RefCell::new(Rc::new(Trust::new(&connection, &policy))),
            interims: Interims::default(),
            switch: RefCell::default(),
            elsewhere: RefCell::new(elsewhere(&connection, &policy)),
            arrived: Cell::new(false),
            policy: RefCell::new(policy),
            begun: Cell::new(0),
            open: Cell::new(0),
            ended_well: Cell::new(0),
            streams: RefCell::default(),
            under_way: RefCell::default(),
            idle_since: Cell::new(Instant::now()),
            closing: Cell::new(false),
            unfit: Cell::new(false),
            resting: Cell::new(false),
            heeded: Cell::new(door.summons()),
            broken: Cell::new(false),
            fault: RefCell::default(),
            multiplexed: Cell::new(false),
            held: Cell::new(0),
            reader: RefCell::default(),
            door: Rc::clone(door),
            connection: Rc::new(connection),
        }))
    }

    /// Goes by `policy` from now on. Trust in proxies that is narrower than before ends the connection after this
    /// exchange (DESIGN section 2, invariant 5).
    #[inline]
    pub(super) fn adopt(&self, policy: &Arc<Part<Listener>>) {
        if !Arc::ptr_eq(&self.policy.borrow(), policy) {
            self.replace_policy(policy);
        }
    }

    #[cold]
    fn replace_policy(&self, policy: &Arc<Part<Listener>>) {
        let previous = self.policy.replace(Arc::clone(policy));
        if previous.identity != policy.identity {
            let narrower = previous.trusted_proxies.iter().any(|old| !policy.trusted_proxies.contains(old));
            let unfit = !is_admitted(&self.connection, policy);
            self.unfit.set(unfit);
            self.closing.set(self.closing.get() || narrower || unfit);
            *self.known.borrow_mut() = None;
            *self.trust.borrow_mut() = Rc::new(Trust::new(&self.connection, policy));
            *self.elsewhere.borrow_mut() = elsewhere(&self.connection, policy).filter(|_| !self.arrived.get());
        }
    }

    /// What responses say of where else the listener is to be had (`Alt-Svc`).
    #[inline]
    pub(super) fn elsewhere(&self) -> Option<HeaderValue> {
        self.elsewhere.borrow().clone()
    }

    /// The client came by the way that others are told of.
    pub(super) fn is_not_to_advertise(&self) {
        self.arrived.set(true);
        *self.elsewhere.borrow_mut() = None;
    }

    /// Limits of the listener, as of the last exchange.
    pub(super) fn limits<T>(&self, read: impl FnOnce(&Limits) -> T) -> T {
        read(&self.policy.borrow().limits)
    }

    /// A request begins; answers its ordinal on this connection, from 1.
    pub(super) fn begin_exchange(&self) -> u64 {
        let ordinal = self.begun.get() + 1;
        self.begun.set(ordinal);
        self.open.set(self.open.get() + 1);
        if self.limits(|limits| limits.requests_per_connection_max).is_some_and(|max| ordinal >= max) {
            self.close_after();
        }
        ordinal
    }

    /// Requests that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// The client asks for nothing, and nothing of it or for it is held by anybody: its codec may be done without.
    pub(super) fn rest(&self) {
        self.resting.set(true);
    }

    /// Whether [`Session::rest`] was called since this was asked last.
    pub(super) fn rests(&self) -> bool {
        self.resting.replace(false)
    }

    /// Gives back what is kept for the next request to be like the last.
    pub(super) fn forget(&self) {
        *self.known.borrow_mut() = None;
    }

    /// From now on [`Session::poll_overdue`] looks at `exchange`, unless requests have streams of their own.
    pub(super) fn follow(&self, exchange: &Rc<Exchange>) {
        if !self.is_multiplexed() {
            *self.under_way.borrow_mut() = Some(Rc::clone(exchange));
        }
    }

    /// Whether the time of the exchange under way is over although its client does not take what is there for it, so
    /// that nobody asks for more; if so, the connection has to break off.
    pub(super) fn poll_overdue(&self, cx: &mut Context<'_>) -> Poll<()> {
        let under_way = self.under_way.borrow();
        let Some(exchange) = &*under_way else { return Poll::Pending };
        life::poll_overdue(exchange, &self.alarm, cx).map(|error| {
            exchange.record.fail(&error);
            self.break_off();
        })
    }

    /// A request is over; whether all of its response was handed over.
    pub(super) fn end_exchange(&self, now: Instant, well: bool) {
        *self.under_way.borrow_mut() = None;
        self.ended_well.set(self.ended_well.get() + u64::from(well));
        self.open.set(self.open.get() - 1);
        self.idle_since.set(now);
        let held = self.held.get();
        if held != 0 && self.begun.get() >= held && self.switch.borrow().is_none() {
            self.held.set(0);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        } else if self.multiplexed.get() && self.open.get() == 0 {
            self.resident.wake();
        }
    }

    /// Counts a tunnel on a stream as a request that is not over, until the answer is dropped.
    pub(super) fn hold_open(self: &Rc<Self>) -> Held {
        self.open.set(self.open.get() + 1);
        Held(Rc::clone(self))
    }

    /// How many requests had all of their response.
    pub(super) fn ended_well(&self) -> u64 {
        self.ended_well.get()
    }

    /// Watches one more stream for a client that takes nothing of it.
    pub(super) fn watch(&self) -> Rc<Handed> {
        let handed = Rc::<Handed>::default();
        let mut streams = self.streams.borrow_mut();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Rc::downgrade(&handed));
        handed
    }

    /// Whether there is a stream of which the client has taken nothing since `then`.
    pub(super) fn has_stalled(&self, then: Instant) -> bool {
        let streams = self.streams.borrow();
        let mut handed = streams.iter().filter_map(Weak::upgrade).filter_map(|handed| handed.get());
        handed.any(|since| since <= then)
    }

    /// Since when no request is open, if none is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.idle_since.get())
    }

    /// Ends the connection after what is open now.
    pub(super) fn close_after(&self) {
        if !self.closing.replace(true) {
            self.resident.wake();
        }
    }

    /// The framing of the request at hand is in doubt, or its body will not be read: nothing may follow it. Other
    /// streams of an HTTP/2 connection are not concerned.
    pub(super) fn spoil(&self) {
        if !self.multiplexed.get() {
            self.closing.set(true);
        }
    }

    /// Requests have streams of their own (HTTP/2).
    pub(super) fn multiplex(&self) {
        self.multiplexed.set(true);
    }

    /// Whether requests have streams of their own.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// Whether the connection is to end after what is open now.
    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get() || self.door.is_closing()
    }

    /// Whether no further request may be served here: what the listener asks for by now, its handshake did not settle.
    #[inline]
    pub(super) fn is_unfit(&self) -> bool {
        self.unfit.get()
    }

    /// Goes by the newest policy where the door says that it is narrower; answers whether the connection is to end
    /// after what is open now.
    #[inline]
    pub(super) fn heed(&self) -> bool {
        let summons = self.door.summons();
        if self.heeded.replace(summons) != summons {
            let snapshot = self.door.view.stable();
            if let Some(listener) = snapshot.shared().listeners.get(&self.door.name) {
                self.adopt(&listener.spec);
            }
        }
        self.unfit.get() || self.door.is_closing()
    }

    /// The place by which the door wakes the connection's own task.
    pub(super) const fn resident(&self) -> &Resident {
        &self.resident
    }

    /// The request with this ordinal must be answered with `error`, and is the last one.
    pub(super) fn refuse(&self, ordinal: u64, error: Error) {
        self.fault.borrow_mut().get_or_insert((ordinal, error));
    }

    /// The error that the request with this ordinal is to be answered with.
    pub(super) fn take_fault(&self, ordinal: u64) -> Option<Error> {
        self.fault.borrow_mut().take_if(|(at, _)| *at == ordinal).map(|(_, error)| error)
    }

    /// The last response broke off: its connection must not look as if it had ended well.
    pub(super) fn break_off(&self) {
        self.broken.set(true);
    }

    /// Whether [`Session::break_off`] was called.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Nothing more is read until the request with this ordinal, which asks for another protocol, is over; and not
    /// then either if that protocol was granted.
    pub(super) fn hold(&self, ordinal: u64) {
        self.held.set(ordinal);
    }

    /// Whether [`Session::hold`] is in force; if so, the reader is woken when it ends.
    pub(super) fn is_held(&self, reader: &Waker) -> bool {
        let held = self.held.get() != 0;
        if held {
            *self.reader.borrow_mut() = Some(reader.clone());
        }
        held
    }

    /// Whether the request with this ordinal asked for another protocol in a form that may be granted.
    pub(super) fn may_switch(&self, ordinal: u64) -> bool {
        self.held.get() == ordinal
    }
}

fn elsewhere(connection: &Connection, listener: &Listener) -> Option<HeaderValue> {
    let http3 = listener.http3.as_ref().filter(|http3| http3.advertise && connection.secure)?;
    let (port, age) = (http3.advertised_port.unwrap_or(connection.local.port()), http3.max_age.as_secs());
    HeaderValue::try_from(format!("h3=\":{port}\"; ma={age}")).ok()
}

// Whether a listener like this would take the connection as its PROXY header and its handshake left it.
fn is_admitted(connection: &Connection, listener: &Listener) -> bool {
    let told = listener.proxy_protocol.as_ref().is_none_or(|policy| policy.takes(connection.proxy));
    told && is_secured(connection, listener.tls.as_ref())
}

fn is_secured(connection: &Connection, tls: Option<&ListenerTls>) -> bool {
    let (Some(tls), Some(secured)) = (tls, &connection.tls) else { return tls.is_none() };
    let verified = match (&tls.client_certificates, &secured.client) {
        (None, _) => true,
        (Some(asked), None) => !asked.required,
        (Some(asked), Some(client)) => client.authority == asked.ca.identity,
    };
    verified && secured.version >= tls.min_version.name()
}
