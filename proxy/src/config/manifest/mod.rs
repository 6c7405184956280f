//! Manifests of the Kubernetes Gateway API among the documents: `Gateway`, `HTTPRoute`, `GRPCRoute`, and what they refer
//! to, written as objects of the native form, which are then merged and checked like any other. Whatever a manifest says
//! keeps its place, so that what is found wrong with it later is shown there. Knows nothing of what the native form
//! comes to.

mod attach;
mod auth;
mod backends;
mod certificates;
mod clients;
mod conflicts;
mod endpoints;
mod filters;
mod findings;
mod grants;
mod grpc;
mod http;
mod inventory;
mod listeners;
mod policies;
mod raw;
mod sessions;
mod sets;
mod settings;
mod write;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

pub(crate) use inventory::Manifest;

use super::{
    diagnostic::Diagnostic,
    document::{Document, Kind, Object},
    node::{Node, Pos},
    raw::Field,
    spec::HostPattern,
};
use attach::{Attached, attach, hostnames};
use backends::Backends;
use certificates::Pair;
use conflicts::Claim;
use findings::Findings;
use inventory::{Inventory, Named};
use listeners::Listeners;
use settings::Settings;
use write::Map;

/// What manifests come to.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    /// Objects of the native form.
    pub(crate) objects: Vec<Arc<Object>>,
    /// What was found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What `${secret:NAMESPACE/NAME/KEY}` stands for.
    pub(crate) secrets: BTreeMap<Arc<str>, Arc<str>>,
}

/// Translates the manifests of all layers' documents; `None` where there are none.
pub(crate) fn translate(layers: &[Vec<(Arc<str>, Arc<Document>)>]) -> Option<Translated> {
    let documents = || layers.iter().enumerate().flat_map(|(at, layer)| layer.iter().map(move |(_, it)| (at, &**it)));
    let manifests = || documents().flat_map(|(layer, it)| it.manifests.iter().map(move |one| (layer, one)));
    manifests().next()?;
    let mut findings = Findings::default();
    let inventory = Inventory::read(manifests(), &mut findings);
    let objects = || documents().flat_map(|(_, it)| it.objects.iter());
    let setting = objects().rfind(|object| object.kind == Kind::Setting && &*object.name == "manifests");
    let settings = Settings::of(setting.and_then(|object| object.node.find("manifests")));
    let native = objects().filter(|object| object.kind == Kind::Upstream).map(|object| &*object.name).collect();
    Some(all(&inventory, &settings, native, findings))
}

fn all(inventory: &Inventory, settings: &Settings, native: HashSet<&str>, mut findings: Findings) -> Translated {
    let listeners = Listeners::of(inventory, settings, &mut findings);
    let mut backends = Backends::new(inventory, settings, native, &mut findings);
    let mut http: Vec<_> = inventory
        .http_routes
        .iter()
        .map(|route| {
            findings.unsupported(route, "useDefaultGateways", route.spec.use_default_gateways.pos());
            let parents = (&route.spec.parent_refs, &route.spec.hostnames);
            (route, Place::of(route, parents, (inventory, &listeners), &mut findings))
        })
        .collect();
    let mut grpc: Vec<_> = inventory
        .grpc_routes
        .iter()
        .map(|route| {
            findings.unsupported(route, "useDefaultGateways", route.spec.use_default_gateways.pos());
            let parents = (&route.spec.parent_refs, &route.spec.hostnames);
            (route, Place::of(route, parents, (inventory, &listeners), &mut findings))
        })
        .collect();
    let claims = http.iter_mut().map(|(route, place)| place.claim(route));
    conflicts::settle(claims.chain(grpc.iter_mut().map(|(route, place)| place.claim(route))).collect(), &mut findings);
    let mut routes: Vec<Ranked<'_>> = Vec::new();
    for (route, place) in &http {
        let rules = route.spec.rules.clone().value().unwrap_or_default();
        let rules = if rules.is_empty() { vec![Field::Given(raw::HttpRule::default(), route.at)] } else { rules };
        for (part, base) in place.bases(&listeners) {
            backends.shown.clone_from(&base.shown);
            for (number, rule) in (1..).zip(rules.iter().cloned().map(Field::spot)) {
                let map = rule.and_then(|rule| http::rule(route, rule, &mut backends, &mut findings));
                routes.extend(map.map(|map| ranked(route, (number, part), base.onto(map))));
            }
        }
    }
    for (route, place) in &grpc {
        let rules = route.spec.rules.clone().value().unwrap_or_default();
        for (part, base) in place.bases(&listeners) {
            backends.shown.clone_from(&base.shown);
            for (number, rule) in (1..).zip(rules.iter().cloned().map(Field::spot)) {
                let map = rule.and_then(|rule| grpc::rule(route, rule, &mut backends, &mut findings));
                routes.extend(map.map(|map| ranked(route, (number, part), base.onto(map))));
            }
        }
    }
    routes.sort_by(Ranked::order);
    let (mut objects, mut secrets) = listeners.finish();
    let (upstreams, of_upstreams) = backends.finish();
    objects.extend(upstreams);
    secrets.extend(of_upstreams);
    objects.extend(routes.into_iter().map(|route| route.object));
    Translated { objects, diagnostics: findings.0, secrets }
}

