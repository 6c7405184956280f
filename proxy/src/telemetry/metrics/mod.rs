//! Metrics: a registry of series by key, so that a series survives reloads, and process-wide counts. Rooms take
//! their series when a snapshot is built and count into it; `GET /metrics` sums. Names stand in [`super::names`].
//!
//! The text writer is ours: the handles must be (sharded, single-writer, see `shard`), and what a metrics library
//! would then still do for us is a hundred lines.

mod admission;
mod cache;
mod endpoints;
mod fetches;
mod gate;
mod guest;
mod mirror;
mod process;
mod proxied;
mod registry;
mod reloads;
mod render;
mod series;
mod shard;
mod sources;
mod traces;
mod tries;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

pub use cache::{CacheOutcome, CacheSeries};
pub use endpoints::{EjectionCause, EndpointSample, EndpointSeries, Endpoints, UpstreamSample};
pub use fetches::Fetches;
pub use gate::{GateOutcome, GateSeries};
pub use guest::{GuestKind, GuestMetric};
pub use mirror::{MirrorOutcome, MirrorSeries};
pub use proxied::ProxyOutcome;
pub use reloads::Loaded;
pub use series::{ListenerSeries, PluginSeries, RouteSeries, TrapKind, UpstreamSeries};
pub use sources::SourceSample;
pub use traces::{SpanLoss, TraceSeries};
pub use tries::{HedgeOutcome, RetryReason, Withheld};

use self::{
    guest::GuestMetrics,
    registry::Registry,
    reloads::Reloads,
    shard::{Count, Sharded},
};
use super::Timestamp;
use crate::drain::Live;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    rings: AtomicUsize,
    started: Timestamp,
    routes: Registry<RouteSeries>,
    upstreams: Registry<UpstreamSeries>,
    plugins: Registry<PluginSeries>,
    tables: Registry<PluginSeries>,
    listeners: Registry<ListenerSeries>,
    mirrors: Registry<MirrorSeries>,
    gates: Registry<GateSeries>,
    caches: Registry<CacheSeries>,
    sources: Mutex<Vec<SourceSample>>,
    guests: GuestMetrics,
    reloads: Mutex<Reloads>,
    modules_compiled: AtomicU64,
    fetches: OnceLock<Arc<Fetches>>,
    access_dropped: Sharded<Count>,
    access_write_errors: AtomicU64,
    access_lost: AtomicU64,
    traces: Arc<TraceSeries>,
}

