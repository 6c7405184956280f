//! One call into a guest: what the host functions see of its exchange, its deadline, and what can go wrong with it.
//! Knows no phases and no policy.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::request;
use wasmtime::{PoolConcurrencyLimitError, Trap, component::ResourceAny};

use super::{
    deadline::{Deadline, Late},
    engine::Running,
    guest::{AtOnce, CreateError, Guest, told},
    native::{Ahead, Exports, Params, Phase, Returned},
    pool::{Lease, Leased, Local},
    pull::Pull,
    slice,
    trap::trap_kind,
};
use crate::{
    config::spec::Isolation,
    error::{Error, Kind},
    exchange::{Authority, Exchange, OpenSpan, Request, Response, Told},
    telemetry::{metrics::TrapKind, trace},
};

/// One plugin's part in one exchange, from its first phase to its last.
pub(super) struct Visit {
    pub(super) local: Rc<Local>,
    pub(super) exchange: Rc<Exchange>,
    /// There while a phase may see it.
    pub(super) request: RefCell<Option<Box<Request>>>,
    /// The head as it was before the present call changed it, and what was not among its fields yet, where the policy is to go
    /// on without the plugin.
    pub(super) undo_request: RefCell<Option<Box<Before>>>,
    /// There while a phase may see it.
    pub(super) response: RefCell<Option<Response>>,
    /// See `undo_request`.
    pub(super) undo_response: RefCell<Option<Box<http::response::Parts>>>,
    /// What the plugin said, when it saw the request's head, of the body that follows.
    pub(super) request_body: Cell<BodyWish>,
    /// As for the request.
    pub(super) response_body: Cell<BodyWish>,
    /// Fields of the response that the plugin gave at the request.
    pub(super) ahead: RefCell<Ahead>,
    /// What the plugin keeps between its phases.
    pub(super) kept: RefCell<Option<Vec<u8>>>,
    /// Calls to upstreams so far.
    pub(super) calls: Cell<u32>,
    /// An answer, or a failure, that came up while a request's body was on its way.
    pub(super) midway: RefCell<Option<Box<Result<Response, Error>>>>,
    /// What the present call asks for of a body, where it is a call that may.
    pub(super) pull: RefCell<Option<Rc<Pull>>>,
    /// The plugin failed and the policy is to go on without it.
    pub(super) skipped: Cell<bool>,
    pub(super) failed: Cell<Option<Kind>>,
    /// Whether the response to this request has a body.
    pub(super) without_body: Cell<bool>,
    /// The span of the present call, where the exchange is traced.
    pub(super) span: Cell<Option<u64>>,
    spent: Cell<Duration>,
    /// Its place in the exchange's record.
    step: Cell<Option<usize>>,
    turn: tokio::sync::Mutex<()>,
    /// The guest of this exchange alone, where it is to have one.
    own: RefCell<Option<Lease>>,
}

/// A head, its host, and what was not among its fields yet.
type Before = (request::Parts, Authority, Option<Rc<Told>>);

/// How a plugin wants to see one message's body, apart from what it declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BodyWish {
    /// Not at all.
    pub(super) skip: bool,
    /// Not at all, if it is over the bound for buffering it.
    pub(super) pass_large: bool,
}

thread_local! {
    // A store holds nothing of an exchange (it must be `Send`, an exchange is not): host functions look here. Set
    // while a guest of this thread is polled, so suspended calls do not see each other's.
    static ACTIVE: RefCell<Option<Rc<Visit>>> = const { RefCell::new(None) };
}

