//! Counters that only their own worker writes: a relaxed load and a relaxed store, no locked instruction, no cache
//! line that two workers write. Whoever reads sums the shards. Knows no names and no labels.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{
            AtomicU16, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use crate::error::Kind;

/// One `T` a worker, each on cache lines of its own, made when its worker first writes.
pub(super) struct Sharded<T>(Box<[OnceLock<Box<Padded<T>>>]>);

// Two lines, because processors fetch them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Default> Sharded<T> {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| OnceLock::new()).collect())
    }

    /// The shard of `worker`, which must be the caller; `None` for a worker that was not announced.
    #[inline]
    pub(super) fn of(&self, worker: usize) -> Option<&T> {
        self.0.get(worker).map(|shard| &shard.get_or_init(Box::default).0)
    }

    /// The shards that were ever written.
    pub(super) fn written(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|shard| shard.get()).map(|shard| &shard.0)
    }

    /// The sum over all shards of what `count` picks.
    pub(super) fn sum(&self, count: impl Fn(&T) -> &Count) -> u64 {
        self.written().fold(0, |sum, shard| sum.wrapping_add(count(shard).read()))
    }

    /// The same for something that goes up and down, perhaps on different workers; never below 0, though the shards
    /// are not read at one instant.
    pub(super) fn level(&self, count: impl Fn(&T) -> &Count) -> u64 {
        self.sum(count).cast_signed().max(0).cast_unsigned()
    }
}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sharded({})", self.0.len())
    }
}

/// One number with one writer.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    #[inline]
    pub(super) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// One less. The number wraps; [`Sharded::level`] sums it as a signed one.
    #[inline]
    pub(super) fn less(&self) {
        self.add(u64::MAX);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts by status code. The first [`CODES_MAX`] different codes have a count each, further ones share one.
#[derive(Debug, Default)]
pub(super) struct Codes {
    codes: [AtomicU16; CODES_MAX],
    counts: [Count; CODES_MAX],
    other: Count,
}

/// Different status codes that one worker counts apart in one series.
const CODES_MAX: usize = 12;

impl Codes {
    #[inline]
    pub(super) fn count(&self, code: u16) {
        for (slot, count) in self.codes.iter().zip(&self.counts) {
            match slot.load(Relaxed) {
                0 => slot.store(code, Release),
                taken if taken == code => {}
                _ => continue,
            }
            return count.add(1);
        }
        self.other.add(1);
    }

    /// The codes seen and how often; code 0 for those without a count of their own.
    pub(super) fn read(&self) -> impl Iterator<Item = (u16, u64)> {
        let apart = self.codes.iter().zip(&self.counts).map(|(code, count)| (code.load(Acquire), count.read()));
        apart.filter(|(code, _)| *code != 0).chain(Some((0, self.other.read())).filter(|(_, count)| *count > 0))
    }
}

/// Counts by what failed.
#[derive(Debug)]
pub(super) struct Kinds([Count; Kind::ALL.len()]);

impl Default for Kinds {
    // By hand: the library has it for arrays of up to 32 only.
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl Kinds {
    #[inline]
    pub(super) fn count(&self, kind: Kind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.add(1);
        }
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(&self.0).map(|(kind, count)| (kind, count.read()))
    }
}

/// A distribution over fixed bounds. `SCALE` says which.
#[derive(Debug)]
pub(super) struct Histogram<S> {
    buckets: [Count; BUCKETS],
    nanos: Count,
    scale: std::marker::PhantomData<S>,
}

/// Buckets of every histogram, the open one at the end included.
pub(super) const BUCKETS: usize = 16;

/// The upper bounds of a histogram's buckets but the last, in nanoseconds, ascending.
pub(super) trait Scale {
    const BOUNDS: [u64; BUCKETS - 1];
}

/// 500 µs to 60 s: whole exchanges, upstreams, reload phases.
#[derive(Debug)]
pub(super) struct Slow;

/// 1 µs to 1 s: plugins.
#[derive(Debug)]
pub(super) struct Fast;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

impl Scale for Slow {
    const BOUNDS: [u64; BUCKETS - 1] = [
        500 * US,
        MS,
        2_500 * US,
        5 * MS,
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2_500 * MS,
        5 * S,
        10 * S,
        60 * S,
    ];
}

impl Scale for Fast {
    const BOUNDS: [u64; BUCKETS - 1] = [
        US,
        2_500,
        5 * US,
        10 * US,
        25 * US,
        50 * US,
        100 * US,
        250 * US,
        500 * US,
        MS,
        5 * MS,
        25 * MS,
        100 * MS,
        500 * MS,
        S,
    ];
}

impl<S> Default for Histogram<S> {
    fn default() -> Self {
        Self { buckets: Default::default(), nanos: Count::default(), scale: std::marker::PhantomData }
    }
}

impl<S: Scale> Histogram<S> {
    #[inline]
    pub(super) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = S::BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BUCKETS - 1);
        self.buckets[bucket].add(1);
        self.nanos.add(nanos);
    }
}

/// A distribution as it is read: a count a bucket (not cumulative), the upper bounds and the sum, both in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Distribution {
    pub(super) bounds: [f64; BUCKETS - 1],
    pub(super) buckets: [u64; BUCKETS],
    pub(super) sum: f64,
}

impl Distribution {
    /// The sum of `shards`.
    pub(super) fn of<'a, S: Scale + 'a>(shards: impl Iterator<Item = &'a Histogram<S>>) -> Self {
        let mut whole = Self { bounds: S::BOUNDS.map(|nanos| nanos as f64 / 1e9), buckets: [0; BUCKETS], sum: 0.0 };
        for shard in shards {
            for (sum, count) in whole.buckets.iter_mut().zip(&shard.buckets) {
                *sum += count.read();
            }
            whole.sum += shard.nanos.read() as f64 / 1e9;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed_and_a_stranger_is_ignored() {
        let counts: Sharded<Count> = Sharded::new(2);
        for (worker, by) in [(0, 3), (1, 4), (2, 5)] {
            if let Some(count) = counts.of(worker) {
                count.add(by);
            }
        }
        assert_eq!(counts.sum(|count| count), 7);
    }

    #[test]
    fn a_level_that_rises_here_and_falls_there_never_shows_less_than_nothing() {
        let levels: Sharded<Count> = Sharded::new(2);
        levels.of(0).expect("announced").less();
        assert_eq!(levels.level(|count| count), 0);
        levels.of(1).expect("announced").add(3);
        assert_eq!(levels.level(|count| count), 2);
    }

    #[test]
    fn codes_beyond_the_limit_share_one_count() {
        let codes = Codes::default();
        for code in 200..220 {
            codes.count(code);
            codes.count(200);
        }
        let read: Vec<_> = codes.read().collect();
        assert_eq!(read.len(), CODES_MAX + 1);
        assert_eq!((read[0], read[1], read[CODES_MAX]), ((200, 21), (201, 1), (0, 8)));
    }

    #[test]
    fn bounds_belong_to_their_bucket() {
        let histogram: Histogram<Slow> = Histogram::default();
        for time in [Duration::ZERO, Duration::from_micros(500), Duration::from_nanos(500_001), Duration::from_secs(61)]
        {
            histogram.observe(time);
        }
        let read = Distribution::of([&histogram].into_iter());
        assert_eq!((read.buckets[0], read.buckets[1], read.buckets[BUCKETS - 1]), (2, 1, 1));
        assert!(Slow::BOUNDS.is_sorted() && Fast::BOUNDS.is_sorted());
    }
}
