//! The listening sockets of the process, by address. They belong to the process and not to a snapshot: a listener
//! that keeps its address keeps its socket, whatever else changes about it.

use std::{
    collections::{BTreeMap, HashMap},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Name, Spec},
    },
    drain::Tunnels,
    listen::{self, Bound},
    server::Hall,
    telemetry::Metrics,
    worker::DoorChanges,
};

/// The sockets in use.
pub struct Sockets {
    tunnels: Arc<Tunnels>,
    metrics: Arc<Metrics>,
    bound: HashMap<Key, Bound>,
    doors: BTreeMap<Name, Key>,
    halls: BTreeMap<Name, Arc<Hall>>,
}

// Two listeners that leave the port to the system are two sockets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(SocketAddr, Option<Name>);

/// What a specification needs beyond the sockets in use: bound, and accepting nothing yet.
pub(super) struct Planned {
    fresh: HashMap<Key, Bound>,
    doors: BTreeMap<Name, Key>,
    halls: BTreeMap<Name, Arc<Hall>>,
    changes: Vec<DoorChanges>,
}

impl Sockets {
    /// No sockets yet; tunnels that begin behind them are counted in `tunnels`.
    pub fn new(tunnels: Arc<Tunnels>, metrics: Arc<Metrics>) -> Self {
        Self { tunnels, metrics, bound: HashMap::new(), doors: BTreeMap::new(), halls: BTreeMap::new() }
    }

    /// Binds what `spec` needs and nobody holds yet. Dropping the plan undoes it.
    ///
    /// # Errors
    /// One finding for each address that cannot be had.
    pub(super) fn plan(&self, spec: &Spec, workers: usize) -> Result<Planned, Vec<Diagnostic>> {
        let (fresh, doors, halls) = <(HashMap<_, _>, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        let mut plan = Planned { fresh, doors, halls, changes: Vec::new() };
        plan.changes.resize_with(workers, DoorChanges::default);
        let mut wrong = Vec::new();
        for (name, listener) in &spec.listeners {
            let key = Key::of(name, listener.address);
            if self.doors.get(name) != Some(&key)
                && let Err(error) = self.open(name, &key, workers, &mut plan)
            {
                wrong.push(cannot_bind(name, listener.address, &error).at(listener.place.clone()));
            }
            plan.doors.insert(name.clone(), key);
        }
        let gone = self.doors.iter().filter(|(name, key)| plan.doors.get(*name) != Some(key));
        for (name, _) in gone {
            plan.changes.iter_mut().for_each(|change| change.close.push(name.clone()));
        }
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    fn open(&self, name: &Name, key: &Key, workers: usize, plan: &mut Planned) -> std::io::Result<()> {
        let bound = match (self.bound.get(key), plan.fresh.get(key)) {
            (Some(bound), _) | (None, Some(bound)) => bound,
            (None, None) => {
                let bound = listen::bind(key.0, workers)?;
                plan.fresh.entry(key.clone()).or_insert(bound)
            }
        };
        let sockets = bound.sockets.iter().map(TcpListener::try_clone).collect::<std::io::Result<Vec<_>>>()?;
        let make = || Hall::new(Arc::clone(&self.tunnels), self.metrics.listener(name));
        let hall = self.halls.get(name).cloned().unwrap_or_else(make);
        for (change, socket) in plan.changes.iter_mut().zip(sockets) {
            change.open.push((Arc::clone(&hall), name.clone(), socket));
        }
        plan.halls.insert(name.clone(), hall);
        Ok(())
    }

    /// Makes a plan the state of things, and answers what the workers have to do. Sockets that no listener needs are
    /// let go of here; their workers close them once their queues are empty.
    pub(super) fn commit(&mut self, plan: Planned) -> Vec<DoorChanges> {
        self.bound.extend(plan.fresh);
        self.doors = plan.doors;
        self.halls.extend(plan.halls);
        self.halls.retain(|name, _| self.doors.contains_key(name));
        let doors = &self.doors;
        self.bound.retain(|key, _| doors.values().any(|used| used == key));
        plan.changes
    }

    /// Lets go of every socket: once their workers have closed theirs, nobody can connect any more.
    pub(super) fn release(&mut self) {
        self.bound.clear();
        self.doors.clear();
    }

    /// Where each listener really listens.
    pub(super) fn addresses(&self) -> BTreeMap<Name, SocketAddr> {
        let address = |(name, key): (&Name, &Key)| Some((name.clone(), self.bound.get(key)?.address));
        self.doors.iter().filter_map(address).collect()
    }
}

impl Key {
    fn of(name: &Name, address: SocketAddr) -> Self {
        Self(address, (address.port() == 0).then(|| name.clone()))
    }
}

fn cannot_bind(name: &str, address: SocketAddr, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error("cannot-listen", format!("listener `{name}` cannot listen on {address}: {error}"))
        .hint("free the address, or give the listener another one; ports below 1024 need CAP_NET_BIND_SERVICE")
}