impl Metrics {
    /// Metrics for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers,
            rings: AtomicUsize::new(0),
            started: Timestamp::now(),
            routes: Registry::new(move || RouteSeries::new(workers)),
            upstreams: Registry::new(move || UpstreamSeries::new(workers)),
            plugins: Registry::new(move || PluginSeries::new(workers)),
            tables: Registry::new(move || PluginSeries::new(workers)),
            listeners: Registry::new(move || ListenerSeries::new(workers)),
            mirrors: Registry::new(move || MirrorSeries::new(workers)),
            gates: Registry::new(move || GateSeries::new(workers)),
            caches: Registry::new(move || CacheSeries::new(workers)),
            sources: Mutex::default(),
            guests: GuestMetrics::new(workers),
            reloads: Mutex::default(),
            modules_compiled: AtomicU64::new(0),
            fetches: OnceLock::new(),
            access_dropped: Sharded::new(workers),
            access_write_errors: AtomicU64::new(0),
            access_lost: AtomicU64::new(0),
            traces: Arc::default(),
        })
    }

    /// So many workers read and write over an io_uring.
    pub fn show_rings(&self, count: usize) {
        self.rings.store(count, Relaxed);
    }

    /// The series of a route, by id.
    pub fn route(&self, id: &str) -> Arc<RouteSeries> {
        self.routes.of(id)
    }

    /// The series of an upstream, by name.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamSeries> {
        self.upstreams.of(name)
    }

    /// The upstreams that stand, with their endpoints as they are now.
    pub fn upstreams(&self) -> Vec<UpstreamSample> {
        endpoints::samples(self)
    }

    /// The series of a plugin, by the middleware's name.
    pub fn plugin(&self, name: &str) -> Arc<PluginSeries> {
        self.plugins.of(name)
    }

    /// The series of a routing table, by name; counted as a plugin's.
    pub fn table(&self, name: &str) -> Arc<PluginSeries> {
        self.tables.of(name)
    }

    /// The series of a listener, by name.
    pub fn listener(&self, name: &str) -> Arc<ListenerSeries> {
        self.listeners.of(name)
    }

    /// The series of a mirror, by the middleware's name.
    pub fn mirror(&self, name: &str) -> Arc<MirrorSeries> {
        self.mirrors.of(name)
    }

    /// The series of a concurrency limit, by the middleware's name.
    pub fn gate(&self, name: &str) -> Arc<GateSeries> {
        self.gates.of(name)
    }

    /// The series of a response cache, by the middleware's name.
    pub fn cache(&self, name: &str) -> Arc<CacheSeries> {
        self.caches.of(name)
    }

    /// The metric `name` that `plugin` defines; `None` where its name is not usable, it exists as another kind, or
    /// the plugin or the process has too many. For the control plane or a plugin's first use: it takes a lock.
    pub fn guest(&self, plugin: &str, name: &str, kind: GuestKind) -> Option<Arc<GuestMetric>> {
        self.guests.of(plugin, name, kind)
    }

    /// The series of traces.
    pub fn traces(&self) -> Arc<TraceSeries> {
        Arc::clone(&self.traces)
    }

    /// A module was compiled, or loaded from the cache of compiled ones.
    pub fn module_compiled(&self) {
        self.modules_compiled.fetch_add(1, Relaxed);
    }

    /// The plugins in whose place an earlier version serves, and those where that was done just now.
    pub fn fallbacks(&self, serving: Vec<String>, now: &[Arc<str>]) {
        let known = &mut self.reloads().fallbacks;
        known.values_mut().for_each(|(_, serves)| *serves = false);
        serving.into_iter().for_each(|plugin| known.entry(plugin).or_default().1 = true);
        now.iter().for_each(|plugin| known.entry(plugin.to_string()).or_default().0 += 1);
    }

    /// Shows what is counted of modules that are fetched; the first time only.
    pub fn show_fetches(&self, fetches: Arc<Fetches>) {
        drop(self.fetches.set(fetches));
    }

    /// How many modules were compiled, or loaded from the cache.
    pub fn modules_compiled(&self) -> u64 {
        self.modules_compiled.load(Relaxed)
    }

    /// Counts an attempt to load.
    pub fn loaded(&self, attempt: &Loaded<'_>) {
        self.reloads().count(attempt);
    }

    /// Says which generation serves, and the hash of its tree.
    pub fn serving(&self, generation: u64, hash: &str) {
        let mut reloads = self.reloads();
        (reloads.generation, reloads.hash) = (generation, hash.to_owned());
    }

    /// Says which certificates are shown from now on: the listener, the file, and when it expires, in seconds since the
    /// epoch.
    pub fn certificates(&self, shown: Vec<(String, String, u64)>) {
        self.reloads().certificates = shown;
    }

    /// Says whether the last good tree serves in place of what should.
    pub fn last_good_serves(&self, serves: bool) {
        self.reloads().last_good_serves = serves;
    }

    /// A tree was to be kept on disk, and was or was not.
    pub fn last_good_kept(&self, kept: bool) {
        let mut reloads = self.reloads();
        match kept {
            true => reloads.last_good_kept = Some(Timestamp::now()),
            false => reloads.last_good_errors += 1,
        }
    }

    /// What this gateway serves could not be written to etcd.
    pub fn fleet_status_failed(&self) {
        self.reloads().fleet_status_errors += 1;
    }

    /// Says which generations are live; to be called before [`Metrics::render`].
    pub fn generations(&self, live: Vec<Live>) {
        self.reloads().live = live;
    }

    /// Says how the sources are, in the order of the layers; to be called before [`Metrics::render`].
    pub fn sources(&self, samples: Vec<SourceSample>) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = samples;
    }

    /// An access-log line was dropped because the writer fell behind.
    pub(crate) fn access_dropped(&self, worker: usize) {
        self.access_dropped.of(worker).inspect(|count| count.add(1));
    }

    /// A write of the access log failed, with this many lines.
    pub(crate) fn access_write_failed(&self, lines: u64) {
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
