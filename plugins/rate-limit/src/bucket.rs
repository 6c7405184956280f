//! A token bucket: whole numbers, and nothing but what is stored and the time. Knows no host, no keys, no HTTP.

use std::time::Duration;

/// A bucket holds `burst` tokens and gains `rate`; a request takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) rate: Rate,
    /// At most [`COUNT_MAX`].
    pub(crate) burst: u32,
}

/// How fast a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens gained in `per`; 1 to [`COUNT_MAX`].
    pub(crate) requests: u32,
    /// Not zero.
    pub(crate) per: Duration,
}

/// A bucket at the time when a request was last admitted. It also says how fast it was filling then: under a changed
/// limit, the time before counts at the old rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// In billionths of a token.
    tokens: u64,
    /// On the monotonic clock.
    at: Duration,
    rate: Rate,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) admitted: bool,
    /// The bucket afterwards.
    pub(crate) bucket: Bucket,
    /// Whether it has to be stored: a request was admitted, or it fills at another rate from now on.
    pub(crate) changed: bool,
    /// Requests that would be admitted now.
    pub(crate) left: u32,
    /// How long until one more than that would be; for a refused request, until it would be admitted.
    pub(crate) next: Duration,
}

/// Requests, and tokens in a bucket.
pub(crate) const COUNT_MAX: u32 = 1_000_000_000;

const TOKEN: u64 = 1_000_000_000;

impl Limit {
    /// Takes a token out of a bucket, if there is one. A bucket that is not stored is full.
    pub(crate) fn take(&self, stored: Option<Bucket>, now: Duration) -> Taken {
        let mut bucket = self.settled(stored, now);
        let admitted = bucket.tokens >= TOKEN;
        if admitted {
            bucket.tokens -= TOKEN;
        }
        let changed = admitted || stored.is_some_and(|stored| stored.rate != self.rate);
        let left = u32::try_from(bucket.tokens / TOKEN).unwrap_or(u32::MAX);
        Taken { admitted, bucket, changed, left, next: self.rate.time_for(TOKEN - bucket.tokens % TOKEN) }
    }

    /// How long until a bucket is full: then it need not be stored any more.
    pub(crate) fn full_in(&self, bucket: &Bucket) -> Duration {
        self.rate.time_for(self.full().saturating_sub(bucket.tokens))
    }

    // The bucket as of now, under this limit.
    fn settled(&self, stored: Option<Bucket>, now: Duration) -> Bucket {
        let Some(stored) = stored else { return Bucket { tokens: self.full(), at: now, rate: self.rate } };
        // Of two workers, the later writer may have read the clock first.
        let gained = stored.rate.gained(now.saturating_sub(stored.at));
        let tokens = stored.tokens.saturating_add(gained).min(self.full());
        Bucket { tokens, at: stored.at.max(now), rate: self.rate }
    }

    fn full(&self) -> u64 {
        u64::from(self.burst) * TOKEN
    }
}

impl Rate {
    // In billionths of a token, rounded down.
    fn gained(&self, elapsed: Duration) -> u64 {
        let (tokens, time) = self.fraction();
        times(nanos(elapsed), tokens, time, false)
    }

    // Rounded up to nanoseconds.
    fn time_for(&self, tokens: u64) -> Duration {
        let (gained, time) = self.fraction();
        Duration::from_nanos(times(tokens, time, gained, true))
    }

    // Billionths of a token, and the nanoseconds in which so many are gained, both divided by what most have in common:
    // then most products fit into 64 bits, and divisions of 128 take a guest some thousand instructions.
    fn fraction(&self) -> (u64, u64) {
        let (per, requests) = (nanos(self.per).max(1), u64::from(self.requests.max(1)));
        match per {
            per if per.is_multiple_of(TOKEN) => (requests, per / TOKEN),
            per if per.is_multiple_of(MILLISECOND) => (requests * (TOKEN / MILLISECOND), per / MILLISECOND),
            per => (requests * TOKEN, per),
        }
    }
}

// In nanoseconds.
const MILLISECOND: u64 = 1_000_000;

