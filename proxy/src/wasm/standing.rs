//! How one version of a plugin does: whether it ever worked, and whether it is left alone for failing. Written by workers
//! once each, read by whoever may put the version before it in its place. Knows no guest.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use crate::identity::Identity;

/// See the module. One for each version: the same module with the same configuration under the same name.
#[derive(Debug)]
pub struct Standing {
    worked: AtomicBool,
    failed: AtomicBool,
    distress: Arc<Notify>,
}

/// Those of all versions that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Standings {
    all: Mutex<HashMap<Identity, Weak<Standing>>>,
    distress: Arc<Notify>,
}

impl Standing {
    /// Whether a call of it ever ended well.
    pub fn has_worked(&self) -> bool {
        self.worked.load(Relaxed)
    }

    /// Whether it failed so often in a row that a worker leaves it alone.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Begins anew, when it is put to serve.
    pub fn forgive(&self) {
        self.failed.store(false, Relaxed);
    }

    /// It worked before, in another run of the process.
    pub fn recall(&self) {
        self.worked.store(true, Relaxed);
    }

    /// A call ended well. Whoever keeps what is known of versions is told of the first.
    pub(super) fn work(&self) {
        if !self.worked.load(Relaxed) && !self.worked.swap(true, Relaxed) {
            self.distress.notify_one();
        }
    }

    /// A worker leaves it alone.
    pub(super) fn fail(&self) {
        if !self.failed.swap(true, Relaxed) {
            self.distress.notify_one();
        }
    }
}

impl Standings {
    /// That of a version.
    pub(super) fn of(&self, version: Identity) -> Arc<Standing> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, standing| standing.strong_count() > 0);
        if let Some(found) = all.get(&version).and_then(Weak::upgrade) {
            return found;
        }
        let (worked, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        let made = Arc::new(Standing { worked, failed, distress: Arc::clone(&self.distress) });
        all.insert(version, Arc::downgrade(&made));
        made
    }

    /// Told when a version fails, or works for the first time.
    pub(super) fn distress(&self) -> Arc<Notify> {
        Arc::clone(&self.distress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_as_long_as_somebody_holds_it() {
        let standings = Standings::default();
        let (one, other) = (Identity::of_bytes(b"1"), Identity::of_bytes(b"2"));
        let held = standings.of(one);
        held.work();
        held.fail();
        assert!(standings.of(one).has_worked() && standings.of(one).has_failed());
        assert!(!standings.of(other).has_failed());
        held.forgive();
        assert!(!held.has_failed());
        drop(held);
        assert!(!standings.of(one).has_worked());
    }
}
