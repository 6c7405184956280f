//! The policies: which member takes the next try. Reads counters and never waits.

use std::time::Duration;

use super::{
    super::share::scatter,
    Standing, Tried, Turn,
    member::{Member, Roster},
};
use crate::config::spec::{Balance, Panic};

// What the member at a position weighs among those that are taken when nothing better is left.
type Tier<'a> = dyn Fn(usize, &Member) -> u64 + 'a;

impl Turn<'_> {
    /// The position of the member that takes the next try; `None` when there is none, or none is left untried.
    pub(in crate::upstream) fn choose(&self, tried: &Tried) -> Option<usize> {
        let standing = self.standing();
        if let Some(bound) = self.bound.map(|bound| bound as usize)
            && tried.is_empty()
            && standing.roster.members[bound].is_usable()
        {
            return Some(bound);
        }
        let share = standing.share.as_ref()?;
        if standing.roster.members.len() == 1 {
            return tried.is_empty().then_some(0);
        }
        let balance = &self.means.spec.balance;
        if let (Some(key), Balance::Hash { load_percent_max, .. }) = (self.key, balance) {
            return self.by_key(key.get(), *load_percent_max, tried);
        }
        let position = self.means.sequence.next(self.worker);
        let in_turn = matches!(balance, Balance::RoundRobin | Balance::Hash { .. });
        let first = share.at(if in_turn { position } else { scatter(position) });
        let first = if self.may(first, tried) { first } else { self.otherwise(position, tried)? };
        if in_turn {
            return Some(first);
        }
        let second = (1..=3).map(|n| share.at(scatter(position.wrapping_add(n << 32)))).find(|n| *n != first);
        let second = second.unwrap_or((first + 1) % standing.roster.members.len());
        let second = (standing.weights[second] > 0 && self.may(second, tried)).then_some(second);
        Some(match (second, balance) {
            (Some(second), Balance::PeakEwma { decay }) if self.is_quicker(second, first, *decay) => second,
            (Some(second), Balance::LeastRequest) if self.is_freer(second, first) => second,
            _ => first,
        })
    }

    // Whether a member may be chosen as a first choice.
    #[inline]
    fn may(&self, position: usize, tried: &Tried) -> bool {
        let standing = self.standing();
        let member = &standing.roster.members[position];
        let usable = if standing.panics { !member.endpoint.is_suspect() } else { member.is_usable() };
        usable && !tried.contains(&position)
    }

    // By weight among those that take part and are usable; if none is, among those of other zones and priorities; then
    // among those that are healthy; then among all: a health check that fails everywhere says more about the check.
    #[cold]
    fn otherwise(&self, position: u64, tried: &Tried) -> Option<usize> {
        let standing = self.standing();
        let never = self.means.spec.panic == Panic::Never;
        let tiers: [&Tier<'_>; 4] = [
            &|at, member| if member.is_usable() { standing.weights[at] } else { 0 },
            &|_, member| if member.is_usable() { member.weight.into() } else { 0 },
            &|_, member| if member.is_healthy() { member.weight.into() } else { 0 },
            &|_, member| if never { 0 } else { member.weight.into() },
        ];
        tiers.into_iter().find_map(|tier| {
            let weight = |at: usize, member: &Member| if tried.contains(&at) { 0 } else { tier(at, member) };
            drawn(&standing.roster, weight, scatter(position))
        })
    }

    fn by_key(&self, key: u64, load_percent_max: Option<u32>, tried: &Tried) -> Option<usize> {
        let standing = self.standing();
        let ring = standing.roster.ring.as_ref()?;
        let takes = |position: usize, attempt: u64| {
            standing.weights[position] > 0 && self.may(position, tried) && self.is_ready(position, key, attempt)
        };
        let bound = load_percent_max.map(|percent| self.bound_of(percent));
        let within = |position: usize| bound.as_ref().is_none_or(|bound| bound.holds(self, position));
        let mut attempts = (0..ATTEMPTS_MAX).map(|attempt| (ring.at(key, attempt), attempt));
        let found = attempts.find(|(position, attempt)| takes(*position, *attempt) && within(*position));
        found.map(|(position, _)| position).or_else(|| self.otherwise(key, tried))
    }

    // A member that starts slowly takes a part of its keys, the same ones each time.
    fn is_ready(&self, position: usize, key: u64, attempt: u64) -> bool {
        let part = self.standing().ramp.as_ref().map_or(1000, |ramp| u64::from(ramp[position]));
        part >= 1000 || scatter(key ^ attempt.rotate_left(32) ^ position as u64) % 1000 < part
    }

    fn bound_of(&self, percent: u32) -> LoadBound {
        LoadBound { under_way: self.means.series.under_way() + 1, percent: percent.into() }
    }

    // By the exchanges of this worker and the weights. With few of them that says nothing: then by those of all.
    fn is_freer(&self, this: usize, other: usize) -> bool {
        let standing = self.standing();
        let [this, other] =
            [this, other].map(|at| (&standing.roster.members[at].endpoint.gauges, standing.weights[at]));
        let product = |load: u64, weight: u64| u128::from(load) * u128::from(weight.max(1));
        let own = product(this.0.in_flight(self.worker), other.1).cmp(&product(other.0.in_flight(self.worker), this.1));
        own.then_with(|| product(this.0.in_flight_total(), other.1).cmp(&product(other.0.in_flight_total(), this.1)))
            .is_lt()
    }

    fn is_quicker(&self, this: usize, other: usize, decay: Duration) -> bool {
        let cost = |position: usize| {
            let endpoint = &self.standing().roster.members[position].endpoint;
            let under_way = endpoint.gauges.in_flight(self.worker) as f64;
            match endpoint.conduct.expected(self.worker, decay) {
                Some(expected) => expected * (under_way + 1.0),
                // One at a time, until it is known.
                None => under_way * UNKNOWN,
            }
        };
        cost(this) < cost(other)
    }
}

// How much one may have under way.
struct LoadBound {
    under_way: u64,
    percent: u64,
}

impl LoadBound {
    // The share of a member, and so many percent of it, rounded up.
    fn holds(&self, turn: &Turn<'_>, position: usize) -> bool {
        let standing: &Standing = turn.standing();
        let own = standing.roster.members[position].endpoint.gauges.in_flight_total() + 1;
        let due = u128::from(self.under_way) * u128::from(self.percent) * u128::from(standing.weights[position]);
        u128::from(own) <= due.div_ceil(u128::from(standing.total.max(1)) * 100)
    }
}

// One of the members, by weight.
fn drawn(roster: &Roster, weight: impl Fn(usize, &Member) -> u64, number: u64) -> Option<usize> {
    let each = || roster.members.iter().enumerate().map(|(at, member)| (at, weight(at, member)));
    let total = each().fold(0_u64, |sum, (_, weight)| sum.saturating_add(weight));
    let mut left = number.checked_rem(total)?;
    let found = each().find(|(_, weight)| {
        let found = left < *weight;
        left = left.saturating_sub(*weight);
        found
    });
    found.map(|(position, _)| position)
}

// Slots that are looked at for a key before the choice is made by weight.
const ATTEMPTS_MAX: u64 = 64;
// Seconds that an answer is expected to take of an endpoint that has not answered yet.
const UNKNOWN: f64 = 1.0;