// Where a route is served, and for which hosts.
struct Place {
    hosts: Vec<(HostPattern, Pos)>,
    patterns: Vec<HostPattern>,
    sections: Vec<Attached>,
}

// The same for those of its Gateways that show the same of themselves to backends.
struct Base {
    listeners: Node,
    hosts: Option<Node>,
    shown: Option<(String, Pair)>,
}

impl Place {
    fn of<S>(
        route: &Named<S>,
        (parents, hosts): (&raw::List<raw::ParentRef>, &raw::List<String>),
        (inventory, listeners): (&Inventory, &Listeners<'_>),
        findings: &mut Findings,
    ) -> Self {
        let hosts = hostnames(hosts);
        let patterns: Vec<HostPattern> = hosts.iter().map(|(host, _)| host.clone()).collect();
        let sections = attach(route, (parents, &patterns), (inventory, listeners), findings);
        Self { hosts, patterns, sections }
    }

    fn claim<S>(&mut self, route: &Named<S>) -> Claim<'_> {
        Claim { route: route.names(), hosts: &self.patterns, sections: &mut self.sections }
    }

    // One, unless its Gateways differ; each with its number.
    fn bases(&self, listeners: &Listeners<'_>) -> Vec<(usize, Base)> {
        let mut parts: Vec<(Option<&Pair>, Vec<&Attached>)> = Vec::new();
        for section in &self.sections {
            let shown = listeners.shown.get(&section.gateway);
            match parts.iter_mut().find(|(own, _)| *own == shown) {
                Some((_, sections)) => sections.push(section),
                None => parts.push((shown, vec![section])),
            }
        }
        let one = |(shown, sections): (Option<&Pair>, Vec<&Attached>)| {
            let at = sections[0].pos;
            let names = sections.iter().map(|own| write::text(&own.section, own.pos)).collect();
            let hosts = self.hosts.iter().map(|(host, pos)| write::text(&host.to_string(), *pos)).collect();
            let hosts = (!self.hosts.is_empty()).then(|| write::list(hosts, at));
            let gateway = &sections[0].gateway;
            let shown = shown.map(|pair| (format!("{}.{}", gateway.0, gateway.1), pair.clone()));
            Base { listeners: write::list(names, at), hosts, shown }
        };
        parts.into_iter().map(one).enumerate().collect()
    }
}

impl Base {
    fn onto(&self, map: Map) -> Map {
        let mut map = map.with("listeners", self.listeners.clone());
        map.maybe("hosts", self.hosts.clone());
        map
    }
}

// A route of the native form with what decides its place among others.
struct Ranked<'a> {
    created: Option<&'a str>,
    id: (&'a str, &'a str),
    number: usize,
    object: Arc<Object>,
}

impl Ranked<'_> {
    // The oldest first, then by name, then as written.
    fn order(&self, other: &Self) -> Ordering {
        let age = match (self.created, other.created) {
            (Some(one), Some(other)) => one.cmp(other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        age.then_with(|| self.id.cmp(&other.id)).then_with(|| self.number.cmp(&other.number))
    }
}

fn ranked<S>(route: &Named<S>, (number, part): (usize, usize), map: Map) -> Ranked<'_> {
    let kind = if route.kind == "GRPCRoute" { "grpc" } else { "http" };
    let last = if part == 0 { number.to_string() } else { format!("{number}-{part}") };
    let name = write::name(&[kind, &route.namespace, &route.name, &last]);
    let object = write::object(Kind::Route, &name, map.node(), (&route.file, route.at));
    Ranked { created: route.created.as_deref(), id: (&route.namespace, &route.name), number, object }
}
