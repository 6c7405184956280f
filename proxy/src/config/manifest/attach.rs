//! Which listeners a route is attached to: its parents, what they allow, and the hostnames that both have.

use super::{
    findings::Findings,
    inventory::{Inventory, Named},
    listeners::{Listeners, Served, pattern},
    raw,
};
use crate::config::{node::Pos, raw::Field, spec::HostPattern};

/// The sections that serve a route. What keeps it from one is said; a route with none serves nothing.
pub(super) fn attach<S>(
    route: &Named<S>,
    (parents, hostnames): (&raw::List<raw::ParentRef>, &[HostPattern]),
    (inventory, listeners): (&Inventory, &Listeners<'_>),
    findings: &mut Findings,
) -> Vec<(String, Pos)> {
    let mut sections: Vec<(String, Pos)> = Vec::new();
    let mut listed = false;
    for (parent, pos) in parents.clone().value().unwrap_or_default().into_iter().filter_map(Field::spot) {
        listed = true;
        match sections_of(route, &parent, hostnames, (inventory, listeners)) {
            Ok(found) => {
                let new = found.into_iter().filter(|name| sections.iter().all(|(own, _)| own != name));
                let new: Vec<_> = new.map(|name| (name, pos)).collect();
                sections.extend(new);
            }
            Err(why) => {
                let hint = "correct the reference, or what the Gateway's listeners allow";
                findings.about(route, "not-accepted", pos, &format!("not accepted by this parent: {why}"), hint);
            }
        }
    }
    if !listed {
        let hint = "name a Gateway in `spec.parentRefs`";
        findings.about(route, "not-accepted", route.at, "it has no parent, and serves nothing", hint);
    }
    sections
}

fn sections_of<S>(
    route: &Named<S>,
    parent: &raw::ParentRef,
    hostnames: &[HostPattern],
    (inventory, listeners): (&Inventory, &Listeners<'_>),
) -> Result<Vec<String>, String> {
    let group = parent.group.clone().value().unwrap_or_else(|| "gateway.networking.k8s.io".into());
    let kind = parent.kind.clone().value().unwrap_or_else(|| "Gateway".into());
    if group != "gateway.networking.k8s.io" || kind != "Gateway" {
        return Err(format!("a {kind} of `{group}` is no Gateway"));
    }
    let namespace = parent.namespace.clone().value().unwrap_or_else(|| route.namespace.clone());
    let name = parent.name.clone().value().unwrap_or_default();
    let gateway = (namespace, name);
    if !listeners.gateways.contains(&gateway) {
        return Err(format!("there is no Gateway `{}/{}`", gateway.0, gateway.1));
    }
    let (section, port) = (parent.section_name.clone().value(), parent.port.clone().value());
    let of_gateway = listeners.served.iter().filter(|served| served.gateway == gateway);
    let named: Vec<&Served> = of_gateway
        .filter(|served| section.as_ref().is_none_or(|section| served.name == *section))
        .filter(|served| port.is_none_or(|port| served.port == port))
        .collect();
    if named.is_empty() {
        return Err("no listener that is served has this name and port".into());
    }
    let allowing: Vec<_> = named.into_iter().filter(|served| allows(served, route, inventory)).collect();
    if allowing.is_empty() {
        return Err(format!("no listener allows a {} of the namespace `{}`", route.kind, route.namespace));
    }
    let found: Vec<_> = allowing.into_iter().filter(|served| intersects(served.host.as_ref(), hostnames)).collect();
    if found.is_empty() {
        return Err("none of its hostnames is one of a listener".into());
    }
    Ok(found.into_iter().map(|served| served.section.clone()).collect())
}

fn allows<S>(served: &Served, route: &Named<S>, inventory: &Inventory) -> bool {
    let kinds = served.allowed.kinds.clone().value().unwrap_or_default();
    let kinds: Vec<_> = kinds.into_iter().filter_map(Field::value).collect();
    let kind = kinds.is_empty() || kinds.iter().any(|kind| kind.kind.clone().value().as_deref() == Some(route.kind));
    let namespaces = served.allowed.namespaces.clone().value().unwrap_or_default();
    let from = namespaces.from.value();
    kind && match from.as_deref() {
        Some("All") => true,
        Some("None") => false,
        Some("Selector") => namespaces.selector.value().is_some_and(|it| selects(it, &route.namespace, inventory)),
        _ => route.namespace == served.gateway.0,
    }
}

fn selects(selector: raw::Selector, namespace: &str, inventory: &Inventory) -> bool {
    let labels = inventory.namespaces.get(namespace).map(|namespace| &namespace.labels);
    let label = |key: &str| match labels.and_then(|labels| labels.get(key)) {
        None if key == "kubernetes.io/metadata.name" => Some(namespace.to_owned()),
        value => value.cloned(),
    };
    let wanted = selector.match_labels.value().unwrap_or_default().0;
    let equal = wanted.into_iter().all(|(key, _, value)| value.value().is_some_and(|text| label(&key) == Some(text.0)));
    let requirements = selector.match_expressions.value().unwrap_or_default().into_iter();
    equal
        && requirements.filter_map(Field::value).all(|requirement| {
            let own = label(&requirement.key.value().unwrap_or_default());
            let values = requirement.values.value().unwrap_or_default();
            let listed = || values.into_iter().filter_map(Field::value).any(|text| Some(text.0) == own);
            match requirement.operator.value().as_deref() {
                Some("In") => listed(),
                Some("NotIn") => !listed(),
                Some("Exists") => own.is_some(),
                Some("DoesNotExist") => own.is_none(),
                _ => false,
            }
        })
}

fn intersects(listener: Option<&HostPattern>, hostnames: &[HostPattern]) -> bool {
    let Some(listener) = listener.filter(|_| !hostnames.is_empty()) else { return true };
    hostnames.iter().any(|host| listener.covers(host) || host.covers(listener))
}

/// Hostnames of a route, each with its place.
pub(super) fn hostnames(list: &raw::List<String>) -> Vec<(HostPattern, Pos)> {
    let list = list.clone().value().unwrap_or_default().into_iter().filter_map(Field::spot);
    list.filter_map(|(text, pos)| Some((pattern(&text)?, pos))).collect()
}
