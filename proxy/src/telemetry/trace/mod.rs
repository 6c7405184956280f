//! Traces: which exchanges are traced, what their spans say, and how they get to a collector (OTLP). A configuration's
//! sampler and exporter are a [`Tracer`], held by its snapshot and by the exchanges that it traces; the exporters are
//! the [`Tracing`]'s, held by the process and found by identity, so that a reload that changes nothing about one leaves
//! it alone. Nothing here runs on a worker but the decision, and for what is traced, the making of its spans.

mod courier;
mod encode;
mod exporter;
mod sampler;
mod semantics;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use http::HeaderMap;
use tokio::runtime::Handle;

pub use self::semantics::{begin_plugin, begin_try, end_plugin, end_try, exchange};
use self::{exporter::Exporter, sampler::Sampler};
use super::metrics::Metrics;
use crate::{
    config::spec,
    exchange::{
        SpanSink, Spans, TraceContext,
        trace::{Ids, TRACESTATE, is_state},
    },
    identity::Identity,
    tls::Connector,
};

/// The exporters of the process.
pub struct Tracing {
    metrics: Arc<Metrics>,
    control: Handle,
    instance: String,
    exporters: Mutex<Vec<(Identity, Weak<Exporter>)>>,
    tasks: tokio_util::task::TaskTracker,
}

/// The sampler and the exporter of one configuration.
pub struct Tracer {
    sampler: Sampler,
    exporter: Arc<Exporter>,
}

impl Tracing {
    /// None yet. Exporters run on `control`; what becomes of spans is counted in `metrics`.
    pub fn new(control: Handle, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            control,
            instance: instance(),
            exporters: Mutex::default(),
            tasks: Default::default(),
        })
    }

    /// The tracer of a configuration, with the exporter that there is for it already, or a new one, which does nothing
    /// before its first span. `connector` is for a collector that is spoken to over TLS.
    pub fn tracer(&self, spec: &spec::Tracing, connector: Option<Arc<Connector>>) -> Arc<Tracer> {
        let identity = Identity::of(&spec.export);
        let mut exporters = self.exporters();
        exporters.retain(|(_, exporter)| exporter.strong_count() > 0);
        let found = exporters.iter().find(|(known, _)| *known == identity).and_then(|(_, found)| found.upgrade());
        let exporter = found.unwrap_or_else(|| {
            let (made, work) = Exporter::new(&spec.export, connector, &self.instance, self.metrics.traces());
            let made = Arc::new(made);
            // Not while nothing can be spawned: the runtime is at its end, and so is everything else.
            drop(self.tasks.spawn_on(work, &self.control));
            exporters.push((identity, Arc::downgrade(&made)));
            made
        });
        Arc::new(Tracer { sampler: Sampler::new(&spec.sample), exporter })
    }

    /// Sends what waits, and ends all exporters: at the end of the process, when no exchange is left. Answers whether
    /// all was sent, or given up, by `deadline`.
    pub async fn flush(&self, deadline: Duration) -> bool {
        for exporter in self.exporters().iter().filter_map(|(_, exporter)| exporter.upgrade()) {
            exporter.end();
        }
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }

    fn exporters(&self) -> std::sync::MutexGuard<'_, Vec<(Identity, Weak<Exporter>)>> {
        self.exporters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracer {
    /// Decides whether the exchange of `trace` is traced, says so in it, and begins its spans if it is.
    #[inline]
    pub fn decide(&self, trace: &mut TraceContext, headers: &HeaderMap, ids: &Rc<Ids>) -> Option<Rc<Spans>> {
        trace.sampled = self.sampler.samples(trace);
        if trace.sampled { Some(self.begin(trace, headers, ids)) } else { None }
    }

    #[cold]
    fn begin(&self, trace: &TraceContext, headers: &HeaderMap, ids: &Rc<Ids>) -> Rc<Spans> {
        let state = if trace.parent_id.is_some() && is_state(headers) { state(headers) } else { "".into() };
        let sink = Arc::clone(&self.exporter) as Arc<dyn SpanSink>;
        Spans::new(*trace, state, Rc::clone(ids), sink)
    }
}

fn state(headers: &HeaderMap) -> Arc<str> {
    let fields: Vec<_> = headers.get_all(&TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    fields.join(",").into()
}

// What tells this process from its like (`service.instance.id`): a UUID of version 4, of the system's randomness.
fn instance() -> String {
    let random = RandomState::new();
    let whole = u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1));
    let marked = whole & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{marked:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracing({} exporters)", self.exporters().len())
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({:?})", self.sampler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_uuid_of_version_4() {
        let one = instance();
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert!(matches!(&one[19..20], "8" | "9" | "a" | "b"), "{one}");
        assert_ne!(one, instance());
    }
}
