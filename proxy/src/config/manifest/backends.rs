//! What `backendRefs` lead to: a Service with its endpoints among the documents, an upstream of the native form that has
//! its name, or a name for DNS. What leads nowhere fails, as the Gateway API says, and is said.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    certificates::{Certificates, Pair},
    endpoints::{self, Ready},
    findings::Findings,
    grants,
    inventory::{Inventory, Named},
    listeners::Secrets,
    policies::{self, Policies},
    raw::ServicePort,
    sessions::Session,
    settings::Settings,
    write::{self, Map},
};
use crate::config::{
    document::{Kind, Object},
    node::{Node, Pos},
    raw::Field,
};

/// Where a share leads.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    /// This upstream.
    Upstream(String),
    /// Nowhere: with this status, and why.
    Fails(u16, String),
}

/// A reference, whatever it is part of.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) port: Option<u16>,
    /// Whether gRPC is spoken, whatever the route is.
    pub(super) grpc: bool,
    pub(super) pos: Pos,
}

/// The upstreams that were asked for.
pub(super) struct Backends<'a> {
    inventory: &'a Inventory,
    settings: &'a Settings,
    /// The upstreams of the native form.
    native: HashSet<&'a str>,
    policies: Policies<'a>,
    certificates: Certificates<'a>,
    /// What the Gateways of the route that is being read show of themselves, with the name of the first.
    pub(super) shown: Option<(String, Pair)>,
    made: BTreeMap<String, Arc<Object>>,
}

// How the endpoints of a backend are spoken to, and what tells it from others of the same Service and port.
struct Manner {
    protocol: Option<&'static str>,
    tls: Option<Map>,
    affinity: Option<Node>,
    names: Vec<String>,
}

impl<'a> Backends<'a> {
    /// None yet.
    pub(super) fn new(
        inventory: &'a Inventory,
        settings: &'a Settings,
        native: HashSet<&'a str>,
        findings: &mut Findings,
    ) -> Self {
        Self {
            inventory,
            settings,
            native,
            policies: Policies::of(inventory, findings),
            certificates: Certificates::of(inventory),
            shown: None,
            made: BTreeMap::new(),
        }
    }

    /// The upstreams that were made, and what their certificates stand for.
    pub(super) fn finish(self) -> (impl Iterator<Item = Arc<Object>>, Secrets) {
        (self.made.into_values(), self.certificates.secrets)
    }

    /// Where a reference of `route` leads; clients are bound to its endpoints where there is a `session`.
    pub(super) fn resolve<S>(&mut self, route: &Named<S>, to: &Reference, session: Option<&Session>) -> Backend {
        self.find(route, to, session).unwrap_or_else(|(status, why)| Backend::Fails(status, why))
    }

    fn find<S>(
        &mut self,
        route: &Named<S>,
        to: &Reference,
        session: Option<&Session>,
    ) -> Result<Backend, (u16, String)> {
        let wrong = |why: String| (500, why);
        let kind = to.kind.as_deref().unwrap_or("Service");
        if kind != "Service" || to.group.as_deref().is_some_and(|group| !group.is_empty()) {
            return Err(wrong(format!("a {kind} is no backend")));
        }
        let namespace = to.namespace.as_ref().unwrap_or(&route.namespace);
        let title = format!("{namespace}/{}", to.name);
        let from = (route.kind, &*route.namespace);
        if *namespace != route.namespace && !grants::allow(self.inventory, from, ("Service", namespace, &to.name)) {
            return Err(wrong(format!("no ReferenceGrant lets it name the Service `{title}`")));
        }
        let port = to.port.ok_or_else(|| wrong(format!("the reference to `{title}` has no port")))?;
        let (inventory, grpc) = (self.inventory, to.grpc || route.kind == "GRPCRoute");
        let Some(service) = inventory.services.get(&(namespace.clone(), to.name.clone())) else {
            let manner = self.manner(grpc, (namespace, &to.name), None, session).map_err(wrong)?;
            let found = self.elsewhere(namespace, to, port, None, manner);
            return found.ok_or_else(|| wrong(format!("there is no Service `{title}`")));
        };
        let ports = endpoints::ports(service);
        let own = ports.iter().find(|own| own.port.clone().value() == Some(port));
        let own = own.ok_or_else(|| wrong(format!("the Service `{title}` has no port {port}")))?;
        let manner = self.manner(grpc, (namespace, &to.name), Some(own), session).map_err(wrong)?;
        match endpoints::ready(inventory, service, own) {
            Ready::Endpoints(list) => Ok(self.upstream(service, to, port, list, manner)),
            Ready::None => Err((503, format!("no endpoint of the Service `{title}` is ready"))),
            Ready::Unknown => {
                let found = self.elsewhere(namespace, to, port, Some(service), manner);
                found.ok_or_else(|| (503, format!("there are no endpoints of the Service `{title}`")))
            }
        }
    }

