//! What one gateway says of itself: the value under its key. Read by gateways and command lines of other versions, so
//! what is missing has a default, and what is not known is passed over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{diagnostic::Diagnostic, report},
    etcd::{Client, Range},
    identity::Identity,
    reload::{Board, status::Revision},
};

/// What one gateway says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// What it is called; also the last part of its key.
    pub node: String,
    /// Tells two processes of the same name apart.
    pub instance: String,
    /// The gateway's own version.
    pub version: String,
    /// The prefix of etcd that it follows.
    pub prefix: String,
    /// The generation that serves.
    pub generation: u64,
    /// The hash of the tree that serves.
    pub hash: String,
    /// Its layers.
    pub revision: Vec<NodeRevision>,
    /// When the serving generation was swapped in.
    pub since: String,
    /// When the process started.
    pub started: String,
    /// When the last attempt began, and what came of it.
    pub attempted: String,
    /// `applied`, `unchanged` or `refused`.
    pub outcome: String,
    /// What was refused last, if the last attempt was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedTree>,
    /// What serves instead of what should.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Its value could not be read: why. Never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// One layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRevision {
    /// As the operator knows it.
    pub source: String,
    /// Counted by the source.
    pub revision: u64,
    /// Equal for equal content.
    pub hash: String,
}

/// A tree that was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedTree {
    /// Its layers.
    pub revision: Vec<NodeRevision>,
    /// What is wrong with it, as `GET /-/status` has it; the first few.
    pub diagnostics: Vec<Value>,
    /// How many more there are.
    pub more: usize,
}

/// Findings in one value, and bytes of one finding: etcd is no place for a report.
const DIAGNOSTICS_MAX: usize = 16;
const DIAGNOSTIC_BYTES_MAX: usize = 2048;

/// A fleet.
const NODES_MAX: i64 = 10_000;

impl Node {
    /// What the board says.
    pub(super) fn of((node, instance, prefix): (&str, &str, &str), board: &Board) -> Self {
        let (status, refused) = (board.status(), board.refused());
        let attempt = status.last_attempt.as_ref();
        let diagnostics = attempt.map_or(&[][..], |attempt| &attempt.diagnostics);
        let errors: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
        let refused = refused.as_ref().map(|layers| RefusedTree {
            revision: layers.iter().map(NodeRevision::from).collect(),
            diagnostics: errors.iter().take(DIAGNOSTICS_MAX).map(|diagnostic| short(diagnostic)).collect(),
            more: errors.len().saturating_sub(DIAGNOSTICS_MAX),
        });
        Self {
            node: node.to_owned(),
            instance: instance.to_owned(),
            version: status.version.to_owned(),
            prefix: prefix.to_owned(),
            generation: status.generation,
            hash: status.hash.clone(),
            revision: status.revision.iter().map(NodeRevision::from).collect(),
            since: status.serving_since.to_string(),
            started: status.started.to_string(),
            attempted: attempt.map_or_else(String::new, |attempt| attempt.at.to_string()),
            outcome: attempt.map_or_else(String::new, |attempt| attempt.outcome.name().to_owned()),
            refused,
            // How its sources are changes without an attempt, and this is written after attempts.
            degraded: board.stand_ins(),
            unreadable: None,
        }
    }

