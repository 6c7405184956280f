//! What is a worker's own. Rooms keep their per-worker state (connections, guests) here by type, so that nothing on
//! the request path is shared between workers and no room needs a global. Knows nothing of what is kept.

use std::{
    any::{Any, TypeId},
    cell::{OnceCell, RefCell},
    fmt,
    rc::Rc,
};

use tokio::sync::Notify;

use crate::ring::Ring;

/// One worker: an OS thread with its own runtime, sockets, connections and guests.
#[derive(Debug, Default)]
pub struct Worker {
    /// From 0; the shard that this worker writes in every sharded counter.
    pub index: usize,
    /// The state that rooms keep on this worker.
    pub locals: Locals,
    /// Its io_uring, if it has one.
    pub ring: OnceCell<Ring>,
    /// Told by whoever has freed much: soon after, the worker gives memory that nothing uses back to the system.
    pub freed: Notify,
}

impl Worker {
    /// Worker number `index`.
    pub fn new(index: usize) -> Self {
        Self { index, ..Self::default() }
    }
}

/// State that the control plane prepared for one worker (warm guests), and how the worker takes it.
pub type Adoption = Box<dyn FnOnce(&Rc<Worker>) -> Result<(), String> + Send>;

/// Values by type, one of each.
#[derive(Default)]
pub struct Locals(RefCell<Vec<(TypeId, Rc<dyn Any>)>>);

impl Locals {
    /// The worker's `T`, made on first use.
    pub fn of<T: Default + 'static>(&self) -> Rc<T> {
        let kind = TypeId::of::<T>();
        // A handful: a look at each is less than a hash.
        let found = self.0.borrow().iter().find(|(known, _)| *known == kind).map(|(_, any)| Rc::clone(any));
        let any = found.unwrap_or_else(|| {
            let made: Rc<dyn Any> = Rc::new(T::default());
            self.0.borrow_mut().push((kind, Rc::clone(&made)));
            made
        });
        any.downcast().unwrap_or_else(|_| unreachable!("the key is the type"))
    }

    /// Drops everything, in the worker's own runtime, before it ends.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.0.borrow_mut());
        drop(all);
    }
}

impl fmt::Debug for Locals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locals({})", self.0.borrow().len())
    }
}
