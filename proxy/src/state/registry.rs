//! A registry by state key. Knows nothing of what it holds.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Finds shared state by key or makes it; forgets what nobody has held for a time of grace. Takes a lock: for the
/// control plane, never for the request path.
pub struct Registry<K, V> {
    grace: Duration,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

struct Entry<V> {
    value: Arc<V>,
    unheld_since: Option<Instant>,
}

impl<K: Eq + Hash + Clone, V> Registry<K, V> {
    /// An empty registry.
    pub fn new(grace: Duration) -> Self {
        Self { grace, entries: Mutex::default() }
    }

    /// The state of `key`, made by `make` where there is none.
    pub fn find_or_make(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.unheld_since = None;
            return Arc::clone(&entry.value);
        }
        let value = Arc::new(make());
        entries.insert(key.clone(), Entry { value: Arc::clone(&value), unheld_since: None });
        value
    }

    /// The state of `key`, where there is one.
    pub fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.lock().get(key).map(|entry| Arc::clone(&entry.value))
    }

    /// Everything that it holds, in no order.
    pub fn all(&self) -> Vec<(K, Arc<V>)> {
        self.lock().iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.value))).collect()
    }

    /// Forgets what nobody has held since `now` less the time of grace. Holders that came and went between two sweeps
    /// are not noticed.
    pub fn sweep(&self, now: Instant) {
        let mut forgotten = Vec::new();
        self.lock().retain(|_, entry| {
            if Arc::strong_count(&entry.value) > 1 {
                entry.unheld_since = None;
                return true;
            }
            let since = *entry.unheld_since.get_or_insert(now);
            let keep = now.saturating_duration_since(since) < self.grace;
            if !keep {
                forgotten.push(Arc::clone(&entry.value));
            }
            keep
        });
        // Dropped here, when the lock is no longer held.
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> fmt::Debug for Registry<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.entries.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_found_again_until_its_grace_is_over() {
        let registry = Registry::<&str, u32>::new(Duration::from_secs(60));
        let held = registry.find_or_make(&"a", || 1);
        assert_eq!(*registry.find_or_make(&"a", || 2), 1);
        let now = Instant::now();
        registry.sweep(now + Duration::from_secs(1000));
        assert!(registry.find("a").is_some(), "it is held");
        drop(held);
        registry.sweep(now + Duration::from_secs(1000));
        registry.sweep(now + Duration::from_secs(1059));
        assert_eq!(*registry.find_or_make(&"a", || 3), 1, "within the time of grace");
        registry.sweep(now + Duration::from_secs(1060));
        registry.sweep(now + Duration::from_secs(1120));
        assert_eq!(registry.all(), []);
    }
}
