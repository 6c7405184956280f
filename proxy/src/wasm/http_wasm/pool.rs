//! One worker's guests of one plugin. A guest is out of the pool from an exchange's request to its response, so there are
//! as many as there are exchanges under way, up to the plugin's limit; those that were not needed for a while are dropped.

#![allow(clippy::vec_box, reason = "guests go in and out at each exchange: a pointer does, and not the whole guest")]

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{guest::Guest, sight::hidden};
use crate::{
    config::spec::Isolation,
    exchange::Worker,
    wasm::{
        Counters,
        breaker::Breaker,
        budget::LogBudget,
        call::Fail,
        engine::Filters,
        guest::{CreateError, Wear},
        plugin::Plugin,
        pool::InUse,
        slice::Pace,
    },
};

/// What the workers' parts of a plugin have in common.
pub(super) struct Shared {
    pub(super) plugin: Arc<Plugin>,
    pub(super) filters: Filters,
    counters: Arc<Counters>,
    /// Guests that may be out at a time on one worker.
    busy_max: usize,
    wear: Wear,
    /// One for each worker, made on the control plane and not adopted yet.
    nursery: Mutex<Vec<Option<Box<Guest>>>>,
}

impl Shared {
    pub(super) fn new(plugin: Arc<Plugin>, filters: Filters, counters: Arc<Counters>, workers: usize) -> Self {
        let busy_max = plugin.limits.guests_max.div_ceil(workers.max(1)).max(1);
        let nursery = Mutex::new((0..workers).map(|_| None).collect());
        let wear = Wear::of(&plugin.limits);
        Self { plugin, filters, counters, busy_max, wear, nursery }
    }

    /// Makes the guest that waits for `worker`.
    pub(super) async fn warm(&self, worker: usize) -> Result<(), CreateError> {
        let _running = self.filters.ticker.run_beside();
        let guest = Guest::new(&self.plugin, &self.counters).await?;
        if let Some(place) = self.nursery().get_mut(worker) {
            *place = Some(guest);
        }
        Ok(())
    }

    fn nursery(&self) -> std::sync::MutexGuard<'_, Vec<Option<Box<Guest>>>> {
        self.nursery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All plugins of a worker.
#[derive(Default)]
pub(in crate::wasm) struct Leased(RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>);

/// One worker's part of a plugin.
pub(super) struct Local {
    pub(super) shared: Arc<Shared>,
    /// The plugin's name, counted on this worker only.
    pub(super) name: Arc<str>,
    pub(super) worker: usize,
    // The last one used comes first: its memory is warm.
    free: RefCell<Vec<Box<Guest>>>,
    /// How many were free at all times since the last look.
    spare: Cell<usize>,
    busy: Cell<usize>,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Of what it logs itself.
    pub(super) log: LogBudget,
    /// Of what is logged when it fails.
    pub(super) failures: LogBudget,
    /// Ends of exchanges that a guest is told of.
    pub(super) ending: Cell<usize>,
    in_use: Weak<InUse>,
}

/// A guest out of its pool. Dropped without [`Lease::release`], the guest is dropped with it: it may be anywhere in its
/// own code.
pub(super) struct Lease {
    guest: Option<Box<Guest>>,
    local: Rc<Local>,
    /// The guest is not used for another exchange.
    worn: bool,
}

impl Leased {
    /// The worker's part of a plugin.
    #[inline]
    pub(super) fn local(&self, plugin: u64) -> Option<Rc<Local>> {
        self.0.borrow().get(&plugin).cloned()
    }

    /// Makes the worker's part of a plugin; the guest that waits for the worker moves in.
    pub(super) fn adopt(&self, worker: &Worker, shared: &Arc<Shared>, in_use: &Weak<InUse>) -> Rc<Local> {
        let mut free = Vec::new();
        if let Some(mut guest) = shared.nursery().get_mut(worker.index).and_then(Option::take) {
            guest.settle(worker.index, &shared.plugin.series);
            free.push(guest);
        }
        let local = || {
            Rc::new(Local {
                shared: Arc::clone(shared),
                name: Arc::from(&*shared.plugin.name),
                worker: worker.index,
                free: RefCell::default(),
                spare: Cell::new(0),
                busy: Cell::new(0),
                breaker: Breaker::of(&shared.plugin),
                pace: Pace::default(),
                log: LogBudget::default(),
                failures: LogBudget::default(),
                ending: Cell::new(0),
                in_use: Weak::clone(in_use),
            })
        };
        let local = Rc::clone(self.0.borrow_mut().entry(shared.plugin.id).or_insert_with(local));
        local.free.borrow_mut().append(&mut free);
        local
    }

    /// Lets go of plugins that no snapshot uses and no exchange is in, and yields guests to drop: theirs, and those that
    /// were not needed since the last time.
    pub(in crate::wasm) fn retire(&self) -> Vec<Box<dyn Send>> {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.0.borrow_mut().extract_if(|_, local| unused(local)).collect();
        let mut guests: Vec<_> = gone.iter().flat_map(|(_, local)| local.free.take()).collect();
        for local in self.0.borrow().values() {
            guests.append(&mut local.surplus());
        }
        guests.into_iter().map(|guest| guest as Box<dyn Send>).collect()
    }
}

/// Guests that a worker keeps of a plugin however little there is to do.
const KEPT_MIN: usize = 1;

impl Local {
    /// The plugin.
    pub(super) fn plugin(&self) -> &Arc<Plugin> {
        &self.shared.plugin
    }

    /// Takes a guest; a fresh one if there is none.
    ///
    /// # Errors
    /// Where as many are out as may be, or a fresh one fails.
    pub(super) async fn lease(self: &Rc<Self>) -> Result<Lease, Fail> {
        let busy = self.busy.get();
        if busy >= self.shared.busy_max {
            return Err(Fail::Overloaded(format!("{busy} of its guests are in use on this worker")));
        }
        self.busy.set(busy + 1);
        let mut lease = Lease { guest: None, local: Rc::clone(self), worn: false };
        if self.plugin().isolation == Isolation::Reused {
            lease.guest = self.free.borrow_mut().pop();
            self.spare.set(self.spare.get().min(self.free.borrow().len()));
        }
        if lease.guest.is_none() {
            // Boxed, because few exchanges come this way and every one has room for it.
            let made = Box::pin(hidden(Guest::new(self.plugin(), &self.shared.counters))).await;
            let mut guest = made.map_err(|error| match error {
                CreateError::Failed(error) => Fail::instantiate(error),
                other => Fail::create(other),
            })?;
            guest.settle(self.worker, &self.plugin().series);
            lease.guest = Some(guest);
        }
        Ok(lease)
    }

    // Half of what was never needed since the last look, which begins anew.
    fn surplus(&self) -> Vec<Box<Guest>> {
        let mut free = self.free.borrow_mut();
        let surplus = self.spare.replace(free.len()).div_ceil(2).min(free.len().saturating_sub(KEPT_MIN));
        free.drain(..surplus).collect()
    }
}

impl Lease {
    /// The guest.
    #[inline]
    pub(super) fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("taken out only when released")
    }

    /// A call has returned in good order.
    #[inline]
    pub(super) fn returned(&mut self) {
        let wear = self.local.shared.wear;
        self.worn |= self.guest().returned(wear);
    }

    /// Gives the guest back for the next exchange: it returned in good order. One that is worn is dropped instead.
    pub(super) fn release(mut self) {
        if self.local.plugin().isolation == Isolation::Reused
            && !self.worn
            && let Some(guest) = self.guest.take()
        {
            self.local.free.borrow_mut().push(guest);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.local.busy.set(self.local.busy.get() - 1);
    }
}
