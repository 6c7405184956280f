//! One exporter: a bounded queue that workers put spans into, and the task on the control plane that sends them in
//! batches. While the collector is away it waits longer and longer, and what finds no room is dropped and counted.
//! Once nobody can put anything in, it sends what it has, and ends. Knows no configuration but its own.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::{sync::mpsc, time};

use super::{
    courier::{Courier, Failure},
    encode,
};
use crate::{
    config::spec,
    exchange::{SpanSink, TracedSpans},
    telemetry::{SpanLoss, TraceSeries},
    tls::Connector,
};

/// The end that workers have.
pub(super) struct Exporter {
    sender: mpsc::UnboundedSender<Parcel>,
    waiting: Arc<Waiting>,
    spans_max: usize,
}

enum Parcel {
    Spans(TracedSpans),
    // Nothing comes after it.
    End,
}

/// Between two attempts to send a batch, at first; doubled each time, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A batch that no collector took for this long is dropped: by then its traces are of no use.
const BATCH_AGE_MAX: Duration = Duration::from_secs(300);
/// The same, of an exporter that another configuration has replaced.
const LAST_AGE_MAX: Duration = Duration::from_secs(30);

// How many spans wait, in the queue and in the task's hands.
struct Waiting {
    spans: AtomicUsize,
    series: Arc<TraceSeries>,
}

impl Exporter {
    /// An exporter, and the work that it needs done on the control plane.
    pub(super) fn new(
        spec: &spec::Export,
        connector: Option<Arc<Connector>>,
        instance: &str,
        series: Arc<TraceSeries>,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting { spans: AtomicUsize::new(0), series });
        let mut resource = spec.resource.clone();
        let own = [
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", instance),
            ("telemetry.sdk.name", "tidegate"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        for (name, value) in own {
            if !resource.iter().any(|(known, _)| known == name) {
                resource.push((name.to_owned(), value.to_owned()));
            }
        }
        let work = Work {
            inbox,
            waiting: Arc::clone(&waiting),
            courier: Courier::new(&spec.otlp, connector),
            endpoint: spec.otlp.endpoint.clone(),
            resource,
            batch_spans_max: spec.batch_spans_max,
            delay: spec.schedule_delay,
            pending: VecDeque::new(),
            oldest: None,
            ending: false,
        };
        (Self { sender, waiting, spans_max: spec.queue_spans_max }, work.run())
    }

    /// Nothing is taken any more; what waits is sent.
    pub(super) fn end(&self) {
        drop(self.sender.send(Parcel::End));
    }
}

impl SpanSink for Exporter {
    fn take(&self, spans: TracedSpans) {
        let Waiting { spans: waiting, series } = &*self.waiting;
        if spans.left_out > 0 {
            series.dropped(SpanLoss::Exchange, spans.left_out.into());
        }
        let count = spans.spans.len();
        if waiting.fetch_add(count, Relaxed) + count > self.spans_max {
            waiting.fetch_sub(count, Relaxed);
            return series.dropped(SpanLoss::Queue, count as u64);
        }
        series.queued(count as u64);
        if self.sender.send(Parcel::Spans(spans)).is_err() {
            self.waiting.less(count);
            series.dropped(SpanLoss::Late, count as u64);
        }
    }
}

impl Waiting {
    fn less(&self, spans: usize) {
        self.spans.fetch_sub(spans, Relaxed);
        self.series.unqueued(spans as u64);
    }
}

// The task.
struct Work {
    inbox: mpsc::UnboundedReceiver<Parcel>,
    waiting: Arc<Waiting>,
    courier: Courier,
    endpoint: String,
    resource: Vec<(String, String)>,
    batch_spans_max: usize,
    delay: Duration,
    pending: VecDeque<Span>,
    // Since when the first of them waits.
    oldest: Option<Instant>,
    ending: bool,
}

impl Work {
    async fn run(mut self) {
        while !(self.ending && self.pending.is_empty()) {
            if self.gather().await {
                self.send().await;
            }
        }
    }

    // Waits for a batch that is full, or due; whether there is one.
    async fn gather(&mut self) -> bool {
        while !self.ending && self.pending.len() < self.batch_spans_max {
            let parcel = match self.oldest {
                None => self.inbox.recv().await,
                Some(oldest) => {
                    let due = time::Instant::from_std(oldest + self.delay);
                    let Ok(parcel) = time::timeout_at(due, self.inbox.recv()).await else { break };
                    parcel
                }
            };
            self.unpack(parcel);
        }
        !self.pending.is_empty()
    }

    fn unpack(&mut self, parcel: Option<Parcel>) {
        match parcel {
            Some(Parcel::Spans(spans)) => {
                self.oldest.get_or_insert_with(Instant::now);
                self.pending.extend(encode::messages(spans));
            }
            Some(Parcel::End) | None => {
                self.ending = true;
                self.inbox.close();
                while let Ok(Parcel::Spans(spans)) = self.inbox.try_recv() {
                    self.pending.extend(encode::messages(spans));
                }
            }
        }
    }

    // Sends one batch, however often that takes.
    async fn send(&mut self) {
        let count = self.pending.len().min(self.batch_spans_max);
        let spans = self.pending.drain(..count).collect();
        let batch = encode::batch(&self.resource, spans);
        self.oldest = (!self.pending.is_empty()).then(Instant::now);
        let (began, mut pause, mut said) = (Instant::now(), PAUSE.0, false);
        let series = Arc::clone(&self.waiting.series);
        loop {
            let failure = match self.courier.deliver(batch.clone()).await {
                Ok((rejected, words)) => {
                    let rejected = rejected.min(count as u64);
                    series.exported(count as u64 - rejected);
                    if rejected > 0 {
                        series.dropped(SpanLoss::Refused, rejected);
                        tracing::warn!(collector = self.endpoint, rejected, "the collector rejected spans: {words}");
                    }
                    break;
                }
                Err(failure) => failure,
            };
            series.failed();
            let (why, after) = match failure {
                Failure::Refused(why) => {
                    tracing::warn!(collector = self.endpoint, spans = count, "the collector refused a batch: {why}");
                    series.dropped(SpanLoss::Refused, count as u64);
                    break;
                }
                Failure::Later(why, after) => (why, after),
            };
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(collector = self.endpoint, "spans cannot be sent, and wait: {why}");
            }
            let age_max = if self.ending { LAST_AGE_MAX } else { BATCH_AGE_MAX };
            if began.elapsed() > age_max {
                tracing::warn!(collector = self.endpoint, spans = count, "a batch of spans was given up: {why}");
                series.dropped(SpanLoss::Late, count as u64);
                break;
            }
            self.rest(after.unwrap_or_else(|| jittered(pause)).min(PAUSE.1)).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        if said && began.elapsed() <= BATCH_AGE_MAX {
            tracing::info!(collector = self.endpoint, "the collector is spoken to again");
        }
        self.waiting.less(count);
    }

    // Waits, but no longer than until it is to end: then the next attempt is made at once.
    async fn rest(&mut self, pause: Duration) {
        let end = time::Instant::now() + pause;
        if self.ending {
            return time::sleep_until(end).await;
        }
        while !self.ending {
            let Ok(parcel) = time::timeout_at(end, self.inbox.recv()).await else { return };
            self.unpack(parcel);
        }
    }
}

// Between half of it and all of it, so that gateways that lost a collector together do not come back together.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = RandomState::new().hash_one(0) % 512;
    pause / 2 + pause * share as u32 / 1024
}
