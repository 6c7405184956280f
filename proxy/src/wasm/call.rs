//! One call into a guest: what the host functions see of its exchange, its deadline, and what can go wrong with it.
//! Knows no phases and no policy.

use std::{
    cell::{Cell, RefCell},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use http::request;
use wasmtime::{
    PoolConcurrencyLimitError,
    component::{ComponentNamedList, Lift, Lower, ResourceAny, TypedFunc},
};

use super::{
    guest::CreateError,
    native::Exports,
    pool::{Lease, Local},
};
use crate::{
    config::spec::Isolation,
    error::{Error, Kind},
    exchange::{Authority, Exchange, Request, Response, Timers},
};

/// One plugin's part in one exchange, from its first phase to its last.
pub(super) struct Visit {
    pub(super) local: Rc<Local>,
    /// There while a phase may see it.
    pub(super) request: RefCell<Option<Request>>,
    /// The head as it was before the present call changed it, where the policy is to go on without the plugin.
    pub(super) undo_request: RefCell<Option<(request::Parts, Authority)>>,
    /// There while a phase may see it.
    pub(super) response: RefCell<Option<Response>>,
    /// See `undo_request`.
    pub(super) undo_response: RefCell<Option<http::response::Parts>>,
    /// What the plugin keeps between its phases.
    pub(super) kept: RefCell<Option<Vec<u8>>>,
    /// Calls to upstreams so far.
    pub(super) calls: Cell<u32>,
    /// An answer, or a failure, that came up while a request's body was on its way.
    pub(super) midway: RefCell<Option<Result<Response, Error>>>,
    /// The plugin failed and the policy is to go on without it.
    pub(super) skipped: Cell<bool>,
    pub(super) failed: Cell<Option<Kind>>,
    spent: Cell<Duration>,
    turn: tokio::sync::Mutex<()>,
    /// The guest of this exchange alone, where it is to have one.
    own: RefCell<Option<Lease>>,
}

/// What a host function finds of the call that it is made from.
pub(super) struct Active {
    pub(super) visit: Rc<Visit>,
    pub(super) exchange: Rc<Exchange>,
}

thread_local! {
    // A store holds nothing of an exchange (it must be `Send`, an exchange is not): host functions look here. Set
    // while a guest of this thread is polled, so suspended calls do not see each other's.
    static ACTIVE: RefCell<Option<Active>> = const { RefCell::new(None) };
}

/// Runs `f` on the present call's exchange.
///
/// # Errors
/// A trap where there is none: while a plugin is created.
#[inline]
pub(super) fn active<R>(f: impl FnOnce(&Active) -> wasmtime::Result<R>) -> wasmtime::Result<R> {
    ACTIVE.with_borrow(|active| match active {
        Some(active) => f(active),
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
    /// There is no guest for it.
    Overloaded(String),
    /// It did what its phase does not allow.
    Contract(&'static str),
}

impl Fail {
    pub(super) fn instantiate(error: wasmtime::Error) -> Self {
        if error.is::<PoolConcurrencyLimitError>() {
            Self::Overloaded("all guest slots of the process are taken".into())
        } else {
            Self::Trap(format!("{error:?}"))
        }
    }

    pub(super) fn create(error: CreateError) -> Self {
        Self::Trap(format!("while it was created in a further guest: {error}"))
    }

    /// What it means for the exchange.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Trap(_) | Self::Said(_) | Self::Contract(_) => Kind::PluginFailed,
            Self::Timeout(_) => Kind::PluginTimeout,
            Self::Overloaded(_) => Kind::PluginOverloaded,
        }
    }

    /// For the log.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Trap(text) => format!("its guest failed: {text}"),
            Self::Said(text) => format!("it returned an error: {text}"),
            Self::Timeout(limit) => format!("it took longer than {} ms", limit.as_millis()),
            Self::Overloaded(text) => text.clone(),
            Self::Contract(text) => (*text).to_owned(),
        }
    }
}

