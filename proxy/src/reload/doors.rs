//! The listening sockets of the process, by address. They belong to the process and not to a snapshot: a listener
//! that keeps its address keeps its socket, whatever else changes about it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::Arc,
};

use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Listener, Name, Spec},
    },
    drain::Tunnels,
    listen::{self, Bound, Transport},
    server::Hall,
    telemetry::Metrics,
    worker::{DoorChanges, DoorId, OpenSocket},
};

/// The sockets in use.
pub struct Sockets {
    tunnels: Arc<Tunnels>,
    metrics: Arc<Metrics>,
    bound: HashMap<Key, Bound>,
    doors: BTreeMap<DoorId, Key>,
    halls: BTreeMap<Name, Arc<Hall>>,
}

// Two listeners that leave the port to the system are two sockets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(SocketAddr, Transport, Option<Name>);

/// What a specification needs beyond the sockets in use: bound, and accepting nothing yet.
pub(super) struct Planned {
    fresh: HashMap<Key, Bound>,
    doors: BTreeMap<DoorId, Key>,
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
            for transport in transports(listener) {
                let (id, key) = ((name.clone(), transport), Key::of(name, transport, listener.address));
                if self.doors.get(&id) != Some(&key)
                    && let Err(error) = self.open(&id, &key, workers, &mut plan)
                {
                    wrong.push(cannot_bind(&id, listener.address, &error).at(listener.place.clone()));
                }
                plan.doors.insert(id, key);
            }
        }
        let gone = self.doors.iter().filter(|(id, key)| plan.doors.get(*id) != Some(key));
        for (id, _) in gone {
            plan.changes.iter_mut().for_each(|change| change.close.push(id.clone()));
        }
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    fn open(&self, id: &DoorId, key: &Key, workers: usize, plan: &mut Planned) -> io::Result<()> {
        if !self.bound.contains_key(key) && !plan.fresh.contains_key(key) {
            let bound = listen::bind(self.real(key, plan), key.1, workers)?;
            plan.fresh.insert(key.clone(), bound);
        }
        let bound = self.bound.get(key).or_else(|| plan.fresh.get(key)).expect("it is bound by now");
        let sockets = copies(&bound.sockets)?;
        let name = &id.0;
        let known = self.halls.get(name).or_else(|| plan.halls.get(name)).cloned();
        let hall = known.unwrap_or_else(|| Hall::new(Arc::clone(&self.tunnels), self.metrics.listener(name)));
        for (change, socket) in plan.changes.iter_mut().zip(sockets) {
            change.open.push((Arc::clone(&hall), id.clone(), socket));
        }
        plan.halls.insert(name.clone(), hall);
        Ok(())
    }

    // The address to bind: where the port is left to the system, QUIC takes the one that TCP was given.
    fn real(&self, key: &Key, plan: &Planned) -> SocketAddr {
        let tcp = Key(key.0, Transport::Tcp, key.2.clone());
        let bound = self.bound.get(&tcp).or_else(|| plan.fresh.get(&tcp));
        bound.map_or(key.0, |bound| bound.address)
    }

    /// Makes a plan the state of things, and answers what the workers have to do. Sockets that no listener needs are
    /// let go of here; their workers close them once their queues are empty.
    pub(super) fn commit(&mut self, plan: Planned) -> Vec<DoorChanges> {
        self.bound.extend(plan.fresh);
        self.doors = plan.doors;
        self.halls.extend(plan.halls);
        self.halls.retain(|name, _| self.doors.contains_key(&(name.clone(), Transport::Tcp)));
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
        let tcp = self.doors.iter().filter(|((_, transport), _)| *transport == Transport::Tcp);
        tcp.filter_map(|((name, _), key)| Some((name.clone(), self.bound.get(key)?.address))).collect()
    }
}

impl Key {
    fn of(name: &Name, transport: Transport, address: SocketAddr) -> Self {
        Self(address, transport, (address.port() == 0).then(|| name.clone()))
    }
}

// TCP first: its port is the one that QUIC shares.
fn transports(listener: &Listener) -> impl Iterator<Item = Transport> {
    [Some(Transport::Tcp), listener.http3.as_ref().map(|_| Transport::Udp)].into_iter().flatten()
}

fn copies(sockets: &listen::Sockets) -> io::Result<Vec<OpenSocket>> {
    match sockets {
        listen::Sockets::Tcp(all) => all.iter().map(|socket| Ok(OpenSocket::Tcp(socket.try_clone()?))).collect(),
        listen::Sockets::Udp(all) => all.iter().map(|socket| Ok(OpenSocket::Udp(socket.try_clone()?))).collect(),
    }
}

fn cannot_bind((name, transport): &DoorId, address: SocketAddr, error: &io::Error) -> Diagnostic {
    let over = if *transport == Transport::Udp { " for HTTP/3 (UDP)" } else { "" };
    Diagnostic::error("cannot-listen", format!("listener `{name}` cannot listen on {address}{over}: {error}"))
        .hint("free the address, or give the listener another one; ports below 1024 need CAP_NET_BIND_SERVICE")
}
