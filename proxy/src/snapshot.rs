//! Snapshots: a compiled configuration, immutable, behind one pointer. [`Current`] is that pointer; each worker keeps
//! its own [`WorkerSnapshot`] of it and looks at one number to know whether that is still the newest.
//! Knows neither documents nor sources; built by `compile`, swapped by `reload` and by nobody else.

use std::{
    cell::{Ref, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::request;
use tokio::sync::mpsc;

use crate::{
    config::spec::{HostPattern, Listener, Name, Part, Spec},
    drain::{Hold, Ledger, Pin},
    exchange::{Call, RouteFacts, Select},
    filter::Chain,
    identity::Identity,
    route::{ByHost, Head, Table},
    telemetry::{RouteSeries, access::Sink, trace::Tracer},
    tls::Acceptor,
};

/// A compiled configuration with its number.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up from 1, in steps of 1, in the life of the process.
    pub generation: u64,
    /// The hash of the tree that it was made of.
    pub identity: Identity,
    /// What it was compiled from.
    pub spec: Arc<Spec>,
    /// By name.
    pub listeners: BTreeMap<Name, Arc<ListenerPlan>>,
    /// Which exchanges are traced, and where their spans go; `None` where none are.
    pub tracer: Option<Arc<Tracer>>,
    /// Who still holds it.
    pub ledger: Arc<Ledger>,
}

/// A compiled listener.
#[derive(Debug)]
pub struct ListenerPlan {
    /// Address, limits and policies.
    pub spec: Arc<Part<Listener>>,
    /// Of everything in it: an equal listener serves the same.
    pub identity: Identity,
    /// TLS, where clients speak it.
    pub tls: Option<Arc<Acceptor>>,
    /// What serves the requests that no section takes; all of them where there are none.
    pub rest: Section,
    /// Its sections, by their whole names.
    pub sections: BTreeMap<Name, Arc<Section>>,
    /// The same by host.
    pub by_host: ByHost<Arc<Section>>,
}

/// The routes of a listener, or of a part of it.
#[derive(Debug)]
pub struct Section {
    /// The routes that are matched.
    pub table: Table<Arc<Plan>>,
    /// Tables that are asked first, in order; almost always none.
    pub selections: Box<[Arc<Selection>]>,
    /// What happens to a request that no route matches: the gateway's and the listener's steps around a 404.
    pub fallback: Arc<Plan>,
}

impl ListenerPlan {
    /// Where requests for a host belong (lower-case, without port; empty where the client named none).
    #[inline]
    pub fn section(&self, host: &str) -> &Section {
        if self.sections.is_empty() { &self.rest } else { self.by_host.find(host).map_or(&self.rest, |it| it) }
    }

    /// Whether a request for `host` may not use a connection that was made for `server_name`: they belong to different
    /// sections, whose certificates and clients may differ (Gateway API `Listener`, RFC 9110 section 15.5.20).
    pub fn is_misdirected(&self, server_name: Option<&str>, host: &str) -> bool {
        let Some(name) = server_name.filter(|_| !self.sections.is_empty()) else { return false };
        !std::ptr::eq(self.section(&name.to_ascii_lowercase()), self.section(host))
    }
}

/// A table that chooses among its routes, as one listener has it.
#[derive(Debug)]
pub struct Selection {
    /// Equal identity, same selection.
    pub identity: Identity,
    /// The table's name.
    pub table: Name,
    /// How the access log calls the time that it takes: `table/<name>`.
    pub label: Name,
    /// Hosts that it is asked about; any where empty.
    pub hosts: Vec<HostPattern>,
    /// How it is asked.
    pub select: Arc<dyn Select>,
    /// What it may choose, by the table's own names: each a table of one route.
    pub routes: HashMap<Name, Table<Arc<Plan>>, foldhash::fast::RandomState>,
}

impl Selection {
    /// Whether the table is to be asked about requests for this host.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// What the route of this name leads to, if what it says of requests holds for `head`.
    pub fn find(&self, name: &str, head: &Head<'_>) -> Option<&Arc<Plan>> {
        self.routes.get(name)?.find(head)
    }
}

/// A compiled route: all that an exchange needs of its generation.
pub struct Plan {
    /// Equal identity, same plan.
    pub identity: Identity,
    /// The route's id.
    pub id: Name,
    /// The path prefix that this match is for; see [`RouteFacts::prefix`].
    pub prefix: Arc<str>,
    /// The path pattern of this match; see [`RouteFacts::pattern`].
    pub pattern: Arc<str>,
    /// Gateway's, listener's and route's steps, in this order.
    pub chain: Chain,
    /// The end of the chain.
    pub end: Arc<dyn Call>,
    /// Of the whole exchange.
    pub timeout: Option<Duration>,
    /// Of the request body.
    pub body_bytes_max: Option<u64>,
    /// Its metrics.
    pub series: Arc<RouteSeries>,
    /// Where its exchanges are logged.
    pub sink: Arc<Sink>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({})", self.id)
    }
}

