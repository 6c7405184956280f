//! Exact shares by weight: a rotation without state. Knows nothing of what is chosen.

/// Chooses among weights so that every run of [`Share::period`] positions gives each exactly its weight, and shorter
/// runs give it nearly so.
#[derive(Debug)]
pub(super) struct Share {
    // Where the weights end, added up: the last is the period.
    bounds: Box<[u64]>,
    stride: u64,
}

impl Share {
    /// Shares by `weights`; `None` where all are 0.
    pub(super) fn new(weights: impl IntoIterator<Item: Into<u64>>) -> Option<Self> {
        let weights: Vec<u64> = weights.into_iter().map(Into::into).collect();
        let divisor = weights.iter().copied().fold(0, greatest_divisor);
        let mut sum = 0;
        let bounds: Box<[u64]> = weights
            .iter()
            .map(|weight| {
                sum += weight.checked_div(divisor).unwrap_or_default();
                sum
            })
            .collect();
        let even = weights.iter().all(|weight| *weight == weights[0]);
        let stride = if even { 1 } else { stride(sum) };
        (sum > 0).then_some(Self { bounds, stride })
    }

    /// After how many positions the rotation begins anew.
    #[cfg(test)]
    pub(super) fn period(&self) -> u64 {
        self.bounds.last().copied().unwrap_or_default()
    }

    /// Which of the weights has this position in the rotation.
    #[inline]
    pub(super) fn at(&self, position: u64) -> usize {
        let [.., period] = *self.bounds else { return 0 };
        let position = position % period;
        let spread = match u32::try_from(period) {
            Ok(_) => position * self.stride % period,
            Err(_) => (u128::from(position) * u128::from(self.stride) % u128::from(period)) as u64,
        };
        self.bounds.partition_point(|bound| *bound <= spread)
    }
}

// A step that visits every number below `period` once before it repeats (it has no divisor in common with it), and
// spreads neighbours far: near the golden section, where no fraction with a small denominator is close to it.
fn stride(period: u64) -> u64 {
    let golden = (u128::from(period) * 618_033_989 / 1_000_000_000) as u64;
    let near = (golden..period).take(CANDIDATES).filter(|stride| greatest_divisor(*stride, period) == 1);
    near.min_by_key(|stride| closeness(*stride, period)).unwrap_or(1)
}

// The greatest term of the continued fraction of `a / b`: how close a simple fraction comes to it.
const fn closeness(a: u64, b: u64) -> u64 {
    let (mut a, mut b, mut greatest) = (b, a, 0);
    while b > 0 {
        greatest = if a / b > greatest { a / b } else { greatest };
        (a, b) = (b, a % b);
    }
    greatest
}

const fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// A number that looks random, made of `seed` (SplitMix64).
pub(super) const fn scatter(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

const CANDIDATES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_of_one_period_is_exact_wherever_it_begins(
            weights in prop::collection::vec(0..40_u32, 1..8), start in 0..1_000_000_u64
        ) {
            let total: u32 = weights.iter().sum();
            let Some(share) = Share::new(weights.iter().copied()) else {
                prop_assert_eq!(total, 0);
                return Ok(());
            };
            let mut counts = vec![0_u64; weights.len()];
            (start..start + share.period()).for_each(|position| counts[share.at(position)] += 1);
            for (weight, count) in weights.iter().zip(counts) {
                prop_assert_eq!(count * u64::from(total), u64::from(*weight) * share.period());
            }
        }

        #[test]
        fn a_short_run_is_nearly_exact(weights in prop::collection::vec(1..1000_u32, 2..6), run in 1..500_u64) {
            let share = Share::new(weights.iter().copied()).unwrap();
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0_u64; weights.len()];
            (0..run).for_each(|position| counts[share.at(position)] += 1);
            for (weight, count) in weights.iter().zip(counts) {
                let due = run as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((count as f64 - due).abs() <= 8.0, "{} of {} is {}, not {}", weight, total, count, due);
            }
        }
    }

    #[test]
    fn equal_weights_take_turns() {
        let share = Share::new([7_u32, 7, 7]).unwrap();
        assert_eq!((0..6).map(|position| share.at(position)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let share = Share::new([u32::MAX, u32::MAX - 1, 0, 1]).unwrap();
        assert!((0..1000).all(|position| share.at(u64::MAX - position) != 2));
    }
}
