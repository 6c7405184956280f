//! How an endpoint has behaved: failures in a row, ejections, how long it took to answer, since when it is back. What
//! workers write at each answer is in a shard of their own. Knows no policy: who counts says what follows.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
    time::{Duration, Instant},
};

use super::shard::Padded;

/// The conduct of one endpoint.
#[derive(Debug)]
pub struct Conduct {
    began: Instant,
    // In a row. Written at failures, and at the first success after some: while all is well, only read.
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    // Milliseconds after `began`; 0 where it is not ejected.
    ejected_until_ms: AtomicU64,
    ejections: AtomicU32,
    // Since when it has been there without a break, in milliseconds after `began`.
    fresh_since_ms: AtomicU64,
    shards: Box<[Padded<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    succeeded: AtomicU64,
    answered: AtomicU64,
    // The bits of an `f64`: seconds. 0 where nothing was measured yet.
    latency: AtomicU64,
    // When it was measured, in microseconds after `began`.
    measured_us: AtomicU64,
}

/// Answers since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were good.
    pub succeeded: u64,
    /// All of them, and failures.
    pub answered: u64,
}

impl Conduct {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            began: Instant::now(),
            errors: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            fresh_since_ms: AtomicU64::new(0),
            shards: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// Counts a good answer on `worker`, which must be the calling one.
    #[inline]
    pub fn succeeded(&self, worker: usize) {
        let shard = &self.shards[worker].0;
        add(&shard.succeeded);
        add(&shard.answered);
        if self.errors.load(Relaxed) | self.gateway_errors.load(Relaxed) != 0 {
            self.errors.store(0, Relaxed);
            self.gateway_errors.store(0, Relaxed);
        }
    }

    /// Counts a failure on `worker`, which must be the calling one; `gateway` says whether it is one of those that
    /// gateways have with what stands behind them. Answers with how many there are in a row, of all and of those.
    pub fn failed(&self, worker: usize, gateway: bool) -> (u32, u32) {
        add(&self.shards[worker].0.answered);
        let errors = self.errors.fetch_add(1, AcqRel).saturating_add(1);
        let gateway_errors = match gateway {
            true => self.gateway_errors.fetch_add(1, AcqRel).saturating_add(1),
            false => {
                self.gateway_errors.store(0, Relaxed);
                0
            }
        };
        (errors, gateway_errors)
    }

    /// All answers of all workers.
    pub fn tally(&self) -> Tally {
        self.shards.iter().fold(Tally::default(), |sum, shard| Tally {
            succeeded: sum.succeeded + shard.0.succeeded.load(Relaxed),
            answered: sum.answered + shard.0.answered.load(Relaxed),
        })
    }

    /// Whether it is ejected.
    #[inline]
    pub fn is_ejected(&self) -> bool {
        self.ejected_until_ms.load(Relaxed) != 0
    }

    /// Ejects it for as many times `base` as this is its ejection in a row, `most` at most; answers with that time, or
    /// with nothing where it is ejected already.
    pub fn eject(&self, base: Duration, most: Duration) -> Option<Duration> {
        let count = self.ejections.load(Relaxed).saturating_add(1);
        let time = base.saturating_mul(count).min(most);
        let until = self.now_ms().saturating_add(millis(time)).max(1);
        self.ejected_until_ms.compare_exchange(0, until, AcqRel, Relaxed).ok()?;
        self.ejections.store(count, Relaxed);
        self.errors.store(0, Relaxed);
        self.gateway_errors.store(0, Relaxed);
        Some(time)
    }

    /// How much of its ejection is left.
    pub fn ejected_for(&self) -> Option<Duration> {
        let until = self.ejected_until_ms.load(Relaxed);
        (until != 0).then(|| Duration::from_millis(until.saturating_sub(self.now_ms())))
    }

    /// Ends an ejection whose time is over; answers whether there was one.
    pub fn restore(&self) -> bool {
        let until = self.ejected_until_ms.load(Relaxed);
        let due = until != 0 && self.now_ms() >= until;
        let restored = due && self.ejected_until_ms.compare_exchange(until, 0, AcqRel, Relaxed).is_ok();
        if restored {
            self.begin_anew();
        }
        restored
    }

