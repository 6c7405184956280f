//! What host functions see of the worker while a call runs: the visit that it belongs to.

use std::{cell::RefCell, future::poll_fn, pin::pin, rc::Rc};

use wasmtime::{Error, Result};

use super::visit::Visit;

thread_local! {
    // Set while a guest of this thread is polled, so that suspended calls do not see each other's.
    static ACTIVE: RefCell<Option<Rc<Visit>>> = const { RefCell::new(None) };
}

/// Puts a visit in the host functions' sight until it is dropped, also by a panic.
pub(super) struct Sight {
    before: Option<Rc<Visit>>,
}

impl Sight {
    #[inline]
    pub(super) fn open(visit: &Rc<Visit>) -> Self {
        Self { before: ACTIVE.replace(Some(Rc::clone(visit))) }
    }
}

impl Drop for Sight {
    #[inline]
    fn drop(&mut self) {
        ACTIVE.set(self.before.take());
    }
}

/// Runs `future` out of sight of any visit: what a guest does while it starts belongs to no exchange.
pub(super) async fn hidden<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _sight = Sight { before: ACTIVE.take() };
        future.as_mut().poll(cx)
    })
    .await
}

/// Runs `f` on the visit that the present call belongs to, if it belongs to one.
#[inline]
pub(super) fn seen<R>(f: impl FnOnce(Option<&Rc<Visit>>) -> R) -> R {
    ACTIVE.with_borrow(|active| f(active.as_ref()))
}

/// Runs `f` on the visit that the present call belongs to.
///
/// # Errors
/// A trap where there is none: while a guest starts.
#[inline]
pub(super) fn active<R>(f: impl FnOnce(&Rc<Visit>) -> Result<R>) -> Result<R> {
    seen(|visit| match visit {
        Some(visit) => f(visit),
        None => Err(Error::msg("no request is under way: the guest is being started")),
    })
}
