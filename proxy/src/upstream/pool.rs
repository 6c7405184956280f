//! Unused connections, per worker and endpoint, the one used last on top. Found by the endpoint's state, so that they
//! outlive reloads. Knows nothing of upstreams.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    sync::{self, Arc},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use super::{http2::Lines, resolve, wire::Wire};
use crate::{
    exchange::{Timers, Worker},
    ring::Ring,
    state::{EndpointState, Gauges, States},
    telemetry::UpstreamSeries,
};

/// All pools of a worker; to be had from [`crate::exchange::Locals::of`].
#[derive(Default)]
pub(super) struct Pools {
    by_endpoint: RefCell<HashMap<u64, Rc<Pool>, foldhash::fast::RandomState>>,
    facts: RefCell<HashMap<*const UpstreamSeries, Rc<Facts>, foldhash::fast::RandomState>>,
    timers: OnceCell<Rc<Timers>>,
}

/// What exchanges and connections hold of their upstream: the worker's own copy, so that no worker writes a reference
/// count that another one writes.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) name: Arc<str>,
    pub(super) series: Arc<UpstreamSeries>,
}

/// The unused connections of one worker to one endpoint.
pub(super) struct Pool {
    worker: usize,
    endpoint: sync::Weak<EndpointState>,
    gauges: Arc<Gauges>,
    states: Arc<States>,
    /// The worker's timers.
    pub(super) timers: Rc<Timers>,
    /// The worker's io_uring, if it has one.
    pub(super) ring: Option<Ring>,
    idle: RefCell<Vec<Idle>>,
    /// Those that carry many exchanges at a time.
    pub(super) lines: Lines,
    // Counts sweeps: the clock that connections expire by.
    sweeps: Cell<u64>,
    // Nothing is kept any more: its endpoint is gone, or its worker ends.
    closed: Cell<bool>,
}

struct Idle {
    wire: Box<Wire>,
    expires: u64,
}

/// How connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// Unused ones of this worker.
    pub(super) idle_max: usize,
    /// For how many sweeps.
    pub(super) sweeps: u64,
}

impl Keep {
    /// Of limits for a process with `workers` workers: each keeps its part of `idle_max`, rounded up.
    pub(super) fn new(idle_max: usize, idle: Duration, workers: usize) -> Self {
        let sweeps = idle.as_millis().div_ceil(SWEEP_INTERVAL.as_millis());
        Self { idle_max: idle_max.div_ceil(workers.max(1)), sweeps: u64::try_from(sweeps).unwrap_or(u64::MAX >> 1) }
    }
}

impl Pools {
    /// The pool of `endpoint`.
    pub(super) fn pool(
        self: &Rc<Self>,
        worker: &Worker,
        endpoint: &Arc<EndpointState>,
        states: &Arc<States>,
    ) -> Rc<Pool> {
        if let Some(pool) = self.by_endpoint.borrow().get(&endpoint.id) {
            return Rc::clone(pool);
        }
        self.make(worker, endpoint, states)
    }

    #[cold]
    fn make(self: &Rc<Self>, worker: &Worker, endpoint: &Arc<EndpointState>, states: &Arc<States>) -> Rc<Pool> {
        let timers = self.timers.get_or_init(|| {
            tokio::task::spawn_local(tend(Rc::downgrade(self), Arc::clone(states), worker.index));
            worker.locals.of::<Timers>()
        });
        let pool = Rc::new(Pool {
            worker: worker.index,
            endpoint: Arc::downgrade(endpoint),
            gauges: Arc::clone(&endpoint.gauges),
            states: Arc::clone(states),
            timers: Rc::clone(timers),
            ring: worker.ring.get().cloned(),
            idle: RefCell::default(),
            lines: Lines::default(),
            sweeps: Cell::new(0),
            closed: Cell::new(false),
        });
        self.by_endpoint.borrow_mut().insert(endpoint.id, Rc::clone(&pool));
        pool
    }

    /// The facts of an upstream.
    pub(super) fn facts(&self, name: &str, series: &Arc<UpstreamSeries>) -> Rc<Facts> {
        if let Some(facts) = self.facts.borrow().get(&Arc::as_ptr(series)) {
            return Rc::clone(facts);
        }
        let facts = Rc::new(Facts { name: name.into(), series: Arc::clone(series) });
        self.facts.borrow_mut().insert(Arc::as_ptr(series), Rc::clone(&facts));
        facts
    }