    /// The value of its key.
    pub(super) fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a node has string keys only, so it serialises")
    }

    fn parse(node: &str, value: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(value) {
            Ok(read) => Self { node: node.to_owned(), unreadable: None, ..read },
            Err(error) => {
                let unreadable = Some(format!("its value is not what a gateway writes: {error}"));
                Self { node: node.to_owned(), unreadable, ..Self::default() }
            }
        }
    }

    /// The layer that it has from the prefix that it follows.
    pub fn layer(&self) -> Option<&NodeRevision> {
        let source = format!("etcd {}", self.prefix);
        self.revision.iter().find(|layer| layer.source == source)
    }

    /// Whether a layer of it has this hash.
    pub fn serves(&self, hash: &str) -> bool {
        self.revision.iter().any(|layer| layer.hash == hash)
    }

    /// Whether it refused a tree with such a layer.
    pub fn refused(&self, hash: &str) -> bool {
        self.refused.as_ref().is_some_and(|tree| tree.revision.iter().any(|layer| layer.hash == hash))
    }

    /// Why the last attempt was refused: one line a finding.
    pub fn reasons(&self) -> Vec<String> {
        let Some(refused) = &self.refused else { return Vec::new() };
        let more = (refused.more > 0).then(|| format!("… and {} more", refused.more));
        refused.diagnostics.iter().map(line).chain(more).collect()
    }
}

impl From<&Revision> for NodeRevision {
    fn from(revision: &Revision) -> Self {
        let Revision { source, revision, hash } = revision.clone();
        Self { source, revision, hash }
    }
}

/// What a gateway is called that was not given a name: its machine's name, and what tells it from others there.
pub fn default_id(host: &str, admin: &str) -> String {
    format!("{host}-{:.6}", Identity::of_bytes(admin.as_bytes()))
}

/// What all gateways say under `status_prefix`, by name.
///
/// # Errors
/// In words, with the endpoint.
pub async fn read(client: &Client, status_prefix: &str) -> Result<Vec<Node>, String> {
    let page = client.range(&Range::prefix(status_prefix).limit(NODES_MAX)).await;
    let page = page.map_err(|error| format!("{status_prefix} cannot be read: {error}"))?;
    let node = |key: &[u8]| String::from_utf8_lossy(&key[status_prefix.len().min(key.len())..]).into_owned();
    Ok(page.kvs.iter().map(|kv| Node::parse(&node(&kv.key), &kv.value)).collect())
}

// What a gateway of another version wrote, in one line.
fn line(diagnostic: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = &diagnostic["at"];
    let place =
        at["file"].as_str().map_or_else(String::new, |file| format!("{file}:{}:{}: ", at["line"], at["column"]));
    let hint = diagnostic["hint"].as_str().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{place}{}{hint}", word(&diagnostic["message"]))
}

fn short(diagnostic: &Diagnostic) -> Value {
    let value = report::json(std::slice::from_ref(diagnostic))[0].take();
    if value.to_string().len() <= DIAGNOSTIC_BYTES_MAX {
        return value;
    }
    let message: String = diagnostic.message.chars().take(DIAGNOSTIC_BYTES_MAX / 8).collect();
    let cut = Diagnostic { message: format!("{message}…"), related: Vec::new(), hint: None, ..diagnostic.clone() };
    report::json(&[cut])[0].take()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        let revision = vec![NodeRevision { source: "etcd /gw/".into(), revision: 7, hash: "abc".into() }];
        Node { node: name.into(), generation: 3, hash: "0123456789abcdef".into(), revision, ..Node::default() }
    }

    #[test]
    fn what_is_written_reads_back_and_anything_else_is_shown_as_it_is() {
        let written = node("a");
        assert_eq!(Node::parse("a", &written.value()), written);
        let newer = Node::parse("a", br#"{"generation": 9, "mood": "good"}"#);
        assert_eq!((newer.generation, newer.unreadable), (9, None));
        assert!(Node::parse("b", b"what").unreadable.is_some_and(|why| why.contains("not what a gateway writes")));
    }

    #[test]
    fn a_long_finding_is_cut() {
        let long = Diagnostic::error("long", "x".repeat(100_000));
        assert!(short(&long).to_string().len() < DIAGNOSTIC_BYTES_MAX);
    }

    #[test]
    fn names_differ_on_one_machine() {
        assert_ne!(default_id("host", "127.0.0.1:9901"), default_id("host", "127.0.0.1:9902"));
        assert!(default_id("host", "x").starts_with("host-"));
    }
}
