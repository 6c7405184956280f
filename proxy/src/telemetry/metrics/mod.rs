//! Metrics: a registry of series by key, so that a series survives reloads, and process-wide counts. Rooms take
//! their series when a snapshot is built and count into it; `GET /metrics` sums. Names stand in [`super::names`].
//!
//! The text writer is ours: the handles must be (sharded, single-writer, see [`shard`]), and what a metrics library
//! would then still do for us is a hundred lines.

mod guest;
mod process;
mod registry;
mod render;
mod series;
mod shard;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

pub use guest::{GuestKind, GuestMetric};
pub use series::{ListenerSeries, PluginSeries, RouteSeries, SourceSeries, UpstreamSeries};

use self::{
    guest::GuestMetrics,
    registry::Registry,
    shard::{Count, Histogram, Sharded, Slow},
};
use super::Timestamp;
use crate::{
    drain::Live,
    reload::status::{Attempt, Outcome, Phase, Trigger},
};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    started: Timestamp,
    routes: Registry<RouteSeries>,
    upstreams: Registry<UpstreamSeries>,
    plugins: Registry<PluginSeries>,
    listeners: Registry<ListenerSeries>,
    sources: Registry<SourceSeries>,
    guests: GuestMetrics,
    reloads: Mutex<Reloads>,
    modules_compiled: AtomicU64,
    access_dropped: Sharded<Count>,
    access_write_errors: AtomicU64,
    access_lost: AtomicU64,
}

// Written by the control plane, a few times a second at most.
#[derive(Debug, Default)]
struct Reloads {
    attempts: [[u64; Outcome::ALL.len()]; Trigger::ALL.len()],
    phases: [Histogram<Slow>; Phase::ALL.len()],
    last_attempt: Option<(Timestamp, Outcome)>,
    last_success: Option<Timestamp>,
    generation: u64,
    hash: String,
    live: Vec<Live>,
}

impl Metrics {
    /// Metrics for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers,
            started: Timestamp::now(),
            routes: Registry::new(move || RouteSeries::new(workers)),
            upstreams: Registry::new(move || UpstreamSeries::new(workers)),
            plugins: Registry::new(move || PluginSeries::new(workers)),
            listeners: Registry::new(move || ListenerSeries::new(workers)),
            sources: Registry::new(SourceSeries::default),
            guests: GuestMetrics::new(workers),
            reloads: Mutex::default(),
            modules_compiled: AtomicU64::new(0),
            access_dropped: Sharded::new(workers),
            access_write_errors: AtomicU64::new(0),
            access_lost: AtomicU64::new(0),
        })
    }

    /// The series of a route, by id.
    pub fn route(&self, id: &str) -> Arc<RouteSeries> {
        self.routes.of(id)
    }

    /// The series of an upstream, by name.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamSeries> {
        self.upstreams.of(name)
    }

    /// The series of a plugin, by the middleware's name.
    pub fn plugin(&self, name: &str) -> Arc<PluginSeries> {
        self.plugins.of(name)
    }

    /// The series of a listener, by name.
    pub fn listener(&self, name: &str) -> Arc<ListenerSeries> {
        self.listeners.of(name)
    }

    /// The series of a source, by the name that the operator knows it by.
    pub fn source(&self, name: &str) -> Arc<SourceSeries> {
        self.sources.of(name)
    }

    /// The metric `name` that `plugin` defines; `None` where its name is not usable, it exists as another kind, or
    /// the plugin or the process has too many. For the control plane or a plugin's first use: it takes a lock.
    pub fn guest(&self, plugin: &str, name: &str, kind: GuestKind) -> Option<Arc<GuestMetric>> {
        self.guests.of(plugin, name, kind)
    }

    /// A module was compiled, or loaded from the cache of compiled ones.
    pub fn module_compiled(&self) {
        self.modules_compiled.fetch_add(1, Relaxed);
    }

    /// How many modules were compiled, or loaded from the cache.
    pub fn modules_compiled(&self) -> u64 {
        self.modules_compiled.load(Relaxed)
    }

    /// Counts an attempt to load; a dry run is not counted.
    pub fn attempt(&self, attempt: &Attempt) {
        if attempt.dry_run {
            return;
        }
        let mut reloads = self.reloads();
        reloads.attempts[attempt.trigger as usize][attempt.outcome as usize] += 1;
        for (phase, time) in &attempt.phases_ms.0 {
            reloads.phases[*phase as usize].observe(*time);
        }
        reloads.last_attempt = Some((attempt.at, attempt.outcome));
        if attempt.outcome != Outcome::Refused {
            reloads.last_success = Some(attempt.at);
        }
    }

    /// Says which generation serves, and the hash of its tree.
    pub fn serving(&self, generation: u64, hash: &str) {
        let mut reloads = self.reloads();
        (reloads.generation, reloads.hash) = (generation, hash.to_owned());
    }

    /// Says which generations are live; to be called before [`Metrics::render`].
    pub fn generations(&self, live: Vec<Live>) {
        self.reloads().live = live;
    }

    /// An access-log line was dropped because the writer fell behind.
    pub fn access_dropped(&self, worker: usize) {
        self.access_dropped.of(worker).inspect(|count| count.add(1));
    }

    /// A write of the access log failed, with this many lines.
    pub fn access_write_failed(&self, lines: u64) {
        self.access_write_errors.fetch_add(1, Relaxed);
        self.access_lost.fetch_add(lines, Relaxed);
    }

    /// Access-log lines that reached no target.
    pub fn access_lines_dropped(&self) -> u64 {
        self.access_dropped.sum(|count| count) + self.access_lost.load(Relaxed)
    }

    /// Everything, as Prometheus text (version 0.0.4).
    pub fn render(&self) -> String {
        render::text(self)
    }

    fn reloads(&self) -> std::sync::MutexGuard<'_, Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
