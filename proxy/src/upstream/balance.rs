//! Which endpoint takes the next exchange, and what is learned of it from how that went. Reads what is known of the
//! endpoints; knows nothing of connections.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, response};
use smallvec::SmallVec;

use super::share::{Share, scatter};
use crate::{
    config::spec::{Balance, Name},
    error::{Error, Kind},
    exchange::{Request, Worker},
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

/// The positions of the members that a call has tried already.
pub(super) type Tried = SmallVec<[usize; 2]>;

/// One call's turn: the endpoints as they stood when it began, and what the choice looks at of its request. Positions
/// mean the same endpoint for as long as the turn lasts, its retries and hedges included.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    balancer: &'a Balancer,
    worker: usize,
}

/// How one try went: the head of the answer, or what failed.
pub(super) type Went<'a> = Result<&'a response::Parts, Kind>;

impl Balancer {
    pub(super) fn new(members: Vec<Member>, balance: Balance, sequence: Arc<Sequence>) -> Self {
        let share = Share::new(members.iter().map(|member| member.weight));
        Self { members: members.into_boxed_slice(), share, balance, sequence }
    }

    pub(super) const fn members(&self) -> &[Member] {
        &self.members
    }

    /// The turn of a call with `request`, whose body may be gone. Waits only where no endpoint is known yet, because
    /// names are not resolved.
    pub(super) async fn turn<'a>(&'a self, worker: &Worker, _request: &Request) -> Turn<'a> {
        Turn { balancer: self, worker: worker.index }
    }

    fn choose(&self, worker: usize, tried: &Tried) -> Option<usize> {
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

impl Turn<'_> {
    /// The position of the member that takes the next try; `None` when there is none, or none is left untried.
    pub(super) fn choose(&self, tried: &Tried) -> Option<usize> {
        self.balancer.choose(self.worker, tried)
    }

    /// The member at a position that [`Turn::choose`] answered with.
    pub(super) fn member(&self, position: usize) -> &Member {
        &self.balancer.members[position]
    }

    /// Says that no connection could be made for a try: the member is left alone for a while, where there are others.
    pub(super) fn unreached(&self, position: usize, kind: Kind, time: Duration) {
        self.member(position).endpoint.suspect(SUSPECT);
        self.learn(position, Err(kind), time);
    }

    /// Says how a try that had a connection went, once for each: `time` is until the head of the answer or until it
    /// failed. What is nobody's fault, as a try that was given up because another one was faster, is not told.
    pub(super) const fn learn(&self, _position: usize, _went: Went<'_>, _time: Duration) {}

    /// Puts what binds the client to the member at `position` into the head of its answer, where that is asked for.
    pub(super) const fn bind(&self, _position: usize, _request: &Request, _fields: &mut HeaderMap) {}

    /// Why there is no member to try, where [`Turn::choose`] found none the first time.
    #[cold]
    pub(super) fn nothing(&self, upstream: &Name) -> Error {
        Error::new(Kind::NoEndpoint, format!("upstream {upstream}: it has no endpoint with a weight"))
    }
}

// How long an endpoint that could not be reached is left alone while there are others.
const SUSPECT: Duration = Duration::from_secs(1);

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
