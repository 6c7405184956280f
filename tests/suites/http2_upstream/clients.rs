//! Clients that others wrote, where this machine has them: curl and h2load over HTTP/2 to an origin of HTTP/2.

use std::process::Command;

use tidegate_tests::http2::Origin2;

use super::before;

// What a tool prints, off the test's runtime, which serves the origin; none where it is not there or cannot do this.
async fn run(tool: &'static str, able: &'static str, arguments: Vec<String>) -> Option<String> {
    let ran = tokio::task::spawn_blocking(move || {
        let version = Command::new(tool).arg("--version").output();
        let version = version.map(|version| String::from_utf8_lossy(&version.stdout).into_owned()).unwrap_or_default();
        if !version.contains(able) {
            println!("skipped: {tool} with {able} is not installed");
            return None;
        }
        let output = Command::new(tool).args(arguments).output().expect("what says its version runs");
        Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    });
    ran.await.unwrap()
}

#[tokio::test]
async fn curl_uploads_and_downloads() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let url = format!("http://{}/up", gateway.web());
    let arguments = ["-sS", "--http2-prior-knowledge", "-d", "hello", &url].map(str::to_owned).to_vec();
    let Some(printed) = run("curl", "HTTP2", arguments).await else { return };
    let echo: serde_json::Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
    assert_eq!((&echo["method"], &echo["body_bytes"]), (&"POST".into(), &5.into()));
    let url = format!("http://{}/bytes/300000", gateway.web());
    let arguments =
        ["-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}"];
    let arguments = arguments.into_iter().chain([url.as_str()]).map(str::to_owned).collect();
    assert_eq!(run("curl", "HTTP2", arguments).await.unwrap(), "200 2 300000");
}

#[tokio::test]
async fn thousands_of_streams_of_h2load_all_succeed() {
    let origin = Origin2::start().await;
    let (_dir, gateway) = before(&origin, "").await;
    let url = format!("http://{}/bytes/2000", gateway.web());
    let arguments = ["-n", "3000", "-c", "4", "-m", "40", &url].map(str::to_owned).to_vec();
    let Some(printed) = run("h2load", "h2load", arguments).await else { return };
    assert!(printed.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{printed}");
    assert_eq!(origin.requests(), 3000);
    // Streams of four clients share what two workers have open.
    assert!(origin.accepted() <= 8, "{} connections", origin.accepted());
}