/// Runs `f` on the visit that the present call belongs to.
///
/// # Errors
/// A trap where there is none: while a plugin is created.
#[inline]
pub(super) fn active<R>(f: impl FnOnce(&Rc<Visit>) -> wasmtime::Result<R>) -> wasmtime::Result<R> {
    ACTIVE.with_borrow(|active| match active {
        Some(visit) => f(visit),
        None => Err(wasmtime::Error::msg("no exchange is under way: a plugin is being created")),
    })
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fail {
    /// A trap, or a breach of the ABI.
    Trap(String),
    /// The plugin returned an error.
    Said(String),
    /// It ran, or waited, for too long.
    Timeout(Duration),
    /// It ended its guest by itself, with this status.
    Exited(i32),
    /// There is no guest for it.
    Overloaded(String),
    /// It did what its phase does not allow.
    Contract(&'static str),
    /// Its VM ended, by a failure that is another's.
    Lost,
    /// A response's body is over the limit for buffering it: no fault of the plugin's, and no reason to leave it alone.
    TooLarge(usize),
}

impl Fail {
    pub(super) fn instantiate(error: wasmtime::Error) -> Self {
        if error.is::<PoolConcurrencyLimitError>() {
            Self::Overloaded("all guest slots of the process are taken".into())
        } else {
            Self::Trap(told(&error))
        }
    }

    fn called(guest: &Guest, error: &wasmtime::Error) -> Self {
        let denied = guest.denied().map(|text| format!(" ({text})")).unwrap_or_default();
        Self::Trap(told(error) + &denied)
    }

    pub(super) fn create(error: CreateError) -> Self {
        Self::Trap(format!("while it was created in a further guest: {error}"))
    }

    /// What it means for the exchange.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Trap(_) | Self::Said(_) | Self::Exited(_) | Self::Contract(_) | Self::Lost | Self::TooLarge(_) => {
                Kind::PluginFailed
            }
            Self::Timeout(_) => Kind::PluginTimeout,
            Self::Overloaded(_) => Kind::PluginOverloaded,
        }
    }

    /// How the guest failed, if it was the guest.
    pub(super) fn trap(&self) -> Option<TrapKind> {
        match self {
            Self::Trap(text) => Some(trap_kind(text)),
            _ => None,
        }
    }

    /// For the log: at most [`TEXT_BYTES_MAX`], whatever a guest says.
    pub(super) fn text(&self) -> String {
        let mut text = self.whole();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text
    }

    fn whole(&self) -> String {
        match self {
            Self::Trap(text) => format!("its guest failed: {text}"),
            Self::Said(text) => format!("it returned an error: {text}"),
            Self::Exited(status) => format!("it exited, with status {status}"),
            Self::Timeout(limit) => format!("it took longer than {} ms", limit.as_millis()),
            Self::Overloaded(text) => text.clone(),
            Self::Contract(text) => (*text).to_owned(),
            Self::Lost => "its VM was ended by a failure elsewhere in it".to_owned(),
            Self::TooLarge(bytes_max) => format!("a response's body is over the {bytes_max} bytes that it buffers"),
        }
    }
}

/// Of what is said of one failure.
const TEXT_BYTES_MAX: usize = 8 << 10;

impl Visit {
    /// The beginning of a plugin's part in an exchange.
    pub(super) fn new(local: Rc<Local>, exchange: Rc<Exchange>) -> Rc<Self> {
        Rc::new(Self {
            local,
            exchange,
            request: RefCell::default(),
            undo_request: RefCell::default(),
            response: RefCell::default(),
            undo_response: RefCell::default(),
            request_body: Cell::default(),
            response_body: Cell::default(),
            ahead: RefCell::default(),
            kept: RefCell::default(),
            calls: Cell::new(0),
            midway: RefCell::default(),
            pull: RefCell::default(),
            skipped: Cell::new(false),
            failed: Cell::new(None),
            without_body: Cell::new(false),
            span: Cell::new(None),
            spent: Cell::new(Duration::ZERO),
            step: Cell::new(None),
            turn: tokio::sync::Mutex::const_new(()),
            own: RefCell::default(),
        })
    }

    /// Calls a method of the plugin, on any guest that is free.
    pub(super) async fn call<P, R>(
        self: &Rc<Self>,
        phase: &'static str,
        export: impl Fn(&Exports) -> Option<Phase<P, R>>,
        params: impl FnOnce(ResourceAny) -> P,
    ) -> Result<R, Fail>
    where
        P: Params,
        R: Returned,
    {
        let mut call = pin!(self.call_guest(export, params));
        self.turn(phase, |cx| call.as_mut().poll(cx)).await
    }

    /// Polls a call in its turn and within its time: what of it runs until `poll` is ready.
    pub(super) async fn turn<T>(
        self: &Rc<Self>,
        phase: &'static str,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Fail>>,
    ) -> Result<T, Fail> {
        // Boxed, because few calls need it and every call has room for it.
        let turn = if self.local.plugin.calls().overlap() { Some(Box::pin(self.turn.lock()).await) } else { None };
        let time = CallTime::start(self, phase);
        let (limit, ends) = (time.limit, time.started + time.limit);
        let mut deadline = Deadline::at(ends);
        let outcome = match self.local.pace.begin(time.started, ends).await {
            Ok(()) => poll_fn(|cx| self.poll_within(&mut deadline, &mut poll, cx)).await,
            Err(Late) => None,
        };
        let outcome = outcome.unwrap_or(Err(Fail::Timeout(limit)));
        time.stop(&outcome);
        drop(turn);
        outcome
    }

