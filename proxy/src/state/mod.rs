//! State that outlives snapshots, found by state key (kind and name; for an endpoint, address and TLS): a reload
//! changes what is configured, never what was learned. Knows neither documents, snapshots nor HTTP.

mod breaker;
mod conduct;
mod endpoint;
mod flights;
mod gate;
pub mod kv;
mod names;
mod offload;
mod registry;
mod shard;
mod shelf;
mod slots;
mod traffic;

use std::{
    any::Any,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Notify};

pub use breaker::{Breaker, Passage, Phase, Rules};
pub use conduct::{Conduct, Tally};
pub use endpoint::{EndpointKey, EndpointState, Gauges, Open, Resolved, Verdict};
pub use flights::{Boarding, Flights, Follow, Lead};
pub use gate::{Gate, InLine, Pass};
pub use names::{Answer, Found, Known, NameKey, NameState, Question, Resolver};
pub use offload::{Full, Offload};
pub use registry::Registry;
pub use shard::{Padded, Sequence};
pub use shelf::{Reserved, Room, Shelf};
pub use slots::{Bounds, Entry, Slot, Slots, Waiting};
pub use traffic::{Counted, Sums, Traffic, WINDOW_MAX};

use crate::identity::Identity;

/// All registries of a process.
#[derive(Debug)]
pub struct States {
    /// How many workers there are: the number of shards of whatever is counted per worker.
    pub workers: usize,
    /// Where background work of the state runs (name resolution, health checks).
    pub control: Handle,
    /// The zone that this process is in, where it is in one.
    pub zone: Option<Arc<str>>,
    /// One for each worker: wakes it to look after its unused connections at once.
    pub sweepers: Box<[Notify]>,
    /// Endpoints, by address and TLS.
    pub endpoints: Registry<EndpointKey, EndpointState>,
    /// Active health checks and their verdicts, by endpoint and what is checked.
    pub verdicts: Registry<(EndpointKey, Identity), Verdict>,
    /// What DNS names lead to, by question and settings.
    pub names: Registry<NameKey, NameState>,
    /// Key-value spaces of plugins, by the middleware's name.
    pub spaces: Registry<Arc<str>, kv::Space>,
    /// Positions in rotations, by what rotates (`upstream users`, `route users`).
    pub sequences: Registry<Arc<str>, Sequence>,
    /// Who is under way and who waits, by the name of the limit.
    pub slots: Registry<Arc<str>, Slots>,
    /// What caches keep, by the step's name; only the step knows its type.
    pub caches: Registry<Arc<str>, Box<dyn Any + Send + Sync>>,
    /// Requests of the last seconds, by what has them (`upstream users`).
    pub traffic: Registry<Arc<str>, Traffic>,
    /// Limits on requests, by what has them (`upstream users`).
    pub gates: Registry<Arc<str>, Gate>,
    /// Circuit breakers, likewise.
    pub breakers: Registry<Arc<str>, Breaker>,
    /// Where passwords are verified.
    pub offload: Arc<Offload>,
}

impl States {
    /// Empty registries for `workers` workers; `control` is the control plane's runtime, which also forgets what
    /// nobody holds.
    pub fn new(workers: usize, control: Handle) -> Arc<Self> {
        Self::in_zone(workers, control, None)
    }

    /// [`States::new`] for a process in `zone`.
    pub fn in_zone(workers: usize, control: Handle, zone: Option<Arc<str>>) -> Arc<Self> {
        let states = Arc::new(Self {
            workers,
            zone,
            offload: Arc::new(Offload::new(control.clone())),
            control,
            sweepers: (0..workers).map(|_| Notify::new()).collect(),
            endpoints: Registry::new(GRACE),
            verdicts: Registry::new(GRACE),
            names: Registry::new(GRACE),
            spaces: Registry::new(GRACE),
            sequences: Registry::new(GRACE),
            slots: Registry::new(GRACE),
            caches: Registry::new(GRACE),
            traffic: Registry::new(GRACE),
            gates: Registry::new(GRACE),
            breakers: Registry::new(GRACE),
        });
        states.control.spawn(tend(Arc::downgrade(&states)));
        states
    }

    /// Forgets what nobody has held for the time of grace.
    pub fn sweep(&self, now: Instant) {
        self.endpoints.sweep(now);
        self.verdicts.sweep(now);
        self.names.sweep(now);
        self.spaces.sweep(now);
        self.sequences.sweep(now);
        self.slots.sweep(now);
        self.caches.sweep(now);
        self.traffic.sweep(now);
        self.gates.sweep(now);
        self.breakers.sweep(now);
    }
}

async fn tend(states: Weak<States>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(states) = states.upgrade() else { return };
        states.sweep(Instant::now());
    }
}

// How long what nobody holds is kept: a configuration that loses an upstream and gets it back, as an edit in two
// steps does, finds its state and its connections again.
const GRACE: Duration = Duration::from_secs(60);
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
