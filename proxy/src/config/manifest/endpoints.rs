//! The endpoints of a Service: of its EndpointSlices, or of its Endpoints, or of the name that it stands for.

use super::{
    inventory::{Inventory, Named, text},
    raw::{ServicePort, SliceEndpoint, Subset},
};
use crate::config::{
    decode::decode,
    node::{Node, Value},
    raw::Field,
};

/// What is known of a Service's endpoints.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// These take requests; at least one.
    Endpoints(Vec<String>),
    /// None does.
    None,
    /// No document says anything of them.
    Unknown,
}

/// The ports of a Service.
pub(super) fn ports(service: &Named<Node>) -> Vec<ServicePort> {
    let list = service.spec.find("spec").and_then(|spec| spec.find("ports"));
    items(list).iter().filter_map(|node| decode(node).0).collect()
}

/// The endpoints behind one port of a Service.
pub(super) fn ready(inventory: &Inventory, service: &Named<Node>, port: &ServicePort) -> Ready {
    if let Some(name) = service.spec.find("spec").and_then(|spec| spec.find("externalName")).and_then(text) {
        let port = port.port.clone().value().unwrap_or_default();
        return Ready::Endpoints(vec![format!("{name}:{port}")]);
    }
    let name = port.name.clone().value().unwrap_or_default();
    let slices = inventory
        .slices
        .iter()
        .filter(|slice| slice.namespace == service.namespace && slice.labels.get(SERVICE) == Some(&service.name));
    let slices: Vec<_> = slices.collect();
    let id = (service.namespace.clone(), service.name.clone());
    let mut found: Vec<String> = match (slices.is_empty(), inventory.endpoints.get(&id)) {
        (false, _) => slices.iter().flat_map(|slice| of_slice(&slice.spec, &name)).collect(),
        (true, Some(endpoints)) => of_subsets(&endpoints.spec, &name),
        (true, None) => return Ready::Unknown,
    };
    found.sort();
    found.dedup();
    if found.is_empty() { Ready::None } else { Ready::Endpoints(found) }
}

const SERVICE: &str = "kubernetes.io/service-name";

fn of_slice(slice: &Node, port: &str) -> Vec<String> {
    let numbers = numbers(items(slice.find("ports")).iter().filter_map(|node| decode(node).0), port);
    let endpoints = items(slice.find("endpoints")).iter().filter_map(|node| decode::<SliceEndpoint>(node).0);
    let ready = endpoints.filter(|it| it.conditions.clone().value().and_then(|it| it.ready.value()) != Some(false));
    let addresses = ready.flat_map(|it| it.addresses.value().unwrap_or_default()).filter_map(Field::value);
    addresses.flat_map(|address| numbers.iter().map(move |number| joined(&address, *number))).collect()
}

fn of_subsets(endpoints: &Node, port: &str) -> Vec<String> {
    let mut found = Vec::new();
    for subset in items(endpoints.find("subsets")).iter().filter_map(|node| decode::<Subset>(node).0) {
        let ports = subset.ports.value().unwrap_or_default().into_iter().filter_map(Field::value);
        let numbers = numbers(ports, port);
        let addresses = subset.addresses.value().unwrap_or_default().into_iter().filter_map(Field::value);
        let addresses = addresses.filter_map(|address| address.ip.value());
        found.extend(
            addresses.flat_map(|ip| numbers.iter().map(move |number| joined(&ip, *number)).collect::<Vec<_>>()),
        );
    }
    found
}

fn numbers(ports: impl Iterator<Item = ServicePort>, name: &str) -> Vec<u16> {
    let named = ports.filter(|port| port.name.clone().value().unwrap_or_default() == name);
    named.filter_map(|port| port.port.value()).collect()
}

fn joined(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
