//! One exchange as a plugin sees it: its stream context, what host functions show and change of it, and how callbacks
//! are made and their failures judged. Pausing and resuming are state here: no callback ever waits.

mod phases;
mod shown;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use http::{HeaderMap, response};
use tokio::sync::Notify;

pub(super) use self::shown::Shown;
use super::{
    exports::{Export, Params, Returned},
    home::At,
    local::Local,
    vm::Vm,
};
use crate::{
    config::spec::FailurePolicy,
    error::{Error, Kind},
    exchange::{Exchange, Response},
    telemetry::trace,
    wasm::{call::Fail, deadline::Deadline},
};

/// See the module.
pub(super) struct Stream {
    pub(super) local: Rc<Local>,
    pub(super) exchange: Rc<Exchange>,
    context: Cell<u32>,
    life: Cell<u64>,
    pub(super) request: RefCell<Option<Shown>>,
    pub(super) response: RefCell<Option<response::Parts>>,
    pub(super) request_side: Side,
    pub(super) response_side: Side,
    /// The plugin's own answer, until it is sent.
    pub(super) answer: RefCell<Option<Box<Response>>>,
    /// An answer, or a failure, that came up while a request's body was on its way.
    pub(super) midway: RefCell<Option<Box<Result<Response, Error>>>>,
    /// It has answered, or a response is on its way to the client: there is no other.
    pub(super) answered: Cell<bool>,
    /// It wants the exchange to be broken off.
    pub(super) closed: Cell<bool>,
    /// The plugin failed and the policy is to go on without it.
    pub(super) skipped: Cell<bool>,
    pub(super) calls: Cell<u32>,
    /// Its exchange is.
    pub(super) over: Cell<bool>,
    /// It changed what a route is chosen by, or asked for another choice.
    pub(super) rerouted: Cell<bool>,
    /// It wants the route to stay.
    pub(super) keeps_route: Cell<bool>,
    /// What it set under names of its own that is no text: everything else is in the exchange.
    pub(super) properties: RefCell<Vec<(String, Vec<u8>)>>,
    /// `proxy_on_done` asked for time.
    lingers: Cell<bool>,
    failed: Cell<Option<Kind>>,
    spent: Cell<Duration>,
    step: Cell<Option<usize>>,
    news: Notify,
}

/// One direction of a stream.
#[derive(Default)]
pub(super) struct Side {
    /// The part of the body that a callback may see.
    pub(super) buffer: RefCell<Option<BytesMut>>,
    pub(super) trailers: RefCell<Option<HeaderMap>>,
    resumed: Cell<bool>,
}

/// Request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// What ends a pause, or what a callback wants.
#[derive(Debug)]
pub(super) enum News {
    GoesOn,
    Pauses,
    /// The head waits for what is said of the body.
    HoldsHead,
    Answers(Box<Response>),
}

const CLOSED: &str = "the plugin closed the stream";

/// Contexts of one plugin on one worker that outlive their exchange; one more is taken leave of at once.
const LINGERING_MAX: usize = 1024;

impl Stream {
    pub(super) fn new(local: &Rc<Local>, exchange: &Rc<Exchange>) -> Rc<Self> {
        Rc::new(Self {
            local: Rc::clone(local),
            exchange: Rc::clone(exchange),
            context: Cell::new(0),
            life: Cell::new(0),
            request: RefCell::default(),
            response: RefCell::default(),
            request_side: Side::default(),
            response_side: Side::default(),
            answer: RefCell::default(),
            midway: RefCell::default(),
            answered: Cell::new(false),
            closed: Cell::new(false),
            skipped: Cell::new(false),
            calls: Cell::new(0),
            over: Cell::new(false),
            rerouted: Cell::new(false),
            keeps_route: Cell::new(local.plugin.proxy_wasm.keep_route),
            properties: RefCell::default(),
            lingers: Cell::new(false),
            failed: Cell::new(None),
            spent: Cell::new(Duration::ZERO),
            step: Cell::new(None),
            news: Notify::const_new(),
        })
    }

