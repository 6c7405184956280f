//! Compile: from a checked specification to the parts of a snapshot, reusing every part whose identity is still
//! alive, and warming what is new. Changes nothing that serves; must not know documents or sources.

mod ends;
mod lanes;
mod parts;
mod plans;
mod secure;
mod steps;
mod tables;
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Dns, Name, Part, Route, Spec, Upstream as UpstreamSpec},
    },
    exchange::Adoption,
    identity::{Identity, Sum},
    resolve::Modules,
    snapshot::{ListenerPlan, Snapshot},
    state::States,
    telemetry::{
        Metrics, access,
        trace::{Tracer, Tracing},
    },
    upstream::Upstream,
    wasm::{self, Wasm},
};

use imbl::{OrdMap, ordmap::DiffItem};
use tokio::sync::Notify;

use lanes::{Changed, Lanes};
use parts::Parts;
use plans::Planner;
use secure::Connectors;
use steps::Steps;
use tables::Tables;

/// What outlives snapshots: the registries that parts and states are found in.
pub struct Compiler {
    wasm: Arc<Wasm>,
    states: Arc<States>,
    metrics: Arc<Metrics>,
    log: Arc<access::Log>,
    tracing: Arc<Tracing>,
    workers: usize,
    parts: Parts,
    // Of what serves.
    kept: Kept,
}

/// The parts of a snapshot that stands, with what its workers must take before it may serve.
pub struct Compiled {
    /// What it was compiled of, the routes of tables among it.
    pub spec: Arc<Spec>,
    /// By name.
    pub listeners: BTreeMap<Name, Arc<ListenerPlan>>,
    /// Which exchanges are traced, if any.
    pub tracer: Option<Arc<Tracer>>,
    /// What is worth knowing of the routes of tables.
    pub warnings: Vec<Diagnostic>,
    /// One list a worker.
    pub adoptions: Vec<Vec<Adoption>>,
    /// Of all parts: an equal one needs no swap.
    pub identity: Identity,
    /// What was built anew, for logs and tests.
    pub built: Built,
    /// What [`Compiler::keep`] wants back once it serves.
    pub kept: Kept,
}

/// What a compilation leaves for the next one to find.
#[derive(Default)]
pub struct Kept {
    lanes: Lanes,
    upstreams: OrdMap<Name, Arc<Upstream>>,
    // Of these.
    sum: Sum,
    connectors: Connectors,
    steps: Steps,
    // What these were made of.
    spec: Arc<Spec>,
    // Held, so that they are found by their identity.
    _tables: Tables,
}

/// How much of a snapshot was built anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// Upstreams.
    pub upstreams: usize,
    /// Built-in steps and plugins.
    pub steps: usize,
    /// Matches of routes.
    pub rows: usize,
    /// Tables of single hosts.
    pub host_tables: usize,
    /// Tables that are modules.
    pub tables: usize,
}

impl Compiler {
    /// A compiler for as many workers as `states` is for.
    pub fn new(
        wasm: Arc<Wasm>,
        states: Arc<States>,
        metrics: Arc<Metrics>,
        (log, tracing): (Arc<access::Log>, Arc<Tracing>),
    ) -> Self {
        let workers = states.workers;
        Self { wasm, states, metrics, log, tracing, workers, parts: Parts::default(), kept: Kept::default() }
    }