    /// How many ejections the next one counts from.
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
    }

    /// Forgets one ejection: it did well for a while.
    pub fn forgive(&self) {
        if !self.is_ejected() {
            let one_less = |count: u32| count.checked_sub(1);
            let _none_left = self.ejections.fetch_update(Relaxed, Relaxed, one_less);
        }
    }

    /// Says that it is back after a break.
    pub fn begin_anew(&self) {
        self.fresh_since_ms.store(self.now_ms(), Relaxed);
    }

    /// For how long it has been there without a break.
    pub fn there_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.fresh_since_ms.load(Relaxed)))
    }

    /// Takes note on `worker`, which must be the calling one, of how long an answer took: a longer time than known
    /// counts at once, a shorter one by and by, over `decay`.
    pub fn measured(&self, worker: usize, took: Duration, decay: Duration) {
        let shard = &self.shards[worker].0;
        let now = self.now_us();
        let (took, known) = (took.as_secs_f64().max(LEAST), f64::from_bits(shard.latency.load(Relaxed)));
        let estimate = if took >= known {
            took
        } else {
            let weight = faded(now.saturating_sub(shard.measured_us.load(Relaxed)), decay);
            known * weight + took * (1.0 - weight)
        };
        shard.latency.store(estimate.to_bits(), Relaxed);
        shard.measured_us.store(now, Relaxed);
    }

    /// What the next answer is expected to take on `worker`, in seconds: what is known fades over `decay`, so that one
    /// that was slow is tried again. Nothing where nothing was measured.
    pub fn expected(&self, worker: usize, decay: Duration) -> Option<f64> {
        let shard = &self.shards[worker].0;
        let known = f64::from_bits(shard.latency.load(Relaxed));
        let since = self.now_us().saturating_sub(shard.measured_us.load(Relaxed));
        (known > 0.0).then(|| (known * faded(since, decay)).max(LEAST))
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

// Only its own worker writes a shard, so a load and a store are enough.
#[inline]
fn add(count: &AtomicU64) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn faded(since_us: u64, decay: Duration) -> f64 {
    (-(since_us as f64) / (decay.as_micros() as f64).max(1.0)).exp()
}

// Seconds. Nothing is faster, so that what is under way always counts.
const LEAST: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_counted_until_a_success() {
        let conduct = Conduct::new(2);
        assert_eq!(conduct.failed(0, true), (1, 1));
        assert_eq!(conduct.failed(1, true), (2, 2));
        assert_eq!(conduct.failed(0, false), (3, 0));
        conduct.succeeded(1);
        assert_eq!(conduct.failed(0, true), (1, 1));
        assert_eq!(conduct.tally(), Tally { succeeded: 1, answered: 5 });
    }

    #[test]
    fn each_ejection_is_longer_than_the_one_before_and_none_is_longer_than_the_most() {
        let conduct = Conduct::new(1);
        let (base, most) = (Duration::from_millis(20), Duration::from_millis(50));
        for (time, back) in [(20, 1), (40, 2), (50, 3)] {
            assert_eq!(conduct.eject(base, most), Some(Duration::from_millis(time)));
            assert!(conduct.is_ejected() && conduct.eject(base, most).is_none());
            let deadline = Instant::now() + Duration::from_secs(10);
            while !conduct.restore() {
                assert!(Instant::now() < deadline);
            }
            assert_eq!((conduct.is_ejected(), conduct.ejections()), (false, back));
        }
        conduct.forgive();
        assert_eq!(conduct.ejections(), 2);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let conduct = Conduct::new(1);
        let decay = Duration::from_secs(3600);
        assert_eq!(conduct.expected(0, decay), None);
        conduct.measured(0, Duration::from_millis(1), decay);
        conduct.measured(0, Duration::from_millis(100), decay);
        let slow = conduct.expected(0, decay).unwrap();
        assert!((0.099..=0.1).contains(&slow), "{slow}");
        conduct.measured(0, Duration::from_millis(1), decay);
        assert!(conduct.expected(0, decay).unwrap() > 0.09, "one quick answer does not make it quick");
        let short = Duration::from_micros(1);
        let deadline = Instant::now() + Duration::from_secs(10);
        while conduct.expected(0, short).unwrap() > LEAST {
            assert!(Instant::now() < deadline);
        }
    }
}
