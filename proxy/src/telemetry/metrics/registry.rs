//! Series by key. A key keeps its series as long as anything holds it, and for a while after, so that a counter does
//! not start anew because a route was away for one reload. Bounded: what finds no place counts as `other`.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Unbounded},
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

/// Keys that are looked at to make room for one: a table of 100,000 routes asks for room again and again, and all of it is held.
const LOOKS: usize = 16;

pub(super) struct Registry<S> {
    make: Box<dyn Fn() -> S + Send + Sync>,
    series: Mutex<Family<S>>,
    overflows: AtomicU64,
}

struct Family<S> {
    by_key: BTreeMap<Box<str>, Entry<S>>,
    /// The key behind which room is looked for next.
    looked: Box<str>,
}

struct Entry<S> {
    series: Arc<S>,
    unused_since: Option<Instant>,
}

impl<S> Registry<S> {
    pub(super) fn new(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let family = Family { by_key: BTreeMap::new(), looked: "".into() };
        Self { make: Box::new(make), series: Mutex::new(family), overflows: AtomicU64::new(0) }
    }

    /// The series of `key`, made if there is none.
    pub(super) fn of(&self, key: &str) -> Arc<S> {
        let mut family = self.lock();
        let full = !family.by_key.contains_key(key) && !family.has_room();
        if full {
            self.overflows.fetch_add(1, Relaxed);
        }
        let key = if full { OTHER } else { key };
        let made = || Entry { series: Arc::new((self.make)()), unused_since: None };
        Arc::clone(&family.by_key.entry(key.into()).or_insert_with(made).series)
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
        let all = &mut self.lock().by_key;
        all.retain(|_, entry| entry.stays(now));
        all.iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.series))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Family<S>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Family<S> {
    // Whether there is room for one more, of what nothing holds if need be. Looks at a few keys, and at the next ones the next time.
    fn has_room(&mut self) -> bool {
        if self.by_key.len() >= SERIES_MAX {
            let (mut unheld, mut last) = (Vec::new(), None);
            for (key, entry) in self.by_key.range::<str, _>((Excluded(&*self.looked), Unbounded)).take(LOOKS) {
                if Arc::strong_count(&entry.series) == 1 {
                    unheld.push(key.clone());
                }
                last = Some(key);
            }
            // At the end it goes on from the front.
            self.looked = last.cloned().unwrap_or_default();
            for key in unheld {
                self.by_key.remove(&key);
            }
        }
        self.by_key.len() < SERIES_MAX
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
        write!(f, "Registry({})", self.lock().by_key.len())
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
        let later = registry.of("later");
        assert!(Arc::ptr_eq(&later, &registry.of("later")), "what nothing held made room");
        assert_eq!(registry.overflows(), 2);
    }

    #[test]
    fn room_is_found_wherever_it_is() {
        let registry = Registry::new(AtomicU64::default);
        let mut held: Vec<_> = (0..SERIES_MAX).map(|number| registry.of(&number.to_string())).collect();
        held.remove(SERIES_MAX / 2);
        let found = (0..SERIES_MAX).position(|number| {
            registry.of(&format!("new {number}"));
            registry.overflows() == number as u64
        });
        assert!(found.is_some(), "some question finds it");
    }
}
