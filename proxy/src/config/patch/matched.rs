//! What routes match, by hash: whether anything that a route matches is another's too, which the whole way warns of. Knows no
//! order of routes.

use std::{collections::HashMap, hash::BuildHasher};

use foldhash::fast::RandomState;

use crate::config::spec::{HostPattern, Route, Spec};

/// Everything that the routes of a configuration match.
#[derive(Debug, Default)]
pub(super) struct Matched {
    hashes: RandomState,
    /// How many routes match it, or something of the same hash.
    routes: HashMap<u64, u32, RandomState>,
}

impl Matched {
    /// Adds what a route matches; answers whether no other matches any of it.
    pub(super) fn add(&mut self, route: &Route, spec: &Spec) -> bool {
        let mut alone = true;
        for key in self.keys(route, spec) {
            let routes = self.routes.entry(key).or_default();
            alone &= *routes == 0;
            *routes += 1;
        }
        alone
    }

    /// Takes out what a route matches, which was added.
    pub(super) fn remove(&mut self, route: &Route, spec: &Spec) {
        for key in self.keys(route, spec) {
            match self.routes.get_mut(&key) {
                Some(routes) if *routes > 1 => *routes -= 1,
                _ => drop(self.routes.remove(&key)),
            }
        }
    }

    // One for each listener, host and match, as `cross::shadowed` compares them.
    fn keys(&self, route: &Route, spec: &Spec) -> Vec<u64> {
        let any = [HostPattern::Wildcard(String::new())];
        let hosts = if route.hosts.is_empty() { &any[..] } else { &route.hosts };
        let every = spec.listeners.keys().filter(|_| route.listeners.is_empty());
        let mut keys: Vec<_> = every
            .chain(&route.listeners)
            .flat_map(|listener| hosts.iter().map(move |host| (listener, host)))
            .flat_map(|(listener, host)| route.matches.iter().map(move |on| (listener, host, on)))
            .map(|key| self.hashes.hash_one(key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