    /// Makes its context; answers when it was done.
    ///
    /// # Errors
    /// Where that fails, and the policy is `closed`.
    pub(super) async fn open(self: &Rc<Self>) -> Result<Instant, Error> {
        let home = &self.local.home;
        let context = home.next_context();
        self.life.set(home.life());
        self.context.set(context);
        home.streams.borrow_mut().insert(context, Rc::clone(self));
        let root = |_: &mut Vm| (context, self.local.root.get());
        let opened = self.call_at(Instant::now(), "context", |exports| exports.on_context_create.as_ref(), root).await;
        if opened.is_err() || self.skipped.get() {
            // The module knows nothing of it, and is told nothing more.
            self.forget();
            self.context.set(0);
        }
        opened.map(|(_, ended)| ended)
    }

    /// Whether the plugin was told of it.
    pub(super) const fn is_open(&self) -> bool {
        self.context.get() != 0
    }

    /// Whether what a head promises of its body's length may turn out wrong.
    pub(super) fn may_change_length(&self, direction: Direction) -> bool {
        self.local.home.program().changes_body(direction) || self.local.plugin.habits.of(direction).was_late()
    }

    // What is there without waiting.
    fn pending(&self, direction: Direction) -> Result<Option<News>, Error> {
        if self.skipped.get() {
            return Ok(Some(News::GoesOn));
        }
        if self.closed.get() {
            return Err(Error::new(Kind::PluginFailed, format!("plugin {}: {CLOSED}", self.local.name)));
        }
        if let Some(answer) = self.answer.take() {
            return Ok(Some(News::Answers(answer)));
        }
        Ok(self.side(direction).resumed.take().then_some(News::GoesOn))
    }

    /// Waits until a pause, which began at `since`, is over: never [`News::Pauses`].
    ///
    /// # Errors
    /// Where the plugin takes too long, closes the stream or is lost, and the policy is `closed`.
    pub(super) async fn paused(&self, direction: Direction, since: Instant) -> Result<News, Error> {
        loop {
            if self.lost() {
                self.judge(&Fail::Lost)?;
            }
            if let Some(news) = self.pending(direction)? {
                return Ok(news);
            }
            let limit = self.local.plugin.limits.exchange_timeout;
            let left = self.exchange.time_left(since).map_or(limit, |left| left.min(limit));
            if Deadline::within(since + left, self.news.notified()).await.is_err() {
                self.judge(&Fail::Timeout(left))?;
            }
        }
    }

    /// Ends a pause of one direction.
    pub(super) fn resume(&self, direction: Direction) {
        self.side(direction).resumed.set(true);
        self.tell();
    }

    /// Lets whoever waits look again.
    pub(super) fn tell(&self) {
        self.news.notify_waiters();
    }

    /// Its VM is gone.
    pub(super) fn lose(&self) {
        self.linger_no_more();
        self.tell();
    }

    fn lost(&self) -> bool {
        self.is_open() && !self.skipped.get() && self.life.get() != self.local.home.life()
    }

