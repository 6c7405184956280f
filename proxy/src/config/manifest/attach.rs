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
) -> Vec<Attached> {
    let mut sections: Vec<Attached> = Vec::new();
    let mut listed = false;
    for (parent, pos) in parents.clone().value().unwrap_or_default().into_iter().filter_map(Field::spot) {
        listed = true;
        match sections_of(route, &parent, hostnames, (inventory, listeners)) {
            Ok(found) => {
                for served in found {
                    if sections.iter().all(|own| own.section != served.section) {
                        let (section, host) = (served.section.clone(), served.host.clone());
                        sections.push(Attached { section, host, gateway: served.gateway.clone(), pos });
                    }
                }
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

/// A section that serves a route.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    /// `LISTENER/SECTION` of the native form.
    pub(super) section: String,
    /// The hosts of the section; all, where `None`.
    pub(super) host: Option<HostPattern>,
    /// Namespace and name of the Gateway.
    pub(super) gateway: (String, String),
    pub(super) pos: Pos,
}

fn sections_of<'l, S>(
    route: &Named<S>,
    parent: &raw::ParentRef,
    hostnames: &[HostPattern],
    (inventory, listeners): (&Inventory, &'l Listeners<'_>),
) -> Result<Vec<&'l Served>, String> {
    let group = parent.group.clone().value().unwrap_or_else(|| "gateway.networking.k8s.io".into());
    let kind = parent.kind.clone().value().unwrap_or_else(|| "Gateway".into());
    let kind = match (&*group, &*kind) {
        ("gateway.networking.k8s.io", "Gateway") => "Gateway",
        ("gateway.networking.k8s.io", "ListenerSet") | ("gateway.networking.x-k8s.io", "XListenerSet") => "ListenerSet",
        _ => return Err(format!("a {kind} of `{group}` is no Gateway")),
    };
    let namespace = parent.namespace.clone().value().unwrap_or_else(|| route.namespace.clone());
    let wanted = (kind, namespace, parent.name.clone().value().unwrap_or_default());
    if !listeners.parents.contains(&wanted) {
        return Err(format!("there is no {kind} `{}/{}` that serves", wanted.1, wanted.2));
    }
    let (section, port) = (parent.section_name.clone().value(), parent.port.clone().value());
    let of_gateway = listeners.served.iter().filter(|served| served.parent == wanted);
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
    Ok(found)
}

fn allows<S>(served: &Served, route: &Named<S>, inventory: &Inventory) -> bool {
    let kinds = served.allowed.kinds.clone().value().unwrap_or_default();
    let kinds: Vec<_> = kinds.into_iter().filter_map(Field::value).collect();
    let kind = kinds.is_empty() || kinds.iter().any(|kind| kind.kind.clone().value().as_deref() == Some(route.kind));
    let namespaces = served.allowed.namespaces.clone().value().unwrap_or_default();
    let from = namespaces.from.value().unwrap_or_default();
    kind && selects_namespace(&from, namespaces.selector, &route.namespace, &served.parent.1, inventory)
}

/// Whether `from` takes in `namespace`, for an object that is in `own`.
pub(super) fn selects_namespace(
    from: &str,
    selector: Field<raw::Selector>,
    namespace: &str,
    own: &str,
    inventory: &Inventory,
) -> bool {
    match from {
        "All" => true,
        "None" => false,
        "Selector" => selector.value().is_some_and(|it| selects(it, namespace, inventory)),
        _ => namespace == own,
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
