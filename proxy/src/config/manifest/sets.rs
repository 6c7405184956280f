//! ListenerSets: which of them add listeners to a Gateway, in the order in which they count.

use std::cmp::Ordering;

use super::{
    attach::selects_namespace,
    findings::Findings,
    inventory::{Inventory, Named},
    raw,
};

/// Those of `gateway` that it allows: the oldest first, then by namespace and name. What is not allowed is said.
pub(super) fn sets_of<'a>(
    gateway: &Named<raw::Gateway>,
    inventory: &'a Inventory,
    findings: &mut Findings,
) -> Vec<&'a Named<raw::ListenerSet>> {
    let mut sets: Vec<_> = inventory.listener_sets.iter().filter(|set| is_parent(gateway, set)).collect();
    sets.retain(|set| {
        let allowed = allows(gateway, &set.namespace, inventory);
        if !allowed {
            let title = gateway.title();
            let message =
                format!("not accepted: the {title} allows no ListenerSet of the namespace `{}`", set.namespace);
            let hint = "say so in the Gateway: `allowedListeners: {namespaces: {from: All}}`";
            findings.about(set, "not-accepted", set.at, &message, hint);
        }
        allowed
    });
    sets.sort_by(|one, other| by_age(one, other));
    sets
}

/// The oldest first, then by namespace and name.
pub(super) fn by_age<S, T>(one: &Named<S>, other: &Named<T>) -> Ordering {
    let age = match (&one.created, &other.created) {
        (Some(one), Some(other)) => one.cmp(other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    };
    age.then_with(|| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)))
}

fn is_parent(gateway: &Named<raw::Gateway>, set: &Named<raw::ListenerSet>) -> bool {
    let parent = set.spec.parent_ref.clone().value().unwrap_or_default();
    let namespace = parent.namespace.value().unwrap_or_else(|| set.namespace.clone());
    parent.kind.value().is_none_or(|kind| kind == "Gateway")
        && (namespace, parent.name.value().unwrap_or_default()) == (gateway.namespace.clone(), gateway.name.clone())
}

fn allows(gateway: &Named<raw::Gateway>, namespace: &str, inventory: &Inventory) -> bool {
    let allowed = gateway.spec.allowed_listeners.clone().value().unwrap_or_default();
    let namespaces = allowed.namespaces.value().unwrap_or_default();
    // None, unless it is said.
    let from = namespaces.from.clone().value().unwrap_or_else(|| "None".into());
    selects_namespace(&from, namespaces.selector, namespace, &gateway.namespace, inventory)
}
