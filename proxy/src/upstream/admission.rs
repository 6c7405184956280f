//! Whether an upstream takes a request now: the breaker, the limit on requests and the queue before it. Found by the
//! upstream's name, so that a reload keeps them. Knows no endpoint and makes no try.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Upstream;
use crate::{
    config::spec::{self, Conditions, Queue, Upstream as Spec},
    error::{Error, Kind},
    exchange::{Body, Exchange, Response, Timers},
    state::{Breaker, Gate, Pass, Passage, Rules, States, Traffic},
    telemetry::UpstreamSeries,
};

/// The limits of one upstream; there is none of these where no limit is set.
#[derive(Debug)]
pub(super) struct Admission {
    limit: Option<(usize, Option<Queue>, Arc<Gate>)>,
    breaker: Option<Arc<Guard>>,
}

#[derive(Debug)]
struct Guard {
    series: Arc<UpstreamSeries>,
    rules: Rules,
    on: Conditions,
    breaker: Arc<Breaker>,
    traffic: Arc<Traffic>,
}

/// A request that was taken; its end must be told.
pub(super) struct Taken<'a> {
    exchange: Rc<Exchange>,
    // Unless the end is known.
    watched: Option<(&'a Arc<Guard>, Passage)>,
    pass: Option<Pass>,
}

impl Admission {
    /// Of the upstream called `name`.
    pub(super) fn of(
        (name, series): (&str, &Arc<UpstreamSeries>),
        spec: &Spec,
        states: &States,
        traffic: impl FnOnce() -> Arc<Traffic>,
    ) -> Option<Self> {
        let key = Arc::from(format!("upstream {name}"));
        let gate = || states.gates.find_or_make(&key, Gate::default);
        let limit = spec.requests_max.map(|max| (max, spec.queue, gate()));
        let guard = |breaker: &spec::Breaker| Guard {
            series: Arc::clone(series),
            rules: Rules {
                error_percent: breaker.error_percent,
                requests_min: breaker.requests_min,
                window: breaker.window,
                consecutive_errors: breaker.consecutive_errors,
                open_time: breaker.open_time,
                probes: breaker.probes,
            },
            on: breaker.on.clone(),
            breaker: states.breakers.find_or_make(&key, Breaker::default),
            traffic: traffic(),
        };
        let breaker = spec.breaker.as_ref().map(|breaker| Arc::new(guard(breaker)));
        (limit.is_some() || breaker.is_some()).then_some(Self { limit, breaker })
    }

    /// Takes a request of `exchange` for `upstream`, perhaps after a wait.
    ///
    /// # Errors
    /// `UpstreamBreakerOpen`, `UpstreamRequestsMax`, `UpstreamQueueFull`, `UpstreamQueueTimeout`: all of them 503.
    pub(super) async fn take<'a>(
        &'a self,
        upstream: &'a Upstream,
        exchange: &Rc<Exchange>,
    ) -> Result<Taken<'a>, Error> {
        let mut taken = Taken { exchange: Rc::clone(exchange), watched: None, pass: None };
        if let Some(guard) = &self.breaker {
            let entry = guard.breaker.enter(&guard.rules);
            if let Passage::Refused(left) = entry {
                let text = format!("upstream {}: its breaker is open", upstream.name);
                return Err(Error::new(Kind::UpstreamBreakerOpen, text).retry_after(left));
            }
            upstream.series.breaker(guard.breaker.phase() as u64);
            taken.watched = Some((guard, entry));
        }
        if let Some((max, queue, gate)) = &self.limit {
            taken.pass = match gate.enter(*max) {
                Some(pass) => Some(pass),
                None => match wait(upstream, exchange, (gate, *max), queue.as_ref()).await {
                    Ok(pass) => Some(pass),
                    Err(error) => {
                        taken.withdraw();
                        return Err(error);
                    }
                },
            };
        }
        Ok(taken)
    }
}

async fn wait(
    upstream: &Upstream,
    exchange: &Exchange,
    (gate, max): (&Arc<Gate>, usize),
    queue: Option<&Queue>,
) -> Result<Pass, Error> {
    let name = &upstream.name;
    let Some(queue) = queue else {
        let text = format!("upstream {name}: requests-max ({max}) requests are under way");
        return Err(Error::new(Kind::UpstreamRequestsMax, text));
    };
    let Some(waiting) = gate.wait(max, queue.requests_max) else {
        let text = format!("upstream {name}: {} requests wait already", queue.requests_max);
        return Err(Error::new(Kind::UpstreamQueueFull, text));
    };
    let since = Instant::now();
    let worker = exchange.worker.index;
    upstream.series.queued(worker);
    let counted = Queued { upstream, worker, since };
    let pass = exchange.worker.locals.of::<Timers>().within(since + queue.timeout, waiting).await;
    drop(counted);
    pass.map_err(|_| {
        let text = format!("upstream {name}: it waited for {:?}", queue.timeout);
        Error::new(Kind::UpstreamQueueTimeout, text)
    })
}

