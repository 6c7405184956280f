//! What `backendRefs` lead to: a Service with its endpoints among the documents, an upstream of the native form that has
//! its name, or a name for DNS. What leads nowhere fails, as the Gateway API says, and is said.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    endpoints::{self, Ready},
    grants,
    inventory::{Inventory, Named},
    settings::Settings,
    write::{self, Map},
};
use crate::config::{
    document::{Kind, Object},
    node::Pos,
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
    pub(super) pos: Pos,
}

/// The upstreams that were asked for.
pub(super) struct Backends<'a> {
    inventory: &'a Inventory,
    settings: &'a Settings,
    /// The upstreams of the native form.
    native: HashSet<&'a str>,
    made: BTreeMap<String, Arc<Object>>,
}

impl<'a> Backends<'a> {
    /// None yet.
    pub(super) const fn new(inventory: &'a Inventory, settings: &'a Settings, native: HashSet<&'a str>) -> Self {
        Self { inventory, settings, native, made: BTreeMap::new() }
    }

    /// The upstreams that were made.
    pub(super) fn finish(self) -> impl Iterator<Item = Arc<Object>> {
        self.made.into_values()
    }

    /// Where a reference of `route` leads.
    pub(super) fn resolve<S>(&mut self, route: &Named<S>, to: &Reference) -> Backend {
        self.find(route, to).unwrap_or_else(|(status, why)| Backend::Fails(status, why))
    }

    fn find<S>(&mut self, route: &Named<S>, to: &Reference) -> Result<Backend, (u16, String)> {
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
        let Some(service) = self.inventory.services.get(&(namespace.clone(), to.name.clone())) else {
            let found = self.elsewhere(namespace, to, port, None, route.kind);
            return found.ok_or_else(|| wrong(format!("there is no Service `{title}`")));
        };
        let ports = endpoints::ports(service);
        let own = ports.iter().find(|own| own.port.clone().value() == Some(port));
        let own = own.ok_or_else(|| wrong(format!("the Service `{title}` has no port {port}")))?;
        let protocol = own.app_protocol.clone().value();
        let http2 = match protocol.as_deref() {
            Some("kubernetes.io/h2c") => true,
            None => route.kind == "GRPCRoute",
            Some(_) => false,
        };
        match endpoints::ready(self.inventory, service, own) {
            Ready::Endpoints(list) => Ok(self.upstream(service, to, port, http2, list)),
            Ready::None => Err((503, format!("no endpoint of the Service `{title}` is ready"))),
            Ready::Unknown => {
                let found = self.elsewhere(namespace, to, port, Some(service), route.kind);
                found.ok_or_else(|| (503, format!("there are no endpoints of the Service `{title}`")))
            }
        }
    }

    // By the name of an upstream, the most specific first, or by DNS if that is asked for.
    fn elsewhere(
        &mut self,
        namespace: &str,
        to: &Reference,
        port: u16,
        service: Option<&Named<crate::config::node::Node>>,
        kind: &str,
    ) -> Option<Backend> {
        let (name, number) = (&*to.name, port.to_string());
        let names = [write::name(&[name, namespace, &number]), write::name(&[name, namespace]), name.to_owned()];
        if let Some(native) = names.into_iter().find(|name| self.native.contains(&**name)) {
            return Some(Backend::Upstream(native));
        }
        let suffix = self.settings.dns.as_ref()?;
        let address = format!("{name}.{namespace}{suffix}:{port}");
        let protocol = service.and_then(|service| {
            let ports = endpoints::ports(service);
            let own = ports.into_iter().find(|own| own.port.clone().value() == Some(port))?;
            own.app_protocol.value()
        });
        let http2 = protocol.map_or(kind == "GRPCRoute", |protocol| protocol == "kubernetes.io/h2c");
        let named = write::name(&[name, namespace, &number, if http2 { "h2c" } else { "http" }]);
        let map = of_endpoints(vec![address], http2, to.pos);
        // It stands where it is asked for.
        let at = (service.map_or_else(|| Arc::from("manifests"), |service| Arc::clone(&service.file)), to.pos);
        self.made.entry(named.clone()).or_insert_with(|| {
            write::object(Kind::Upstream, &named, map.node(), (&at.0, service.map_or(at.1, |service| service.at)))
        });
        Some(Backend::Upstream(named))
    }

    fn upstream(
        &mut self,
        service: &Named<crate::config::node::Node>,
        to: &Reference,
        port: u16,
        http2: bool,
        endpoints: Vec<String>,
    ) -> Backend {
        let number = port.to_string();
        let mut parts = vec![&*to.name, &*service.namespace, &*number];
        if http2 {
            parts.push("h2c");
        }
        let name = write::name(&parts);
        // One that people wrote is theirs.
        if !self.native.contains(&*name) {
            let map = of_endpoints(endpoints, http2, service.at);
            let object = || write::object(Kind::Upstream, &name, map.node(), (&service.file, service.at));
            self.made.entry(name.clone()).or_insert_with(object);
        }
        Backend::Upstream(name)
    }
}

fn of_endpoints(endpoints: Vec<String>, http2: bool, pos: Pos) -> Map {
    let list = endpoints.iter().map(|address| write::text(address, pos)).collect();
    let mut map = Map::at(pos).with("endpoints", write::list(list, pos));
    if http2 {
        map.put("protocol", write::text("h2c", pos));
    }
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
        Self { group, kind, name: name.unwrap_or_default(), namespace, port: port.clone().value(), pos }
    }
}
