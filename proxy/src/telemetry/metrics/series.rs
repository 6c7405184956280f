//! The series of one route, upstream, plugin or listener: what each room counts, in its own words. A series
//! outlives the snapshots that hold it. Every method that takes a worker's index must be called on that worker's
//! thread. Knows no text format.

use std::time::Duration;

use super::{
    ProxyOutcome,
    admission::{AdmissionCounts, BreakerCounts},
    endpoints::EndpointSeries,
    shard::{Codes, Count, Fast, Histogram, Kinds, Sharded, Slow},
    tries::TryCounts,
};
use crate::{
    error::Kind,
    exchange::Outcome,
    tls::{Handshake, Refusal},
};

/// The series of one route. The default one counts nothing.
#[derive(Debug, Default)]
pub struct RouteSeries(pub(super) Sharded<RouteShard>);

#[derive(Debug, Default)]
pub(super) struct RouteShard {
    pub(super) codes: Codes,
    pub(super) errors: Kinds,
    pub(super) duration: Histogram<Slow>,
    pub(super) request_bytes: Count,
    pub(super) response_bytes: Count,
}

impl RouteSeries {
    pub(super) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers))
    }

    /// Counts one exchange that is over.
    #[inline]
    pub fn finish(&self, worker: usize, outcome: &Outcome) {
        let Some(shard) = self.0.of(worker) else { return };
        shard.codes.count(outcome.status);
        if let Some(kind) = outcome.error {
            shard.errors.count(kind);
        }
        shard.duration.observe(outcome.duration);
        shard.request_bytes.add(outcome.request_bytes);
        shard.response_bytes.add(outcome.response_bytes);
    }
}

/// The series of one upstream. The default one counts nothing.
#[derive(Debug, Default)]
pub struct UpstreamSeries {
    pub(super) shards: Sharded<UpstreamShard>,
    pub(super) breaker: BreakerCounts,
    /// Its endpoints.
    pub endpoints: EndpointSeries,
}

#[derive(Debug, Default)]
pub(super) struct UpstreamShard {
    pub(super) codes: Codes,
    pub(super) errors: Kinds,
    pub(super) duration: Histogram<Slow>,
    pub(super) in_flight: Count,
    pub(super) connects: Count,
    pub(super) connections: Count,
    pub(super) reuses: Count,
    pub(super) tries: TryCounts,
    pub(super) admission: AdmissionCounts,
}

impl UpstreamSeries {
    pub(super) fn new(workers: usize) -> Self {
        Self { shards: Sharded::new(workers), breaker: BreakerCounts::default(), endpoints: EndpointSeries::default() }
    }

    /// Counts one request that was sent, or could not be: the status of its answer, or what failed; `time` is until
    /// the head of the answer.
    #[inline]
    pub fn finish(&self, worker: usize, result: Result<u16, Kind>, time: Duration) {
        let Some(shard) = self.shards.of(worker) else { return };
        match result {
            Ok(code) => shard.codes.count(code),
            Err(kind) => shard.errors.count(kind),
        }
        shard.duration.observe(time);
    }

    /// A request is under way, until [`UpstreamSeries::ended`].
    #[inline]
    pub fn began(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| shard.in_flight.add(1));
    }

    /// A request that began is through, its response body included, in whichever way.
    #[inline]
    pub fn ended(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| shard.in_flight.less());
    }

    /// A new connection stands, until [`UpstreamSeries::disconnected`].
    pub fn connected(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| {
            shard.connects.add(1);
            shard.connections.add(1);
        });
    }

    /// A connection is gone.
    pub fn disconnected(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| shard.connections.less());
    }

    /// A request took a connection from the pool.
    #[inline]
    pub fn reused(&self, worker: usize) {
        self.shards.of(worker).inspect(|shard| shard.reuses.add(1));
    }

    /// Requests under way in the whole process.
    pub fn under_way(&self) -> u64 {
        self.shards.level(|shard| &shard.in_flight)
    }
}

/// How a guest failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    /// It gave up: `unreachable`, which is what a panic comes to.
    Unreachable,
    /// It read or wrote beyond its memory.
    Memory,
    /// It wanted more memory than its limit.
    MemoryLimit,
    /// Its stack is full.
    Stack,
    /// It called what is no function, or none of that type.
    Call,
    /// A division by zero, or a number that does not fit.
    Arithmetic,
    /// It breached the ABI, or anything else.
    Other,
}

impl TrapKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Unreachable, Self::Memory, Self::MemoryLimit, Self::Stack, Self::Call, Self::Arithmetic, Self::Other];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Memory => "memory",
            Self::MemoryLimit => "memory_limit",
            Self::Stack => "stack",
            Self::Call => "call",
            Self::Arithmetic => "arithmetic",
            Self::Other => "other",
        }
    }
}

/// The series of one plugin. The default one counts nothing.
#[derive(Debug, Default)]
pub struct PluginSeries(pub(super) Sharded<PluginShard>);