impl Visit {
    /// The beginning of a plugin's part in an exchange.
    pub(super) fn new(local: Rc<Local>) -> Rc<Self> {
        Rc::new(Self {
            local,
            request: RefCell::default(),
            undo_request: RefCell::default(),
            response: RefCell::default(),
            undo_response: RefCell::default(),
            kept: RefCell::default(),
            calls: Cell::new(0),
            midway: RefCell::default(),
            skipped: Cell::new(false),
            failed: Cell::new(None),
            spent: Cell::new(Duration::ZERO),
            turn: tokio::sync::Mutex::const_new(()),
            own: RefCell::default(),
        })
    }

    /// Calls a method of the plugin, on any guest that is free.
    pub(super) async fn call<P, R>(
        self: &Rc<Self>,
        exchange: &Rc<Exchange>,
        export: impl Fn(&Exports) -> Option<TypedFunc<P, (Result<R, String>,)>>,
        params: impl FnOnce(ResourceAny) -> P,
    ) -> Result<R, Fail>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Lift + Send + Sync + 'static,
        (Result<R, String>,): ComponentNamedList + Lift,
    {
        let turn = if self.local.plugin.calls().overlap() { Some(self.turn.lock().await) } else { None };
        let started = Instant::now();
        let limit = self.limit(exchange);
        let _running = self.local.pool.shared.filters.ticker.run(self.local.worker);
        let called = async {
            let mut lease = self.lease().await?;
            let guest = lease.guest();
            let plugin = guest.plugin(self.local.plugin.id).expect("a lease is of a guest that hosts the plugin");
            let export = export(&guest.exports).expect("only what is exported is declared");
            guest.store.set_epoch_deadline(1);
            match export.call_async(&mut guest.store, params(plugin)).await {
                Ok((answer,)) => {
                    self.give_back(lease);
                    answer.map_err(Fail::Said)
                }
                Err(error) => {
                    let denied = guest.denied().map(|text| format!(" ({text})")).unwrap_or_default();
                    Err(Fail::Trap(format!("{error:?}{denied}")))
                }
            }
        };
        let scope = Active { visit: Rc::clone(self), exchange: Rc::clone(exchange) };
        let outcome = within(scope, started + limit, called).await.unwrap_or(Err(Fail::Timeout(limit)));
        let spent = started.elapsed();
        self.spent.set(self.spent.get() + spent);
        exchange.record.spend(&self.local.name, spent);
        drop(turn);
        outcome
    }

    // What is left of the call's, the plugin's and the exchange's time.
    fn limit(&self, exchange: &Exchange) -> Duration {
        let limits = &self.local.plugin.limits;
        let own = limits.call_timeout.min(limits.exchange_timeout.saturating_sub(self.spent.get()));
        exchange.time_left().map_or(own, |left| own.min(left))
    }

    async fn lease(&self) -> Result<Lease, Fail> {
        match self.own.take() {
            Some(lease) => Ok(lease),
            None => self.local.pool.lease(&self.local).await,
        }
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

/// Polls `call` with its exchange in sight of host functions, until `deadline`; `None` when that came first, and then
/// the call is dropped, with its guest.
async fn within<T>(scope: Active, deadline: Instant, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut scope = Some(scope);
    let mut timeout = None;
    std::future::poll_fn(|cx| {
        let mut sight = Sight::open(&mut scope);
        if let Poll::Ready(output) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // Most calls never get here, and need no timer.
        let timeout = timeout.get_or_insert_with(|| {
            let timers = sight.with(|active| active.exchange.worker.locals.of::<Timers>());
            timers.at(deadline)
        });
        drop(sight);
        Pin::new(timeout).poll(cx).map(|()| None)
    })
    .await
}

/// Puts a call in the host functions' sight until it is dropped, also by a panic.
struct Sight<'a> {
    scope: &'a mut Option<Active>,
    before: Option<Active>,
}

impl<'a> Sight<'a> {
    #[inline]
    fn open(scope: &'a mut Option<Active>) -> Self {
        let before = ACTIVE.replace(scope.take());
        Self { scope, before }
    }

    fn with<R>(&mut self, f: impl FnOnce(&Active) -> R) -> R {
        ACTIVE.with_borrow(|active| f(active.as_ref().expect("open since the sight is")))
    }
}

impl Drop for Sight<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.scope = ACTIVE.replace(self.before.take());
    }
}