    // As its port, policies, and the Gateway and rule that lead to it say.
    fn manner(
        &mut self,
        grpc: bool,
        (namespace, service): (&str, &str),
        port: Option<&ServicePort>,
        session: Option<&Session>,
    ) -> Result<Manner, String> {
        let said = port.and_then(|port| port.app_protocol.clone().value());
        let http2 = match said.as_deref() {
            Some("kubernetes.io/h2c") => true,
            None => grpc,
            Some(_) => false,
        };
        let name = port.and_then(|port| port.name.clone().value()).unwrap_or_default();
        let policy = self.policies.of_port(namespace, service, &name);
        let mut tls = policy.map(|policy| policies::tls(policy, &mut self.certificates)).transpose()?;
        let mut names = Vec::new();
        if http2 {
            names.push(if tls.is_some() { "h2" } else { "h2c" }.to_owned());
        }
        if let (Some(tls), Some((gateway, (certificate, key)))) = (&mut tls, &self.shown) {
            tls.put("certificate", certificate.clone());
            tls.put("key", key.clone());
            names.push(format!("of-{gateway}"));
        }
        names.extend(session.map(|session| session.name.clone()));
        let protocol = match (http2, &tls, said.as_deref()) {
            (true, None, _) => Some("h2c"),
            (true, Some(_), _) => Some("h2"),
            // An upgrade is one of HTTP/1.1.
            (_, Some(_), Some("kubernetes.io/ws" | "kubernetes.io/wss")) => Some("http1"),
            _ => None,
        };
        Ok(Manner { protocol, tls, affinity: session.map(|session| session.node.clone()), names })
    }

    // By the name of an upstream, the most specific first, or by DNS if that is asked for.
    fn elsewhere(
        &mut self,
        namespace: &str,
        to: &Reference,
        port: u16,
        service: Option<&Named<Node>>,
        manner: Manner,
    ) -> Option<Backend> {
        let (name, number) = (&*to.name, port.to_string());
        let names = [write::name(&[name, namespace, &number]), write::name(&[name, namespace]), name.to_owned()];
        if let Some(native) = names.into_iter().find(|name| self.native.contains(&**name)) {
            return Some(Backend::Upstream(native));
        }
        let suffix = self.settings.dns.as_ref()?;
        let address = format!("{name}.{namespace}{suffix}:{port}");
        let mut parts = vec![name, namespace, &*number];
        parts.extend(manner.names.iter().map(|name| &**name));
        if manner.protocol.is_none() {
            parts.push("http");
        }
        let named = write::name(&parts);
        let map = of_endpoints(vec![address], manner, to.pos);
        // It stands where it is asked for.
        let at = (service.map_or_else(|| Arc::from("manifests"), |service| Arc::clone(&service.file)), to.pos);
        self.made.entry(named.clone()).or_insert_with(|| {
            write::object(Kind::Upstream, &named, map.node(), (&at.0, service.map_or(at.1, |service| service.at)))
        });
        Some(Backend::Upstream(named))
    }

    fn upstream(
        &mut self,
        service: &Named<Node>,
        to: &Reference,
        port: u16,
        endpoints: Vec<String>,
        manner: Manner,
    ) -> Backend {
        let number = port.to_string();
        let own = write::name(&[&to.name, &service.namespace, &number]);
        let mut parts = vec![&*to.name, &*service.namespace, &*number];
        parts.extend(manner.names.iter().map(|name| &**name));
        let name = write::name(&parts);
        // One that people wrote is theirs.
        for name in [&name, &own] {
            if self.native.contains(&**name) {
                return Backend::Upstream(name.clone());
            }
        }
        let map = of_endpoints(endpoints, manner, service.at);
        let object = || write::object(Kind::Upstream, &name, map.node(), (&service.file, service.at));
        self.made.entry(name.clone()).or_insert_with(object);
        Backend::Upstream(name)
    }
}

fn of_endpoints(endpoints: Vec<String>, manner: Manner, pos: Pos) -> Map {
    let list = endpoints.iter().map(|address| write::text(address, pos)).collect();
    let mut map = Map::at(pos).with("endpoints", write::list(list, pos));
    map.maybe("protocol", manner.protocol.map(|protocol| write::text(protocol, pos)));
    map.maybe("tls", manner.tls.map(Map::node));
    map.maybe("affinity", manner.affinity);
    map
}

impl Reference {
    /// What a list of backends names.
    pub(super) fn of_backend(raw: &super::raw::BackendRef, pos: Pos) -> Self {
        Self::of([&raw.group, &raw.kind, &raw.name, &raw.namespace], &raw.port, pos)
    }

    /// What a filter names.
    pub(super) fn of_object(raw: &super::raw::ObjectRef, pos: Pos) -> Self {
        Self::of([&raw.group, &raw.kind, &raw.name, &raw.namespace], &raw.port, pos)
    }

    fn of(texts: [&Field<String>; 4], port: &Field<u16>, pos: Pos) -> Self {
        let [group, kind, name, namespace] = texts.map(|field| field.clone().value());
        Self { group, kind, name: name.unwrap_or_default(), namespace, port: port.clone().value(), grpc: false, pos }
    }
}
