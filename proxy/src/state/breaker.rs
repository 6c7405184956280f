//! A circuit breaker: closed, it lets everything through and watches for failures; open, it refuses everything for a
//! while; half open, it lets a few through as a trial. While it is closed, a request costs one load. Knows nothing of
//! what is let through.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU8, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use super::traffic::{Counted, Traffic};

/// The breaker of one upstream. Its rules come with whoever asks, so that changed ones hold from the next on.
#[derive(Debug, Default)]
pub struct Breaker {
    phase: AtomicU8,
    // Failures in a row.
    row: AtomicU32,
    trial: Mutex<Trial>,
}

#[derive(Debug, Default)]
struct Trial {
    // When what is open may be tried.
    until: Option<Instant>,
    // When it closed last: what failed before is forgiven.
    closed: Option<Instant>,
    under_way: u32,
    good: u32,
}

/// What opens a breaker, and what closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures of a hundred requests.
    pub error_percent: Option<u32>,
    /// Requests, below which no share is looked at.
    pub requests_min: u32,
    /// What is looked back on.
    pub window: Duration,
    /// Failures in a row.
    pub consecutive_errors: Option<u32>,
    /// How long it refuses everything.
    pub open_time: Duration,
    /// How many must then succeed.
    pub probes: u32,
}

/// Its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Lets everything through.
    Closed = 0,
    /// Lets a few through.
    HalfOpen = 1,
    /// Refuses everything.
    Open = 2,
}

/// What a breaker says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It may pass.
    Pass,
    /// It may pass as a trial, and its end must be told: [`Breaker::succeeded`], [`Breaker::failed`] or
    /// [`Breaker::withdrawn`].
    Probe,
    /// It may not; one after this time perhaps may.
    Refused(Duration),
}

impl Breaker {
    /// Asks for one request.
    #[inline]
    pub fn enter(&self, rules: &Rules) -> Passage {
        if self.phase.load(Relaxed) == Phase::Closed as u8 {
            Passage::Pass
        } else {
            self.try_enter(rules, Instant::now())
        }
    }

    #[cold]
    fn try_enter(&self, rules: &Rules, now: Instant) -> Passage {
        let mut trial = self.lock();
        match self.phase() {
            Phase::Closed => return Passage::Pass,
            Phase::Open => {
                let left = trial.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
                if !left.is_zero() {
                    return Passage::Refused(left);
                }
                (trial.under_way, trial.good) = (0, 0);
                self.set(Phase::HalfOpen);
            }
            Phase::HalfOpen => {}
        }
        if trial.under_way + trial.good >= rules.probes {
            return Passage::Refused(PROBE_TIME);
        }
        trial.under_way += 1;
        Passage::Probe
    }

    /// A request that was let through succeeded.
    #[inline]
    pub fn succeeded(&self, rules: &Rules, entry: Passage) {
        if self.row.load(Relaxed) != 0 {
            self.row.store(0, Relaxed);
        }
        if entry == Passage::Probe {
            let mut trial = self.lock();
            trial.under_way = trial.under_way.saturating_sub(1);
            trial.good += 1;
            if self.phase() == Phase::HalfOpen && trial.good >= rules.probes {
                trial.closed = Some(Instant::now());
                self.set(Phase::Closed);
            }
        }
    }

    /// A request that was let through failed; `traffic` has its requests, and is told. Answers whether this opened it.
    #[cold]
    pub fn failed(&self, rules: &Rules, entry: Passage, traffic: &Traffic, worker: usize) -> bool {
        let now = Instant::now();
        traffic.count(worker, now, Counted::Failed);
        let row = self.row.fetch_add(1, AcqRel) + 1;
        let mut trial = self.lock();
        let opens = match self.phase() {
            Phase::Open => false,
            Phase::HalfOpen => entry == Passage::Probe,
            Phase::Closed => {
                rules.consecutive_errors.is_some_and(|max| row >= max) || too_many(rules, &trial, traffic, now)
            }
        };
        if opens {
            trial.until = Some(now + rules.open_time);
            self.row.store(0, Relaxed);
            self.set(Phase::Open);
        }
        opens
    }

