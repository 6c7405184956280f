//! How the members of an upstream stand to each other at one time: who takes which share, by weight, health, priority,
//! zone and slow start. Made anew when one of these changes, so that a choice has only to look. Knows no requests.

use std::{sync::Arc, time::Duration};

use super::{
    super::share::Share,
    member::{Member, Roster},
};
use crate::config::spec::Panic;

/// What shares depend on, beside the members.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Rules {
    /// When all are used.
    pub(in crate::upstream) panic: Panic,
    /// How long a member that is new or back takes less than its share.
    pub(in crate::upstream) slow_start: Option<Duration>,
    /// Below how many percent of healthy ones the own zone gives some away.
    pub(in crate::upstream) zone_overflow_percent: u32,
}

/// The members and their shares.
#[derive(Debug)]
pub(in crate::upstream) struct Standing {
    pub(in crate::upstream) roster: Arc<Roster>,
    /// The share of each; 0 takes nothing while others can.
    pub(in crate::upstream) weights: Box<[u64]>,
    /// All of them added up.
    pub(super) total: u64,
    pub(super) share: Option<Share>,
    /// Whether too few are healthy, so that all are used.
    pub(in crate::upstream) panics: bool,
    /// How many thousandths of its own each takes, while one takes less.
    pub(super) ramp: Option<Box<[u16]>>,
}

impl Standing {
    /// How `roster` stands now.
    pub(in crate::upstream) fn new(roster: Arc<Roster>, rules: &Rules) -> Self {
        let members = &roster.members;
        let (takes, panics) = field(members, rules.panic);
        let ramp = rules.slow_start.map(|time| members.iter().map(|member| ramp(member, time)).collect::<Box<[u16]>>());
        // Where all are as new, none is: their shares are what they would be anyway.
        let ramp = ramp.filter(|ramp| {
            let mut taking = ramp.iter().zip(&takes).filter(|(_, takes)| **takes).map(|(part, _)| *part);
            let first = taking.next();
            taking.any(|part| Some(part) != first)
        });
        let part = |position: usize| ramp.as_ref().map_or(FULL, |ramp| ramp[position]);
        let base: Vec<u64> = members
            .iter()
            .zip(&takes)
            .enumerate()
            .map(|(position, (member, takes))| u64::from(*takes) * u64::from(member.weight) * u64::from(part(position)))
            .collect();
        let weights = if panics { base } else { zoned(members, base, &takes, rules.zone_overflow_percent) };
        let share = Share::new(weights.iter().copied());
        let total = weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
        Self { weights: weights.into(), total, share, panics, ramp, roster }
    }

    /// Whether both come to the same.
    pub(super) fn equals(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.roster, &other.roster)
            && (&self.weights, self.panics, &self.ramp) == (&other.weights, other.panics, &other.ramp)
    }
}

// Who takes part: the healthy ones of the first priority that has enough of them; if none has, everybody.
fn field(members: &[Member], panic: Panic) -> (Vec<bool>, bool) {
    let mut priorities: Vec<u16> = members.iter().filter(|member| member.weight > 0).map(|it| it.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let least = match panic {
        Panic::Never => 0,
        Panic::Below(percent) => percent as usize,
    };
    for priority in priorities {
        let level = || members.iter().filter(|member| member.weight > 0 && member.priority == priority);
        let (healthy, all) = (level().filter(|member| member.is_healthy()).count(), level().count());
        if healthy > 0 && healthy * 100 >= least * all {
            let takes = |it: &Member| it.weight > 0 && it.priority == priority && it.is_healthy();
            return (members.iter().map(takes).collect(), false);
        }
    }
    let panics = panic != Panic::Never && !members.is_empty();
    (members.iter().map(|member| panics && member.weight > 0).collect(), panics)
}

// Thousandths, in steps of a twentieth, so that shares are not made anew all the time.
fn ramp(member: &Member, time: Duration) -> u16 {
    let there = member.endpoint.conduct.there_for().as_millis();
    let step = (there * u128::from(STEPS) / time.as_millis().max(1)).min(u128::from(STEPS)) as u16;
    (step * (FULL / STEPS)).max(LEAST)
}

/// In how many steps a slow start goes.
pub(super) const STEPS: u16 = 20;
const FULL: u16 = 1000;
// A tenth from the beginning on, or it would never show what it can do.
const LEAST: u16 = 100;

// The own zone takes all while enough of it is healthy; of what it lacks, the others take the same part.
fn zoned(members: &[Member], weights: Vec<u64>, takes: &[bool], overflow_percent: u32) -> Vec<u64> {
    let sum = |local: bool| -> u128 {
        let of_zone = members.iter().zip(&weights).filter(|(member, _)| (member.local == Some(true)) == local);
        of_zone.map(|(_, weight)| u128::from(*weight)).sum()
    };
    let (near, far) = (sum(true), sum(false));
    if near == 0 || far == 0 {
        return weights;
    }
    let level = members.iter().zip(takes).find(|(_, takes)| **takes).map(|(member, _)| member.priority);
    let here = || members.iter().filter(|it| it.local == Some(true) && it.weight > 0 && Some(it.priority) == level);
    let weight = |member: &Member| u128::from(member.weight);
    let all: u128 = here().map(weight).sum();
    let healthy: u128 = here().filter(|member| member.is_healthy()).map(weight).sum();
    // Thousandths of the traffic that stay.
    let stays = (healthy * 100_000).checked_div(all * u128::from(overflow_percent)).unwrap_or(1000).min(1000);
    let scaled = members.iter().zip(&weights).map(|(member, weight)| {
        let (part, sum) = if member.local == Some(true) { (stays, far) } else { (1000 - stays, near) };
        u128::from(*weight) * part * sum
    });
    narrow(scaled.collect())
}

// Shares that fit, in the same proportions.
fn narrow(weights: Vec<u128>) -> Vec<u64> {
    let most = weights.iter().copied().max().unwrap_or_default();
    let shift = (128 - most.leading_zeros()).saturating_sub(WEIGHT_BITS_MAX);
    weights.into_iter().map(|weight| if weight == 0 { 0 } else { ((weight >> shift) as u64).max(1) }).collect()
}

// So that the sum of a million of them does not overflow.
const WEIGHT_BITS_MAX: u32 = 40;
