//! The tests of TLS to backends and of clients' certificates, one function each.

use tidegate_tests::{Client, Tls, TlsOptions, tls::Issued};

use super::play::{Stage, play};

#[tokio::test]
async fn backend_tls_policy() {
    let stage = Stage::set("BackendTLSPolicy").await;
    stage.ask_all().await;
    let names: Vec<_> = stage.front.seen().into_iter().map(|seen| seen.server_name).collect();
    assert!(names.contains(&Some("abc.example.com".into())), "{names:?}");
    assert_eq!(stage.origins["v1"].requests(), 1, "nothing is sent to who is not who it should be");
}

#[tokio::test]
async fn backend_tls_policy_san_validation() {
    let stage = Stage::set("BackendTLSPolicySANValidation").await;
    stage.ask_all().await;
    let seen = stage.front.seen();
    assert!(seen.iter().all(|seen| seen.server_name.as_deref() == Some("sni.example.com")), "{seen:?}");
}

#[tokio::test]
async fn backend_tls_policy_conflict_resolution() {
    play("BackendTLSPolicyConflictResolution").await;
}

#[tokio::test]
async fn backend_tls_policy_invalid_ca_certificate_ref() {
    play("BackendTLSPolicyInvalidCACertificateRef").await;
}

#[tokio::test]
async fn gateway_tls_backend_client_certificate() {
    let stage = Stage::set("GatewayTLSBackendClientCertificate").await;
    stage.ask_all().await;
    assert!(stage.asking.seen().iter().all(|seen| seen.certificate.is_some()), "{:?}", stage.asking.seen());
}

// Whether a client that shows `certificate` is served on a port.
async fn is_served(stage: &Stage, port: u16, certificate: Option<&Issued>) -> bool {
    let options = TlsOptions { certificate, alpn: &["http/1.1"], ..TlsOptions::default() };
    let tls = Tls::with(&stage.authority, &options);
    let name = if port == 443 { "example.org" } else { "second-example.org" };
    let address = stage.gateway.listener(&format!("gateway-{port}"));
    let Ok(stream) = tls.connect(address, name).await else { return false };
    let mut client = Client::over(stream, false).await;
    let request = tidegate_tests::request(http::Method::GET, &format!("https://{name}/"));
    client.try_send(request).await.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test]
async fn gateway_frontend_client_certificate_validation() {
    let stage = Stage::set("GatewayFrontendClientCertificateValidation").await;
    let (own, other) = (stage.authority.issue(&["client.test"]), stage.other.issue(&["client.test"]));
    for (port, certificate, served) in [
        (443, Some(&own), true),
        (443, Some(&other), false),
        (443, None, false),
        (8443, Some(&other), true),
        (8443, Some(&own), false),
        (8443, None, false),
    ] {
        assert_eq!(is_served(&stage, port, certificate).await, served, "{port} {}", certificate.is_some());
    }
}

#[tokio::test]
async fn gateway_frontend_client_certificate_validation_insecure_fallback() {
    let stage = Stage::set("GatewayFrontendClientCertificateValidationInsecureFallback").await;
    let (own, other) = (stage.authority.issue(&["client.test"]), stage.other.issue(&["client.test"]));
    for port in [443, 8443] {
        for certificate in [Some(&own), Some(&other), None] {
            assert!(is_served(&stage, port, certificate).await, "{port} {}", certificate.is_some());
        }
    }
}

#[tokio::test]
async fn gateway_invalid_frontend_client_certificate_validation() {
    play("GatewayInvalidFrontendClientCertificateValidation").await;
}
