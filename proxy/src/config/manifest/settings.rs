//! How manifests are taken: the setting `gateway.manifests`, and what annotations of a Gateway say instead. What is wrong
//! with the setting is reported where settings are checked.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::{findings::Findings, inventory::Named};
use crate::config::{decode::decode, node::Node, raw};

/// The settings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) address: IpAddr,
    ports: BTreeMap<u16, Mapped>,
    /// All, where empty.
    pub(super) classes: Vec<String>,
    /// What follows `NAME.NAMESPACE`, where Services are looked up by DNS.
    pub(super) dns: Option<String>,
}

// What a port is mapped to.
#[derive(Clone, Copy, Debug)]
enum Mapped {
    Port(u16),
    Socket(SocketAddr),
}

/// Annotations of Gateways.
pub(super) const ADDRESS: &str = "tidegate/address";
const PORTS: &str = "tidegate/ports";
/// The paths of a certificate and its key, of every HTTPS listener of the Gateway.
pub(super) const CERTIFICATE: &str = "tidegate/certificate";
pub(super) const KEY: &str = "tidegate/key";

impl Settings {
    /// Those that `gateway.manifests` says.
    pub(super) fn of(node: Option<&Node>) -> Self {
        let raw = node.and_then(|node| decode::<raw::Manifests>(node).0).unwrap_or_default();
        let address = raw.address.value().and_then(|text| text.parse().ok());
        let ports = raw.ports.value().unwrap_or_default().0.into_iter();
        let domain = raw.cluster_domain.value().map_or_else(String::new, |domain| format!(".{domain}"));
        let dns = raw.services.value() == Some(raw::Services::Dns);
        Self {
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ports: ports.filter_map(|(from, _, to)| Some((from.parse().ok()?, mapped(&to.value()?.0)?))).collect(),
            classes: raw.gateway_class.many().into_iter().map(|(class, _)| class).collect(),
            dns: dns.then(|| format!(".svc{domain}")),
        }
    }

    /// The same for one Gateway, by its annotations and its first address.
    pub(super) fn of_gateway(&self, gateway: &Named<super::raw::Gateway>, findings: &mut Findings) -> Self {
        let mut own = self.clone();
        let annotation = |name| gateway.annotations.get(name);
        let addresses = gateway.spec.addresses.clone().value().unwrap_or_default().into_iter();
        let said = addresses.filter_map(|address| address.value()?.value.spot()).next();
        if let Some((text, pos)) = annotation(ADDRESS).cloned().or(said) {
            match text.parse() {
                Ok(address) => own.address = address,
                Err(_) => {
                    let message = format!("`{text}` is no IP address, and {} is listened on", own.address);
                    findings.about(gateway, "bad-address", pos, &message, "write an IP address of this machine");
                }
            }
        }
        if let Some((text, pos)) = annotation(PORTS) {
            for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
                let ports = pair.split_once('=').map(|(from, to)| (from.trim().parse(), mapped(to.trim())));
                if let Some((Ok(from), Some(to))) = ports {
                    own.ports.insert(from, to);
                } else {
                    let message = format!("`{pair}` maps no port");
                    findings.about(gateway, "bad-port", *pos, &message, "write it as `80=8080,443=8443`");
                }
            }
        }
        own
    }

    /// What is listened on for a port that a Gateway says.
    pub(super) fn socket(&self, port: u16) -> SocketAddr {
        match self.ports.get(&port) {
            None => SocketAddr::new(self.address, port),
            Some(Mapped::Port(port)) => SocketAddr::new(self.address, *port),
            Some(Mapped::Socket(socket)) => *socket,
        }
    }
}

fn mapped(text: &str) -> Option<Mapped> {
    text.parse().map(Mapped::Port).or_else(|_| text.parse().map(Mapped::Socket)).ok()
}
