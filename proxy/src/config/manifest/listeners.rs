//! Gateways, with their ListenerSets, as listeners of the native form: one for each address and port, with a section for
//! each listener. Knows nothing of routes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    certificates::{Certificates, Pair},
    clients::{Asked, Clients},
    findings::Findings,
    inventory::{Inventory, Named},
    raw,
    sets::sets_of,
    settings::Settings,
    write::{self, Map},
};
use crate::config::{
    document::{Kind, Object},
    node::{Node, Pos},
    spec::HostPattern,
};

/// What references to secrets stand for.
pub(super) type Secrets = BTreeMap<Arc<str>, Arc<str>>;
/// Kind, namespace and name of what routes name as their parent.
pub(super) type Parent = (&'static str, String, String);

/// A listener of a Gateway or ListenerSet that serves, as routes look for it.
#[derive(Debug)]
pub(super) struct Served {
    /// Whose it is.
    pub(super) parent: Parent,
    /// Namespace and name of the Gateway that it ends on.
    pub(super) gateway: (String, String),
    /// Its own name.
    pub(super) name: String,
    /// The port that it says.
    pub(super) port: u16,
    pub(super) host: Option<HostPattern>,
    /// The section of the native form that it is.
    pub(super) section: String,
    pub(super) allowed: raw::AllowedRoutes,
}

// A listener of the native form.
struct Address {
    name: String,
    socket: SocketAddr,
    port: u16,
    https: bool,
    asked: Option<Asked>,
    file: Arc<str>,
    at: Pos,
    sections: Vec<(Option<HostPattern>, String, Pos)>,
    certificates: Vec<Pair>,
}

/// All listeners of all Gateways that are served.
pub(super) struct Listeners<'a> {
    pub(super) served: Vec<Served>,
    /// What serves, with or without a listener that does.
    pub(super) parents: HashSet<Parent>,
    /// What Gateways show of themselves to backends, by namespace and name.
    pub(super) shown: HashMap<(String, String), Pair>,
    inventory: &'a Inventory,
    addresses: BTreeMap<(IpAddr, u16), Address>,
    certificates: Certificates<'a>,
}

// What holds for all listeners of a Gateway.
struct Of<'g> {
    gateway: &'g Named<raw::Gateway>,
    settings: Settings,
    clients: Clients,
    usual: IpAddr,
}

impl<'a> Listeners<'a> {
    /// Those of `inventory`.
    pub(super) fn of(inventory: &'a Inventory, settings: &Settings, findings: &mut Findings) -> Self {
        let mut listeners = Self {
            served: Vec::new(),
            parents: HashSet::new(),
            shown: HashMap::new(),
            inventory,
            addresses: BTreeMap::new(),
            certificates: Certificates::of(inventory),
        };
        for gateway in &inventory.gateways {
            let class = gateway.spec.gateway_class_name.clone().value().unwrap_or_default();
            if settings.classes.is_empty() || settings.classes.contains(&class) {
                listeners.gateway(gateway, settings.of_gateway(gateway, findings), settings.address, findings);
            }
        }
        listeners
    }

    /// The objects of the native form, and what their certificates' keys stand for.
    pub(super) fn finish(self) -> (Vec<Arc<Object>>, Secrets) {
        (self.addresses.into_values().map(Address::object).collect(), self.certificates.secrets)
    }

    fn gateway(&mut self, gateway: &Named<raw::Gateway>, settings: Settings, usual: IpAddr, findings: &mut Findings) {
        let id = (gateway.namespace.clone(), gateway.name.clone());
        if let Some(pair) = self.certificates.shown_by(gateway, findings) {
            self.shown.insert(id, pair);
        }
        let clients = Clients::of(gateway, &mut self.certificates);
        let of = Of { gateway, settings, clients, usual };
        let mut seen: HashMap<(u16, Option<HostPattern>), Pos> = HashMap::new();
        self.listeners_of(&of, gateway, &gateway.spec.listeners, &mut seen, findings);
        for set in sets_of(gateway, self.inventory, findings) {
            self.listeners_of(&of, set, &set.spec.listeners, &mut seen, findings);
        }
    }

    fn listeners_of<S>(
        &mut self,
        of: &Of<'_>,
        owner: &Named<S>,
        listeners: &raw::List<raw::Listener>,
        seen: &mut HashMap<(u16, Option<HostPattern>), Pos>,
        findings: &mut Findings,
    ) {
        self.parents.insert((owner.kind, owner.namespace.clone(), owner.name.clone()));
        let list = listeners.clone().value().unwrap_or_default().into_iter();
        for (listener, pos) in list.filter_map(|listener| listener.spot()) {
            let Some(port) = listener.port.clone().value().filter(|port| *port > 0) else {
                let hint = "give it one, such as `port: 80`";
                let message = format!("this listener of a {} has no `port`", owner.kind);
                findings.error(&owner.file, "missing-field", pos, message, hint);
                continue;
            };
            let host = listener.hostname.clone().value().and_then(|text| pattern(&text));
            if seen.insert((port, host.clone()), pos).is_some() {
                let message = "a listener before this one has the same port and hostname, and is served in its place";
                findings.about(owner, "conflicted", pos, message, "give one of them another hostname or port");
                continue;
            }
            self.listener(of, owner, (listener, pos), (port, host), findings);
        }
    }

