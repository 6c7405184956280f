//! Plans and tables: every match of every route as a row of its listeners' tables. A route whose definition, steps
//! and upstreams are those of before keeps its rows, and a host whose rows are those of before keeps its table.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use imbl::OrdMap;

use super::{
    Built,
    ends::Nowhere,
    lanes::{Changed, Found, Lane, Lanes, Rows},
    parts::Parts,
    secure::Acceptors,
    steps::Steps,
    tables::Tables,
};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Listener, Match, Name, Part, PathPattern, Route, Spec},
    },
    error::Kind,
    filter::{Chain, Origin, Step},
    identity::Identity,
    route::{BuildError, ByHost, Row, Table},
    snapshot::{ListenerPlan, Plan, Section, Selection, Snapshot},
    state::States,
    telemetry::{Metrics, access::Sink},
    upstream::Upstream,
};

/// What a listener asks before it matches.
type Selections = Box<[Arc<Selection>]>;

/// What was made of what was there.
type Edited = (Lane, Table<Arc<Plan>>);

/// Compiled listeners by name.
pub(super) type Listeners = BTreeMap<Name, Arc<ListenerPlan>>;

/// What plans are made of.
pub(super) struct Planner<'a> {
    pub(super) spec: &'a Spec,
    pub(super) upstreams: &'a OrdMap<Name, Arc<Upstream>>,
    pub(super) steps: &'a Steps,
    pub(super) tables: &'a Tables,
    pub(super) acceptors: &'a Acceptors,
    pub(super) metrics: &'a Metrics,
    pub(super) states: &'a States,
    pub(super) sink: Arc<Sink>,
}

// The steps around every route of one listener.
struct Around {
    steps: Vec<(Identity, Step)>,
    body_bytes_max: Option<u64>,
    identity: Identity,
}

