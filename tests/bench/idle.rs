//! Many idle connections of each protocol: the memory of one, beside nginx and HAProxy where they speak it, one worker each.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tidegate_tests::Authority;
use tokio::time::sleep;

use crate::{
    load, protocols,
    report::{beside, number},
    speech::{Call, Speech},
    subject::Subject,
};

/// Open at once; the most that HAProxy takes on a machine whose processes may have 20,000 descriptors, of which it keeps two for each.
const CONNECTIONS: [usize; 2] = [1_000, 9_900];
/// Opened and closed before, so that what a process keeps for all of them is there already.
const BEFORE: usize = 100;
/// Until what an idle connection does not need has been given back, by whoever does that.
const REST: Duration = Duration::from_secs(3);

/// One row a protocol: bytes of memory in use that one more idle connection takes, after one exchange on it.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let authority = Authority::new();
        let mut rows = Vec::new();
        for (name, speech) in Speech::all(&authority) {
            for connections in CONNECTIONS {
                let mut bytes = Vec::new();
                for subject in protocols::subjects(gateway, &origin.to_string(), &speech, &authority) {
                    bytes.push(of_one(&subject, &speech, connections).await);
                }
                let ratio = protocols::to_the_better(&bytes);
                rows.push(json!({ "protocol": name, "connections": connections, "bytes": bytes, "ratio": ratio }));
            }
        }
        json!({ "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = "### Idle connections\n\nMemory in use that an idle connection takes, bytes, so many open at once after one exchange \
        each, one worker.\n\n| protocol | connections | Tidegate | nginx | HAProxy | to the better |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = beside(&row["bytes"], 0);
        let name = row["protocol"].as_str().unwrap_or_default();
        text += &format!("| {name} | {} | {cells} | **{}** |\n", row["connections"], number(&row["ratio"], 2));
    }
    text
}

async fn of_one(subject: &Subject, speech: &Speech, connections: usize) -> f64 {
    let call = Call { address: subject.address, speech: speech.clone(), path: "/".into() };
    drop(open(&call, BEFORE).await);
    let before = subject.memory_bytes();
    let opened = open(&call, connections).await;
    sleep(REST).await;
    let after = subject.memory_bytes();
    drop(opened);
    (after as f64 - before as f64) / connections as f64
}

/// So many connections, one exchange on each, one after the other: what is used for a handshake is used again by the next.
async fn open(call: &Call, connections: usize) -> Vec<Box<dyn std::any::Any>> {
    let mut all = Vec::with_capacity(connections);
    for _ in 0..connections {
        all.push(call.clone().once().await.unwrap_or_else(|error| panic!("a connection failed: {error}")));
    }
    all
}
