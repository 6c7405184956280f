//! How members stand, where that changes while a configuration serves: published by the control plane, seen by each
//! worker through a copy of its own, which costs one relaxed load while nothing changed. Knows no policy.

use std::{
    cell::RefCell,
    collections::HashMap,
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Standing;
use crate::exchange::{Timers, Worker};

/// The one place where a changing standing is published.
#[derive(Debug)]
pub(in crate::upstream) struct Moving {
    id: u64,
    version: AtomicU64,
    // Locked to publish, and by each worker once for each version.
    current: Mutex<Arc<Standing>>,
    published: Notify,
    /// Wakes whoever publishes: something changed of a member.
    pub(in crate::upstream) stirred: Arc<Notify>,
    /// Held by whoever ejects, so that no two do at once and pass the ceiling.
    pub(super) ejecting: Mutex<()>,
}

/// A worker's copy.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) standing: Arc<Standing>,
    version: u64,
    of: Weak<Moving>,
}

/// A worker's copies, to be had from [`crate::exchange::Locals::of`].
#[derive(Debug, Default)]
struct Sights(RefCell<HashMap<u64, Rc<Sight>, foldhash::fast::RandomState>>);

impl Moving {
    pub(super) fn new(standing: Standing) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            version: AtomicU64::new(0),
            current: Mutex::new(Arc::new(standing)),
            published: Notify::new(),
            stirred: Arc::default(),
            ejecting: Mutex::default(),
        }
    }

    /// What was published last.
    pub(in crate::upstream) fn now(&self) -> Arc<Standing> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes `standing`, unless it comes to the same as what there is.
    pub(in crate::upstream) fn publish(&self, standing: Standing) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.equals(&standing) {
            return;
        }
        let before = std::mem::replace(&mut *current, Arc::new(standing));
        self.version.fetch_add(1, Release);
        drop(current);
        drop(before);
        self.published.notify_waiters();
    }

    /// What `worker` sees.
    #[inline]
    pub(super) fn sight(self: &Arc<Self>, worker: &Worker) -> Rc<Sight> {
        let sights = worker.locals.of::<Sights>();
        if let Some(sight) = sights.0.borrow().get(&self.id)
            && sight.version == self.version.load(Relaxed)
        {
            return Rc::clone(sight);
        }
        self.look(&sights)
    }

    #[cold]
    fn look(self: &Arc<Self>, sights: &Sights) -> Rc<Sight> {
        let version = self.version.load(Acquire);
        let sight = Rc::new(Sight { standing: self.now(), version, of: Arc::downgrade(self) });
        let mut all = sights.0.borrow_mut();
        let before = all.insert(self.id, Rc::clone(&sight));
        let gone: Vec<_> = all.extract_if(|_, sight| sight.of.strong_count() == 0).collect();
        // Dropped when they are no longer borrowed.
        drop(all);
        drop((before, gone));
        sight
    }

    /// Waits until the first members are known, `time` at most.
    pub(super) async fn known(&self, worker: &Worker, time: Duration) {
        let end = Instant::now() + time;
        let timers = worker.locals.of::<Timers>();
        loop {
            let mut published = pin!(self.published.notified());
            published.as_mut().enable();
            let waits = {
                let now = self.now();
                now.roster.waits && now.share.is_none()
            };
            if !waits || timers.within(end, published).await.is_err() {
                return;
            }
        }
    }
}
