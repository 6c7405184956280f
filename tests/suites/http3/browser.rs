//! HTTP/3 with a browser: headless Chromium, where there is one.

use std::{process::Command, time::Duration};

use rcgen::PublicKeyData;
use tidegate_tests::{base64, soon};

use super::scene;

// The browser names itself, and the protocol, in the access log.
#[tokio::test]
async fn a_browser_asks_over_it() {
    let scene = scene().await;
    let port = scene.gateway.web().port();
    let key = rcgen::KeyPair::from_pem(&scene.site.key).unwrap().subject_public_key_info();
    let pin = base64::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key).as_ref());
    let profile = scene.dir.beside("profile");
    let ask = |browser: &str| {
        let mut command = Command::new(browser);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP test.example 127.0.0.1",
        ]);
        // It ends by itself where nothing comes.
        command.arg("--timeout=30000").arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("--origin-to-force-quic-on=test.example:{port}"));
        command.arg(format!("--ignore-certificate-errors-spki-list={pin}"));
        command.args(["--dump-dom", &format!("https://test.example:{port}/teapot")]);
        tokio::task::spawn_blocking(move || command.output())
    };
    let mut shown = None;
    for browser in ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"] {
        let asked = tokio::time::timeout(Duration::from_secs(60), ask(browser)).await;
        if let Ok(output) = asked.expect("a browser ends").unwrap() {
            shown = Some(output);
            break;
        }
    }
    let Some(shown) = shown else { return eprintln!("skipped: there is no Chromium here") };
    let page = String::from_utf8_lossy(&shown.stdout);
    assert!(page.contains("short and stout"), "{page} {}", String::from_utf8_lossy(&shown.stderr));
    soon("it is logged", async || {
        let log = std::fs::read_to_string(scene.dir.beside("access.log")).unwrap_or_default();
        log.lines().any(|line| line.contains("Chrome/") && line.contains("\"HTTP/3.0\"") && line.contains("/teapot"))
    })
    .await;
}
