//! Gateways as listeners of the native form: one for each address and port, with a section for each listener of a Gateway.
//! Knows nothing of routes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    certificates::Certificates,
    findings::Findings,
    inventory::{Inventory, Named},
    raw,
    settings::Settings,
    write::{self, Map},
};
use crate::config::{
    document::{Kind, Object},
    node::{Node, Pos},
    spec::HostPattern,
};

/// What references to secrets stand for.
type Secrets = BTreeMap<Arc<str>, Arc<str>>;

/// A listener of a Gateway that serves, as routes look for it.
#[derive(Debug)]
pub(super) struct Served {
    /// Namespace and name of its Gateway.
    pub(super) gateway: (String, String),
    /// Its own name.
    pub(super) name: String,
    /// The port that the Gateway says.
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
    file: Arc<str>,
    at: Pos,
    sections: Vec<(Option<HostPattern>, String, Pos)>,
    certificates: Vec<(Node, Node)>,
}

/// All listeners of all Gateways that are served.
pub(super) struct Listeners<'a> {
    pub(super) served: Vec<Served>,
    /// The Gateways that are served, by namespace and name.
    pub(super) gateways: HashSet<(String, String)>,
    addresses: BTreeMap<(IpAddr, u16), Address>,
    certificates: Certificates<'a>,
}

impl<'a> Listeners<'a> {
    /// Those of `inventory`.
    pub(super) fn of(inventory: &'a Inventory, settings: &Settings, findings: &mut Findings) -> Self {
        let certificates = Certificates::of(inventory);
        let (served, gateways) = (Vec::new(), HashSet::new());
        let mut listeners = Self { served, gateways, addresses: BTreeMap::new(), certificates };
        for gateway in &inventory.gateways {
            let class = gateway.spec.gateway_class_name.clone().value().unwrap_or_default();
            if settings.classes.is_empty() || settings.classes.contains(&class) {
                listeners.gateway(gateway, &settings.of_gateway(gateway, findings), settings.address, findings);
            }
        }
        listeners
    }

    /// The objects of the native form, and what their certificates' keys stand for.
    pub(super) fn finish(self) -> (Vec<Arc<Object>>, Secrets) {
        (self.addresses.into_values().map(Address::object).collect(), self.certificates.secrets)
    }

    fn gateway(&mut self, gateway: &Named<raw::Gateway>, settings: &Settings, usual: IpAddr, findings: &mut Findings) {
        findings.unsupported(gateway, "spec.tls", gateway.spec.tls.pos());
        findings.unsupported(gateway, "spec.allowedListeners", gateway.spec.allowed_listeners.pos());
        findings.unsupported(gateway, "spec.backendTLS", gateway.spec.backend_tls.pos());
        self.gateways.insert((gateway.namespace.clone(), gateway.name.clone()));
        let mut seen: HashMap<(u16, Option<HostPattern>), Pos> = HashMap::new();
        let list = gateway.spec.listeners.clone().value().unwrap_or_default().into_iter();
        for (listener, pos) in list.filter_map(|listener| listener.spot()) {
            let Some(port) = listener.port.clone().value().filter(|port| *port > 0) else {
                let hint = "give it one, such as `port: 80`";
                findings.error(&gateway.file, "missing-field", pos, "this listener of a Gateway has no `port`", hint);
                continue;
            };
            let host = listener.hostname.clone().value().and_then(|text| pattern(&text));
            if seen.insert((port, host.clone()), pos).is_some() {
                let message = "a listener before this one has the same port and hostname, and is served in its place";
                findings.about(gateway, "conflicted", pos, message, "give one of them another hostname or port");
                continue;
            }
            self.listener(gateway, (listener, pos), (port, host), (settings, usual), findings);
        }
    }

    fn listener(
        &mut self,
        gateway: &Named<raw::Gateway>,
        (listener, pos): (raw::Listener, Pos),
        (port, host): (u16, Option<HostPattern>),
        (settings, usual): (&Settings, IpAddr),
        findings: &mut Findings,
    ) {
        let name = listener.name.clone().value().unwrap_or_default();
        let protocol = listener.protocol.clone().value().unwrap_or_default();
        let https = match &*protocol {
            "HTTP" => false,
            "HTTPS" => true,
            other => {
                let message = format!("the listener `{name}` is not served: its protocol is `{other}`");
                findings.about(gateway, "unsupported", pos, &message, "`HTTP` and `HTTPS` are served");
                return;
            }
        };
        let certificates =
            if https { self.certificates.of_listener(gateway, &listener, pos, findings) } else { vec![] };
        if https && certificates.is_empty() {
            return;
        }
        let key = (settings.address, port);
        let address = self.addresses.entry(key).or_insert_with(|| Address {
            name: if settings.address == usual {
                format!("gateway-{port}")
            } else {
                of_address(settings.address, port)
            },
            socket: settings.socket(port),
            port,
            https,
            file: Arc::clone(&gateway.file),
            at: gateway.at,
            sections: Vec::new(),
            certificates: Vec::new(),
        });
        if address.https != https {
            let message = format!("the listener `{name}` is not served: port {port} speaks another protocol already");
            findings.about(gateway, "conflicted", pos, &message, "give one of them another port");
            return;
        }
        let known = address.sections.iter().find(|(own, ..)| *own == host).map(|(_, section, _)| section.clone());
        let section = known.unwrap_or_else(|| {
            let section = write::name(&[&gateway.namespace, &gateway.name, &name]);
            address.sections.push((host.clone(), section.clone(), pos));
            section
        });
        let new = certificates
            .into_iter()
            .filter(|(own, _)| address.certificates.iter().all(|(it, _)| it.value != own.value));
        let new: Vec<_> = new.collect();
        address.certificates.extend(new);
        self.served.push(Served {
            gateway: (gateway.namespace.clone(), gateway.name.clone()),
            name,
            port,
            host,
            section: format!("{}/{section}", address.name),
            allowed: listener.allowed_routes.value().unwrap_or_default(),
        });
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
            map.put("tls", Map::at(at).with("certificates", list).node());
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
