//! Manifests of the Kubernetes Gateway API among the documents: `Gateway`, `HTTPRoute`, `GRPCRoute`, and what they refer
//! to, written as objects of the native form, which are then merged and checked like any other. Whatever a manifest says
//! keeps its place, so that what is found wrong with it later is shown there. Knows nothing of what the native form
//! comes to.

mod attach;
mod backends;
mod certificates;
mod endpoints;
mod filters;
mod findings;
mod grants;
mod grpc;
mod http;
mod inventory;
mod listeners;
mod raw;
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
use attach::{attach, hostnames};
use backends::Backends;
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
    let mut backends = Backends::new(inventory, settings, native);
    let mut routes: Vec<Ranked<'_>> = Vec::new();
    for route in &inventory.http_routes {
        findings.unsupported(route, "useDefaultGateways", route.spec.use_default_gateways.pos());
        let parents = (&route.spec.parent_refs, &route.spec.hostnames);
        let Some(base) = base(route, parents, (inventory, &listeners), &mut findings) else { continue };
        let rules = route.spec.rules.clone().value().unwrap_or_default();
        let rules = if rules.is_empty() { vec![Field::Given(raw::HttpRule::default(), route.at)] } else { rules };
        for (number, rule) in (1..).zip(rules.into_iter().map(Field::spot)) {
            let map = rule.and_then(|rule| http::rule(route, rule, &mut backends, &mut findings));
            routes.extend(map.map(|map| ranked(route, number, base.onto(map))));
        }
    }
    for route in &inventory.grpc_routes {
        findings.unsupported(route, "useDefaultGateways", route.spec.use_default_gateways.pos());
        let parents = (&route.spec.parent_refs, &route.spec.hostnames);
        let Some(base) = base(route, parents, (inventory, &listeners), &mut findings) else { continue };
        let rules = route.spec.rules.clone().value().unwrap_or_default();
        for (number, rule) in (1..).zip(rules.into_iter().map(Field::spot)) {
            let map = rule.and_then(|rule| grpc::rule(route, rule, &mut backends, &mut findings));
            routes.extend(map.map(|map| ranked(route, number, base.onto(map))));
        }
    }
    routes.sort_by(Ranked::order);
    let (mut objects, secrets) = listeners.finish();
    objects.extend(backends.finish());
    objects.extend(routes.into_iter().map(|route| route.object));
    Translated { objects, diagnostics: findings.0, secrets }
}

// What all rules of a route have: where it is served, and for which hosts.
struct Base {
    listeners: Node,
    hosts: Option<Node>,
}

fn base<S>(
    route: &Named<S>,
    (parents, hosts): (&raw::List<raw::ParentRef>, &raw::List<String>),
    (inventory, listeners): (&Inventory, &Listeners<'_>),
    findings: &mut Findings,
) -> Option<Base> {
    let named = hostnames(hosts);
    let patterns: Vec<HostPattern> = named.iter().map(|(host, _)| host.clone()).collect();
    let sections = attach(route, (parents, &patterns), (inventory, listeners), findings);
    let at = sections.first().map(|(_, pos)| *pos)?;
    let texts = |list: Vec<(String, Pos)>| list.into_iter().map(|(text, pos)| write::text(&text, pos)).collect();
    let hosts = named.into_iter().map(|(host, pos)| (host.to_string(), pos)).collect();
    let hosts = write::list(texts(hosts), at);
    let listeners = write::list(texts(sections), at);
    Some(Base { listeners, hosts: (!patterns.is_empty()).then_some(hosts) })
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

fn ranked<S>(route: &Named<S>, number: usize, map: Map) -> Ranked<'_> {
    let kind = if route.kind == "GRPCRoute" { "grpc" } else { "http" };
    let name = write::name(&[kind, &route.namespace, &route.name, &number.to_string()]);
    let object = write::object(Kind::Route, &name, map.node(), (&route.file, route.at));
    Ranked { created: route.created.as_deref(), id: (&route.namespace, &route.name), number, object }
}
