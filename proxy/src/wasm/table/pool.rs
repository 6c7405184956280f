//! One worker's guests of its tables. A guest is out only while a call is on its stack; a fresh one serves the overflow
//! while all are out. Lives in the worker's locals.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
};

use super::{Table, guest::TableGuest};
use crate::{
    exchange::Worker,
    wasm::{breaker::Breaker, budget::LogBudget, call::Fail, slice::Pace},
};

/// Held by every snapshot's selector of a table; when the last is gone, the workers let go of the table.
#[derive(Debug)]
pub(super) struct InUse;

/// All tables of one worker.
#[derive(Default)]
pub(in crate::wasm) struct Tables(RefCell<HashMap<u64, Rc<Local>, foldhash::fast::RandomState>>);

/// One worker's part of a table.
pub(super) struct Local {
    pub(super) table: Arc<Table>,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Of what is logged when it fails.
    pub(super) failures: LogBudget,
    worker: usize,
    // The last one used comes first: its memory is warm.
    free: RefCell<Vec<TableGuestBox>>,
    busy: Cell<usize>,
    in_use: Weak<InUse>,
}

type TableGuestBox = Box<TableGuest>;

/// A guest that is out. Dropped without [`Lease::release`], the guest is dropped with it: it may be anywhere in its own
/// code.
pub(super) struct Lease {
    guest: Option<TableGuestBox>,
    local: Rc<Local>,
}

/// Guests that a worker keeps warm for one table; more are dropped when they come back.
const WARM_MAX: usize = 8;

impl Tables {
    /// This worker's part of a table, made if there is none.
    pub(super) fn adopt(&self, worker: &Worker, table: &Arc<Table>, in_use: &Weak<InUse>) -> Rc<Local> {
        let local = || {
            Rc::new(Local {
                table: Arc::clone(table),
                breaker: Breaker::default(),
                pace: Pace::default(),
                failures: LogBudget::default(),
                worker: worker.index,
                free: RefCell::default(),
                busy: Cell::new(0),
                in_use: Weak::clone(in_use),
            })
        };
        Rc::clone(self.0.borrow_mut().entry(table.id).or_insert_with(local))
    }

    /// Lets go of tables that no snapshot uses. Their guests, [`WARM_MAX`] each at most, go with them.
    pub(in crate::wasm) fn retire(&self) {
        let unused = |local: &Rc<Local>| local.in_use.strong_count() == 0 && Rc::strong_count(local) == 1;
        let gone: Vec<_> = self.0.borrow_mut().extract_if(|_, local| unused(local)).collect();
        drop(gone);
    }
}

impl Local {
    /// Puts a guest among the warm ones.
    pub(super) fn put(&self, mut guest: TableGuestBox) {
        guest.settle(self.worker, &self.table.series);
        self.free.borrow_mut().push(guest);
    }

    /// Takes a guest out.
    pub(super) async fn lease(self: &Rc<Self>) -> Result<Lease, Fail> {
        let busy = self.busy.get();
        if busy >= self.table.busy_max {
            return Err(Fail::Overloaded(format!("{busy} of its guests are busy on this worker")));
        }
        self.busy.set(busy + 1);
        let mut lease = Lease { guest: None, local: Rc::clone(self) };
        lease.guest = self.free.borrow_mut().pop();
        if lease.guest.is_none() {
            let made = TableGuest::make(&self.table).await;
            let (mut guest, _) = made.map_err(|error| match error.is_overload() {
                true => Fail::Overloaded("all guest slots of the process are taken".into()),
                false => Fail::Trap(format!("while it was made in a further guest: {error}")),
            })?;
            guest.settle(self.worker, &self.table.series);
            lease.guest = Some(guest);
        }
        Ok(lease)
    }
}

impl Lease {
    /// The guest.
    pub(super) fn guest(&mut self) -> &mut TableGuest {
        self.guest.as_mut().expect("taken out only when released")
    }

    /// Gives the guest back for the next call: it returned in good order.
    pub(super) fn release(mut self) {
        self.guest().returned();
        let mut free = self.local.free.borrow_mut();
        if free.len() < WARM_MAX {
            free.extend(self.guest.take());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.local.busy.set(self.local.busy.get() - 1);
    }
}
