//! One exchange inside a guest: what its host functions see, how long it may compute and wait, and what it tells the
//! exchange outside. Knows no chain.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{Response, response};
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use super::{
    answer::Given,
    local::{Lease, Local},
    output::{self, Lines, Stream},
};
use crate::{
    error::Kind,
    exchange::{Authority, Exchange, OpenSpan, Request},
    telemetry::trace,
    wasm::{call::Fail, census::Counted, deadline::Deadline, journal::Level},
};

/// See the module.
pub(super) struct Handling {
    pub(super) local: Rc<Local>,
    pub(super) exchange: Rc<Exchange>,
    /// Whom the request is for.
    pub(super) authority: Authority,
    /// Whether the guest gives way because a tick came, and does not wait for anything.
    pub(super) gives_way: Cell<bool>,
    /// Requests that it sent so far.
    pub(super) calls: Cell<u32>,
    // Interim responses so far.
    interims: Cell<u32>,
    news: mpsc::UnboundedSender<News>,
    next: RefCell<Next>,
    answered: Cell<bool>,
    failed: Cell<Option<Kind>>,
    // It ended before it had finished a body.
    unfinished: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    // Of the task that the guest runs in.
    waker: RefCell<Option<Waker>>,
    spent: Cell<Duration>,
    // When it last went on after it had waited, if it computes since then.
    stretch: Cell<Option<Instant>>,
    // Since it answered.
    after: Cell<Duration>,
    // Its place in the exchange's record.
    step: Cell<Option<usize>>,
    span: RefCell<Option<OpenSpan>>,
    span_id: Option<u64>,
    stdout: RefCell<Lines>,
    stderr: RefCell<Lines>,
    // Its guest, from its task's beginning to its end.
    counted: RefCell<Option<Counted>>,
    _lease: Lease,
}

/// Interim responses of a guest in one exchange.
const INTERIMS_MAX: u32 = 16;

/// What a guest's request for the rest of the chain came to.
enum Next {
    NotYet,
    /// It is on its way since then, with this much left of the guest's own time.
    Sent(oneshot::Sender<Received>, Duration),
    Over,
}

/// The response to a request of the guest's.
pub(super) type Received = Result<Response<WasiBody>, WasiError>;

/// What the exchange outside has to know. Of each there is one at most, but for interim responses.
pub(super) enum News {
    /// A request for the rest of the chain, and its body.
    Next(Box<Request>, Given),
    /// An interim response, which goes before the answer.
    Interim(Box<response::Parts>),
    /// The answer.
    Answer(Box<Response<WasiBody>>),
    /// There will be no answer.
    Failed(Fail),
}

thread_local! {
    // A store holds nothing of an exchange (it must be `Send`, an exchange is not): host functions look here. Set
    // while a guest of this thread is polled.
    static ACTIVE: RefCell<Option<Rc<Handling>>> = const { RefCell::new(None) };
}

/// Runs `f` on what the guest at work belongs to; nothing while a component is tried out.
pub(super) fn with_active<R>(f: impl FnOnce(&Rc<Handling>) -> R) -> Option<R> {
    let active = ACTIVE.with_borrow(Option::clone);
    active.as_ref().map(f)
}

impl Handling {
    /// The beginning of one.
    pub(super) fn new(
        (local, lease): (Rc<Local>, Lease),
        exchange: Rc<Exchange>,
        authority: Authority,
    ) -> (Rc<Self>, mpsc::UnboundedReceiver<News>) {
        let (news, receiver) = mpsc::unbounded_channel();
        let span = trace::begin_plugin(&exchange, &local.name, "handle");
        let deadline = Instant::now() + local.shared.plugin.limits.exchange_timeout;
        let handling = Rc::new(Self {
            local,
            exchange,
            authority,
            gives_way: Cell::new(false),
            calls: Cell::new(0),
            interims: Cell::new(0),
            news,
            next: RefCell::new(Next::NotYet),
            answered: Cell::new(false),
            failed: Cell::new(None),
            unfinished: Cell::new(true),
            deadline: Cell::new(Some(deadline)),
            waker: RefCell::default(),
            spent: Cell::default(),
            stretch: Cell::default(),
            after: Cell::default(),
            step: Cell::default(),
            span_id: span.as_ref().map(OpenSpan::id),
            span: RefCell::new(span),
            stdout: RefCell::default(),
            stderr: RefCell::default(),
            counted: RefCell::default(),
            _lease: lease,
        });
        (handling, receiver)
    }

