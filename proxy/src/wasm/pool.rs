//! One worker's guests: pools of warm ones by module and limits, and what the worker keeps for each plugin. A guest is
//! out of its pool only while a call is on its stack, so that one serves many exchanges; a fresh one serves the
//! overflow while all are suspended. Lives in the worker's locals.

#![allow(clippy::vec_box, reason = "guests go in and out at each call: a pointer does, and not the whole guest")]

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use super::{
    Counters,
    breaker::Breaker,
    budget::LogBudget,
    call::Fail,
    compile::Module,
    engine::Filters,
    guest::{Guest, Wear},
    native::Names,
    plugin::Plugin,
    slice::Pace,
};
use crate::{config::spec::Isolation, exchange::Worker, identity::Identity, telemetry::metrics::GuestMetric};

/// What the pools of one key have in common on all workers.
pub(super) struct Shared {
    pub(super) key: Identity,
    pub(super) module: Arc<Module>,
    pub(super) filters: Filters,
    pub(super) counters: Arc<Counters>,
    pub(super) memory_bytes_max: usize,
    /// Guests that may be out at a time on one worker, for each plugin.
    pub(super) busy_max: usize,
    pub(super) wear: Wear,
    /// One for each worker, made on the control plane and not adopted yet.
    nursery: Mutex<Vec<Option<Box<Guest>>>>,
}

impl Shared {
    pub(super) fn new(
        (key, module): (Identity, Arc<Module>),
        (filters, counters): (Filters, Arc<Counters>),
        (memory_bytes_max, guests_max, workers): (usize, usize, usize),
        wear: Wear,
    ) -> Self {
        let nursery = Mutex::new((0..workers).map(|_| None).collect());
        let busy_max = guests_max.div_ceil(workers.max(1)).max(1);
        Self { key, module, filters, counters, memory_bytes_max, busy_max, wear, nursery }
    }

    /// A fresh guest of this pool.
    pub(super) async fn guest(&self) -> wasmtime::Result<Box<Guest>> {
        Guest::new(&self.module, self.memory_bytes_max, &self.counters).await
    }

    /// Takes the guest that waits for `worker`, if one does.
    pub(super) fn take(&self, worker: usize) -> Option<Box<Guest>> {
        self.nursery().get_mut(worker).and_then(Option::take)
    }

    /// Leaves a guest for `worker`.
    pub(super) fn leave(&self, worker: usize, guest: Box<Guest>) {
        if let Some(place) = self.nursery().get_mut(worker) {
            *place = Some(guest);
        }
    }

    fn nursery(&self) -> std::sync::MutexGuard<'_, Vec<Option<Box<Guest>>>> {
        self.nursery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by every snapshot's filter of a plugin; when the last is gone, the workers let go of the plugin.
#[derive(Debug)]
pub(super) struct InUse;

/// All guests of one worker, and its own part of every plugin.
#[derive(Default)]
pub(super) struct Guests {
    locals: RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>,
    pools: RefCell<HashMap<Identity, Rc<Pool>, foldhash::fast::RandomState>>,
}

/// One worker's part of a plugin.
pub(super) struct Local {
    pub(super) plugin: Arc<Plugin>,
    /// The plugin's name, counted on this worker only.
    pub(super) name: Arc<str>,
    pub(super) worker: usize,
    /// See [`Plugin::is_prompt`].
    prompt: bool,
    pub(super) pool: Rc<Pool>,
    /// Guests that are out for it: a plugin that holds all of its own holds none of another's.
    busy: Rc<Cell<usize>>,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Of fields that it sets.
    pub(super) names: Names,
    /// Of what it logs itself.
    pub(super) log: LogBudget,
    /// Of what is logged when it fails.
    pub(super) failures: LogBudget,
    pub(super) metrics: RefCell<Vec<Arc<GuestMetric>>>,
    /// End-of-exchange calls that are under way.
    pub(super) ending: Cell<usize>,
    in_use: Weak<InUse>,
}

/// One worker's guests of one key.
pub(super) struct Pool {
    pub(super) shared: Arc<Shared>,
    // The last one used comes first: its memory is warm.
    free: RefCell<Vec<Box<Guest>>>,
}

/// What [`Pool::lease`] gives.
pub(super) enum Leased {
    /// A guest in which the plugin is configured.
    Ready(Lease),
    /// There was none: [`Lease::prepare`] comes first.
    Unready(Lease),
}

/// A guest out of its pool. Dropped without [`Lease::release`], the guest is dropped with it: it may be anywhere in
/// its own code.
pub(super) struct Lease {
    guest: Option<Box<Guest>>,
    pool: Rc<Pool>,
    busy: Rc<Cell<usize>>,
}

impl Guests {
    /// This worker's part of a plugin.
    #[inline]
    pub(super) fn local(&self, plugin: u64) -> Option<Rc<Local>> {
        self.locals.borrow().get(&plugin).cloned()
    }

