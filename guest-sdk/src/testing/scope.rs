//! What the code that runs on this thread belongs to: a host, a middleware's name, and an exchange if one is under way.

use std::{cell::RefCell, rc::Rc};

use super::{exchange::Visit, state::State};

/// Where code runs.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) state: Rc<State>,
    pub(super) name: Rc<str>,
    /// `None` while a plugin is made.
    pub(super) visit: Option<Rc<Visit>>,
}

thread_local! {
    static SCOPES: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

/// Runs `code` there.
pub(super) fn enter<T>(scope: Scope, code: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(Vec::pop);
        }
    }
    SCOPES.with_borrow_mut(|scopes| scopes.push(scope));
    let _leave = Leave;
    code()
}

/// Where the caller runs.
///
/// # Panics
/// Outside of any host: there is nothing to ask.
pub(super) fn here() -> Scope {
    let here = SCOPES.with_borrow(|scopes| scopes.last().cloned());
    here.expect("no gateway is here: run this within `tidegate_guest::testing::Host`, as `load`, `send` and `run` do")
}

/// The exchange that the caller belongs to.
///
/// # Panics
/// Where a guest would trap: while a plugin is made.
pub(super) fn visit() -> Rc<Visit> {
    here().visit.expect("no exchange is under way: a plugin is being made, and a guest would trap here")
}