impl Planner<'_> {
    /// All listeners, and what to find again next time; `before` is what was found to serve last, and `changed` which
    /// routes are others since, where nothing else is that a route depends on.
    pub(super) fn listeners(
        &self,
        (before, changed): (&Lanes, Option<&Changed>),
        parts: &mut Parts,
        previous: Option<&Snapshot>,
        built: &mut Built,
    ) -> Result<(Listeners, Lanes), Vec<Diagnostic>> {
        let mut lanes = Lanes::of(&self.spec.routes, before, changed);
        let mut known = None;
        let mut listeners = Listeners::new();
        for (name, listener) in &self.spec.listeners {
            let previous = previous.and_then(|snapshot| snapshot.listeners.get(name));
            let wrong = |error: BuildError| vec![too_much(name, &error).at(listener.place.clone())];
            let mut sums = vec![listener.identity];
            let mut one = |name: &Name, steps: &[Name], before_it: Option<&Section>| {
                let around = self.around(listener, steps);
                let lane = before.by_listener.get(name).filter(|lane| lane.around == around.identity);
                let all = (&mut known, before);
                let (lane, section) = self.section((name, &around), (lane, changed, before_it), all, parts, built)?;
                let chosen = section.selections.iter().map(|selection| selection.identity);
                sums.extend([section.fallback.identity, lane.identity()].into_iter().chain(chosen));
                lanes.by_listener.insert(Arc::clone(name), lane);
                Ok(section)
            };
            let rest = one(name, &[], previous.map(|plan| &plan.rest)).map_err(wrong)?;
            let (mut sections, mut by_host) = (BTreeMap::new(), ByHost::default());
            for (name, section) in &listener.sections {
                let before_it = previous.and_then(|plan| plan.sections.get(name));
                let made = Arc::new(one(name, &section.middleware, before_it.map(|it| &**it)).map_err(wrong)?);
                by_host.insert(section.host.as_ref(), Arc::clone(&made));
                sections.insert(Arc::clone(name), made);
            }
            let (spec, tls) = (Arc::clone(listener), self.acceptors.get(name).cloned());
            let identity = Identity::of_all(sums);
            let plan = ListenerPlan { spec, identity, tls, rest, sections, by_host };
            listeners.insert(Arc::clone(name), Arc::new(plan));
        }
        Ok((listeners, lanes))
    }

    /// The routes of a listener, or of a section of it; of what it had, what is the same is taken from there.
    fn section(
        &self,
        (name, around): (&Name, &Around),
        (lane, changed, previous): (Option<&Lane>, Option<&Changed>, Option<&Section>),
        (known, before): (&mut Option<HashMap<Identity, Rows>>, &Lanes),
        parts: &mut Parts,
        built: &mut Built,
    ) -> Result<(Lane, Section), BuildError> {
        let edited = match (lane, changed, previous) {
            (Some(lane), Some(changed), Some(previous)) => {
                Some(self.edited((name, around), (lane, changed), &previous.table, parts, built)?)
            }
            _ => None,
        };
        let (lane, table, selections) = match edited {
            Some((lane, table)) => (lane, table, Box::default()),
            None => {
                let known = known.get_or_insert_with(|| before.by_identity());
                self.whole((name, around), known, previous, parts, built)?
            }
        };
        built.host_tables += table.built();
        let fallback = self.fallback(around, parts);
        Ok((lane, Section { table, selections, fallback }))
    }

    /// What a listener had, with these routes looked at again.
    fn edited(
        &self,
        (name, around): (&Name, &Around),
        (lane, changed): (&Lane, &Changed),
        table: &Table<Arc<Plan>>,
        parts: &mut Parts,
        built: &mut Built,
    ) -> Result<Edited, BuildError> {
        let look = |at: &usize| {
            let route = &self.spec.routes[*at];
            serves(route, name).then(|| {
                let (identity, steps) = self.identify(route, around);
                lane.found(*at, identity).unwrap_or_else(|| {
                    built.rows += route.matches.len();
                    Found { identity, rows: self.rows(route, identity, around, &steps, parts) }
                })
            })
        };
        let found = changed.at.iter().map(look).collect();
        let mut lane = lane.clone();
        let table = lane.replace(found, changed, table)?;
        Ok((lane, table))
    }

    /// What a listener has of every route.
    fn whole(
        &self,
        (name, around): (&Name, &Around),
        known: &mut HashMap<Identity, Rows>,
        previous: Option<&Section>,
        parts: &mut Parts,
        built: &mut Built,
    ) -> Result<(Lane, Table<Arc<Plan>>, Selections), BuildError> {
        let mut selected: BTreeMap<&Name, Vec<(&Name, Rows)>> = BTreeMap::new();
        let mut look = |route: &'_ Arc<Part<Route>>| {
            let (identity, steps) = self.identify(route, around);
            let rows = known.entry(identity).or_insert_with(|| {
                built.rows += route.matches.len();
                self.rows(route, identity, around, &steps, parts)
            });
            Found { identity, rows: Arc::clone(rows) }
        };
        let mut found = Vec::with_capacity(self.spec.routes.len());
        for route in &self.spec.routes {
            let served = serves(route, name).then(|| look(route));
            match (&route.table, served) {
                (Some(from), Some(rows)) if from.selected => {
                    selected.entry(&from.table).or_default().push((&from.name, rows.rows));
                    found.push(None);
                }
                (_, served) => found.push(served),
            }
        }
        let lane = Lane::new(around.identity, found);
        let selections = self.tables.selections(selected, previous.map(|plan| &*plan.selections))?;
        let rows: Vec<_> = lane.rows().cloned().collect();
        let table = Table::build(&rows, previous.map(|plan| &plan.table))?;
        Ok((lane, table, selections))
    }

    fn around(&self, listener: &Part<Listener>, section: &[Name]) -> Around {
        let mut steps = self.steps.of(&self.spec.gateway.middleware, Origin::Gateway);
        steps.extend(self.steps.of(&listener.middleware, Origin::Listener));
        steps.extend(self.steps.of(section, Origin::Listener));
        let body_bytes_max = listener.limits.body_bytes_max;
        let limit = Identity::of(&(body_bytes_max, &self.spec.gateway.access_log));
        let identity = Identity::of_all(steps.iter().map(|(identity, _)| *identity).chain([limit]));
        Around { steps, body_bytes_max, identity }
    }

    // A route is what it was if its definition, the steps around and in it and its upstreams are.
    fn identify(&self, route: &Part<Route>, around: &Around) -> (Identity, Vec<(Identity, Step)>) {
        let steps = self.steps.of(&route.middleware, Origin::Route);
        let own = [route.identity, around.identity].into_iter().chain(steps.iter().map(|(identity, _)| *identity));
        let targets = route.targets.iter().flat_map(|target| self.target_identity(target));
        (Identity::of_all(own.chain(targets)), steps)
    }

    fn rows(
        &self,
        route: &Part<Route>,
        identity: Identity,
        around: &Around,
        steps: &[(Identity, Step)],
        parts: &mut Parts,
    ) -> Arc<[Row<Arc<Plan>>]> {
        let chain = Chain::new(around.steps.iter().chain(steps).map(|(_, step)| step.clone()));
        let end = self.end(route);
        let hosts: Arc<[_]> = route.hosts.clone().into();
        let row = |on: &Match| {
            let prefix = match &on.path {
                PathPattern::Prefix(prefix) => prefix.trim_end_matches('/'),
                _ => "",
            };
            let pattern = pattern(&on.path);
            let plan_identity = Identity::of_all([identity, Identity::of_bytes(pattern.as_bytes())]);
            let plan = parts.plans.find_or_make(plan_identity, || {
                Arc::new(Plan {
                    identity: plan_identity,
                    id: Arc::clone(&route.id),
                    prefix: prefix.into(),
                    pattern: pattern.into(),
                    chain: chain.clone(),
                    end: Arc::clone(&end),
                    timeout: route.timeout,
                    body_bytes_max: route.body_bytes_max.or(around.body_bytes_max),
                    series: self.metrics.route(&route.id),
                    sink: Arc::clone(&self.sink),
                })
            });
            let identity = Identity::of_all([plan_identity, Identity::of(on)]);
            Row { hosts: Arc::clone(&hosts), on: Arc::new(on.clone()), identity, value: plan }
        };
        route.matches.iter().map(row).collect()
    }

    fn fallback(&self, around: &Around, parts: &mut Parts) -> Arc<Plan> {
        let identity = Identity::of_all([around.identity, Identity::of_bytes(b"no route")]);
        parts.plans.find_or_make(identity, || {
            Arc::new(Plan {
                identity,
                id: "".into(),
                prefix: "".into(),
                pattern: "".into(),
                chain: Chain::new(around.steps.iter().map(|(_, step)| step.clone())),
                end: Arc::new(Nowhere(Kind::NoRoute, NO_ROUTE.to_owned())),
                timeout: None,
                body_bytes_max: around.body_bytes_max,
                series: self.metrics.route(""),
                sink: Arc::clone(&self.sink),
            })
        })
    }
}

// As people write it; equal prefixes have equal patterns.
fn pattern(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) | PathPattern::Template(path) | PathPattern::Regex(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{}/*", prefix.trim_end_matches('/')),
    }
}

const NO_ROUTE: &str = "no route matches host, path, method, headers and query";

// What the checks of a specification let through, the table takes; this is the answer to a defect of ours.
fn too_much(listener: &str, error: &BuildError) -> Diagnostic {
    Diagnostic::error("no-table", format!("the routes of listener `{listener}` cannot be made into a table: {error}"))
}

// A route of a listener serves its sections too.
fn serves(route: &Route, name: &Name) -> bool {
    let named = |own: &Name| own == name || name.split_once('/').is_some_and(|(listener, _)| **own == *listener);
    route.listeners.is_empty() || route.listeners.iter().any(named)
}
