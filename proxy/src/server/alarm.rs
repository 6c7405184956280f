//! One timer for all timeouts of a task. Timeouts of connections and exchanges are set all the time and almost never
//! fire, so the timer is only ever moved forward: it is left where it is when a timeout is put off, and looks again
//! when it fires. Knows nothing of what is timed.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use crate::exchange::{Timeout, Timers};

/// The timer of one task: only that task may poll it.
pub(super) struct Alarm {
    timers: Rc<Timers>,
    armed: RefCell<Option<(Instant, Timeout)>>,
}

impl Alarm {
    /// An alarm that is not armed.
    pub(super) const fn new(timers: Rc<Timers>) -> Self {
        Self { timers, armed: RefCell::new(None) }
    }

    /// Whether `deadline` has passed; if not, the task is woken at that time or before. Costs a comparison in most
    /// cases. Whoever waits must ask again each time the task is woken.
    pub(super) fn poll_at(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut armed = self.armed.borrow_mut();
        let (at, timeout) = armed.get_or_insert_with(|| (deadline, self.timers.at(deadline)));
        loop {
            if deadline < *at {
                (*at, ()) = (deadline, timeout.reset(deadline));
            }
            if Pin::new(&mut *timeout).poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It stays fired until it is armed again.
            if *at >= deadline {
                return Poll::Ready(());
            }
            (*at, ()) = (deadline, timeout.reset(deadline));
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}
