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
    config::spec::{Conditions, Queue, Upstream as Spec},
    error::{Error, Kind},
    exchange::{Body, Exchange, Response, Timers},
    state::{Breaker, Gate, Pass, Passage, Rules, States, Traffic},
};

/// The limits of one upstream; there is none of these where no limit is set.
#[derive(Debug)]
pub(super) struct Admission {
    limit: Option<(usize, Option<Queue>, Arc<Gate>)>,
    breaker: Option<Guard>,
}

#[derive(Debug)]
struct Guard {
    rules: Rules,
    on: Conditions,
    breaker: Arc<Breaker>,
    traffic: Arc<Traffic>,
}

/// A request that was taken; its end must be told.
pub(super) struct Taken<'a> {
    upstream: &'a Upstream,
    exchange: Rc<Exchange>,
    // Unless the end is known.
    watched: Option<(&'a Guard, Passage)>,
    pass: Option<Pass>,
}

impl Admission {
    /// Of the upstream called `name`.
    pub(super) fn of(name: &str, spec: &Spec, states: &States, traffic: impl FnOnce() -> Arc<Traffic>) -> Option<Self> {
        let key = Arc::from(format!("upstream {name}"));
        let gate = || states.gates.find_or_make(&key, Gate::default);
        let limit = spec.requests_max.map(|max| (max, spec.queue, gate()));
        let breaker = spec.breaker.as_ref().map(|breaker| Guard {
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
        });
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
        let mut taken = Taken { upstream, exchange: Rc::clone(exchange), watched: None, pass: None };
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
        if let Some((guard, entry)) = self.watched.take() {
            match &result {
                Ok(response) => self.judge(guard, entry, guard.on.statuses.contains(&response.head.status.as_u16())),
                Err(error) if counts(&guard.on, error.kind()) => self.judge(guard, entry, true),
                Err(_) => guard.withdraw(entry),
            }
        }
        let pass = self.pass.take();
        result.map(|mut response| {
            if let Some(pass) = pass.filter(|_| response.tunnel.is_none() && response.body.copy().is_none()) {
                response.body = Body::stream(Passing { body: response.body, _pass: pass });
            }
            response
        })
    }

    fn judge(&self, guard: &Guard, entry: Passage, failed: bool) {
        let series = &self.upstream.series;
        if failed {
            if guard.breaker.failed(&guard.rules, entry, &guard.traffic, self.exchange.worker.index) {
                series.breaker_opened();
            }
        } else {
            guard.breaker.succeeded(&guard.rules, entry);
        }
        series.breaker(guard.breaker.phase() as u64);
    }

    fn withdraw(&mut self) {
        if let Some((guard, entry)) = self.watched.take() {
            guard.withdraw(entry);
        }
    }
}

impl Guard {
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
        Kind::UpstreamTimeout | Kind::UpstreamTryTimeout => on.timeout,
        _ => false,
    }
}

impl Drop for Taken<'_> {
    // Its end was not told: the client went away, or the time of the exchange was up, for which the upstream is to blame.
    fn drop(&mut self) {
        let Some((guard, entry)) = self.watched.take() else { return };
        let late = self.exchange.time_left(Instant::now()).is_some_and(|left| left.is_zero());
        if late && guard.on.timeout {
            self.judge(guard, entry, true);
        } else {
            guard.withdraw(entry);
        }
    }
}

// A response body that holds the place of its request.
struct Passing {
    body: Body,
    _pass: Pass,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