    pub(super) const fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Request => &self.request_side,
            Direction::Response => &self.response_side,
        }
    }

    /// Makes a callback. `None`: the module does not export it, or the plugin is skipped from now on.
    ///
    /// # Errors
    /// Where it fails, and the policy is `closed`.
    pub(super) async fn call<P, R>(
        &self,
        phase: &'static str,
        export: Export<P, R>,
        params: impl FnOnce(&mut Vm) -> P,
    ) -> Result<Option<R>, Error>
    where
        P: Params,
        R: Returned,
    {
        self.call_at(Instant::now(), phase, export, params).await.map(|(answer, _)| answer)
    }

    /// As [`Stream::call`], where the time is known; answers with the time at its end, too. Looking at the clock is not
    /// for nothing, and callbacks of a stream follow one another.
    pub(super) async fn call_at<P, R>(
        &self,
        since: Instant,
        phase: &'static str,
        export: Export<P, R>,
        params: impl FnOnce(&mut Vm) -> P,
    ) -> Result<(Option<R>, Instant), Error>
    where
        P: Params,
        R: Returned,
    {
        if self.skipped.get() {
            return Ok((None, since));
        }
        let at = At { life: self.life.get(), limit: self.limit(since), since };
        let span = trace::begin_plugin(&self.exchange, &self.local.name, phase);
        let outcome = self.local.home.call(at, self.context.get(), export, params).await;
        trace::end_plugin(span, || outcome.as_ref().err().map(|fail| (fail.kind(), fail.text())));
        let ended = Instant::now();
        let spent = ended.saturating_duration_since(since);
        self.spent.set(self.spent.get() + spent);
        self.exchange.record.spend(&self.step, &self.local.name, spent);
        match outcome {
            Ok(answer) => {
                self.local.breaker.succeeded();
                Ok((answer, ended))
            }
            Err(fail) => self.judge(&fail).map(|()| (None, ended)),
        }
    }

    // What is left of the call's, the plugin's and the exchange's time.
    fn limit(&self, now: Instant) -> Duration {
        let limits = &self.local.plugin.limits;
        let own = limits.call_timeout.min(limits.exchange_timeout.saturating_sub(self.spent.get()));
        self.exchange.time_left(now).map_or(own, |left| own.min(left))
    }

    /// Logs and counts a failure. `Ok`: the plugin is skipped from now on.
    ///
    /// # Errors
    /// Where the policy is `closed`.
    pub(super) fn judge(&self, fail: &Fail) -> Result<(), Error> {
        self.decide(self.local.report(fail, Some(self.exchange.generation())))
    }

    /// The plugin is not called, because it failed too often.
    ///
    /// # Errors
    /// Where the policy is `closed`.
    pub(super) fn left_alone(&self) -> Result<(), Error> {
        self.decide(Error::new(Kind::PluginFailed, format!("plugin {}: it failed too often", self.local.name)))
    }

    fn decide(&self, error: Error) -> Result<(), Error> {
        self.failed.set(Some(error.kind()));
        match self.local.plugin.on_failure {
            FailurePolicy::Closed => Err(error),
            FailurePolicy::Open => {
                self.skipped.set(true);
                Ok(())
            }
        }
    }

    /// Its exchange is over: tells the plugin, and takes leave of the context, unless the plugin asks for time.
    pub(super) async fn end(self: Rc<Self>) {
        if self.lost() {
            return;
        }
        self.over.set(true);
        let done = self.call_quietly(|exports| exports.on_done.as_ref()).await;
        let lingering = self.local.lingering.get();
        if done == Some(0) && !self.lost() && lingering < LINGERING_MAX {
            self.local.lingering.set(lingering + 1);
            self.lingers.set(true);
            return;
        }
        self.depart().await;
    }

    /// The plugin needs no more time.
    pub(super) fn finish(self: &Rc<Self>) {
        if self.linger_no_more() {
            tokio::task::spawn_local(Rc::clone(self).depart());
        }
    }

    fn linger_no_more(&self) -> bool {
        let lingered = self.lingers.take();
        self.local.lingering.set(self.local.lingering.get() - usize::from(lingered));
        lingered
    }

    /// Whether the plugin asked for time after its end.
    pub(super) const fn lingers(&self) -> bool {
        self.lingers.get()
    }

    /// Takes leave of a context that the module is not told of the end of.
    pub(super) fn forget(&self) {
        if self.is_open() && !self.lost() {
            self.local.home.streams.borrow_mut().remove(&self.context.get());
        }
    }

    async fn depart(self: Rc<Self>) {
        if self.lost() {
            return;
        }
        self.call_quietly(|exports| exports.on_log.as_ref()).await;
        self.call_quietly(|exports| exports.on_delete.as_ref()).await;
        self.forget();
    }

    // The exchange is over: a failure is logged and counted, and changes nothing.
    async fn call_quietly<R: Returned>(&self, export: Export<(u32,), R>) -> Option<R> {
        let at = At { life: self.life.get(), ..self.local.now() };
        let context = self.context.get();
        let called = self.local.home.call(at, context, export, |_| (context,)).await;
        called.unwrap_or_else(|fail| {
            self.local.report(&fail, Some(self.exchange.generation()));
            None
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let result = self.failed.get().map_or(Ok(()), Err);
        self.local.plugin.series.finish(self.local.home.worker.index, result, self.spent.get());
    }
}
