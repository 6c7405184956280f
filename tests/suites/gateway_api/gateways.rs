//! The tests `Gateway*`, one function each; what a table cannot say stands below.

use super::play::{Stage, play};

#[tokio::test]
async fn gateway_http_listener_isolation() {
    play("GatewayHTTPListenerIsolation").await;
}

#[tokio::test]
async fn gateway_secret_reference_grant_specific() {
    play("GatewaySecretReferenceGrantSpecific").await;
}

#[tokio::test]
async fn gateway_secret_reference_grant_all_in_namespace() {
    play("GatewaySecretReferenceGrantAllInNamespace").await;
}

#[tokio::test]
async fn gateway_secret_missing_reference_grant() {
    play("GatewaySecretMissingReferenceGrant").await;
}

#[tokio::test]
async fn gateway_secret_invalid_reference_grant() {
    play("GatewaySecretInvalidReferenceGrant").await;
}

#[tokio::test]
async fn gateway_invalid_tls_configuration() {
    play("GatewayInvalidTLSConfiguration").await;
}

#[tokio::test]
async fn gateway_invalid_route_kind() {
    play("GatewayInvalidRouteKind").await;
}

#[tokio::test]
async fn gateway_modify_listeners() {
    let stage = Stage::set("GatewayModifyListeners").await;
    stage.ask_all().await;
    let one = "  - {name: one, port: 8080, protocol: HTTP, hostname: one.test}\n";
    let two = format!("{one}  - {{name: two, port: 8080, protocol: HTTP, hostname: two.test}}\n");
    stage.dir.edit("case.yaml", one, &two);
    stage.gateway.apply().await;
    stage.ask("8080 GET http://one.test/ => 200 v1").await;
    stage.ask("8080 GET http://two.test/ => 200 v1").await;
    stage.dir.edit("case.yaml", one, "");
    stage.gateway.apply().await;
    stage.ask("8080 GET http://one.test/ => 404").await;
    stage.ask("8080 GET http://two.test/ => 200 v1").await;
}
