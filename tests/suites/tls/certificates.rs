//! Which certificate is shown: by name, by wildcard, by default, and by what the client can verify.

use tidegate_tests::{ConfigDir, Gateway, Tls, TlsOptions, tls::Kind};

use super::{scene, scene_with, write};

const SEVERAL: &str = "{certificates: [
      {certificate: tls/site.pem, key: tls/site.key},
      {certificate: tls/wild.pem, key: tls/wild.key},
      {certificate: tls/exact.pem, key: tls/exact.key}]";

#[tokio::test]
async fn a_certificate_is_chosen_by_name_then_by_wildcard_then_the_first() {
    let scene = scene().await;
    let wild = scene.authority.issue(&["*.api.example"]);
    let exact = scene.authority.issue(&["eu.api.example", "us.api.example"]);
    write(&scene.dir, "wild", &wild);
    write(&scene.dir, "exact", &exact);
    let configuration = |end: &str| {
        let listener = format!("web: {{address: '127.0.0.1:0', tls: {SEVERAL}{end}}}");
        format!(
            "listeners:\n  {listener}\nroutes: [{{id: all, path: /*, middleware: [{{respond: {{status: 200}}}}]}}]\n"
        )
    };
    scene.dir.write("gateway.yaml", &configuration("}"));
    let gateway = Gateway::start(&scene.dir).await;
    let tls = Tls::trusting(&scene.authority);
    let shown = async |name| tls.shown(gateway.web(), name).await.unwrap();
    assert_eq!(shown("test.example").await, scene.site.der);
    assert_eq!(shown("eu.api.example").await, exact.der);
    assert_eq!(shown("US.API.EXAMPLE").await, exact.der);
    assert_eq!(shown("asia.api.example").await, wild.der);
    for none in ["a.b.api.example", "api.example", "other.example", "127.0.0.1"] {
        let refused = tls.shown(gateway.web(), none).await.unwrap_err();
        assert!(refused.to_string().contains("not valid for name"), "the default was shown to {none}: {refused}");
    }
    scene.dir.write("gateway.yaml", &configuration(", strict-names: true}"));
    gateway.apply().await;
    assert_eq!(shown("asia.api.example").await, wild.der);
    let refused = tls.shown(gateway.web(), "other.example").await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    let refused = tls.shown(gateway.web(), "127.0.0.1").await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "no name is no wrong name: {refused}");
}

#[tokio::test]
async fn certificates_of_one_name_are_chosen_by_what_the_client_can_verify() {
    let scene = scene_with("{certificates: [{certificate: tls/site.pem, key: tls/site.key}]}").await;
    let rsa = scene.authority.issue_as(&["test.example"], Kind::Rsa);
    let ecdsa = scene.authority.issue_as(&["test.example"], Kind::Ecdsa);
    write(&scene.dir, "rsa", &rsa);
    write(&scene.dir, "ecdsa", &ecdsa);
    let both = "{certificates: [{certificate: tls/rsa.pem, key: tls/rsa.key}, \
                {certificate: tls/ecdsa.pem, key: tls/ecdsa.key}]}";
    scene.dir.edit("gateway.yaml", "{certificates: [{certificate: tls/site.pem, key: tls/site.key}]}", both);
    scene.gateway.apply().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let shown = async |kind| {
            let options = TlsOptions { kind, versions: Some(&[version]), ..TlsOptions::default() };
            let tls = Tls::with(&scene.authority, &options);
            tls.shown(scene.gateway.web(), "test.example").await.unwrap()
        };
        assert_eq!(shown(Some(Kind::Rsa)).await, rsa.der);
        assert_eq!(shown(Some(Kind::Ecdsa)).await, ecdsa.der);
        assert_eq!(shown(None).await, ecdsa.der);
    }
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_said_at_the_line_that_names_them() {
    let scene = scene().await;
    let other = scene.authority.issue(&["other.example"]);
    let cases: [(&str, &str, &str); 4] = [
        ("tls/site.key", &other.key, "key-mismatch"),
        ("tls/site.pem", "nothing\n", "no-certificate"),
        ("tls/site.pem", "-----BEGIN CERTIFICATE-----\nMIIB", "bad-pem"),
        ("tls/site.key", "nothing\n", "no-key"),
    ];
    for (file, text, code) in cases {
        scene.dir.write(file, text);
        let attempt = scene.gateway.reload().await;
        assert_eq!(attempt["outcome"], "refused", "{code}: {attempt:#}");
        let found = &attempt["diagnostics"][0];
        assert_eq!(found["code"], code, "{attempt:#}");
        assert_eq!(found["at"]["line"], 6, "{attempt:#}");
        write(&scene.dir, "site", &scene.site);
    }
    scene.dir.remove("tls/site.pem");
    let attempt = scene.gateway.reload().await;
    assert_eq!(attempt["diagnostics"][0]["code"], "missing-file", "{attempt:#}");
    let report = attempt["report"].as_str().unwrap_or_default();
    assert!(attempt.to_string().contains("tls/site.pem"), "{report}");
    let tls = Tls::trusting(&scene.authority);
    assert_eq!(tls.shown(scene.gateway.web(), "test.example").await.unwrap(), scene.site.der, "the old one serves on");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_shown_and_warned_of() {
    let scene = scene().await;
    write(&scene.dir, "site", &scene.authority.expired(&["test.example"]));
    let attempt = scene.gateway.reload().await;
    assert_eq!(attempt["outcome"], "applied", "{attempt:#}");
    let found = &attempt["diagnostics"][0];
    assert_eq!((&found["code"], &found["severity"]), (&"expired-certificate".into(), &"warning".into()), "{attempt:#}");
    let refused = Tls::trusting(&scene.authority).shown(scene.gateway.web(), "test.example").await.unwrap_err();
    assert!(refused.to_string().contains("xpired"), "{refused}");
}

#[tokio::test]
async fn a_key_is_shown_nowhere() {
    let scene = scene().await;
    let secret = scene.site.key.lines().nth(1).unwrap()[..16].to_owned();
    for target in ["/-/config", "/-/config?explain=1", "/-/status", "/metrics"] {
        let text = scene.gateway.ask(http::Method::GET, target).await.text();
        assert!(!text.contains(&secret), "{target}");
    }
    let config = scene.gateway.ask(http::Method::GET, "/-/config").await.text();
    assert!(config.contains("min-version: \"1.2\""), "{config}");
    let dir = ConfigDir::new();
    write(&dir, "site", &scene.site);
    dir.write("gateway.yaml", &config);
    Gateway::start(&dir).await;
}