#[derive(Debug, Default)]
pub(super) struct PluginShard {
    pub(super) calls: Count,
    pub(super) errors: Kinds,
    pub(super) duration: Histogram<Fast>,
    /// By [`TrapKind`].
    pub(super) traps: [Count; TrapKind::ALL.len()],
    /// Linear memory of its guests, in bytes.
    pub(super) memory: Count,
    pub(super) guests: Count,
    pub(super) instantiations: Count,
}

impl PluginSeries {
    pub(super) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers))
    }

    /// Counts one exchange that the plugin is through with; `time` is inside the plugin, all phases.
    #[inline]
    pub fn finish(&self, worker: usize, result: Result<(), Kind>, time: Duration) {
        let Some(shard) = self.0.of(worker) else { return };
        shard.calls.add(1);
        if let Err(kind) = result {
            shard.errors.count(kind);
        }
        shard.duration.observe(time);
    }

    /// A guest trapped.
    pub fn trapped(&self, worker: usize, kind: TrapKind) {
        self.0.of(worker).inspect(|shard| shard.traps[kind as usize].add(1));
    }

    /// The linear memory of a guest was `from` bytes and is `to`.
    #[inline]
    pub fn remembers(&self, worker: usize, from: usize, to: usize) {
        // The sum wraps, and is read as a signed number.
        self.0.of(worker).inspect(|shard| shard.memory.add((to as u64).wrapping_sub(from as u64)));
    }

    /// A guest was instantiated, on this worker or for it.
    pub fn instantiated(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.instantiations.add(1));
    }

    /// The worker has one more guest, until [`PluginSeries::dropped`].
    pub fn adopted(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.guests.add(1));
    }

    /// The worker has one guest less.
    pub fn dropped(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.guests.less());
    }

    /// How many guests were ever instantiated.
    pub fn instantiations(&self) -> u64 {
        self.0.sum(|shard| &shard.instantiations)
    }
}

/// The series of one listener. The default one counts nothing.
#[derive(Debug, Default)]
pub struct ListenerSeries(pub(super) Sharded<ListenerShard>);

#[derive(Debug, Default)]
pub(super) struct ListenerShard {
    pub(super) accepted: Count,
    pub(super) open: Count,
    pub(super) resting: Count,
    pub(super) over_limit: Count,
    pub(super) accept_errors: Count,
    pub(super) errors: Kinds,
    pub(super) tunnels: Count,
    pub(super) tunnels_open: Count,
    // By version and by whether a session was resumed.
    pub(super) handshakes: [[Count; 2]; 2],
    pub(super) handshakes_failed: [Count; Refusal::ALL.len()],
    pub(super) proxied: [Count; ProxyOutcome::ALL.len()],
}

impl ListenerSeries {
    pub(super) fn new(workers: usize) -> Self {
        Self(Sharded::new(workers))
    }

    /// A connection was accepted, until [`ListenerSeries::closed`].
    pub fn accepted(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| {
            shard.accepted.add(1);
            shard.open.add(1);
        });
    }

    /// An accepted connection is closed.
    pub fn closed(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.open.less());
    }

    /// An open connection gave back what an idle one does not need, until [`ListenerSeries::woke`].
    pub fn rested(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.resting.add(1));
    }

    /// A connection that rested is asked again, or closed.
    pub fn woke(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.resting.less());
    }

    /// A connection was turned away: the listener has `connections_max` of them.
    pub fn rejected(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.over_limit.add(1));
    }

    /// `accept` failed.
    pub fn accept_failed(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.accept_errors.add(1));
    }

    /// A request was refused before it became an exchange.
    pub fn refused(&self, worker: usize, kind: Kind) {
        self.0.of(worker).inspect(|shard| shard.errors.count(kind));
    }

    /// A TLS handshake is through.
    pub fn handshake(&self, worker: usize, handshake: &Handshake) {
        let Handshake { version, resumed, .. } = *handshake;
        self.0.of(worker).inspect(|shard| shard.handshakes[version as usize][usize::from(resumed)].add(1));
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, worker: usize, refusal: Refusal) {
        self.0.of(worker).inspect(|shard| shard.handshakes_failed[refusal as usize].add(1));
    }

    /// A connection began with a PROXY header, or without one where it is looked for.
    pub fn proxied(&self, worker: usize, outcome: ProxyOutcome) {
        self.0.of(worker).inspect(|shard| shard.proxied[outcome as usize].add(1));
    }

    /// A tunnel stands, until [`ListenerSeries::tunnel_closed`].
    pub fn tunnel_opened(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| {
            shard.tunnels.add(1);
            shard.tunnels_open.add(1);
        });
    }

    /// A tunnel is through.
    pub fn tunnel_closed(&self, worker: usize) {
        self.0.of(worker).inspect(|shard| shard.tunnels_open.less());
    }
}
