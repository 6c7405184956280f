//! How many requests an upstream had in the last seconds, and how many of them were further tries or failed: what
//! budgets and breakers go by. Counted per worker, summed when a decision is due. Knows nothing of decisions.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::shard::Padded;

/// The traffic of one upstream in the whole process.
#[derive(Debug)]
pub struct Traffic {
    began: Instant,
    shards: Box<[Padded<Shard>]>,
}

#[derive(Debug)]
struct Shard([Second; SECONDS]);

#[derive(Debug, Default)]
struct Second {
    // Counted from 1, so that 0 is none.
    number: AtomicU64,
    counts: [AtomicU32; 3],
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A request, however often it is tried.
    Request,
    /// A try beside the first one.
    Further,
    /// A request that failed.
    Failed,
}

/// The sums of some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Tries beside the first ones.
    pub further: u64,
    /// Requests that failed.
    pub failed: u64,
}

impl Traffic {
    /// Of `workers` workers, none yet.
    pub fn new(workers: usize) -> Self {
        let shard = || Padded(Shard(std::array::from_fn(|_| Second::default())));
        Self { began: Instant::now(), shards: (0..workers).map(|_| shard()).collect() }
    }

    /// Counts one on `worker`, which must be the calling one.
    pub fn count(&self, worker: usize, now: Instant, what: Counted) {
        let number = self.second(now);
        let second = &self.shards[worker].0.0[number as usize % SECONDS];
        if second.number.load(Relaxed) != number {
            second.counts.iter().for_each(|count| count.store(0, Relaxed));
            second.number.store(number, Relaxed);
        }
        // Only its own worker writes a shard, so a load and a store are enough.
        let count = &second.counts[what as usize];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The sums of the last `window`, whole seconds of it, this one included.
    pub fn sums(&self, now: Instant, window: Duration) -> Sums {
        let last = self.second(now);
        let first = (last + 1).saturating_sub(window.as_secs().clamp(1, WINDOW_MAX.as_secs())).max(1);
        let mut sums = Sums::default();
        for second in self.shards.iter().flat_map(|shard| &shard.0.0) {
            if (first..=last).contains(&second.number.load(Relaxed)) {
                let read = |what: Counted| u64::from(second.counts[what as usize].load(Relaxed));
                sums.requests += read(Counted::Request);
                sums.further += read(Counted::Further);
                sums.failed += read(Counted::Failed);
            }
        }
        sums
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() + 1
    }
}

/// No longer window can be summed.
pub const WINDOW_MAX: Duration = Duration::from_secs(60);
const SECONDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_not_summed() {
        let traffic = Traffic::new(2);
        let at = |seconds: u64| traffic.began + Duration::from_secs(seconds);
        traffic.count(0, at(0), Counted::Request);
        traffic.count(1, at(5), Counted::Request);
        traffic.count(1, at(5), Counted::Further);
        traffic.count(0, at(9), Counted::Failed);
        let window = Duration::from_secs(10);
        assert_eq!(traffic.sums(at(9), window), Sums { requests: 2, further: 1, failed: 1 });
        assert_eq!(traffic.sums(at(10), window), Sums { requests: 1, further: 1, failed: 1 });
        assert_eq!(traffic.sums(at(18), window), Sums { requests: 0, further: 0, failed: 1 });
        assert_eq!(traffic.sums(at(400), window), Sums::default());
        traffic.count(0, at(64), Counted::Request);
        assert_eq!(traffic.sums(at(64), WINDOW_MAX).requests, 2, "a second that comes round again begins at 0");
    }
}
