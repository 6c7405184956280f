//! The series of traces: what became of spans. Written for what is traced only, and once an exchange, so its counts are
//! of the process and not of each worker.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Metrics, render::Page};
use crate::telemetry::names;

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanLoss {
    /// As many as may wait were waiting.
    Queue,
    /// Their exchange had as many as it may have.
    Exchange,
    /// The collector does not want them.
    Refused,
    /// The collector was away for too long, or the gateway ended before it came back.
    Late,
}

impl SpanLoss {
    const ALL: [Self; 4] = [Self::Queue, Self::Exchange, Self::Refused, Self::Late];

    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceSeries {
    exported: AtomicU64,
    dropped: [AtomicU64; SpanLoss::ALL.len()],
    queued: AtomicU64,
    failures: AtomicU64,
}

impl TraceSeries {
    /// So many wait now that did not.
    pub(crate) fn queued(&self, spans: u64) {
        self.queued.fetch_add(spans, Relaxed);
    }

    /// So many wait no longer.
    pub(crate) fn unqueued(&self, spans: u64) {
        self.queued.fetch_sub(spans, Relaxed);
    }

    /// The collector took so many.
    pub(crate) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    /// So many were dropped.
    pub(crate) fn dropped(&self, loss: SpanLoss, spans: u64) {
        self.dropped[loss as usize].fetch_add(spans, Relaxed);
    }

    /// An attempt to send some failed.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }
}

/// The families of traces.
pub(super) fn families(metrics: &Metrics, page: &mut Page) {
    let series = &metrics.traces;
    page.one(names::TRACE_SPANS_EXPORTED, series.exported.load(Relaxed));
    page.family(names::TRACE_SPANS_DROPPED, |to| {
        SpanLoss::ALL.iter().for_each(|loss| to.sample(&[loss.name()], series.dropped[*loss as usize].load(Relaxed)));
    });
    page.one(names::TRACE_SPANS_QUEUED, series.queued.load(Relaxed));
    page.one(names::TRACE_EXPORT_FAILURES, series.failures.load(Relaxed));
}