// Counted as waiting until it is dropped, its wait being over in whichever way.
struct Queued<'a> {
    upstream: &'a Upstream,
    worker: usize,
    since: Instant,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.upstream.series.unqueued(self.worker, self.since.elapsed());
    }
}

impl Taken<'_> {
    /// Says how it ended, as far as the head of its response. The place under the limit is held until the response's
    /// last byte.
    pub(super) fn settle(mut self, result: Result<Response, Error>) -> Result<Response, Error> {
        let mut verdict = None;
        if let Some((guard, entry)) = self.watched.take() {
            let worker = self.exchange.worker.index;
            match &result {
                Ok(response) if guard.on.flaw(&response.head).is_some() => guard.judge(entry, true, worker),
                Ok(response) => {
                    let streams = response.tunnel.is_none() && response.body.copy().is_none();
                    // A trial is over with the head: a stream without end would keep the others waiting.
                    if entry == Passage::Probe || !streams {
                        guard.judge(entry, false, worker);
                    }
                    verdict =
                        streams.then(|| Verdict { guard: Arc::clone(guard), told: entry == Passage::Probe, worker });
                }
                Err(error) if counts(&guard.on, error.kind()) => guard.judge(entry, true, worker),
                Err(_) => guard.withdraw(entry),
            }
        }
        let pass = self.pass.take();
        result.map(|mut response| {
            let streams = response.tunnel.is_none() && response.body.copy().is_none();
            if streams && (pass.is_some() || verdict.is_some()) {
                response.body = Body::stream(Passing { body: response.body, verdict, _pass: pass });
            }
            response
        })
    }

    fn withdraw(&mut self) {
        if let Some((guard, entry)) = self.watched.take() {
            guard.withdraw(entry);
        }
    }
}

impl Guard {
    fn judge(&self, entry: Passage, failed: bool, worker: usize) {
        if failed {
            if self.breaker.failed(&self.rules, entry, &self.traffic, worker) {
                self.series.breaker_opened();
            }
        } else {
            self.breaker.succeeded(&self.rules, entry);
        }
        self.series.breaker(self.breaker.phase() as u64);
    }

    fn withdraw(&self, entry: Passage) {
        if entry == Passage::Probe {
            self.breaker.withdrawn();
        }
    }
}

// Whether a failure counts; one that does not says nothing of the upstream.
const fn counts(on: &Conditions, kind: Kind) -> bool {
    match kind {
        Kind::UpstreamConnect | Kind::UpstreamConnectTimeout => on.connect_failure,
        Kind::UpstreamReset | Kind::UpstreamMalformed => on.reset,
        Kind::UpstreamTimeout | Kind::UpstreamTryTimeout | Kind::UpstreamIdleTimeout => on.timeout,
        _ => false,
    }
}

impl Drop for Taken<'_> {
    // Its end was not told: the client went away, or the time of the exchange was up, for which the upstream is to blame.
    fn drop(&mut self) {
        let Some((guard, entry)) = self.watched.take() else { return };
        let late = self.exchange.time_left(Instant::now()).is_some_and(|left| left.is_zero());
        if late && guard.on.timeout {
            guard.judge(entry, true, self.exchange.worker.index);
        } else {
            guard.withdraw(entry);
        }
    }
}

// A response body that holds the place of its request, and tells the breaker how it ended.
struct Passing {
    body: Body,
    verdict: Option<Verdict>,
    _pass: Option<Pass>,
}

// What is left to be said of a request whose response has begun. One that nobody reads to its end says nothing.
struct Verdict {
    guard: Arc<Guard>,
    // Whether its success was told.
    told: bool,
    worker: usize,
}

impl Verdict {
    fn end(self, failure: Option<&Error>) {
        match failure {
            Some(error) if counts(&self.guard.on, error.kind()) => self.guard.judge(Passage::Pass, true, self.worker),
            None if !self.told => self.guard.judge(Passage::Pass, false, self.worker),
            _ => {}
        }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let over = match &polled {
            Poll::Pending => return polled,
            Poll::Ready(None) => Some(None),
            Poll::Ready(Some(Err(error))) => Some(Some(error)),
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream().then_some(None),
        };
        if let (Some(failure), Some(verdict)) = (over, over.and_then(|_| self.verdict.take())) {
            verdict.end(failure);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
