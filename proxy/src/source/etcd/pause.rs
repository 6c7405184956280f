//! Pauses between attempts: they grow with each failure, and each is a random part of that (full jitter), so that a
//! fleet does not come back all at once. Knows no etcd.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The pauses after a row of failures.
#[derive(Clone, Debug)]
pub(super) struct Pauses {
    first: Duration,
    failures: u32,
}

impl Pauses {
    /// The first pause is at most `first`.
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// The next pause: a random part of the last one's double, `most` at most.
    pub(super) fn next(&mut self, most: Duration) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(most).mul_f64(random())
    }

    /// Things went well: the next pause is a first one.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

// From 0 to 1. Every one of these states has keys of its own.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_no_two_are_alike() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pauses = Pauses::new(first);
        for bound in [100, 200, 400, 800, 1000, 1000] {
            assert!(pauses.next(most) <= Duration::from_millis(bound));
        }
        let later: Vec<_> = (0..100).map(|_| pauses.next(most)).collect();
        assert!(later.iter().any(|pause| *pause > most / 2) && later.iter().any(|pause| *pause < most / 2));
        assert!(pauses.next(Duration::from_secs(60)) <= Duration::from_secs(60));
        pauses.reset();
        assert!(pauses.next(most) <= first);
    }
}
