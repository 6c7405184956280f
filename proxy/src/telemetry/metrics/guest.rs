//! Metrics that plugins define: counters, gauges and histograms by plugin and name, so many and no more. They are
//! labels of three fixed families, so that no plugin can clash with another, or with ours, in name or type.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::shard::{BUCKETS, Count, Distribution, Sharded};

/// Metrics of one plugin.
pub(super) const GUEST_METRICS_MAX: usize = 1024;
/// Metrics of all plugins.
pub(super) const GUEST_METRICS_ALL_MAX: usize = 4096;
/// Bytes of a metric's name.
const NAME_BYTES_MAX: usize = 128;

/// What a plugin's metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// Only rises.
    Counter,
    /// Is set; the last one to set it, on whichever worker, wins.
    Gauge,
    /// Counts values by powers of four, from 1.
    Histogram,
}

/// One metric of a plugin.
pub struct GuestMetric {
    kind: GuestKind,
    counts: Sharded<Count>,
    buckets: Sharded<Values>,
    level: AtomicU64,
}

#[derive(Default)]
struct Values {
    buckets: [Count; BUCKETS],
    sum: Count,
}

type Names = BTreeMap<Box<str>, Arc<GuestMetric>>;

pub(super) struct GuestMetrics {
    workers: usize,
    plugins: Mutex<BTreeMap<Box<str>, Names>>,
    refused: AtomicU64,
}

impl GuestMetric {
    /// What it is.
    pub const fn kind(&self) -> GuestKind {
        self.kind
    }

    /// Adds to a counter, on the thread of `worker`.
    #[inline]
    pub fn add(&self, worker: usize, by: u64) {
        self.counts.of(worker).inspect(|count| count.add(by));
    }

    /// Sets a gauge.
    pub fn set(&self, value: f64) {
        self.level.store(value.to_bits(), Relaxed);
    }

    /// Adds a value to a histogram, on the thread of `worker`.
    #[inline]
    pub fn observe(&self, worker: usize, value: u64) {
        self.buckets.of(worker).inspect(|values| {
            values.buckets[bucket(value)].add(1);
            values.sum.add(value);
        });
    }

    /// Adds to a gauge.
    pub fn raise(&self, by: f64) {
        let mut before = self.level.load(Relaxed);
        loop {
            let raised = (f64::from_bits(before) + by).to_bits();
            match self.level.compare_exchange_weak(before, raised, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => before = now,
            }
        }
    }

    /// What a counter or gauge stands at, over all workers; nothing of a histogram.
    pub fn value(&self) -> Option<f64> {
        match self.kind {
            GuestKind::Counter => Some(self.count() as f64),
            GuestKind::Gauge => Some(self.level()),
            GuestKind::Histogram => None,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.sum(|count| count)
    }

    pub(super) fn level(&self) -> f64 {
        f64::from_bits(self.level.load(Relaxed))
    }

    pub(super) fn distribution(&self) -> Distribution {
        let mut whole = Distribution { bounds: bounds(), buckets: [0; BUCKETS], sum: 0.0 };
        for shard in self.buckets.written() {
            for (sum, count) in whole.buckets.iter_mut().zip(&shard.buckets) {
                *sum += count.read();
            }
            whole.sum += shard.sum.read() as f64;
        }
        whole
    }
}

impl GuestMetrics {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, plugins: Mutex::default(), refused: AtomicU64::new(0) }
    }

    pub(super) fn of(&self, plugin: &str, name: &str, kind: GuestKind) -> Option<Arc<GuestMetric>> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = plugins.get(plugin).and_then(|names| names.get(name)) {
            return Some(Arc::clone(found)).filter(|found| found.kind == kind);
        }
        let all: usize = plugins.values().map(BTreeMap::len).sum();
        let own = plugins.get(plugin).map_or(0, BTreeMap::len);
        let usable = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if !usable || own >= GUEST_METRICS_MAX || all >= GUEST_METRICS_ALL_MAX {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        let made = Arc::new(GuestMetric {
            kind,
            counts: Sharded::new(self.workers),
            buckets: Sharded::new(self.workers),
            level: AtomicU64::new(0),
        });
        plugins.entry(plugin.into()).or_default().insert(name.into(), Arc::clone(&made));
        Some(made)
    }

    /// Plugin, name and metric of every one of `kind`.
    pub(super) fn all(&self, kind: GuestKind) -> Vec<(Box<str>, Box<str>, Arc<GuestMetric>)> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let named = plugins.iter().flat_map(|(plugin, names)| {
            names.iter().map(move |(name, metric)| (plugin.clone(), name.clone(), Arc::clone(metric)))
        });
        named.filter(|(_, _, metric)| metric.kind == kind).collect()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

// Bounds 1, 4, 16, ... 4^14: a plugin counts bytes, microseconds or items, and nobody tells us which.
fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
    (bits.div_ceil(2) as usize).min(BUCKETS - 1)
}

fn bounds() -> [f64; BUCKETS - 1] {
    std::array::from_fn(|power| (1_u64 << (2 * power)) as f64)
}

impl fmt::Debug for GuestMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestMetric({:?})", self.kind)
    }
}

impl fmt::Debug for GuestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestMetrics(refused {})", self.refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_gets_so_many_metrics_and_no_more() {
        let guests = GuestMetrics::new(1);
        for number in 0..GUEST_METRICS_MAX {
            assert!(guests.of("p", &format!("m{number}"), GuestKind::Counter).is_some());
        }
        assert!(guests.of("p", "more", GuestKind::Counter).is_none());
        assert!(guests.of("p", "m0", GuestKind::Counter).is_some(), "an old one stays");
        assert!(guests.of("p", "m0", GuestKind::Gauge).is_none(), "as what it is");
        assert!(guests.of("q", "more", GuestKind::Counter).is_some());
        assert!(guests.of("q", "", GuestKind::Counter).is_none());
        assert_eq!(guests.refused(), 2);
    }

    #[test]
    fn values_fall_at_or_below_their_bound() {
        let bounds = bounds();
        for value in [0, 1, 2, 4, 5, 16, 17, 1 << 28, (1 << 28) + 1, u64::MAX] {
            let expected = bounds.iter().position(|bound| value as f64 <= *bound).unwrap_or(BUCKETS - 1);
            assert_eq!(bucket(value), expected, "{value}");
        }
    }
}