    /// Counts its guest, as long as the answer is not dropped.
    pub(super) fn count(self: &Rc<Self>) -> Stands {
        let shared = &self.local.shared;
        let mut counted = Counted::new(&shared.counters);
        counted.settle(self.local.worker, &shared.plugin.series, 0);
        self.counted.replace(Some(counted));
        Stands(Rc::clone(self))
    }

    /// The guest has so many bytes of memory now.
    pub(super) fn remember(&self, bytes: usize) {
        if let Some(counted) = self.counted.borrow_mut().as_mut() {
            counted.remember(bytes);
        }
    }

    /// The span of the call, where the exchange is traced.
    pub(super) const fn span(&self) -> Option<u64> {
        self.span_id
    }

    /// What its bodies break off with that it left unfinished when it failed.
    pub(super) fn broke_off(&self) -> Option<Kind> {
        self.failed.get().filter(|_| self.unfinished.get())
    }

    /// Whether it left a body unfinished; until it says so, it did.
    pub(super) fn leaves(&self, unfinished: bool) {
        self.unfinished.set(unfinished);
    }

    /// What was printed and is no whole line.
    pub(super) const fn lines(&self, stream: Stream) -> &RefCell<Lines> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Writes a message of the guest's.
    pub(super) fn log(&self, level: Level, mut message: String) {
        message.truncate(message.floor_char_boundary(self.local.shared.plugin.limits.log_bytes_max));
        output::write(&self.local, self.exchange.generation(), level, &message);
    }

    /// Whether the rest of the chain may be asked for: once, and before the answer.
    pub(super) fn may_ask_next(&self) -> bool {
        matches!(*self.next.borrow(), Next::NotYet) && !self.answered.get()
    }

    /// Sends a request along the rest of the chain. While it is on its way, the guest's own time stands still.
    pub(super) fn ask_next(&self, request: Box<Request>, body: Given) -> oneshot::Receiver<Received> {
        let (sender, receiver) = oneshot::channel();
        let left = self.deadline.take().map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        self.next.replace(Next::Sent(sender, left));
        // The exchange waits for it, or is over, and the guest with it.
        drop(self.news.send(News::Next(request, body)));
        receiver
    }

    /// Gives the guest what came back along the chain. Dropped where the guest does not wait for it.
    pub(super) fn deliver(&self, response: Response<WasiBody>) {
        let Next::Sent(sender, left) = self.next.replace(Next::Over) else { return };
        if !self.answered.get() {
            self.allow(left);
        }
        drop(sender.send(Ok(response)));
    }

    /// Sends an interim response. Answers whether there may be one more.
    pub(super) fn inform(&self, head: response::Parts) -> bool {
        let so_far = self.interims.get();
        if so_far >= INTERIMS_MAX || self.answered.get() {
            return false;
        }
        self.interims.set(so_far + 1);
        drop(self.news.send(News::Interim(Box::new(head))));
        true
    }

    /// The guest has answered: from now on its time is the reader's.
    pub(super) fn answer(&self, answer: Result<Response<WasiBody>, String>) {
        if self.answered.replace(true) {
            return;
        }
        self.deadline.set(None);
        let news = match answer {
            Ok(response) => News::Answer(Box::new(response)),
            Err(code) => {
                self.failed.set(Some(Kind::PluginFailed));
                News::Failed(Fail::Said(code))
            }
        };
        drop(self.news.send(news));
    }

    /// The reader has all of the answer: what the guest still does has an end.
    pub(super) fn linger(&self) {
        self.allow(self.local.shared.plugin.limits.exchange_timeout);
        self.end_span(None);
    }

