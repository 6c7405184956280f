//! Series by key. A key keeps its series as long as anything holds it, and for a while after, so that a counter does
//! not start anew because a route was away for one reload. Bounded: what finds no place counts as `other`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::telemetry::names::OTHER;

/// Keys of one family. 10,000 routes are a large gateway; beyond this a scrape would cost more than it tells.
pub(super) const SERIES_MAX: usize = 16_384;

/// How long a series that nothing holds is still exposed: past what Prometheus takes for staleness (5 minutes).
const LINGER: Duration = Duration::from_secs(15 * 60);

pub(super) struct Registry<S> {
    make: Box<dyn Fn() -> S + Send + Sync>,
    series: Mutex<BTreeMap<Box<str>, Entry<S>>>,
    overflows: AtomicU64,
}

struct Entry<S> {
    series: Arc<S>,
    unused_since: Option<Instant>,
}

impl<S> Registry<S> {
    pub(super) fn new(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), series: Mutex::default(), overflows: AtomicU64::new(0) }
    }

    /// The series of `key`, made if there is none.
    pub(super) fn of(&self, key: &str) -> Arc<S> {
        let mut all = self.lock();
        if !all.contains_key(key) && all.len() >= SERIES_MAX {
            all.retain(|_, entry| Arc::strong_count(&entry.series) > 1);
        }
        let full = all.len() >= SERIES_MAX && !all.contains_key(key);
        if full {
            self.overflows.fetch_add(1, Relaxed);
        }
        let key = if full { OTHER } else { key };
        let made = || Entry { series: Arc::new((self.make)()), unused_since: None };
        Arc::clone(&all.entry(key.into()).or_insert_with(made).series)
    }

    /// Every series that is held, or was until a while ago.
    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<S>)> {
        self.at(Instant::now())
    }

    /// Names that found no place.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows.load(Relaxed)
    }

    fn at(&self, now: Instant) -> Vec<(Box<str>, Arc<S>)> {
        let mut all = self.lock();
        all.retain(|_, entry| entry.stays(now));
        all.iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.series))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Entry<S>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Entry<S> {
    fn stays(&mut self, now: Instant) -> bool {
        if Arc::strong_count(&self.series) > 1 {
            self.unused_since = None;
            return true;
        }
        now.saturating_duration_since(*self.unused_since.get_or_insert(now)) < LINGER
    }
}

impl<S> fmt::Debug for Registry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_survives_a_short_absence_and_not_a_long_one() {
        let registry = Registry::new(AtomicU64::default);
        registry.of("a").store(7, Relaxed);
        let start = Instant::now();
        assert_eq!(registry.at(start).len(), 1, "first seen unused");
        assert_eq!(registry.at(start + LINGER / 2).len(), 1);
        let held = registry.of("a");
        assert_eq!(held.load(Relaxed), 7, "the same series");
        assert_eq!(registry.at(start + LINGER * 2).len(), 1, "held");
        drop(held);
        assert_eq!(registry.at(start + LINGER * 2).len(), 1, "unused from here");
        assert_eq!(registry.at(start + LINGER * 3).len(), 0);
    }

    #[test]
    fn a_full_family_makes_room_or_counts_as_other() {
        let registry = Registry::new(AtomicU64::default);
        let held: Vec<_> = (0..SERIES_MAX).map(|number| registry.of(&number.to_string())).collect();
        let (first, second) = (registry.of("one more"), registry.of("and another"));
        assert!(Arc::ptr_eq(&first, &second), "both are `other`");
        assert_eq!((registry.overflows(), registry.all().len()), (2, SERIES_MAX + 1));
        drop((held, first, second));
        let last = registry.of("later");
        assert_eq!(registry.all().len(), 1, "what nothing held made room");
        drop(last);
    }
}
