//! Manifests as documents: beside the native form, in several files, in lists, in JSON; what the commands show of them.

use http::Method;
use tidegate_tests::{Client, ConfigDir, Gateway, Origin, request};

use super::play::Stage;

const MANIFESTS: &str = r#"
gateway: {manifests: {address: 127.0.0.1, ports: {80: 0}, gateway-class: ours}}
---
apiVersion: v1
kind: List
items:
- apiVersion: gateway.networking.k8s.io/v1
  kind: Gateway
  metadata: {name: web}
  spec: {gatewayClassName: ours, listeners: [{name: http, port: 80, protocol: HTTP}]}
- apiVersion: gateway.networking.k8s.io/v1
  kind: Gateway
  metadata: {name: theirs}
  spec: {gatewayClassName: theirs, listeners: [{name: http, port: 80, protocol: HTTP, hostname: theirs.test}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: passed-over}
---
middleware: {stamp: {headers: {response: {set: {x-stamp: native}}}}}
upstreams: {users: {endpoints: ['{origin}']}}
routes: [{id: native, path: /native, upstream: users}]
"#;

const ROUTE: &str = r#"{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "users"},
 "spec": {"parentRefs": [{"name": "web"}], "rules": [{
   "matches": [{"path": {"value": "/users"}}],
   "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "tidegate", "kind": "Middleware", "name": "stamp"}}],
   "backendRefs": [{"name": "users", "port": 80}]}]}}"#;

async fn gateway() -> (Gateway, ConfigDir, Origin) {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("gateway.yaml", MANIFESTS);
    dir.write("routes/users.json", ROUTE);
    (Gateway::start(&dir).await, dir, origin)
}

#[tokio::test]
async fn both_forms_stand_in_one_tree_and_follow_reloads() {
    let (gateway, dir, _origin) = gateway().await;
    let mut client = Client::http1(gateway.listener("gateway-80")).await;
    let answer = client.get("/users/7").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-stamp")), (200, "native"));
    assert_eq!(client.get("/native").await.status, 200, "a native route without listeners is served everywhere");
    assert_eq!(client.get("http://theirs.test/users").await.status, 200, "a Gateway of another class has no section");
    dir.edit("routes/users.json", "/users\"", "/people\"");
    gateway.apply().await;
    assert_eq!(client.get("/users").await.status, 404);
    assert_eq!(client.get("/people").await.status, 200);
    dir.edit("routes/users.json", "\"value\"", "\"valeu\"");
    let attempt = gateway.reload().await;
    assert_eq!(attempt["outcome"], "refused");
    assert_eq!(attempt["diagnostics"][0]["code"], "unknown-field", "{attempt:#}");
    assert_eq!(client.get("/people").await.status, 200);
}

#[tokio::test]
async fn an_object_is_defined_once_in_a_layer() {
    let (gateway, dir, _origin) = gateway().await;
    dir.write("more.yaml", &ROUTE.replace("/users\"", "/again\""));
    let attempt = gateway.reload().await;
    assert_eq!(attempt["diagnostics"][0]["code"], "duplicate-name", "{attempt:#}");
}

#[tokio::test]
async fn what_manifests_come_to_is_shown_and_reads_back_as_the_same() {
    let stage = Stage::set("HTTPRouteHostnameIntersection").await;
    let shown = stage.gateway.ask(Method::GET, "/-/config").await.text();
    for part in ["gateway-8080:", "infra.hosts.one:", "http.infra.specific-of-specific.1:", "v1.infra.8080:"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &shown);
    let again = Gateway::start(&dir).await;
    let address = again.listener("gateway-8080");
    for (host, path, status) in
        [("very.specific.com", "/s1", 200), ("very.specific.com", "/s2", 404), ("other.test", "/s1", 404)]
    {
        let answer = Client::http1(address).await.send(request(Method::GET, &format!("http://{host}{path}"))).await;
        assert_eq!(answer.status.as_u16(), status, "{host}{path}");
    }
}