    /// Compiles `spec` with the modules that it names. Host tables are shared with `previous` where they are equal.
    ///
    /// # Errors
    /// All that keeps it from standing: modules that do not load, plugins that refuse their settings.
    pub async fn compile(
        &mut self,
        spec: &Arc<Spec>,
        modules: &Modules,
        previous: Option<&Snapshot>,
    ) -> Result<Compiled, Vec<Diagnostic>> {
        let mut built = Built::default();
        let tables = tables::build(self, spec, modules, &mut built).await;
        let joined = tables.and_then(|tables| tables.join(spec).map(|joined| (tables, joined)));
        let (mut tables, (whole, mut warnings)) = joined.map_err(|wrong| self.with_secure(wrong, spec))?;
        let spec = &*whole;
        let sink = self.log.sink(&spec.gateway.access_log).map_err(|why| vec![no_log(&why)]);
        let acceptors = secure::build(&mut self.parts, spec, &mut warnings);
        let connectors = secure::connectors(&mut self.parts, &self.kept, spec);
        let tracer = traces::build(&self.tracing, &mut self.parts, spec.gateway.tracing.as_ref());
        let upstreams = self.upstreams(spec, connectors.as_ref().unwrap_or(&Connectors::new()), &mut built);
        let steps = Steps::build(self, spec, modules, &upstreams, &mut built).await;
        let telling = both(sink, tracer);
        let (((acceptors, connectors), (sink, tracer)), (steps, mut adoptions)) =
            both(both(both(acceptors, connectors), telling), steps)?;
        tables.adopt(&mut adoptions);
        let planner = Planner {
            spec,
            upstreams: &upstreams,
            steps: &steps,
            tables: &tables,
            acceptors: &acceptors,
            metrics: &self.metrics,
            states: &self.states,
            sink,
        };
        let changed = self.kept.changed(spec, &steps);
        let before = (&self.kept.lanes, changed.as_ref());
        let (listeners, lanes) = planner.listeners(before, &mut self.parts, previous, &mut built)?;
        self.parts.sweep();
        let sum = self.kept.summed(&upstreams);
        let around = [Identity::of(&spec.gateway), sum.identity(), lanes.order()];
        let identity = Identity::of_all(around.into_iter().chain(listeners.values().map(|plan| plan.identity)));
        Ok(Compiled {
            spec: Arc::clone(&whole),
            listeners,
            tracer,
            warnings,
            adoptions,
            identity,
            built,
            kept: Kept { lanes, upstreams, sum, connectors, steps, spec: whole, _tables: tables },
        })
    }

    /// How a version of a plugin does.
    pub fn standing(&self, version: Identity) -> Arc<wasm::Standing> {
        self.wasm.standing(version)
    }

    /// Told when a version of a plugin with the policy `previous` fails.
    pub fn distress(&self) -> Arc<Notify> {
        self.wasm.distress()
    }

    /// Remembers what a compilation left that serves now. One that does not serve leaves nothing behind.
    pub fn keep(&mut self, kept: Kept) {
        for difference in self.kept.upstreams.diff(&kept.upstreams) {
            if let DiffItem::Add(_, upstream) | DiffItem::Update { new: (_, upstream), .. } = difference {
                upstream.show();
            }
        }
        self.kept = kept;
    }

    // What is defined as before is the same object; what is not may be found all the same, by its identity.
    fn upstreams(&mut self, spec: &Spec, connectors: &Connectors, built: &mut Built) -> OrdMap<Name, Arc<Upstream>> {
        let dns = Identity::of(&spec.gateway.dns);
        let kept = &self.kept;
        let (mut upstreams, defined) = if kept.resolves_as(spec) {
            taken_over(&kept.upstreams, &kept.spec.upstreams, &spec.upstreams)
        } else {
            (OrdMap::new(), spec.upstreams.iter().collect())
        };
        for (name, part) in defined {
            if part.tls.is_some() && !connectors.contains_key(name) {
                upstreams.insert(Arc::clone(name), self.stand_in(name, part));
                continue;
            }
            let identity = Identity::of_all([Identity::of_bytes(name.as_bytes()), part.identity, dns]);
            let upstream = self.parts.upstreams.find_or_make(identity, || {
                built.upstreams += 1;
                let connector = connectors.get(name).cloned();
                let means = (connector, &spec.gateway.dns);
                Upstream::build(name, part, means, &self.states, self.metrics.upstream(name))
            });
            upstreams.insert(Arc::clone(name), upstream);
        }
        upstreams
    }

    // Of an upstream whose TLS cannot be used: nothing will serve, but steps that name it are looked at all the same, so
    // that all that is wrong is said at once. It is kept nowhere, and asks its endpoints nothing.
    fn stand_in(&self, name: &Name, part: &Part<UpstreamSpec>) -> Arc<Upstream> {
        let spec = UpstreamSpec { tls: None, endpoints: Vec::new(), ..part.value.clone() };
        let spec = Arc::new(Part::new(part.place.clone(), spec));
        Upstream::build(name, &spec, (None, &Dns::default()), &self.states, self.metrics.upstream(name))
    }

