//! The tests `ListenerSet*`, one function each, and what two kinds of routes and two patterns of hosts come to on one
//! listener.

use super::play::play;

#[tokio::test]
async fn listener_set_allowed_namespaces_all() {
    play("ListenerSetAllowedNamespacesAll").await;
}

#[tokio::test]
async fn listener_set_allowed_namespaces_same() {
    play("ListenerSetAllowedNamespacesSame").await;
}

#[tokio::test]
async fn listener_set_allowed_namespaces_none() {
    play("ListenerSetAllowedNamespacesNone").await;
    play("ListenerSetAllowedNamespacesUnset").await;
}

#[tokio::test]
async fn listener_set_allowed_namespaces_selector() {
    play("ListenerSetAllowedNamespacesSelector").await;
}

#[tokio::test]
async fn listener_set_allowed_routes_namespaces() {
    play("ListenerSetAllowedRoutesNamespaces").await;
}

#[tokio::test]
async fn listener_set_conflicts() {
    play("ListenerSetConflicts").await;
}

#[tokio::test]
async fn http_route_and_grpc_route_of_one_hostname() {
    play("HTTPRouteAndGRPCRouteOfOneHostname").await;
}

#[tokio::test]
async fn http_route_hostname_intersection_precedence() {
    play("HTTPRouteHostnameIntersectionPrecedence").await;
}
