//! The clients that everybody has, where this machine has them: curl and openssl.

use std::process::{Command, Stdio};

use super::scene;

#[tokio::test]
async fn curl_verifies_the_certificate_and_gets_an_answer() {
    let scene = scene().await;
    let ca = scene.dir.beside("ca.pem");
    std::fs::write(&ca, &scene.authority.pem).unwrap();
    let port = scene.gateway.web().port();
    for version in ["--http1.1", "--http2"] {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "20",
            version,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_version} %{ssl_verify_result}",
        ]);
        curl.arg("--cacert").arg(&ca).arg("--resolve").arg(format!("test.example:{port}:127.0.0.1"));
        curl.arg(format!("https://test.example:{port}/bytes/100000"));
        let Some(said) = run(curl).await else { return };
        let expected = if version == "--http2" && said.contains(" 2 ") { "200 2 0" } else { "200 1.1 0" };
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn openssl_speaks_both_versions() {
    let scene = scene().await;
    let ca = scene.dir.beside("ca.pem");
    std::fs::write(&ca, &scene.authority.pem).unwrap();
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-brief", "-verify_return_error", "-servername", "test.example", flag, "-CAfile"]);
        openssl.arg(&ca).arg("-connect").arg(scene.gateway.web().to_string());
        let Some(said) = run(openssl).await else { return };
        assert!(said.contains(name) && said.contains("Verification: OK"), "{said}");
    }
}

// What it says; none where it is not installed.
async fn run(mut command: Command) -> Option<String> {
    let run = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = run.await.expect("starting a process does not panic").ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}