    fn each(&self, visit: fn(&Pool)) {
        let pools: Vec<_> = self.by_endpoint.borrow().values().cloned().collect();
        pools.iter().for_each(|pool| visit(pool));
    }

    /// Closes what has expired, what the other end closed, and the pools of endpoints that are gone.
    pub(super) fn sweep(&self) {
        self.each(Pool::sweep);
        self.by_endpoint.borrow_mut().retain(|_, pool| !pool.closed.get());
        self.facts.borrow_mut().retain(|_, facts| Rc::strong_count(facts) > 1 || Arc::strong_count(&facts.series) > 1);
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.by_endpoint.get_mut().values().for_each(|pool| pool.close());
    }
}

async fn tend(pools: Weak<Pools>, states: Arc<States>, worker: usize) {
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeps.tick().await;
    loop {
        let sweep = tokio::select! {
            _ = sweeps.tick() => true,
            () = states.sweepers[worker].notified() => false,
        };
        let Some(pools) = pools.upgrade() else { return };
        if sweep {
            pools.sweep();
        } else {
            pools.each(Pool::yield_one);
        }
    }
}

impl Pool {
    /// The connection that was used last among those that still stand. With `now`, the kernel is asked once more: for
    /// a request that could not be sent again. Of those that said whose they are, only one that said the same.
    pub(super) fn checkout(&self, now: bool, introduced: Option<&[u8]>) -> Option<Box<Wire>> {
        loop {
            let mut idle = self.idle.borrow_mut();
            // The last one, where nobody says whose they are.
            let at = idle.iter().rposition(|idle| idle.wire.introduced.as_deref() == introduced)?;
            let mut wire = idle.remove(at).wire;
            self.count(idle.len());
            drop(idle);
            if wire.is_alive() && (!now || wire.is_alive_now()) {
                return Some(wire);
            }
        }
    }

    /// Takes back a connection whose exchange is over and left nothing behind.
    pub(super) fn checkin(mut wire: Box<Wire>) {
        wire.rest();
        let (pool, keep) = (Rc::clone(&wire.pool), wire.keep);
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < keep.idle_max && keep.sweeps > 0 && !pool.closed.get() {
            idle.push(Idle { wire, expires: pool.sweeps.get().saturating_add(keep.sweeps) });
            pool.count(idle.len());
        }
    }

    /// The load of its endpoint.
    pub(super) const fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// The number of its worker.
    pub(super) const fn worker(&self) -> usize {
        self.worker
    }

    fn sweep(&self) {
        let now = self.sweeps.get() + 1;
        self.sweeps.set(now);
        let Some(endpoint) = self.endpoint.upgrade() else { return self.close() };
        resolve::refresh(&endpoint, &self.states.control);
        let known = resolve::known(&endpoint);
        let leads_there = |wire: &Wire| known.as_ref().is_none_or(|known| known.contains(&wire.peer));
        let stays = |idle: &mut Idle| idle.expires > now && idle.wire.is_alive() && leads_there(&idle.wire);
        // What is closed is dropped when the pool is no longer borrowed.
        let gone: Vec<Idle> = self.idle.borrow_mut().extract_if(.., |idle| !stays(idle)).collect();
        self.lines.sweep(now, |peer| known.as_ref().is_none_or(|known| known.contains(&peer)));
        self.note_unused();
        drop(gone);
    }

    // Says how many connections are unused, `idle` of them in the pool itself.
    fn count(&self, idle: usize) {
        self.gauges.keep(self.worker, idle + self.lines.unused());
    }

    /// Says anew how many connections are unused.
    pub(super) fn note_unused(&self) {
        self.count(self.idle.borrow().len());
    }

    /// The time of the clock that connections expire by.
    pub(super) const fn now(&self) -> u64 {
        self.sweeps.get()
    }

    // Closes the connection that was used least lately, if another worker needs its place.
    fn yield_one(&self) {
        let mut idle = self.idle.borrow_mut();
        let none = idle.is_empty() && self.lines.unused() == 0;
        if none || !self.gauges.is_wanted() {
            return;
        }
        let oldest = if idle.is_empty() { None } else { Some(idle.remove(0)) };
        if oldest.is_none() {
            self.lines.yield_one();
        }
        self.count(idle.len());
        drop(idle);
        drop(oldest);
    }

    fn close(&self) {
        self.closed.set(true);
        let idle = self.idle.take();
        self.lines.close();
        self.gauges.keep(self.worker, 0);
        drop(idle);
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.idle.borrow().len())
    }
}

/// How often connections are looked after.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
