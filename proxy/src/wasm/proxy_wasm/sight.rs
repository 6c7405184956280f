//! What host functions see of the worker while a callback runs: the home of its VM, and through it the streams in it. A
//! store holds nothing of an exchange, because it must be `Send` and an exchange is not.

use std::{cell::RefCell, rc::Rc};

use super::{guest::Guest, home::Home, stream::Stream};

thread_local! {
    // Set while a callback of this thread is polled, so that suspended ones do not see each other's.
    static ACTIVE: RefCell<Option<Rc<Home>>> = const { RefCell::new(None) };
}

/// Puts a home in the host functions' sight until it is dropped, also by a panic.
pub(super) struct Sight {
    before: Option<Rc<Home>>,
}

impl Sight {
    pub(super) fn open(home: &Rc<Home>) -> Self {
        Self { before: ACTIVE.replace(Some(Rc::clone(home))) }
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        ACTIVE.set(self.before.take());
    }
}

/// The home of the VM that runs; none while it is made on the control plane.
pub(super) fn home() -> Option<Rc<Home>> {
    ACTIVE.with_borrow(Option::clone)
}

/// The stream that host functions act on, if it is one.
pub(super) fn stream(guest: &Guest<'_>) -> Option<Rc<Stream>> {
    let context = guest.data().effective;
    ACTIVE.with_borrow(|home| home.as_ref().and_then(|home| home.streams.borrow().get(&context).cloned()))
}