// `number * by / of`, as large as it can be at most.
fn times(number: u64, by: u64, of: u64, up: bool) -> u64 {
    match number.checked_mul(by) {
        Some(product) => product / of + u64::from(up && !product.is_multiple_of(of)),
        None => {
            let (product, of) = (u128::from(number) * u128::from(by), u128::from(of));
            u64::try_from(if up { product.div_ceil(of) } else { product / of }).unwrap_or(u64::MAX)
        }
    }
}

const BYTES: usize = 28;

impl Bucket {
    /// As it is stored.
    pub(crate) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.tokens.to_le_bytes());
        bytes[8..16].copy_from_slice(&nanos(self.at).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.rate.requests.to_le_bytes());
        bytes[20..].copy_from_slice(&nanos(self.rate.per).to_le_bytes());
        bytes
    }

    /// Of what is stored; nothing, if that is no bucket.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let requests = u32::from_le_bytes(bytes[16..20].try_into().ok()?);
        let per = Duration::from_nanos(number(20)?);
        (requests > 0 && !per.is_zero()).then_some(())?;
        Some(Self { tokens: number(0)?, at: Duration::from_nanos(number(8)?), rate: Rate { requests, per } })
    }
}

// Without a step over 128 bits, as long as it can be at most.
fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().checked_mul(1_000_000_000);
    whole.and_then(|whole| whole.checked_add(duration.subsec_nanos().into())).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn limit(requests: u32, per: Duration, burst: u32) -> Limit {
        Limit { rate: Rate { requests, per }, burst }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Requests admitted of one each `step` until `end`, with the bucket stored only where one is.
    fn admitted(limit: &Limit, mut stored: Option<Bucket>, (start, step, end): (Duration, Duration, Duration)) -> u32 {
        let (mut count, mut now) = (0, start);
        while now < end {
            let taken = limit.take(stored, now);
            if taken.admitted {
                count += 1;
                stored = Bucket::from_bytes(&taken.bucket.to_bytes());
            }
            now += step;
        }
        count
    }

    #[test]
    fn a_bucket_admits_its_burst_at_once_and_its_rate_for_ever() {
        let cases = [
            (limit(100, SECOND, 100), 10, 100 + 999),
            (limit(100, SECOND, 1), 10, 1 + 999),
            (limit(7, SECOND, 20), 10, 20 + 69),
            (limit(1, SECOND * 3, 2), 10, 2 + 3),
            (limit(1_000_000, SECOND, 5), 1, 1_000),
        ];
        for (limit, seconds, expected) in cases {
            let span = (SECOND, Duration::from_millis(1), SECOND * (1 + seconds));
            assert_eq!(admitted(&limit, None, span), expected, "{limit:?}");
        }
    }

    #[test]
    fn a_refused_request_changes_nothing_and_is_told_when_it_would_be_admitted() {
        let limit = limit(2, SECOND, 1);
        let first = limit.take(None, SECOND);
        assert!(first.admitted && first.left == 0 && first.next == SECOND / 2);
        let refused = limit.take(Some(first.bucket), SECOND + SECOND / 4);
        assert!(!refused.admitted && refused.next == SECOND / 4, "{refused:?}");
        let almost = SECOND + SECOND / 2 - Duration::from_nanos(1);
        assert!(!limit.take(Some(first.bucket), almost).admitted);
        assert!(limit.take(Some(first.bucket), SECOND + refused.next + SECOND / 4).admitted);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_takes_nothing() {
        let limit = limit(10, SECOND, 10);
        let mut stored = None;
        for now in [100, 50, 0, 99, 100] {
            let taken = limit.take(stored, SECOND * now);
            assert!(taken.admitted);
            stored = Some(taken.bucket);
        }
        assert_eq!(limit.take(stored, SECOND * 100).left, 4);
        // A leap forward fills the bucket, and no more.
        assert_eq!(limit.take(stored, Duration::from_nanos(u64::MAX)).left, 9);
    }

    #[test]
    fn a_changed_limit_keeps_the_tokens_and_counts_the_time_before_at_the_old_rate() {
        let slow = limit(1, SECOND, 10);
        let mut stored = None;
        for _ in 0..10 {
            stored = Some(slow.take(stored, SECOND).bucket);
        }
        assert!(!slow.take(stored, SECOND).admitted);
        // Two seconds at the old rate are two tokens, whatever the new one is.
        let fast = limit(1_000, SECOND, 1_000);
        assert_eq!(fast.take(stored, SECOND * 3).left, 1);
        assert_eq!(limit(1, SECOND * 3_600, 10).take(stored, SECOND * 3).left, 1);
        // From then on the new one counts.
        let taken = fast.take(stored, SECOND * 3).bucket;
        assert_eq!(fast.take(Some(taken), SECOND * 3 + SECOND / 10).left, 100);
        // A smaller bucket holds no more than it can.
        let full = limit(1_000, SECOND, 1_000).take(None, SECOND).bucket;
        assert_eq!(limit(1, SECOND, 5).take(Some(full), SECOND).left, 4);
        // A larger one begins with what there was.
        let few = limit(1, SECOND, 5).take(None, SECOND).bucket;
        assert_eq!(limit(1, SECOND, 500).take(Some(few), SECOND).left, 3);
    }

    #[test]
    fn an_empty_bucket_fills_at_the_new_rate_from_the_first_request_under_it() {
        let slow = limit(1, SECOND * 3_600, 1);
        let empty = slow.take(None, SECOND).bucket;
        let refused = slow.take(Some(empty), SECOND * 2);
        assert!(!refused.admitted && !refused.changed, "refusing changes nothing");
        let fast = limit(1, SECOND, 1);
        let first = fast.take(Some(empty), SECOND * 3);
        assert!(!first.admitted && first.changed, "the time before counts at the old rate");
        assert!(fast.take(Some(first.bucket), SECOND * 4).admitted);
    }

    #[test]
    fn a_bucket_is_forgotten_when_it_is_full_and_not_before() {
        let limit = limit(4, SECOND, 8);
        let taken = limit.take(None, SECOND).bucket;
        assert_eq!(limit.full_in(&taken), SECOND / 4);
        let rest = limit.full_in(&taken);
        assert_eq!(limit.take(Some(taken), SECOND + rest).bucket.tokens, limit.take(None, SECOND + rest).bucket.tokens);
    }

    #[test]
    fn the_largest_and_the_smallest_limits_do_not_overflow() {
        let century = Duration::from_secs(100 * 366 * 86_400);
        for limit in [
            limit(COUNT_MAX, Duration::from_millis(1), COUNT_MAX),
            limit(1, century, COUNT_MAX),
            limit(COUNT_MAX, century, 1),
        ] {
            let mut stored = None;
            for now in [Duration::ZERO, SECOND, century, Duration::from_nanos(u64::MAX)] {
                let taken = limit.take(stored, now);
                assert!(taken.left <= limit.burst && limit.full_in(&taken.bucket) > Duration::ZERO);
                stored = Bucket::from_bytes(&taken.bucket.to_bytes());
                assert_eq!(stored, Some(taken.bucket));
            }
        }
    }

    #[test]
    fn products_that_fit_into_64_bits_come_to_what_those_of_128_come_to() {
        let (second, longest) = (1_000_000_000, u64::MAX);
        for per in [1, 999, 1_000_000, 333_000_000, second, 60 * second, second + 1, longest] {
            for requests in [1, 3, 100, COUNT_MAX] {
                let rate = Rate { requests, per: Duration::from_nanos(per) };
                for number in [0, 1, 7, TOKEN - 1, TOKEN, 5 * TOKEN + 3, u64::from(COUNT_MAX) * TOKEN, longest] {
                    let (number, billionths) = (u128::from(number), u128::from(requests) * u128::from(TOKEN));
                    let whole = |number: u128| u64::try_from(number).unwrap_or(longest);
                    let gained = whole(number.saturating_mul(billionths) / u128::from(per));
                    assert_eq!(rate.gained(Duration::from_nanos(whole(number))), gained, "{rate:?} {number}");
                    let time = whole((number * u128::from(per)).div_ceil(billionths));
                    assert_eq!(rate.time_for(whole(number)), Duration::from_nanos(time), "{rate:?} {number}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_bucket_is_not_taken_for_one() {
        for bytes in [&[][..], &[0; 27], &[0; 28], &[0; 29], &[1; 8]] {
            assert_eq!(Bucket::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
