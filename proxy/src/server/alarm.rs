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
                // Somebody who waits for longer may have moved it on just when this time was up.
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn a_short_wait_ends_beside_a_long_one_that_is_asked_for_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let alarm = Alarm::new(Rc::default());
            let (short, long) = (Instant::now() + Duration::from_millis(20), Instant::now() + Duration::from_secs(600));
            poll_fn(|cx| {
                assert!(alarm.poll_at(long, cx).is_pending());
                alarm.poll_at(short, cx)
            })
            .await;
            assert!(Instant::now() >= short);
        });
    }
}
