//! Which endpoint takes the next exchange. Reads what is known of the endpoints; knows nothing of connections.

use std::sync::Arc;

use smallvec::SmallVec;

use super::share::{Share, scatter};
use crate::{
    config::spec::Balance,
    state::{EndpointState, Sequence, Verdict},
};

/// An endpoint as one upstream sees it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<EndpointState>,
    /// What the upstream's health check says, where it has one.
    pub(super) verdict: Option<Arc<Verdict>>,
    /// Never 0.
    pub(super) weight: u32,
}

/// The endpoints of an upstream that take anything, and how one is chosen.
#[derive(Debug)]
pub(super) struct Balancer {
    members: Box<[Member]>,
    share: Option<Share>,
    balance: Balance,
    sequence: Arc<Sequence>,
}

/// The members that an exchange has tried already.
pub(super) type Tried = SmallVec<[usize; 2]>;

impl Balancer {
    pub(super) fn new(members: Vec<Member>, balance: Balance, sequence: Arc<Sequence>) -> Self {
        let share = Share::new(members.iter().map(|member| member.weight));
        Self { members: members.into_boxed_slice(), share, balance, sequence }
    }

    pub(super) const fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member that takes the next exchange of `worker`; `None` when there is none, or none is left untried.
    pub(super) fn choose(&self, worker: usize, tried: &Tried) -> Option<usize> {
        let share = self.share.as_ref()?;
        if self.members.len() == 1 {
            return tried.is_empty().then_some(0);
        }
        let position = self.sequence.next(worker);
        let first = match self.balance {
            Balance::RoundRobin => share.at(position),
            Balance::LeastRequest => share.at(scatter(position)),
        };
        let usable = |member: &usize| self.members[*member].is_usable() && !tried.contains(member);
        let first = if usable(&first) { first } else { self.otherwise(position, tried)? };
        match self.balance {
            Balance::RoundRobin => Some(first),
            Balance::LeastRequest => {
                let second = (1..=3).map(|n| share.at(scatter(position.wrapping_add(n << 32)))).find(|n| *n != first);
                let second = second.unwrap_or((first + 1) % self.members.len());
                let load = |member: usize| self.members[member].endpoint.gauges.in_flight(worker);
                Some(if usable(&second) && load(second) < load(first) { second } else { first })
            }
        }
    }

    // By weight among those that are usable; if none is, among those that are healthy; if none is, among all: a health
    // check that fails everywhere says more about the check.
    #[cold]
    fn otherwise(&self, position: u64, tried: &Tried) -> Option<usize> {
        let tiers: [fn(&Member) -> bool; 3] = [Member::is_usable, Member::is_healthy, |_| true];
        tiers.into_iter().find_map(|tier| {
            let weight = |(position, member): (usize, &Member)| {
                if tier(member) && !tried.contains(&position) { member.weight } else { 0 }
            };
            let share = Share::new(self.members.iter().enumerate().map(weight))?;
            Some(share.at(scatter(position)))
        })
    }
}

impl Member {
    #[inline]
    pub(super) fn is_healthy(&self) -> bool {
        self.verdict.as_ref().is_none_or(|verdict| verdict.is_healthy())
    }

    #[inline]
    fn is_usable(&self) -> bool {
        self.is_healthy() && !self.endpoint.is_suspect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::EndpointKey;

    fn balancer(weights: &[u32], balance: Balance) -> Balancer {
        let member = |(port, weight): (usize, &u32)| {
            let key = EndpointKey { address: format!("127.0.0.1:{}", port + 1).into(), tls: None };
            let endpoint = Arc::new(EndpointState::new(&key, 2));
            Member { verdict: Some(Arc::new(Verdict::new(Arc::clone(&endpoint)))), endpoint, weight: *weight }
        };
        let members = weights.iter().enumerate().map(member).collect();
        Balancer::new(members, balance, Arc::new(Sequence::new(2)))
    }

    fn counts(balancer: &Balancer, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; balancer.members().len()];
        (0..picks).for_each(|_| counts[balancer.choose(0, &Tried::new()).unwrap()] += 1);
        counts
    }

    #[test]
    fn round_robin_gives_each_its_weight() {
        assert_eq!(counts(&balancer(&[3, 1, 6], Balance::RoundRobin), 100), [30, 10, 60]);
    }

    #[test]
    fn an_unhealthy_or_suspect_endpoint_takes_nothing_until_all_are() {
        for balance in [Balance::RoundRobin, Balance::LeastRequest] {
            let balancer = balancer(&[1, 1, 2, 1], balance);
            let verdict = |member: usize| balancer.members()[member].verdict.as_ref().unwrap();
            verdict(0).set(false);
            balancer.members()[1].endpoint.suspect(Duration::from_secs(60));
            let now = counts(&balancer, 1000);
            assert_eq!((now[0], now[1], now[2] + now[3]), (0, 0, 1000), "{balance:?}");
            assert!(now[2] > 550 && now[3] > 250, "{now:?}");
            (2..4).for_each(|member| verdict(member).set(false));
            assert_eq!(counts(&balancer, 100), [0, 100, 0, 0], "suspect is better than unhealthy");
            verdict(1).set(false);
            assert!(counts(&balancer, 1000).iter().all(|count| *count > 100), "all unhealthy: all are used");
        }
    }

    #[test]
    fn what_was_tried_is_not_chosen_again() {
        let balancer = balancer(&[1, 1, 1], Balance::RoundRobin);
        let mut tried = Tried::new();
        while let Some(member) = balancer.choose(0, &tried) {
            assert!(!tried.contains(&member));
            tried.push(member);
        }
        assert_eq!(tried.len(), 3);
    }

    #[test]
    fn least_request_avoids_the_busy_one() {
        let balancer = balancer(&[1, 1], Balance::LeastRequest);
        balancer.members()[0].endpoint.gauges.begin(0);
        assert_eq!(counts(&balancer, 50), [0, 50]);
        balancer.members()[0].endpoint.gauges.end(0);
        assert!(counts(&balancer, 100).iter().all(|count| *count > 20));
    }

    #[test]
    fn no_endpoint_is_chosen_where_there_is_none() {
        assert_eq!(balancer(&[], Balance::RoundRobin).choose(0, &Tried::new()), None);
    }
}