/// What serves: one snapshot, and in time a second one that takes a share of the exchanges.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Listeners and TLS always come from here.
    pub stable: Arc<Snapshot>,
    /// A candidate and the share of exchanges it takes.
    pub candidate: Option<(Arc<Snapshot>, Share)>,
}

/// A share of the exchanges, in parts per 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u16);

/// The one pointer. `number` counts swaps and is all that the request path reads.
#[derive(Debug)]
pub struct Current {
    serving: ArcSwap<Serving>,
    number: AtomicU64,
}

impl Current {
    /// Serves `first`.
    pub fn new(first: Serving) -> Self {
        Self { serving: ArcSwap::from_pointee(first), number: AtomicU64::new(1) }
    }

    /// What serves now, for the control plane. Workers take theirs from a [`View`].
    pub fn load(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Serves `next` from the next exchange on, on every worker.
    pub fn swap(&self, next: Serving) {
        self.serving.store(Arc::new(next));
        // A worker that sees the new number before the new pointer would only look again at its next exchange, but
        // `load_full` on the cold path is sequentially consistent and the number is written after the pointer.
        self.number.fetch_add(1, std::sync::atomic::Ordering::Release);
    }
}

/// One worker's sight of [`Current`].
#[derive(Debug)]
pub struct View {
    current: Arc<Current>,
    worker: usize,
    graveyard: Graveyard,
    seen: RefCell<Seen>,
}

#[derive(Debug)]
struct Seen {
    number: u64,
    stable: Rc<WorkerSnapshot>,
    candidate: Option<(Rc<WorkerSnapshot>, Share)>,
}

/// Where workers send what they held last, to be freed off the request path.
#[derive(Clone, Debug)]
pub struct Graveyard(mpsc::UnboundedSender<Remains>);

/// What is to be dropped on the control plane.
#[derive(Debug)]
pub enum Remains {
    /// A whole snapshot.
    Snapshot(Arc<Snapshot>),
    /// One plan that outlived its snapshot.
    Plan(Arc<Plan>),
}

impl Graveyard {
    /// A graveyard and what arrives in it.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Remains>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    fn bury(&self, remains: Remains) {
        // Fails only when the control plane is gone: then what comes back is dropped here.
        drop(self.0.send(remains));
    }
}

impl View {
    /// The sight of worker number `worker`.
    pub fn new(current: Arc<Current>, worker: usize, graveyard: Graveyard) -> Self {
        let seen = RefCell::new(Seen::of(&current, worker, &graveyard));
        Self { current, worker, graveyard, seen }
    }

    /// The snapshot for one new exchange: the only place that takes one. Costs one relaxed load while nothing
    /// changed.
    #[inline]
    pub fn take(&self, head: &request::Parts) -> Rc<WorkerSnapshot> {
        let seen = self.newest();
        match &seen.candidate {
            None => Rc::clone(&seen.stable),
            Some((candidate, share)) => Rc::clone(if share.takes(head) { candidate } else { &seen.stable }),
        }
    }

    /// The snapshot that listeners and connections go by.
    pub fn stable(&self) -> Rc<WorkerSnapshot> {
        Rc::clone(&self.newest().stable)
    }

    /// Lets go of what no longer serves, as [`View::take`] does; for an idle worker at each swap.
    #[inline]
    pub fn refresh(&self) {
        drop(self.newest());
    }

    #[inline]
    fn newest(&self) -> Ref<'_, Seen> {
        let seen = self.seen.borrow();
        if self.current.number.load(Relaxed) == seen.number {
            return seen;
        }
        drop(seen);
        self.replace();
        self.seen.borrow()
    }

    #[cold]
    fn replace(&self) {
        let next = Seen::of(&self.current, self.worker, &self.graveyard);
        let previous = self.seen.replace(next);
        previous.stable.retire();
        if let Some((candidate, _)) = &previous.candidate {
            candidate.retire();
        }
    }
}