    fn allow(&self, time: Duration) {
        self.deadline.set(Some(Instant::now() + time));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Comes when the guest may begin.
    ///
    /// # Errors
    /// Where its time is over before that.
    pub(super) async fn begin(&self) -> Result<(), Fail> {
        let (now, limit) = (Instant::now(), self.local.shared.plugin.limits.exchange_timeout);
        let ends = self.deadline.get().unwrap_or(now + limit);
        self.local.pace.begin(now, ends).await.map_err(|_| Fail::Timeout(limit))
    }

    /// Polls the guest with this in its host functions' sight, within its time.
    pub(super) fn poll(
        self: &Rc<Self>,
        call: Pin<&mut impl Future<Output = Result<(), Fail>>>,
        deadline: &mut Option<Deadline>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fail>> {
        let woken_by = cx.waker();
        if !self.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(woken_by)) {
            self.waker.replace(Some(woken_by.clone()));
        }
        let ticker = &self.local.shared.plugin.module.wasi_http().filters.ticker;
        let running = ticker.run(self.local.worker);
        let began = Instant::now();
        self.stretch.set(self.stretch.get().or(Some(began)));
        let sight = Sight::open(Rc::clone(self));
        let polled = self.local.pace.watch(ticker, || call.poll(cx));
        drop((sight, running));
        self.spend(began.elapsed());
        if polled.is_ready() {
            return polled;
        }
        if !self.gives_way.get() {
            self.stretch.set(None);
        }
        let exchange_timeout = self.local.shared.plugin.limits.exchange_timeout;
        if self.after.get() > exchange_timeout {
            return Poll::Ready(Err(Fail::Timeout(exchange_timeout)));
        }
        let Some((at, limit)) = self.next_deadline() else {
            *deadline = None;
            return Poll::Pending;
        };
        let deadline = deadline.get_or_insert_with(|| Deadline::at(at));
        deadline.set(at);
        deadline.poll(cx).map(|()| Err(Fail::Timeout(limit)))
    }

    // When its time is over if it goes on as it does, and which time that is.
    fn next_deadline(&self) -> Option<(Instant, Duration)> {
        let limits = &self.local.shared.plugin.limits;
        let whole = self.deadline.get().map(|at| (at, limits.exchange_timeout));
        let stretch = self.stretch.get().map(|since| (since + limits.call_timeout, limits.call_timeout));
        whole.into_iter().chain(stretch).min()
    }

    fn spend(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
        if self.answered.get() {
            self.after.set(self.after.get() + time);
        }
        self.exchange.record.spend(&self.step, &self.local.name, time);
    }

    /// The guest has come to an end, of whichever kind. To be called before what it holds is dropped: bodies that it
    /// leaves unfinished end as this says.
    pub(super) fn conclude(&self, outcome: Result<(), Fail>) {
        self.gives_way.set(false);
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.lines(stream).borrow_mut().end(|line| self.log(stream.level(), line));
        }
        let fail = match outcome {
            Ok(()) | Err(Fail::Exited(0)) if self.answered.get() => {
                self.local.breaker.succeeded();
                return self.end_span(None);
            }
            Ok(()) => Fail::Contract("it returned without an answer"),
            Err(fail) => fail,
        };
        self.end_span(Some(&fail));
        self.failed.set(Some(fail.kind()));
        if self.answered.get() {
            // The head is out: the body breaks off, or is complete already.
            drop(self.local.report(&fail, self.exchange.generation()));
        } else {
            drop(self.news.send(News::Failed(fail)));
        }
    }

    fn end_span(&self, fail: Option<&Fail>) {
        trace::end_plugin(self.span.take(), || fail.map(|fail| (fail.kind(), fail.text())));
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let result = self.failed.get().map_or(Ok(()), Err);
        self.local.shared.plugin.series.finish(self.local.worker, result, self.spent.get());
    }
}

/// A guest that stands.
pub(super) struct Stands(Rc<Handling>);

impl Drop for Stands {
    fn drop(&mut self) {
        self.0.counted.take();
    }
}

/// Puts a handling in the host functions' sight until it is dropped, also by a panic.
struct Sight {
    before: Option<Rc<Handling>>,
}

impl Sight {
    fn open(handling: Rc<Handling>) -> Self {
        Self { before: ACTIVE.replace(Some(handling)) }
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        ACTIVE.set(self.before.take());
    }
}
