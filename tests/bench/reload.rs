//! From a file saved (renamed onto its place) to the first response on the new generation.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    load,
    report::{median, number, percentile},
    subject::Subject,
};

const SAVES: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(5);

const CONFIGURATION: &str = "\
listeners:
  web: {address: '{listen}', generation-header: true}
upstreams:
  origin: {endpoints: ['{origin}']}
routes:
  - {id: all, path: /*, upstream: origin, middleware: [{headers: {response: {set: {x-save: '{save}'}}}}]}
";

/// Saves a configuration again and again, asking all the while.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let text = CONFIGURATION.replace("{origin}", &origin.to_string());
        let subject = Subject::gateway(gateway, &[("gateway.yaml", &text.replace("{save}", "0"))]);
        // The clock's own loop blocks, and the origin needs this thread.
        let times = tokio::task::spawn_blocking(move || saves(&subject, &text)).await.expect("the clock ends");
        json!({
            "saves": SAVES,
            "median_ms": median(times.iter().copied()),
            "p99_ms": percentile(99.0, times.iter().copied()),
            "max_ms": times.iter().copied().fold(0.0, f64::max),
        })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    format!(
        "### Reload\n\nFrom a rename to the first response on the new generation, ms, the 10 ms of quiet included, {} saves: \
         median **{}**, p99 **{}** (aim: 30), most {}.\n",
        result["saves"],
        number(&result["median_ms"], 1),
        number(&result["p99_ms"], 1),
        number(&result["max_ms"], 1),
    )
}

fn saves(subject: &Subject, text: &str) -> Vec<f64> {
    let mut socket = TcpStream::connect(subject.address).expect("the gateway listens");
    socket.set_nodelay(true).expect("a TCP socket takes the option");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket takes the option");
    let place = subject.folder.path().join("config/gateway.yaml");
    let staged = subject.folder.path().join("staged.yaml");
    let save = |save: u64| {
        let text = text.replace("{listen}", &subject.address.to_string()).replace("{save}", &save.to_string());
        fs::write(&staged, text).expect("a file can be written");
        let mark = format!("x-save: {save}\r\n");
        let began = Instant::now();
        fs::rename(&staged, &place).expect("a rename in a folder succeeds");
        while !ask(&mut socket).contains(&mark) {
            assert!(began.elapsed() < PATIENCE, "save {save} never served");
        }
        began.elapsed().as_secs_f64() * 1e3
    };
    (1..=SAVES).map(save).collect()
}

fn ask(socket: &mut TcpStream) -> String {
    socket.write_all(b"GET / HTTP/1.1\r\nhost: bench.example\r\n\r\n").expect("the gateway reads");
    let mut answer = vec![0; 4096];
    let mut filled = 0;
    // The origin's answer ends like this, and nothing else in it does.
    while !answer[..filled].ends_with(b"\"}") {
        let read = socket.read(&mut answer[filled..]).expect("the gateway answers");
        assert!(read > 0, "the gateway closed: {}", String::from_utf8_lossy(&answer[..filled]));
        filled += read;
    }
    answer.truncate(filled);
    String::from_utf8(answer).expect("the answer is ASCII")
}
