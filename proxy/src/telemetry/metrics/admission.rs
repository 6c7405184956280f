//! What an upstream's series counts of requests that it did not take at once: those that waited, and its breaker. Knows
//! no text format.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    UpstreamSeries,
    render::Page,
    shard::{Count, Distribution, Histogram, Slow},
};
use crate::telemetry::names;

#[derive(Debug, Default)]
pub(super) struct AdmissionCounts {
    queued: Count,
    waits: Histogram<Slow>,
}

/// Written by whichever worker changes it.
#[derive(Debug, Default)]
pub(super) struct BreakerCounts {
    // One more than its state; 0 where there is none.
    state: AtomicU64,
    openings: AtomicU64,
}

impl UpstreamSeries {
    /// A request waits for its turn, until [`UpstreamSeries::unqueued`].
    pub fn queued(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| shard.admission.queued.add(1));
    }

    /// A request does not wait any more, whether it was let in or gave up.
    pub fn unqueued(&self, worker: usize, time: Duration) {
        self.shards.of(worker).inspect(|shard| {
            shard.admission.queued.less();
            shard.admission.waits.observe(time);
        });
    }

    /// The state of its breaker: 0 closed, 1 half open, 2 open.
    pub fn breaker(&self, state: u64) {
        // Only a change is written, as all workers read it.
        if self.breaker.state.load(Relaxed) != state + 1 {
            self.breaker.state.store(state + 1, Relaxed);
        }
    }

    /// Its breaker opened.
    pub fn breaker_opened(&self) {
        self.breaker.openings.fetch_add(1, Relaxed);
    }
}

/// Writes the families; of breakers those that were ever asked.
pub(super) fn render(all: &[(Box<str>, Arc<UpstreamSeries>)], page: &mut Page) {
    page.family(names::UPSTREAM_QUEUE, |to| {
        for (name, series) in all {
            to.sample(&[name], series.shards.level(|shard| &shard.admission.queued));
        }
    });
    page.family(names::UPSTREAM_QUEUE_DURATION, |to| {
        for (name, series) in all {
            to.histogram(&[name], &Distribution::of(series.shards.written().map(|shard| &shard.admission.waits)));
        }
    });
    let asked = || all.iter().filter(|(_, series)| series.breaker.state.load(Relaxed) > 0);
    page.family(names::UPSTREAM_BREAKER, |to| {
        asked().for_each(|(name, series)| to.sample(&[name], series.breaker.state.load(Relaxed) - 1));
    });
    page.family(names::UPSTREAM_BREAKER_OPENINGS, |to| {
        asked().for_each(|(name, series)| to.sample(&[name], series.breaker.openings.load(Relaxed)));
    });
}