impl Seen {
    fn of(current: &Current, worker: usize, graveyard: &Graveyard) -> Self {
        let number = current.number.load(std::sync::atomic::Ordering::Acquire);
        let serving = current.load();
        let own = |snapshot: &Arc<Snapshot>| WorkerSnapshot::new(Arc::clone(snapshot), worker, graveyard.clone());
        Self {
            number,
            stable: own(&serving.stable),
            candidate: serving.candidate.as_ref().map(|(snapshot, share)| (own(snapshot), *share)),
        }
    }
}

impl Share {
    // The choice is made by the trace of a request that has one, so that a user's retry lands on the same side;
    // the rest is decided when candidates can be configured.
    fn takes(self, head: &request::Parts) -> bool {
        let mut bytes = head.headers.get("traceparent").map_or(head.uri.path().as_bytes(), |value| value.as_bytes());
        let mut hash: u32 = 0x811c_9dc5;
        while let [first, rest @ ..] = bytes {
            hash = (hash ^ u32::from(*first)).wrapping_mul(0x0100_0193);
            bytes = rest;
        }
        hash % 10_000 < u32::from(self.0)
    }
}

/// A snapshot and what is one worker's own of it.
#[derive(Debug)]
pub struct WorkerSnapshot {
    shared: Option<Arc<Snapshot>>,
    hold: Rc<Hold>,
    plans: RefCell<HashMap<*const Plan, Rc<WorkerPlan>, foldhash::fast::RandomState>>,
    graveyard: Graveyard,
}

/// A plan as one worker's exchanges hold it: what an exchange keeps after routing. Cloned without touching a cache
/// line of another worker.
#[derive(Debug)]
pub struct WorkerPlan {
    plan: Option<Arc<Plan>>,
    facts: Rc<RouteFacts>,
    graveyard: Graveyard,
}

impl WorkerSnapshot {
    fn new(shared: Arc<Snapshot>, worker: usize, graveyard: Graveyard) -> Rc<Self> {
        let hold = shared.ledger.hold(worker);
        Rc::new(Self { shared: Some(shared), hold, plans: RefCell::default(), graveyard })
    }

    /// The part that all workers share.
    pub fn shared(&self) -> &Arc<Snapshot> {
        self.shared.as_ref().expect("taken out only when dropped")
    }

    /// Pins the generation for one exchange.
    #[inline]
    pub fn pin(&self) -> Pin {
        self.hold.pin()
    }

    // Nothing begins on it any more: where the generation has an age limit, its time runs from now on.
    fn retire(&self) {
        if let Some(age_max) = self.hold.age_max() {
            let hold = Rc::downgrade(&self.hold);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(age_max).await;
                if let Some(hold) = hold.upgrade() {
                    hold.expire();
                }
            });
        }
    }

    /// This worker's handle of `plan`, which must be one of this snapshot.
    pub fn plan(&self, plan: &Arc<Plan>) -> Rc<WorkerPlan> {
        let own = || {
            let [id, prefix, pattern] = [&plan.id, &plan.prefix, &plan.pattern].map(Arc::clone);
            let facts = Rc::new(RouteFacts { id, prefix, pattern });
            Rc::new(WorkerPlan { plan: Some(Arc::clone(plan)), facts, graveyard: self.graveyard.clone() })
        };
        Rc::clone(self.plans.borrow_mut().entry(Arc::as_ptr(plan)).or_insert_with(own))
    }
}

impl Drop for WorkerSnapshot {
    fn drop(&mut self) {
        self.plans.borrow_mut().clear();
        // Handed over whole: who is told that the snapshot is gone must not find that this worker still holds it.
        if let Some(shared) = self.shared.take() {
            self.graveyard.bury(Remains::Snapshot(shared));
        }
    }
}

impl WorkerPlan {
    /// The compiled route.
    pub fn plan(&self) -> &Plan {
        self.plan.as_deref().expect("taken out only when dropped")
    }

    /// What filters may know of it.
    pub fn facts(&self) -> &Rc<RouteFacts> {
        &self.facts
    }
}

impl Drop for WorkerPlan {
    fn drop(&mut self) {
        if let Some(plan) = self.plan.take().filter(|plan| Arc::strong_count(plan) == 1) {
            self.graveyard.bury(Remains::Plan(plan));
        }
    }
}
