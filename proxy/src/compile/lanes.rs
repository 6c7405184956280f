//! Lanes: what a listener has of each route, by the route's place. Where routes stand as they stood, only those that are
//! other ones are looked at, and only the tables of their hosts are built. Knows no route's content but its hosts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use imbl::{OrdSet, Vector};

use crate::{
    config::spec::{HostPattern, Name, Part, Route},
    identity::Identity,
    route::{BuildError, Row, Table},
    snapshot::Plan,
};

/// The rows of one route on one listener.
pub(super) type Rows = Arc<[Row<Arc<Plan>>]>;

/// Routes that are hashed together: a changed one costs the hashing of so many.
const CHUNK: usize = 64;

/// With more changed routes than this, looking at all of them costs no more.
const CHANGED_MAX: usize = 256;

/// The lanes of all listeners, and the routes that they are of.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) routes: Vector<Arc<Part<Route>>>,
    pub(super) by_listener: BTreeMap<Name, Lane>,
}

/// What one listener has of each route.
#[derive(Clone)]
pub(super) struct Lane {
    /// Of what stands around its routes.
    pub(super) around: Identity,
    /// `None` where the listener does not match the route.
    found: Vector<Option<Found>>,
    /// The routes of each host; `None` is any.
    hosts: imbl::HashMap<Option<HostPattern>, OrdSet<usize>>,
    /// Of each chunk of rows.
    sums: Vector<Identity>,
}

/// The rows of a route, and what they are found by.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) rows: Rows,
}

impl Lanes {
    /// The places of the routes that are other ones than in `routes`; `None` where there are more or fewer of them, or
    /// almost all are.
    pub(super) fn changed(&self, routes: &Vector<Arc<Part<Route>>>) -> Option<Vec<usize>> {
        let both = self.routes.iter().zip(routes).enumerate();
        let others = both.filter(|(_, (before, now))| !Arc::ptr_eq(before, now));
        let others: Vec<_> = others.map(|(at, _)| at).take(CHANGED_MAX + 1).collect();
        (self.routes.len() == routes.len() && others.len() <= CHANGED_MAX).then_some(others)
    }

    /// Every route's rows by their identity.
    pub(super) fn by_identity(&self) -> HashMap<Identity, Rows> {
        let found = self.by_listener.values().flat_map(|lane| lane.found.iter().flatten());
        found.map(|found| (found.identity, Arc::clone(&found.rows))).collect()
    }
}

impl Lane {
    /// A lane of these rows, by the places of their routes.
    pub(super) fn new(around: Identity, found: Vec<Option<Found>>) -> Self {
        let mut hosts: HashMap<Option<HostPattern>, BTreeSet<usize>> = HashMap::new();
        for (at, found) in found.iter().enumerate() {
            for host in found.iter().flat_map(hosts_of) {
                hosts.entry(host).or_default().insert(at);
            }
        }
        let hosts = hosts.into_iter().map(|(host, routes)| (host, routes.into_iter().collect())).collect();
        let sums = found.chunks(CHUNK).map(|chunk| sum(chunk.iter())).collect();
        Self { around, found: found.into(), hosts, sums }
    }

    /// What is there of a route, if it is this.
    pub(super) fn found(&self, at: usize, identity: Identity) -> Option<Found> {
        self.found[at].as_ref().filter(|found| found.identity == identity).cloned()
    }

    /// The rows, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<Arc<Plan>>> {
        self.found.iter().flatten().flat_map(|found| found.rows.iter())
    }

    /// What its identity is made of.
    pub(super) fn sums(&self) -> impl Iterator<Item = Identity> {
        self.sums.iter().copied()
    }

    /// Puts other rows in place; answers with the hosts whose rows are others now.
    pub(super) fn replace(&mut self, changes: Vec<(usize, Option<Found>)>) -> BTreeSet<Option<HostPattern>> {
        let (mut hosts, mut chunks) = (BTreeSet::new(), BTreeSet::new());
        for (at, now) in changes {
            for host in now.iter().flat_map(hosts_of) {
                self.hosts.entry(host.clone()).or_default().insert(at);
                hosts.insert(host);
            }
            let before = self.found.set(at, now);
            for host in before.iter().flat_map(hosts_of) {
                let stays = self.found[at].iter().flat_map(hosts_of).any(|own| own == host);
                if let Some(routes) = self.hosts.get_mut(&host).filter(|_| !stays) {
                    routes.remove(&at);
                }
                hosts.insert(host);
            }
            chunks.insert(at / CHUNK);
        }
        for chunk in chunks {
            let end = self.found.len().min((chunk + 1) * CHUNK);
            let places = chunk * CHUNK..end;
            let own: Vec<_> = places.map(|at| self.found[at].clone()).collect();
            self.sums.set(chunk, sum(own.iter()));
        }
        hosts
    }

    /// `table` with the rows that these hosts have now; `None` where it cannot be made of it.
    pub(super) fn table(
        &self,
        table: &Table<Arc<Plan>>,
        hosts: &BTreeSet<Option<HostPattern>>,
    ) -> Result<Option<Table<Arc<Plan>>>, BuildError> {
        table.with(hosts.iter().map(|host| (host.as_ref(), self.rows_of(host))))
    }

    fn rows_of(&self, host: &Option<HostPattern>) -> Vec<&Row<Arc<Plan>>> {
        let routes = self.hosts.get(host).into_iter().flatten();
        routes.filter_map(|at| self.found[*at].as_ref()).flat_map(|found| found.rows.iter()).collect()
    }
}

// All rows of a route have its hosts.
fn hosts_of(found: &Found) -> Vec<Option<HostPattern>> {
    let hosts = found.rows.first().map(|row| &row.hosts);
    let named = hosts.into_iter().flat_map(|hosts| hosts.iter());
    let mut own: Vec<_> = named.map(|host| host.named().cloned()).collect();
    if own.is_empty() && hosts.is_some() {
        own.push(None);
    }
    own
}

fn sum<'a>(chunk: impl Iterator<Item = &'a Option<Found>>) -> Identity {
    Identity::of_all(chunk.flatten().flat_map(|found| found.rows.iter().map(|row| row.identity)))
}
