//! One call into a guest, within its time. Time in which the guest waits for a body to come is not its own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{pool::Lease, sight::Sight, visit::Visit};
use crate::{
    telemetry::trace,
    wasm::{
        call::Fail,
        deadline::{Deadline, Late},
        slice,
    },
};

impl Visit {
    /// Calls `handle_request`; answers with its result, and has the guest leased.
    ///
    /// # Errors
    /// Where there is no guest, or it fails: then it is gone.
    pub(super) async fn handle_request(self: &Rc<Self>) -> Result<u64, Fail> {
        self.run("handle_request", async |mut lease: Lease| {
            let guest = lease.guest();
            guest.store.set_epoch_deadline(slice::FIRST);
            let function = guest.handle_request.clone();
            let called = function.call_async(&mut guest.store, ()).await;
            called.map_err(|error| Fail::Trap(guest.failure(&error))).map(|result| (lease, result))
        })
        .await
    }

    /// Calls `handle_response`, and has the guest leased.
    ///
    /// # Errors
    /// As of [`Visit::handle_request`].
    pub(super) async fn handle_response(self: &Rc<Self>, is_error: bool) -> Result<(), Fail> {
        self.run("handle_response", async |mut lease: Lease| {
            let guest = lease.guest();
            guest.store.set_epoch_deadline(slice::FIRST);
            let function = guest.handle_response.clone();
            let params = (self.context.get(), u32::from(is_error));
            let called = function.call_async(&mut guest.store, params).await;
            called.map_err(|error| Fail::Trap(guest.failure(&error))).map(|()| (lease, ()))
        })
        .await
    }

    async fn run<T>(
        self: &Rc<Self>,
        phase: &'static str,
        call: impl AsyncFnOnce(Lease) -> Result<(Lease, T), Fail>,
    ) -> Result<T, Fail> {
        let started = Instant::now();
        let limit = self.limit(started);
        let _running = self.local.shared.filters.ticker.run(self.local.worker);
        let span = trace::begin_plugin(&self.exchange, &self.local.name, phase);
        let mut call = pin!(async {
            let lease = match self.lease.take() {
                Some(lease) => lease,
                None => {
                    let mut lease = self.local.lease().await?;
                    self.features.set(lease.guest().store.data().features);
                    lease
                }
            };
            let (mut lease, result) = call(lease).await?;
            lease.returned();
            self.lease.replace(Some(lease));
            Ok(result)
        });
        let mut time = Time {
            deadline: Deadline::at(started + limit),
            ends: started + limit,
            waiting: None,
            waited: Duration::ZERO,
        };
        let outcome = match self.local.pace.begin(started, started + limit).await {
            Ok(()) => poll_fn(|cx| time.poll(self, call.as_mut(), cx)).await,
            Err(Late) => None,
        };
        let outcome = outcome.unwrap_or(Err(Fail::Timeout(limit)));
        let spent = started.elapsed().saturating_sub(time.waited);
        self.spent.set(self.spent.get() + spent);
        self.exchange.record.spend(&self.step, &self.local.name, spent);
        trace::end_plugin(span, || outcome.as_ref().err().map(|fail| (fail.kind(), fail.text())));
        if outcome.is_ok() {
            self.local.breaker.succeeded();
        }
        outcome
    }

    // What is left of the call's, the plugin's and the exchange's time.
    fn limit(&self, now: Instant) -> Duration {
        let limits = &self.local.plugin().limits;
        let own = limits.call_timeout.min(limits.exchange_timeout.saturating_sub(self.spent.get()));
        self.exchange.time_left(now).map_or(own, |left| own.min(left))
    }
}

/// The time of one call.
struct Time {
    deadline: Deadline,
    ends: Instant,
    /// Since when it waits for a body.
    waiting: Option<Instant>,
    waited: Duration,
}

impl Time {
    // Polls `call` with its visit in sight of host functions, until the deadline; `None` when that came first, and then
    // the call is to be dropped, with its guest.
    fn poll<T>(
        &mut self,
        visit: &Rc<Visit>,
        call: Pin<&mut impl Future<Output = T>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        if let Some(since) = self.waiting.take() {
            let waited = since.elapsed();
            self.ends += waited;
            self.deadline.set(self.ends);
            self.waited += waited;
        }
        visit.waits.set(false);
        let sight = Sight::open(visit);
        let local = &visit.local;
        if let Poll::Ready(output) = local.pace.watch(&local.shared.filters.ticker, || call.poll(cx)) {
            return Poll::Ready(Some(output));
        }
        drop(sight);
        if visit.waits.get() {
            self.waiting = Some(Instant::now());
            return Poll::Pending;
        }
        // Most calls never get here, and need no timer.
        self.deadline.poll(cx).map(|()| None)
    }
}
