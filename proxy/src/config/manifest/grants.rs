//! ReferenceGrants: who may name an object of another namespace.

use super::inventory::Inventory;

const GROUP: &str = "gateway.networking.k8s.io";

/// Whether an object of a kind of the Gateway API in one namespace may name an object of a core kind (Service, Secret) in
/// another.
pub(super) fn allow(
    inventory: &Inventory,
    (from_kind, from_namespace): (&str, &str),
    (to_kind, to_namespace, to_name): (&str, &str, &str),
) -> bool {
    inventory.grants.iter().filter(|grant| grant.namespace == to_namespace).any(|grant| {
        let from = grant.spec.from.clone().value().unwrap_or_default().into_iter().filter_map(|it| it.value());
        let to = grant.spec.to.clone().value().unwrap_or_default().into_iter().filter_map(|it| it.value());
        let from = from.into_iter().any(|from| {
            from.group.value().as_deref() == Some(GROUP)
                && from.kind.value().as_deref() == Some(from_kind)
                && from.namespace.value().as_deref() == Some(from_namespace)
        });
        from && to.into_iter().any(|to| {
            to.group.value().unwrap_or_default().is_empty()
                && to.kind.value().as_deref() == Some(to_kind)
                && to.name.value().is_none_or(|name| name.is_empty() || name == to_name)
        })
    })
}