    /// A trial ended without a verdict: another may take its place.
    pub fn withdrawn(&self) {
        let mut trial = self.lock();
        trial.under_way = trial.under_way.saturating_sub(1);
    }

    /// Its state. One that is open and might be tried again is still called open.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Closed,
            1 => Phase::HalfOpen,
            _ => Phase::Open,
        }
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Release);
    }

    fn lock(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(rules: &Rules, trial: &Trial, traffic: &Traffic, now: Instant) -> bool {
    let Some(percent) = rules.error_percent else { return false };
    let since = trial.closed.map_or(rules.window, |closed| now.saturating_duration_since(closed));
    if since < Duration::from_secs(1) {
        return false;
    }
    let sums = traffic.sums(now, rules.window.min(since));
    sums.requests >= u64::from(rules.requests_min) && sums.failed * 100 >= sums.requests * u64::from(percent)
}

// When another one may ask while trials are under way.
const PROBE_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        error_percent: Some(50),
        requests_min: 10,
        window: Duration::from_secs(10),
        consecutive_errors: None,
        open_time: Duration::from_secs(5),
        probes: 2,
    };

    // Requests that fail where `fails` says so; answers with the number of the one that opened it.
    fn run(breaker: &Breaker, rules: &Rules, fails: impl Fn(u32) -> bool) -> Option<u32> {
        let traffic = Traffic::new(1);
        (1..=100).find(|number| {
            let entry = breaker.enter(rules);
            assert_eq!(entry, Passage::Pass);
            traffic.count(0, Instant::now(), Counted::Request);
            if fails(*number) {
                return breaker.failed(rules, entry, &traffic, 0);
            }
            breaker.succeeded(rules, entry);
            false
        })
    }

    #[test]
    fn it_opens_on_a_share_of_failures_once_there_are_enough_requests() {
        assert_eq!(run(&Breaker::default(), &RULES, |_| true), Some(10));
        assert_eq!(run(&Breaker::default(), &RULES, |number| number % 2 == 0), Some(10));
        assert_eq!(run(&Breaker::default(), &RULES, |number| number % 3 == 0), None);
    }

    #[test]
    fn it_opens_on_failures_in_a_row() {
        let rules = Rules { error_percent: None, consecutive_errors: Some(4), ..RULES };
        assert_eq!(run(&Breaker::default(), &rules, |number| number % 4 != 0), None);
        assert_eq!(run(&Breaker::default(), &rules, |number| number > 7), Some(11));
    }

    #[test]
    fn an_open_one_is_tried_and_closes_or_opens_again() {
        let rules = Rules { open_time: Duration::ZERO, ..RULES };
        let (breaker, traffic) = (Breaker::default(), Traffic::new(1));
        assert_eq!(run(&breaker, &rules, |_| true), Some(10));
        assert_eq!(breaker.phase(), Phase::Open);
        let enter = || breaker.enter(&rules);
        assert_eq!([enter(), enter(), enter()], [Passage::Probe, Passage::Probe, Passage::Refused(PROBE_TIME)]);
        breaker.withdrawn();
        assert_eq!(enter(), Passage::Probe);
        assert!(breaker.failed(&rules, Passage::Probe, &traffic, 0), "one bad trial is enough");
        assert!(!breaker.failed(&rules, Passage::Probe, &traffic, 0));
        assert_eq!([enter(), enter()], [Passage::Probe, Passage::Probe]);
        breaker.succeeded(&rules, Passage::Probe);
        assert_eq!((breaker.phase(), enter()), (Phase::HalfOpen, Passage::Refused(PROBE_TIME)));
        breaker.succeeded(&rules, Passage::Probe);
        assert_eq!((breaker.phase(), enter()), (Phase::Closed, Passage::Pass));
        assert!(!breaker.failed(&rules, Passage::Pass, &traffic, 0), "what failed before is forgiven");
    }

    #[test]
    fn while_it_is_open_it_says_for_how_long() {
        let breaker = Breaker::default();
        assert_eq!(run(&breaker, &RULES, |_| true), Some(10));
        let Passage::Refused(left) = breaker.enter(&RULES) else { panic!("it is open") };
        assert!(left <= RULES.open_time && left > Duration::from_secs(1), "{left:?}");
    }
}
