//! Plans and tables: every match of every route as a row of its listeners' tables. A route whose definition, steps
//! and upstreams are those of before keeps its rows, and a host whose rows are those of before keeps its table.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::future::LocalBoxFuture;

use super::{Built, parts::Parts, steps::Steps, tables::Tables};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Listener, Match, Name, Part, PathPattern, Route, Spec},
    },
    error::{Error, Kind},
    exchange::{Call, Request, Response},
    filter::{Chain, Origin, Step},
    identity::Identity,
    route::{BuildError, Row, Table},
    snapshot::{ListenerPlan, Plan, Snapshot},
    state::States,
    telemetry::{Metrics, access::Sink},
    upstream::{Upstream, Weighted},
};

/// The rows of each route on each kind of listener, as they were at the last compilation.
pub(super) type Rows = HashMap<Identity, Arc<[Row<Arc<Plan>>]>>;

/// Compiled listeners by name.
pub(super) type Listeners = BTreeMap<Name, Arc<ListenerPlan>>;

/// What plans are made of.
pub(super) struct Planner<'a> {
    pub(super) spec: &'a Spec,
    pub(super) upstreams: &'a BTreeMap<Name, Arc<Upstream>>,
    pub(super) steps: &'a Steps,
    pub(super) tables: &'a Tables,
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
    /// All listeners, and the rows to find again next time; `before` is what was found to serve last.
    pub(super) fn listeners(
        &self,
        before: &Rows,
        parts: &mut Parts,
        previous: Option<&Snapshot>,
        built: &mut Built,
    ) -> Result<(Listeners, Rows), Vec<Diagnostic>> {
        let mut rows = Rows::new();
        let mut listeners = Listeners::new();
        for (name, listener) in &self.spec.listeners {
            let around = self.around(listener);
            let mut own = Vec::with_capacity(self.spec.routes.len());
            let mut selected: BTreeMap<&Name, Vec<(&Name, Arc<[_]>)>> = BTreeMap::new();
            for route in self.spec.routes.iter().filter(|route| serves(route, name)) {
                let (identity, steps) = self.identify(route, &around);
                let found = rows.get(&identity).or_else(|| before.get(&identity)).cloned();
                let found = found.unwrap_or_else(|| {
                    built.rows += route.matches.len();
                    self.rows(route, identity, &around, &steps, parts)
                });
                match &route.table {
                    Some(from) if from.selected => {
                        selected.entry(&from.table).or_default().push((&from.name, Arc::clone(&found)));
                    }
                    _ => own.extend(found.iter().cloned()),
                }
                rows.insert(identity, found);
            }
            let previous = previous.and_then(|snapshot| snapshot.listeners.get(name));
            let selections = self
                .tables
                .selections(selected, previous.map(|plan| &*plan.selections))
                .map_err(|error| vec![too_much(name, &error).at(listener.place.clone())])?;
            let table = Table::build(&own, previous.map(|plan| &plan.table))
                .map_err(|error| vec![too_much(name, &error).at(listener.place.clone())])?;
            built.host_tables += table.built();
            let fallback = self.fallback(&around, parts);
            let rows = own.iter().map(|row| row.identity);
            let chosen = selections.iter().map(|selection| selection.identity);
            let own = [listener.identity, fallback.identity].into_iter();
            let identity = Identity::of_all(own.chain(rows).chain(chosen));
            let plan = ListenerPlan { spec: Arc::clone(listener), identity, table, selections, fallback };
            listeners.insert(Arc::clone(name), Arc::new(plan));
        }
        Ok((listeners, rows))
    }

    fn around(&self, listener: &Part<Listener>) -> Around {
        let mut steps = self.steps.of(&self.spec.gateway.middleware, Origin::Gateway);
        steps.extend(self.steps.of(&listener.middleware, Origin::Listener));
        let body_bytes_max = listener.limits.body_bytes_max;
        let limit = Identity::of(&(body_bytes_max, &self.spec.gateway.access_log));
        let identity = Identity::of_all(steps.iter().map(|(identity, _)| *identity).chain([limit]));
        Around { steps, body_bytes_max, identity }
    }

    // A route is what it was if its definition, the steps around and in it and its upstreams are.
    fn identify(&self, route: &Part<Route>, around: &Around) -> (Identity, Vec<(Identity, Step)>) {
        let steps = self.steps.of(&route.middleware, Origin::Route);
        let own = [route.identity, around.identity].into_iter().chain(steps.iter().map(|(identity, _)| *identity));
        let targets = route.targets.iter().map(|target| self.upstreams[&target.upstream].identity());
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
            let plan_identity = Identity::of_all([identity, Identity::of_bytes(prefix.as_bytes())]);
            let plan = parts.plans.find_or_make(plan_identity, || {
                Arc::new(Plan {
                    identity: plan_identity,
                    id: Arc::clone(&route.id),
                    prefix: prefix.into(),
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

    fn end(&self, route: &Part<Route>) -> Arc<dyn Call> {
        let mut targets = route.targets.iter();
        let upstream = |name: &Name| Arc::clone(&self.upstreams[name]);
        match (targets.next(), targets.next()) {
            (None, _) => Arc::new(Nowhere(Kind::Internal, "no step of this route answered, and it has no upstream")),
            (Some(only), None) if only.weight > 0 => upstream(&only.upstream),
            _ => {
                let targets = route.targets.iter().map(|target| (upstream(&target.upstream), target.weight));
                Arc::new(Weighted::new(&route.id, targets, self.states))
            }
        }
    }

    fn fallback(&self, around: &Around, parts: &mut Parts) -> Arc<Plan> {
        let identity = Identity::of_all([around.identity, Identity::of_bytes(b"no route")]);
        parts.plans.find_or_make(identity, || {
            Arc::new(Plan {
                identity,
                id: "".into(),
                prefix: "".into(),
                chain: Chain::new(around.steps.iter().map(|(_, step)| step.clone())),
                end: Arc::new(Nowhere(Kind::NoRoute, "no route matches host, path, method, headers and query")),
                timeout: None,
                body_bytes_max: around.body_bytes_max,
                series: self.metrics.route(""),
                sink: Arc::clone(&self.sink),
            })
        })
    }
}

// The end of a chain that leads to no upstream.
struct Nowhere(Kind, &'static str);

impl Call for Nowhere {
    fn call(&self, _request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async { Err(Error::new(self.0, self.1)) })
    }
}

// What the checks of a specification let through, the table takes; this is the answer to a defect of ours.
fn too_much(listener: &str, error: &BuildError) -> Diagnostic {
    Diagnostic::error("no-table", format!("the routes of listener `{listener}` cannot be made into a table: {error}"))
}

fn serves(route: &Route, listener: &Name) -> bool {
    route.listeners.is_empty() || route.listeners.contains(listener)
}
