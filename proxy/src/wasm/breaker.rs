//! A breaker: a plugin that fails again and again is not called for a while, so that a broken module costs nothing and
//! a hanging one does not hold every exchange until its deadline. One for each plugin and worker.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{plugin::Plugin, standing::Standing};

/// Failures in a row, without one success between them, until the plugin is left alone. High enough that a client who
/// makes a plugin fail by what it sends cannot easily shut it for everybody else.
const FAILURES_MAX: u32 = 20;
/// For how long.
const COOL_DOWN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    cool_down: Duration,
    failures: Cell<u32>,
    open_until: Cell<Option<Instant>>,
    /// Where it is told how the plugin does, if anybody wants to know.
    standing: Option<Arc<Standing>>,
    worked: Cell<bool>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures_max: FAILURES_MAX,
            cool_down: COOL_DOWN,
            failures: Cell::default(),
            open_until: Cell::default(),
            standing: None,
            worked: Cell::default(),
        }
    }
}

impl Breaker {
    /// That of a plugin, as its limits have it.
    pub(super) fn of(plugin: &Plugin) -> Self {
        let (failures_max, cool_down) = (plugin.limits.failures_max, plugin.limits.cool_down);
        Self { failures_max, cool_down, standing: plugin.standing.clone(), ..Self::default() }
    }

    /// Whether the plugin may be called.
    #[inline]
    pub(super) fn allows(&self) -> bool {
        match self.open_until.get() {
            None => true,
            Some(until) => self.try_again(until),
        }
    }

    // The first call after the cool-down is a trial: one more failure opens it again.
    fn try_again(&self, until: Instant) -> bool {
        let over = Instant::now() >= until;
        if over {
            self.open_until.set(None);
        }
        over
    }

    /// The plugin did well.
    #[inline]
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
        if !self.worked.replace(true)
            && let Some(standing) = &self.standing
        {
            standing.work();
        }
    }

    /// The plugin failed; answers whether it is left alone from now on.
    pub(super) fn failed(&self) -> bool {
        self.failures.set(self.failures.get().saturating_add(1));
        let open = self.failures.get() >= self.failures_max;
        if open {
            self.open_until.set(Some(Instant::now() + self.cool_down));
            self.standing.iter().for_each(|standing| standing.fail());
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_open_it() {
        let breaker = Breaker::default();
        for _ in 0..10 * FAILURES_MAX {
            (1..FAILURES_MAX).for_each(|_| assert!(!breaker.failed()));
            breaker.succeeded();
        }
        assert!(breaker.allows());
        let opened = (0..FAILURES_MAX).filter(|_| breaker.failed()).count();
        assert_eq!((opened, breaker.allows()), (1, false));
    }

    #[test]
    fn one_failure_after_the_cool_down_opens_it_again() {
        let breaker = Breaker::default();
        while !breaker.failed() {}
        assert!(breaker.try_again(Instant::now()));
        assert!(breaker.allows() && breaker.failed() && !breaker.allows());
    }
}
