//! Consistent hashing: which endpoint a key belongs to. A table of slots, each given to the endpoint with the highest
//! score in it (rendezvous hashing, by weight), so that it is the same in every process, and an endpoint that comes or
//! goes moves its own slots and no other. Knows neither requests nor health.

use super::super::share::scatter;

/// The table; 256 KiB.
#[derive(Debug)]
pub(super) struct Ring(Box<[u32]>);

/// How many slots there are. With ten endpoints of equal weight, each gets its tenth within 2%.
pub(super) const SLOTS: usize = 1 << 16;

impl Ring {
    /// The table for members of these tokens and weights; `None` where all weights are 0.
    pub(super) fn new(members: impl IntoIterator<Item = (u64, u32)>) -> Option<Self> {
        let groups = groups(members);
        (!groups.is_empty()).then(|| Self((0..SLOTS as u64).map(|slot| owner(&groups, slot)).collect()))
    }

    /// The member that a key's hash leads to, at the first try (0) and further ones.
    #[inline]
    pub(super) fn at(&self, hash: u64, attempt: u64) -> usize {
        let hash = if attempt == 0 { hash } else { scatter(hash.wrapping_add(attempt)) };
        self.0[hash as usize % SLOTS] as usize
    }
}

// Members of one weight: among them the highest number wins, and no logarithm is needed.
struct Group {
    weight: f64,
    members: Vec<(u64, u32)>,
}

fn groups(members: impl IntoIterator<Item = (u64, u32)>) -> Vec<Group> {
    let mut groups: Vec<(u32, Group)> = Vec::new();
    for (position, (token, weight)) in members.into_iter().enumerate().filter(|(_, (_, weight))| *weight > 0) {
        let member = (token, u32::try_from(position).unwrap_or(u32::MAX));
        match groups.iter_mut().find(|(known, _)| *known == weight) {
            Some((_, group)) => group.members.push(member),
            None => groups.push((weight, Group { weight: f64::from(weight), members: vec![member] })),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn owner(groups: &[Group], slot: u64) -> u32 {
    let seed = scatter(slot);
    let best = |group: &Group| {
        let number = |(token, position): &(u64, u32)| (scatter(token ^ seed), *position);
        group.members.iter().map(number).max().unwrap_or_default()
    };
    if let [only] = groups {
        return best(only).1;
    }
    // The least of exponentially distributed numbers, each with its weight as the rate, is anyone's by its weight.
    let score = |group: &Group| {
        let (number, position) = best(group);
        let even = (number as f64 + 1.0) / (u64::MAX as f64 + 2.0);
        (-even.ln() / group.weight, position)
    };
    let least = groups.iter().map(score).min_by(|(one, _), (other, _)| one.total_cmp(other));
    least.map_or(0, |(_, position)| position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owners(members: &[(u64, u32)]) -> Vec<usize> {
        let ring = Ring::new(members.iter().copied()).unwrap();
        (0..SLOTS as u64).map(|slot| ring.at(slot, 0)).collect()
    }

    fn members() -> impl Strategy<Value = Vec<(u64, u32)>> {
        prop::collection::hash_set(any::<u64>(), 2..12)
            .prop_flat_map(|tokens| {
                let count = tokens.len();
                (Just(tokens), prop::collection::vec(1..8_u32, count))
            })
            .prop_map(|(tokens, weights)| tokens.into_iter().zip(weights).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        // Four standard deviations of a draw by weight, so that chance does not fail it.
        #[test]
        fn each_member_gets_its_weight(members in members()) {
            let owners = owners(&members);
            let total: u32 = members.iter().map(|(_, weight)| weight).sum();
            for (position, (_, weight)) in members.iter().enumerate() {
                let part = f64::from(*weight) / f64::from(total);
                let due = SLOTS as f64 * part;
                let spread = (SLOTS as f64 * part * (1.0 - part)).sqrt();
                let has = owners.iter().filter(|owner| **owner == position).count() as f64;
                prop_assert!((has - due).abs() <= 5.0 * spread, "member {} has {}, not {}", position, has, due);
            }
        }

        #[test]
        fn what_leaves_moves_its_own_keys_and_no_other(members in members(), gone in any::<prop::sample::Index>()) {
            let gone = gone.index(members.len());
            let mut left = members.clone();
            left[gone].1 = 0;
            for (before, after) in owners(&members).into_iter().zip(owners(&left)) {
                let stays = before != gone;
                prop_assert_eq!(stays, before == after);
            }
        }

        #[test]
        fn the_order_of_the_members_does_not_matter(members in members()) {
            let mut turned = members.clone();
            turned.reverse();
            for (one, other) in owners(&members).into_iter().zip(owners(&turned)) {
                prop_assert_eq!(members[one].0, turned[other].0);
            }
        }
    }

    // Another process, another version of the gateway: the same answer. These are what the first one gave.
    #[test]
    fn the_table_is_the_same_for_ever() {
        let ring = Ring::new([(1, 1), (2, 1), (3, 2)]).unwrap();
        let found: Vec<_> = (0..12).map(|slot| ring.at(slot, 0)).collect();
        assert_eq!(found, FIRST);
    }

    const FIRST: [usize; 12] = [2, 0, 0, 0, 0, 0, 2, 2, 1, 2, 2, 2];
}