    // What is wrong already, and what is wrong with TLS.
    fn with_secure(&mut self, mut wrong: Vec<Diagnostic>, spec: &Spec) -> Vec<Diagnostic> {
        wrong.extend(secure::build(&mut self.parts, spec, &mut Vec::new()).err().into_iter().flatten());
        wrong.extend(secure::connectors(&mut self.parts, &self.kept, spec).err().into_iter().flatten());
        wrong
    }
}

impl Kept {
    /// Whether names are resolved as they are by `spec`.
    fn resolves_as(&self, spec: &Spec) -> bool {
        self.spec.gateway.dns == spec.gateway.dns
    }

    /// The sum of `upstreams`, from that of those before.
    fn summed(&self, upstreams: &OrdMap<Name, Arc<Upstream>>) -> Sum {
        let mut sum = self.sum;
        let part = |(name, upstream): (&Name, &Arc<Upstream>)| Identity::named(name, upstream.identity());
        for difference in self.upstreams.diff(upstreams) {
            let (before, now) = match difference {
                DiffItem::Add(name, upstream) => (None, Some((name, upstream))),
                DiffItem::Update { old, new } => (Some(old), Some(new)),
                DiffItem::Remove(name, upstream) => (Some((name, upstream)), None),
            };
            before.into_iter().for_each(|before| sum.remove(part(before)));
            now.into_iter().for_each(|now| sum.add(part(now)));
        }
        sum
    }

    /// Whether every upstream that `spec` has too is the same object there.
    fn has_upstreams_of(&self, spec: &Spec) -> bool {
        let is_other = |difference| matches!(difference, DiffItem::Update { .. });
        self.resolves_as(spec) && !self.spec.upstreams.diff(&spec.upstreams).any(is_other)
    }

    /// Which routes are others now: those that are defined otherwise, and those that have a step which is another one. `None` where
    /// that is not said of them all: upstreams changed, or tables yield routes.
    fn changed(&self, spec: &Spec, steps: &Steps) -> Option<Changed> {
        if !spec.tables.is_empty() || !self.has_upstreams_of(spec) {
            return None;
        }
        let changed = self.lanes.changed(&spec.routes)?;
        let now = changed.at.iter().map(|at| &spec.routes[*at]);
        let ids: HashSet<&str> = self.lanes.before(&changed).chain(now).map(|route| &*route.id).collect();
        let own = |step: &Name| step.split_once('/').is_some_and(|(route, _)| ids.contains(route));
        // Few as a rule, and each step of each route is looked for: no hash of every name.
        let mut moved: BTreeSet<&Name> = self.steps.moved(steps).filter(|step| !own(step)).collect();
        drop(ids);
        if moved.is_empty() {
            return Some(changed);
        }
        steps.lead_to(&mut moved);
        let steps_of = |route: &Route| {
            let of_targets = route.targets.iter().flat_map(|target| &target.middleware);
            route.middleware.iter().chain(of_targets).any(|step| moved.contains(step))
        };
        changed.and(&spec.routes, steps_of)
    }
}

/// A part of a specification by its name.
type Defined<'s, P> = (&'s Name, &'s Arc<Part<P>>);

/// What of the things that were made of `before` is made of `now` as well, and the definitions that are not among it.
fn taken_over<'s, T: Clone, P>(
    made: &OrdMap<Name, T>,
    before: &OrdMap<Name, Arc<Part<P>>>,
    now: &'s OrdMap<Name, Arc<Part<P>>>,
) -> (OrdMap<Name, T>, Vec<Defined<'s, P>>) {
    let (mut made, mut defined) = (made.clone(), Vec::new());
    for difference in before.diff(now) {
        match difference {
            DiffItem::Add(name, part) | DiffItem::Update { new: (name, part), .. } => defined.push((name, part)),
            DiffItem::Remove(name, _) => drop(made.remove(name)),
        }
    }
    (made, defined)
}

// Both, or all that is wrong with either.
fn both<A, B>(one: Result<A, Vec<Diagnostic>>, other: Result<B, Vec<Diagnostic>>) -> Result<(A, B), Vec<Diagnostic>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).flatten().collect()),
    }
}

fn no_log(why: &str) -> Diagnostic {
    Diagnostic::error("access-log", format!("the access log cannot be written: {why}"))
        .hint("correct `gateway.access-log`, or create the directory and let the gateway write there")
}

#[cfg(test)]
mod tests;
