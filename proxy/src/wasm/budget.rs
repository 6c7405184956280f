//! How much a plugin may log: so many messages a second on each worker, the rest dropped and counted.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Messages of one plugin on one worker in a second.
pub(super) const LOG_MESSAGES_MAX: u32 = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    began: Cell<Option<Instant>>,
    written: Cell<u32>,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Write it, and first that so many were dropped.
    Write {
        dropped: u32,
    },
    Drop,
}

impl LogBudget {
    /// Counts one message at `now`.
    pub(super) fn take(&self, now: Instant) -> Allowance {
        let over = self.began.get().is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        if over {
            let dropped = self.written.get().saturating_sub(LOG_MESSAGES_MAX);
            self.began.set(Some(now));
            self.written.set(1);
            return Allowance::Write { dropped };
        }
        self.written.set(self.written.get().saturating_add(1));
        if self.written.get() <= LOG_MESSAGES_MAX { Allowance::Write { dropped: 0 } } else { Allowance::Drop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let (budget, now) = (LogBudget::default(), Instant::now());
        let written = (0..250).filter(|_| budget.take(now) != Allowance::Drop).count();
        assert_eq!(written, 100);
        assert_eq!(budget.take(now + Duration::from_secs(1)), Allowance::Write { dropped: 150 });
    }
}
