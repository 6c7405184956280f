//! What is learned of one endpoint: its addresses, health and load. Read by every worker, written seldom or in a
//! worker's own shard. Knows nothing of connections and protocols.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, futures::Notified},
    task::AbortHandle,
};

use super::{conduct::Conduct, names::Resolver, shard::Padded};
use crate::identity::Identity;

/// The state key of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// `host:port`, the host an address or a DNS name.
    pub address: Arc<str>,
    /// `host:port` as it was written, where the address is one of several that a DNS name leads to.
    pub name: Option<Arc<str>>,
    /// The identity of its TLS settings, where connections to it are encrypted.
    pub tls: Option<Identity>,
}

impl EndpointKey {
    /// The key of what is written as `address`.
    pub fn new(address: &str, tls: Option<Identity>) -> Self {
        Self { address: address.into(), name: None, tls }
    }

    /// `host:port` as requests and handshakes name it.
    pub fn authority(&self) -> &str {
        self.name.as_ref().unwrap_or(&self.address)
    }
}

/// The state of one endpoint.
#[derive(Debug)]
pub struct EndpointState {
    /// Where it is found.
    pub key: EndpointKey,
    /// Unique in the process: what workers find their connections by.
    pub id: u64,
    /// Its load.
    pub gauges: Arc<Gauges>,
    /// How it has behaved.
    pub conduct: Conduct,
    /// Held by whoever resolves its name, so that one does.
    pub resolving: tokio::sync::Mutex<()>,
    literal: Option<SocketAddr>,
    // Whoever resolves its name.
    resolver: Mutex<Option<Arc<dyn Resolver>>>,
    // What its name resolved to last. Locked only to connect and to sweep.
    resolved: Mutex<Option<Resolved>>,
    // What its last health check said, for a check that is new.
    healthy: AtomicBool,
    checked: AtomicBool,
    // Woken when it becomes healthy, unhealthy, ejected.
    watchers: Mutex<Vec<Weak<Notify>>>,
    began: Instant,
    // Milliseconds after `began`; 0 where no connection failed lately.
    suspect_until_ms: AtomicU64,
}

/// What a name resolved to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its addresses, never empty; or why there are none.
    pub addresses: Result<Arc<[SocketAddr]>, Arc<str>>,
    /// When this was learned.
    pub at: Instant,
    /// For how long it holds.
    pub ttl: Duration,
}

impl EndpointState {
    /// The state of an endpoint that nothing is known of.
    pub fn new(key: &EndpointKey, workers: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            key: key.clone(),
            id: NEXT.fetch_add(1, Relaxed),
            gauges: Arc::new(Gauges::new(workers)),
            conduct: Conduct::new(workers),
            watchers: Mutex::default(),
            resolved: Mutex::default(),
            resolver: Mutex::default(),
            resolving: tokio::sync::Mutex::default(),
            literal: key.address.parse().ok(),
            healthy: AtomicBool::new(true),
            checked: AtomicBool::new(false),
            began: Instant::now(),
            suspect_until_ms: AtomicU64::new(0),
        }
    }

    /// Its address, where the host is one and not a name.
    pub const fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }

    /// What its name resolved to last; nothing where the host is an address.
    pub fn resolved(&self) -> Option<Resolved> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what its name resolves to.
    pub fn resolve(&self, resolved: Resolved) {
        *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved);
    }

    /// Says who resolves its name from now on.
    pub fn resolve_with(&self, resolver: Arc<dyn Resolver>) {
        *self.resolver.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    /// Who resolves its name.
    pub fn resolver(&self) -> Option<Arc<dyn Resolver>> {
        self.resolver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has `watcher` woken, as long as it stands, when what is known of the endpoint's health changes.
    pub fn watch(&self, watcher: &Arc<Notify>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(watcher)));
        watchers.push(Arc::downgrade(watcher));
    }

    /// Wakes all who watch.
    pub fn stir(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.notify_one());
    }

    /// Marks it as one that connections to failed lately.
    pub fn suspect(&self, time: Duration) {
        let until = (self.began.elapsed() + time).as_millis() as u64;
        self.suspect_until_ms.store(until.max(1), Relaxed);
    }

    /// Whether it is better left alone while there are others.
    #[inline]
    pub fn is_suspect(&self) -> bool {
        let until = self.suspect_until_ms.load(Relaxed);
        until != 0 && self.suspected(until)
    }

    #[cold]
    fn suspected(&self, until: u64) -> bool {
        let still = (self.began.elapsed().as_millis() as u64) < until;
        if !still {
            // Another worker may have marked it anew since: then its mark stays.
            let _other = self.suspect_until_ms.compare_exchange(until, 0, Relaxed, Relaxed);
        }
        still
    }
}