    /// Makes this worker's part of a plugin, and moves the guest that waits for it into its pool.
    pub(super) fn adopt(
        &self,
        worker: &Worker,
        plugin: &Arc<Plugin>,
        shared: &Arc<Shared>,
        in_use: &Weak<InUse>,
    ) -> Rc<Local> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools
            .entry(shared.key)
            .or_insert_with(|| Rc::new(Pool { shared: Arc::clone(shared), free: RefCell::default() }));
        if let Some(mut guest) = shared.take(worker.index) {
            guest.settle(worker.index, &plugin.series);
            pool.free.borrow_mut().push(guest);
        }
        let local = || {
            Rc::new(Local {
                plugin: Arc::clone(plugin),
                name: Arc::from(&*plugin.name),
                worker: worker.index,
                prompt: plugin.is_prompt(),
                pool: Rc::clone(pool),
                busy: Rc::default(),
                breaker: Breaker::of(plugin),
                pace: Pace::default(),
                names: Names::default(),
                log: LogBudget::default(),
                failures: LogBudget::default(),
                metrics: RefCell::default(),
                ending: Cell::new(0),
                in_use: Weak::clone(in_use),
            })
        };
        Rc::clone(self.locals.borrow_mut().entry(plugin.id).or_insert_with(local))
    }

    /// Lets go of plugins that no snapshot uses, and yields what to clean up: guests to drop, and pools to tidy.
    pub(super) fn retire(&self) -> (Vec<Box<Guest>>, Vec<Rc<Pool>>) {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.locals.borrow_mut().extract_if(|_, local| unused(local)).collect();
        drop(gone);
        let mut pools = self.pools.borrow_mut();
        let dead: Vec<_> = pools.extract_if(|_, pool| Rc::strong_count(pool) == 1).map(|(_, pool)| pool).collect();
        let guests = dead.iter().flat_map(|pool| pool.free.take()).collect();
        (guests, pools.values().cloned().collect())
    }

    /// How many guests wait in pools here.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.pools.borrow().values().map(|pool| pool.free.borrow().len()).sum()
    }
}

impl Local {
    /// A guest to call the plugin at once in; `None` where it has to be called otherwise.
    #[inline]
    pub(super) fn prompt(&self) -> Option<Lease> {
        let may = self.prompt && self.breaker.allows() && !self.pace.is_slow(Instant::now());
        if may { self.pool.ready(self) } else { None }
    }
}

impl Pool {
    // The guest that was used last, if `plugin` is configured in it and there may be one more at work.
    #[inline]
    fn ready(self: &Rc<Self>, local: &Local) -> Option<Lease> {
        let busy = local.busy.get();
        if busy >= self.shared.busy_max {
            return None;
        }
        let guest = self.free.borrow_mut().pop_if(|guest| guest.plugin(local.plugin.id).is_some())?;
        local.busy.set(busy + 1);
        Some(Lease { guest: Some(guest), pool: Rc::clone(self), busy: Rc::clone(&local.busy) })
    }

    /// Takes a guest, one in which `local`'s plugin is configured if there is one.
    pub(super) fn lease(self: &Rc<Self>, local: &Local) -> Result<Leased, Fail> {
        let busy = local.busy.get();
        if busy >= self.shared.busy_max {
            return Err(Fail::Overloaded(format!("{busy} of its guests are busy or suspended on this worker")));
        }
        local.busy.set(busy + 1);
        let mut lease = Lease { guest: None, pool: Rc::clone(self), busy: Rc::clone(&local.busy) };
        let fresh = local.plugin.isolation == Isolation::PerRequest;
        lease.guest = if fresh { None } else { self.pick(local.plugin.id) };
        let ready = lease.guest.as_ref().is_some_and(|guest| guest.plugin(local.plugin.id).is_some());
        Ok(if ready { Leased::Ready(lease) } else { Leased::Unready(lease) })
    }