    fn listener<S>(
        &mut self,
        of: &Of<'_>,
        owner: &Named<S>,
        (listener, pos): (raw::Listener, Pos),
        (port, host): (u16, Option<HostPattern>),
        findings: &mut Findings,
    ) {
        let name = listener.name.clone().value().unwrap_or_default();
        let protocol = listener.protocol.clone().value().unwrap_or_default();
        let https = match &*protocol {
            "HTTP" => false,
            "HTTPS" => true,
            other => {
                let message = format!("the listener `{name}` is not served: its protocol is `{other}`");
                findings.about(owner, "unsupported", pos, &message, "`HTTP` and `HTTPS` are served");
                return;
            }
        };
        let mut certificates = Vec::new();
        let mut asked = None;
        if https {
            certificates = self.certificates.of_listener(owner, &listener, pos, findings);
            if certificates.is_empty() {
                return;
            }
            match of.clients.of_port(port, &listener, of.gateway, &mut self.certificates) {
                Ok(found) => asked = found,
                Err(why) => {
                    let message = format!("the listener `{name}` is not served: {why}");
                    let hint = "name ConfigMaps that hold the authority's certificate as `ca.crt`";
                    findings.about(owner, "unresolved", pos, &message, hint);
                    return;
                }
            }
        }
        let address = self.address(of, port, https, asked.clone());
        if address.https != https || address.asked.as_ref().map(Asked::key) != asked.as_ref().map(Asked::key) {
            let what =
                if address.https == https { "asks clients for other certificates" } else { "speaks another protocol" };
            let message = format!("the listener `{name}` is not served: port {port} {what} already");
            findings.about(
                owner,
                "conflicted",
                pos,
                &message,
                "give one of them another port, or their Gateways two addresses",
            );
            return;
        }
        let known = address.sections.iter().find(|(own, ..)| *own == host).map(|(_, section, _)| section.clone());
        let section = known.unwrap_or_else(|| {
            let kind = if owner.kind == "Gateway" { "" } else { "set." };
            let section = write::name(&[&format!("{kind}{}", owner.namespace), &owner.name, &name]);
            address.sections.push((host.clone(), section.clone(), pos));
            section
        });
        let new = certificates
            .into_iter()
            .filter(|(own, _)| address.certificates.iter().all(|(it, _)| it.value != own.value));
        let new: Vec<_> = new.collect();
        address.certificates.extend(new);
        let section = format!("{}/{section}", address.name);
        self.served.push(Served {
            parent: (owner.kind, owner.namespace.clone(), owner.name.clone()),
            gateway: (of.gateway.namespace.clone(), of.gateway.name.clone()),
            name,
            port,
            host,
            section,
            allowed: listener.allowed_routes.value().unwrap_or_default(),
        });
    }

    // The listener of the native form for a port.
    fn address(&mut self, of: &Of<'_>, port: u16, https: bool, asked: Option<Asked>) -> &mut Address {
        let settings = &of.settings;
        let usual = settings.address == of.usual;
        self.addresses.entry((settings.address, port)).or_insert_with(|| Address {
            name: if usual { format!("gateway-{port}") } else { of_address(settings.address, port) },
            socket: settings.socket(port),
            port,
            https,
            asked,
            file: Arc::clone(&of.gateway.file),
            at: of.gateway.at,
            sections: Vec::new(),
            certificates: Vec::new(),
        })
    }
}

impl Address {
    fn object(self) -> Arc<Object> {
        let at = self.at;
        let mut map = Map::at(at).with("address", write::text(&self.socket.to_string(), at));
        if self.socket.port() != self.port {
            map.put("public-port", write::number(self.port.into(), at));
        }
        if self.https {
            let one = |(certificate, key): (Node, Node)| {
                Map::at(certificate.pos).with("certificate", certificate).with("key", key).node()
            };
            let list = write::list(self.certificates.into_iter().map(one).collect(), at);
            let mut tls = Map::at(at).with("certificates", list);
            tls.maybe("client-certificates", self.asked.map(Asked::node));
            map.put("tls", tls.node());
        }
        let mut sections = Map::at(at);
        for (host, name, pos) in self.sections {
            let host = host.map(|host| write::text(&host.to_string(), pos));
            let mut section = Map::at(pos);
            section.maybe("host", host);
            sections.put(&name, section.node());
        }
        map.put("sections", sections.node());
        write::object(Kind::Listener, &self.name, map.node(), (&self.file, at))
    }
}

fn of_address(address: IpAddr, port: u16) -> String {
    format!("gateway-{}-{port}", address.to_string().replace(':', "-"))
}

/// A `Hostname`; none for the empty one, which is any.
pub(super) fn pattern(text: &str) -> Option<HostPattern> {
    let host = text.to_ascii_lowercase();
    match host.strip_prefix("*.") {
        _ if host.is_empty() => None,
        Some(suffix) => Some(HostPattern::Wildcard(suffix.into())),
        None => Some(HostPattern::Exact(host)),
    }
}