/// How busy an endpoint is.
#[derive(Debug)]
pub struct Gauges {
    open: AtomicUsize,
    // Somebody waits for a connection to be closed.
    wanted: AtomicBool,
    closed: Notify,
    shards: Box<[Padded<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    in_flight: AtomicU64,
    unused: AtomicUsize,
}

/// One open connection, counted until it is dropped.
#[derive(Debug)]
pub struct Open(Arc<Gauges>);

impl Gauges {
    fn new(workers: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            closed: Notify::new(),
            shards: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// Counts one more connection, unless there are `limit` in the whole process already.
    pub fn open(self: &Arc<Self>, limit: usize) -> Option<Open> {
        let one_more = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(AcqRel, Acquire, one_more).ok().map(|_| Open(Arc::clone(self)))
    }

    /// Asks for an unused connection to be closed, by whichever worker has one.
    pub fn want(&self) {
        self.wanted.store(true, Release);
    }

    /// Whether one is to be closed; answers so once.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) && self.wanted.swap(false, AcqRel)
    }

    /// Resolves when a connection was closed.
    pub fn closed(&self) -> Notified<'_> {
        self.closed.notified()
    }

    /// Says how many connections `worker`, which must be the calling one, keeps unused.
    #[inline]
    pub fn keep(&self, worker: usize, unused: usize) {
        self.shards[worker].0.unused.store(unused, Relaxed);
    }

    /// Unused connections in the whole process.
    pub fn unused(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.unused.load(Relaxed)).sum()
    }

    /// Open connections in the whole process.
    pub fn connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Exchanges under way on `worker`.
    #[inline]
    pub fn in_flight(&self, worker: usize) -> u64 {
        self.shards[worker].0.in_flight.load(Relaxed)
    }

    /// Exchanges under way in the whole process.
    pub fn in_flight_total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.in_flight.load(Relaxed)).sum()
    }

    /// One more exchange on `worker`, which must be the calling one.
    #[inline]
    pub fn begin(&self, worker: usize) {
        self.shards[worker].0.in_flight.store(self.in_flight(worker).wrapping_add(1), Relaxed);
    }

    /// One exchange less on `worker`, which must be the calling one.
    #[inline]
    pub fn end(&self, worker: usize) {
        self.shards[worker].0.in_flight.store(self.in_flight(worker).wrapping_sub(1), Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.closed.notify_waiters();
    }
}

/// What an active health check says of an endpoint. The check runs as long as somebody holds its verdict.
#[derive(Debug)]
pub struct Verdict {
    endpoint: Arc<EndpointState>,
    healthy: AtomicBool,
    failure: Mutex<Option<String>>,
    check: Mutex<Option<AbortHandle>>,
}

impl Verdict {
    /// The verdict of a new check; it begins with what the last one on this endpoint said, where there was one, else
    /// with `initially`.
    pub fn new(endpoint: Arc<EndpointState>, initially: bool) -> Self {
        let known = endpoint.healthy.load(Relaxed);
        let checked = endpoint.checked.swap(true, Relaxed);
        if !checked {
            endpoint.healthy.store(initially, Relaxed);
        }
        let healthy = AtomicBool::new(if checked { known } else { initially });
        Self { endpoint, healthy, failure: Mutex::default(), check: Mutex::default() }
    }

    /// Says what the last check found wrong, or that it found nothing.
    pub fn found(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// What the last check found wrong.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The endpoint that is checked.
    pub const fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }

    /// Whether the endpoint may be used.
    #[inline]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Says so.
    pub fn set(&self, healthy: bool) {
        let before = self.healthy.swap(healthy, Relaxed);
        self.endpoint.healthy.store(healthy, Relaxed);
        if healthy && !before {
            self.endpoint.conduct.begin_anew();
        }
        if healthy != before {
            self.endpoint.stir();
        }
    }

    /// Starts the check unless it runs.
    pub fn run(&self, spawn: impl FnOnce() -> AbortHandle) {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(spawn);
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if let Some(check) = self.check.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            check.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_connections_holds_and_is_given_back() {
        let endpoint = EndpointState::new(&EndpointKey::new("127.0.0.1:1", None), 2);
        let first = endpoint.gauges.open(1);
        assert!(first.is_some() && endpoint.gauges.open(1).is_none());
        drop(first);
        assert!(endpoint.gauges.open(1).is_some());
    }

    #[test]
    fn a_suspicion_ends() {
        let endpoint = EndpointState::new(&EndpointKey::new("name:1", None), 1);
        assert!(!endpoint.is_suspect() && endpoint.literal().is_none());
        endpoint.suspect(Duration::from_secs(3600));
        assert!(endpoint.is_suspect());
        endpoint.suspect(Duration::ZERO);
        let deadline = Instant::now() + Duration::from_secs(10);
        while endpoint.is_suspect() {
            assert!(Instant::now() < deadline);
        }
    }
}