    fn pick(&self, plugin: u64) -> Option<Box<Guest>> {
        let mut free = self.free.borrow_mut();
        let position = free.iter().rposition(|guest| guest.plugin(plugin).is_some());
        match position {
            Some(position) if position + 1 == free.len() => free.pop(),
            Some(position) => Some(free.remove(position)),
            None => free.pop(),
        }
    }

    /// Whether there is something to tidy: plugins that `gone` picks, or more than [`WARM_MAX`] guests.
    pub(super) fn is_untidy(&self, gone: impl Fn(u64) -> bool) -> bool {
        let free = self.free.borrow();
        free.len() > WARM_MAX || free.iter().any(|guest| guest.plugins().any(&gone))
    }

    /// Takes out a guest that has plugins that `gone` picks.
    pub(super) fn stale(&self, gone: impl Fn(u64) -> bool) -> Option<Box<Guest>> {
        let mut free = self.free.borrow_mut();
        let position = free.iter().position(|guest| guest.plugins().any(&gone))?;
        Some(free.remove(position))
    }

    /// Puts a guest back.
    pub(super) fn put(&self, guest: Box<Guest>) {
        self.free.borrow_mut().push(guest);
    }

    /// Takes out the guest with the most plugins, if there are more than [`WARM_MAX`].
    pub(super) fn fullest(&self) -> Option<Box<Guest>> {
        let mut free = self.free.borrow_mut();
        if free.len() <= WARM_MAX {
            return None;
        }
        let (fullest, _) = free.iter().enumerate().max_by_key(|(_, guest)| guest.plugins().count())?;
        Some(free.remove(fullest))
    }

    /// The plugins of the guests beyond [`WARM_MAX`] that `guest` lacks.
    pub(super) fn to_move(&self, guest: &Guest) -> Vec<u64> {
        let free = self.free.borrow();
        let surplus = free.len().saturating_sub(WARM_MAX / 2);
        let mut ids: Vec<_> = free.iter().take(surplus).flat_map(|other| other.plugins()).collect();
        ids.retain(|id| guest.plugin(*id).is_none());
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Puts the guest that took plugins over back, and takes out those that are not needed any more.
    pub(super) fn folded(&self, guest: Box<Guest>) -> Vec<Box<Guest>> {
        let mut free = self.free.borrow_mut();
        let mut surplus = (free.len() + 1).saturating_sub(WARM_MAX / 2);
        let redundant = |other: &mut Box<Guest>| {
            let redundant = surplus > 0 && other.plugins().all(|id| guest.plugin(id).is_some());
            surplus -= usize::from(redundant);
            redundant
        };
        let out = free.extract_if(.., redundant).collect();
        free.push(guest);
        out
    }
}

/// Guests that a worker keeps warm for one module; more are folded into one when it has time.
pub(super) const WARM_MAX: usize = 8;

impl Lease {
    /// Makes a guest if there was none, and configures the plugin in it.
    pub(super) async fn prepare(mut self, local: &Local) -> Result<Self, Fail> {
        if self.guest.is_none() {
            let mut guest = self.pool.shared.guest().await.map_err(Fail::instantiate)?;
            guest.settle(local.worker, &local.plugin.series);
            self.guest = Some(guest);
        }
        let guest = self.guest();
        if guest.plugin(local.plugin.id).is_none() {
            guest.create(&local.plugin).await.map_err(Fail::create)?;
        }
        Ok(self)
    }

    /// The guest.
    #[inline]
    pub(super) fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("taken out only when released")
    }

    /// Gives the guest back for the next call: it returned in good order. One that is worn is dropped instead.
    #[inline]
    pub(super) fn release(mut self) {
        if let Some(mut guest) = self.guest.take()
            && !guest.returned(self.pool.shared.wear)
        {
            self.pool.free.borrow_mut().push(guest);
        }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.busy.set(self.busy.get() - 1);
    }
}