    /// Calls a method of the plugin on the guest of `lease`, on this very stack: the worker does nothing else until it
    /// returns or its deadline ends it. For what [`Local::prompt`] gives.
    pub(super) fn call_at_once<P, R>(
        self: &Rc<Self>,
        (phase, mut lease): (&'static str, Lease),
        export: impl Fn(&Exports) -> Option<Phase<P, R>>,
        params: impl FnOnce(ResourceAny) -> P,
    ) -> Result<R, Fail>
    where
        P: Params,
        R: Returned,
    {
        let time = CallTime::start(self, phase);
        let guest = lease.guest();
        let (method, plugin) = guest.method(self.local.plugin.id, export);
        guest.store.data_mut().at_once = Some(AtOnce::new(time.limit));
        guest.store.set_epoch_deadline(1);
        let sight = Sight::open(Rc::clone(self));
        let ticker = &self.local.pool.shared.filters.ticker;
        let called = self.local.pace.watch(ticker, || method.call(&mut guest.store, params(plugin)));
        drop(sight);
        guest.store.data_mut().at_once = None;
        let outcome = match called {
            Ok((answer,)) => {
                lease.release();
                answer.map_err(Fail::Said)
            }
            Err(error) if error.downcast_ref() == Some(&Trap::Interrupt) => Err(Fail::Timeout(time.limit)),
            Err(error) => Err(Fail::called(guest, &error)),
        };
        time.stop(&outcome);
        outcome
    }

    /// One call, without a bound on its time: for [`Visit::turn`].
    pub(super) async fn call_guest<P, R>(
        &self,
        export: impl Fn(&Exports) -> Option<Phase<P, R>>,
        params: impl FnOnce(ResourceAny) -> P,
    ) -> Result<R, Fail>
    where
        P: Params,
        R: Returned,
    {
        let mut lease = match self.own.take() {
            Some(lease) => lease,
            None => match self.local.pool.lease(&self.local)? {
                Leased::Ready(lease) => lease,
                // Boxed, because few calls come this way and every call has room for it.
                Leased::Unready(lease) => Box::pin(lease.prepare(&self.local)).await?,
            },
        };
        let guest = lease.guest();
        let (method, plugin) = guest.method(self.local.plugin.id, export);
        guest.store.set_epoch_deadline(slice::FIRST);
        match method.call_async(&mut guest.store, params(plugin)).await {
            Ok((answer,)) => {
                self.give_back(lease);
                answer.map_err(Fail::Said)
            }
            Err(error) => Err(Fail::called(guest, &error)),
        }
    }

    // Polls `call` with this visit in sight of host functions, until `deadline`; `None` when that came first, and then
    // the call is dropped, with its guest.
    fn poll_within<T>(
        self: &Rc<Self>,
        deadline: &mut Deadline,
        call: &mut impl FnMut(&mut Context<'_>) -> Poll<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        let sight = Sight::open(Rc::clone(self));
        let ticker = &self.local.pool.shared.filters.ticker;
        if let Poll::Ready(output) = self.local.pace.watch(ticker, || call(cx)) {
            return Poll::Ready(Some(output));
        }
        drop(sight);
        // Most calls never get here, and need no timer.
        deadline.poll(cx).map(|()| None)
    }

    // What is left of the call's, the plugin's and the exchange's time.
    fn limit(&self, now: Instant) -> Duration {
        let limits = &self.local.plugin.limits;
        let own = limits.call_timeout.min(limits.exchange_timeout.saturating_sub(self.spent.get()));
        self.exchange.time_left(now).map_or(own, |left| own.min(left))
    }

    fn give_back(&self, lease: Lease) {
        match self.local.plugin.isolation {
            Isolation::Reused => lease.release(),
            Isolation::PerRequest => drop(self.own.replace(Some(lease))),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let result = self.failed.get().map_or(Ok(()), Err);
        self.local.plugin.series.finish(self.local.worker, result, self.spent.get());
    }
}

/// The time of one call, for its deadline and for whoever counts it.
struct CallTime<'a> {
    visit: &'a Visit,
    started: Instant,
    limit: Duration,
    span: Option<OpenSpan>,
    _running: Running<'a>,
}

impl<'a> CallTime<'a> {
    fn start(visit: &'a Visit, phase: &'static str) -> Self {
        let started = Instant::now();
        let limit = visit.limit(started);
        let running = visit.local.pool.shared.filters.ticker.run(visit.local.worker);
        let span = trace::begin_plugin(&visit.exchange, &visit.local.name, phase);
        visit.span.set(span.as_ref().map(OpenSpan::id));
        Self { visit, started, limit, span, _running: running }
    }

    // Counts it.
    fn stop<T>(self, outcome: &Result<T, Fail>) {
        let spent = self.started.elapsed();
        self.visit.spent.set(self.visit.spent.get() + spent);
        self.visit.exchange.record.spend(&self.visit.step, &self.visit.local.name, spent);
        trace::end_plugin(self.span, || outcome.as_ref().err().map(|fail| (fail.kind(), fail.text())));
    }
}

/// Puts a visit in the host functions' sight until it is dropped, also by a panic.
struct Sight {
    before: Option<Rc<Visit>>,
}

impl Sight {
    #[inline]
    fn open(visit: Rc<Visit>) -> Self {
        Self { before: ACTIVE.replace(Some(visit)) }
    }
}

impl Drop for Sight {
    #[inline]
    fn drop(&mut self) {
        ACTIVE.set(self.before.take());
    }
}
