//! Which endpoints an upstream has: those that are written, and those that names lead to at this time. Each is found by
//! its state key, so that one which comes or goes changes nothing for the others. Knows no policy.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{
    balance::{Member, Roster},
    health, resolve,
};
use crate::{
    config::spec::{Dns, Endpoint, Part, Resolve, Upstream as Spec},
    identity::Identity,
    state::{EndpointKey, EndpointState, Found, NameKey, NameState, Question, Resolver, States},
    tls::Connector,
};

/// Where the endpoints of one upstream come from.
pub(super) struct RosterSource {
    spec: Arc<Part<Spec>>,
    connector: Option<Arc<Connector>>,
    states: Arc<States>,
    resolver: Arc<dyn Resolver>,
    tls: Option<Identity>,
    // One for each endpoint that is written; with a name where that leads to several.
    rows: Vec<(Endpoint, Option<Arc<NameState>>)>,
}

// What is known at one time.
struct List {
    members: Vec<Member>,
    waits: bool,
    failure: Option<Arc<str>>,
}

impl List {
    fn is_in(&self, roster: &Roster) -> bool {
        let same = |(one, other): (&Member, &Member)| {
            (one.endpoint.id, one.weight, one.priority) == (other.endpoint.id, other.weight, other.priority)
        };
        roster.members.len() == self.members.len()
            && roster.members.iter().zip(&self.members).all(same)
            && (roster.waits, &roster.failure) == (self.waits, &self.failure)
    }
}

impl RosterSource {
    /// The source for `spec`, whose names are resolved as `dns` says where the upstream does not. Begins to resolve them
    /// and does not wait for it.
    pub(super) fn new(
        spec: &Arc<Part<Spec>>,
        connector: Option<Arc<Connector>>,
        dns: &Dns,
        states: &Arc<States>,
    ) -> Self {
        let dns = spec.dns.as_ref().unwrap_or(dns);
        let resolver: Arc<dyn Resolver> = Arc::new(dns.clone());
        let settings = Identity::of(dns);
        // Without a weight, it may still have clients that are bound to it.
        let takes = |endpoint: &&Endpoint| endpoint.weight > 0 || spec.affinity.is_some();
        let row = |endpoint: &Endpoint| {
            let question = match endpoint.resolve {
                Resolve::Any => return (endpoint.clone(), None),
                Resolve::Each => Question::Addresses(endpoint.address.as_str().into()),
                Resolve::Srv => Question::Service(endpoint.address.as_str().into()),
            };
            let key = NameKey { question, settings };
            let name = states.names.find_or_make(&key, || NameState::new(key.clone()));
            name.keep(Arc::clone(&resolver), &states.control);
            (endpoint.clone(), Some(name))
        };
        let rows = spec.endpoints.iter().filter(takes).map(row).collect();
        let tls = spec.tls.as_ref().map(Identity::of);
        Self { spec: Arc::clone(spec), connector, states: Arc::clone(states), resolver, tls, rows }
    }

    /// Whether anything but a new configuration changes how the endpoints stand.
    pub(super) fn moves(&self) -> bool {
        let spec = &self.spec;
        let named = self.rows.iter().any(|(_, name)| name.is_some());
        named || spec.health_check.is_some() || spec.ejection.is_some() || spec.slow_start.is_some()
    }

    /// Has `watcher` woken when names lead elsewhere.
    pub(super) fn watch(&self, watcher: &Arc<Notify>) {
        self.rows.iter().filter_map(|(_, name)| name.as_ref()).for_each(|name| name.watch(watcher));
    }

    /// The endpoints that there are now; nothing where those of `before` are the same.
    pub(super) fn newer(&self, before: &Roster) -> Option<Roster> {
        if self.rows.iter().all(|(_, name)| name.is_none()) {
            return None;
        }
        let list = self.list();
        (!list.is_in(before)).then(|| self.roster(list))
    }

    /// The endpoints that there are now.
    pub(super) fn now(&self) -> Roster {
        self.roster(self.list())
    }

    fn roster(&self, List { members, waits, failure }: List) -> Roster {
        let mut roster = Roster::new(members, &self.spec.balance, self.spec.affinity.as_ref());
        (roster.waits, roster.failure) = (waits, failure);
        roster
    }

    fn list(&self) -> List {
        let (mut members, mut waits, mut failure) = (Vec::<Member>::new(), false, None);
        for (endpoint, name) in &self.rows {
            let Some(name) = name else {
                members.push(self.written(endpoint));
                continue;
            };
            let known = name.known();
            waits |= !known.asked;
            failure = failure.or(known.failure.map(|why| format!("{}: {why}", endpoint.address).into()));
            for found in known.found.iter() {
                let member = self.found(endpoint, found);
                // Two names may lead to one address.
                if !members.iter().any(|other| other.endpoint.id == member.endpoint.id) {
                    members.push(member);
                }
            }
        }
        List { members, waits, failure }
    }

    fn written(&self, endpoint: &Endpoint) -> Member {
        let key = EndpointKey::new(&endpoint.address, self.tls);
        self.member(&key, endpoint, (endpoint.weight, endpoint.priority.unwrap_or_default()))
    }

    fn found(&self, endpoint: &Endpoint, found: &Found) -> Member {
        let key = EndpointKey {
            address: found.address.to_string().into(),
            name: Some(Arc::clone(&found.name)),
            tls: self.tls,
        };
        let (weight, priority) = match found.record {
            // RFC 2782: a weight of 0 has a very small chance, or none is meant where all have it.
            Some((weight, priority)) => (u32::from(weight).max(1), priority),
            None => (1, 0),
        };
        let priority = endpoint.priority.unwrap_or(priority);
        self.member(&key, endpoint, (weight.saturating_mul(endpoint.weight), priority))
    }

    // Another TLS is another endpoint: nothing that was verified otherwise is used again.
    fn member(&self, key: &EndpointKey, endpoint: &Endpoint, (weight, priority): (u32, u16)) -> Member {
        let states = &self.states;
        let state = states.endpoints.find_or_make(key, || EndpointState::new(key, states.workers));
        if state.literal().is_none() {
            state.resolve_with(Arc::clone(&self.resolver));
            resolve::refresh(&state, &states.control);
        }
        let watch = |check| {
            health::watch(
                &state,
                (check, self.spec.protocol, self.spec.proxy_protocol),
                self.connector.as_ref(),
                states,
            )
        };
        let verdict = self.spec.health_check.as_ref().map(watch);
        let local = endpoint.zone.as_deref().zip(states.zone.as_deref()).map(|(one, own)| one == own);
        Member { endpoint: state, verdict, weight, priority, local, ejects: self.spec.ejection.is_some() }
    }
}
