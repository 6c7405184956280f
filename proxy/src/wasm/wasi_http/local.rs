//! A worker's own part of every plugin of this kind: its breaker, its log, and how many guests are at work.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
};

use super::Shared;
use crate::{
    error::Error,
    exchange::Worker,
    wasm::{breaker::Breaker, budget::LogBudget, call::Fail, policy::Subject, pool::InUse, slice::Pace},
};

/// See the module.
pub(super) struct Local {
    pub(super) shared: Arc<Shared>,
    /// The plugin's name, counted on this worker only.
    pub(super) name: Arc<str>,
    pub(super) worker: usize,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Of what it logs itself.
    pub(super) log: LogBudget,
    failures: LogBudget,
    busy: Cell<usize>,
    in_use: Weak<InUse>,
}

/// All of a worker, by plugin.
#[derive(Default)]
pub(in crate::wasm) struct Handlers(RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>);

/// The right to have one guest at work.
pub(super) struct Lease(Rc<Local>);

impl Handlers {
    /// The worker's part of a plugin.
    pub(super) fn local(&self, plugin: u64) -> Option<Rc<Local>> {
        self.0.borrow().get(&plugin).cloned()
    }

    /// Makes the worker's part of a plugin.
    pub(super) fn adopt(&self, worker: &Worker, shared: &Arc<Shared>, in_use: &Weak<InUse>) -> Rc<Local> {
        let local = || {
            Rc::new(Local {
                shared: Arc::clone(shared),
                name: Arc::from(&*shared.plugin.name),
                worker: worker.index,
                breaker: Breaker::of(&shared.plugin),
                pace: Pace::default(),
                log: LogBudget::default(),
                failures: LogBudget::default(),
                busy: Cell::new(0),
                in_use: Weak::clone(in_use),
            })
        };
        Rc::clone(self.0.borrow_mut().entry(shared.plugin.id).or_insert_with(local))
    }

    /// Lets go of plugins that no snapshot uses and no exchange is in.
    pub(in crate::wasm) fn retire(&self) {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.0.borrow_mut().extract_if(|_, local| unused(local)).collect();
        drop(gone);
    }
}

impl Local {
    /// Room for one more guest.
    pub(super) fn lease(self: &Rc<Self>) -> Result<Lease, Fail> {
        let busy = self.busy.get();
        if busy >= self.shared.busy_max {
            return Err(Fail::Overloaded(format!("{busy} of its guests are at work on this worker")));
        }
        self.busy.set(busy + 1);
        Ok(Lease(Rc::clone(self)))
    }

    /// Logs and counts a failure; answers with what it is for the exchange.
    pub(super) fn report(&self, fail: &Fail, generation: u64) -> Error {
        let (breaker, failures) = (&self.breaker, &self.failures);
        let generation = Some(generation);
        Subject { plugin: &self.shared.plugin, worker: self.worker, breaker, failures, generation }.report(fail)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}
