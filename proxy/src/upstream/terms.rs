//! On which terms a request is tried: how long a try may take, after what it is made again, and how many further tries
//! there may be. Compiled of an upstream and of what a route says in its place. Knows no request in flight.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, response::Parts};

use super::{attempt::Cause, share::scatter};
use crate::{
    config::spec::{Budget, Conditions, Hedge, Retry, RouteTerms, Upstream as Spec},
    exchange::rpc,
    state::{Counted, Traffic},
};

/// The terms of one upstream, or of one route to it.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Until a response head.
    pub(super) response_timeout: Duration,
    /// Between two reads of a response body.
    pub(super) idle_timeout: Duration,
    /// Of one try, to the last byte of its response.
    pub(super) try_timeout: Option<Duration>,
    pub(super) retry: Option<Arc<Retry>>,
    pub(super) hedge: Option<Hedge>,
    /// Where requests are counted, for what goes by their number.
    pub(super) traffic: Option<Arc<Traffic>>,
}

/// Why a try was not good enough, as the metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// There was no response.
    Missed(Cause),
    /// It has this status.
    Status(u16),
    /// It is the answer of a call that failed with this status.
    Call(u16),
}

impl Terms {
    /// Of an upstream, with what a route says instead; `traffic` finds the upstream's, where it is needed.
    pub(super) fn of(spec: &Spec, route: &RouteTerms, traffic: impl FnOnce() -> Arc<Traffic>) -> Self {
        let retry = route.retry.as_ref().or(spec.retry.as_ref()).cloned().map(Arc::new);
        let hedge = route.hedge.or(spec.hedge);
        Self {
            response_timeout: route.response_timeout.unwrap_or(spec.response_timeout),
            idle_timeout: route.idle_timeout.unwrap_or(spec.idle_timeout),
            try_timeout: route.try_timeout.unwrap_or(spec.try_timeout),
            traffic: (retry.is_some() || hedge.is_some() || spec.breaker.is_some()).then(traffic),
            retry,
            hedge,
        }
    }

    /// What an answer has that is to be tried again after.
    #[inline]
    pub(super) fn flaw(&self, head: &Parts) -> Option<Flaw> {
        self.retry.as_ref().and_then(|retry| retry.on.flaw(head))
    }

    /// Whether a request with `method` may have its effect twice.
    pub(super) fn allow_twice(&self, method: &Method) -> bool {
        self.retry.as_ref().map_or_else(|| method.is_idempotent(), |retry| retry.methods.allow(method))
    }

    /// Whether a try is made again after `flaw`. Endpoints that have no connection left are always passed over.
    pub(super) fn want(&self, flaw: Flaw) -> bool {
        match (flaw, &self.retry) {
            (Flaw::Missed(Cause::Crowded), _) => true,
            (Flaw::Missed(cause), None) => matches!(cause, Cause::Connect | Cause::ConnectTimeout),
            (Flaw::Missed(cause), Some(retry)) => retry.on.has(cause),
            (Flaw::Status(status), retry) => retry.as_ref().is_some_and(|retry| retry.on.has_status(status)),
            (Flaw::Call(_), retry) => retry.is_some(),
        }
    }

    /// How many times a request is sent again at most.
    pub(super) fn retries_max(&self) -> u32 {
        self.retry.as_ref().map_or(RETRIES_UNASKED_MAX, |retry| retry.attempts)
    }

    /// Whether the budget has room for one more try; if so, it is counted.
    pub(super) fn afford(&self, budget: Budget, worker: usize) -> bool {
        let Some(traffic) = &self.traffic else { return true };
        let now = Instant::now();
        let sums = traffic.sums(now, BUDGET_WINDOW);
        let share = sums.requests * u64::from(budget.percent) / 100;
        let room = sums.further < share + u64::from(budget.per_second_min) * BUDGET_WINDOW.as_secs();
        if room {
            traffic.count(worker, now, Counted::Further);
        }
        room
    }

    /// How long is waited before retry number `retries` (from 0), at random by `seed`: full jitter.
    pub(super) fn back_off(&self, retries: u32, seed: u64) -> Duration {
        let Some(retry) = &self.retry else { return Duration::ZERO };
        let most = retry.base.saturating_mul(1 << retries.min(20)).min(retry.max);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(scatter(seed)) * u128::from(nanos)) >> 64) as u64)
    }
}

impl Conditions {
    fn has(&self, cause: Cause) -> bool {
        match cause {
            Cause::Connect | Cause::ConnectTimeout => self.connect_failure,
            Cause::Refused => self.refused_stream,
            Cause::Stale | Cause::Reset | Cause::Malformed => self.reset,
            Cause::Timeout | Cause::TryTimeout => self.timeout,
            Cause::Crowded => true,
            Cause::Request => false,
        }
    }

    /// What an answer has of these. A call that failed and brought nothing has its status in the head.
    pub(super) fn flaw(&self, head: &Parts) -> Option<Flaw> {
        let status = head.status.as_u16();
        if self.has_status(status) {
            return Some(Flaw::Status(status));
        }
        if self.calls.is_empty() {
            return None;
        }
        let code = rpc::status(&head.headers)?;
        self.calls.iter().any(|status| status.code() == code).then_some(Flaw::Call(code))
    }

    fn has_status(&self, status: u16) -> bool {
        self.statuses.binary_search(&status).is_ok()
    }
}

// How many further endpoints a request goes to that could not be sent, where nothing is said of retries.
const RETRIES_UNASKED_MAX: u32 = 2;
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(retry: Retry) -> Terms {
        Terms {
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            try_timeout: None,
            retry: Some(Arc::new(retry)),
            hedge: None,
            traffic: Some(Arc::new(Traffic::new(1))),
        }
    }

    #[test]
    fn a_budget_is_a_share_of_the_requests_and_a_floor() {
        let terms = terms(Retry::default());
        let traffic = terms.traffic.as_ref().unwrap();
        (0..1000).for_each(|_| traffic.count(0, Instant::now(), Counted::Request));
        let allowed = |percent, per_second_min| {
            let budget = Budget { percent, per_second_min };
            let before = traffic.sums(Instant::now(), BUDGET_WINDOW).further;
            while terms.afford(budget, 0) {}
            traffic.sums(Instant::now(), BUDGET_WINDOW).further - before
        };
        assert_eq!((allowed(0, 0), allowed(5, 0), allowed(20, 0), allowed(20, 3)), (0, 50, 150, 30));
    }

    #[test]
    fn a_wait_grows_to_its_most_and_is_spread() {
        let retry = Retry { base: Duration::from_millis(10), max: Duration::from_millis(35), ..Retry::default() };
        let terms = terms(retry);
        for (retries, most) in [(0, 10), (1, 20), (2, 35), (40, 35)] {
            let waits: Vec<u128> = (0..1000).map(|seed| terms.back_off(retries, seed).as_micros()).collect();
            let (least, greatest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*least < most * 100 && *greatest > most * 900 && *greatest <= most * 1000, "{least} {greatest}");
        }
    }
}
