//! Waiting until every gateway serves what was pushed, or until it is known which do not.

use std::time::{Duration, Instant};

use super::{Node, read};
use crate::etcd::Client;

/// How the fleet stands to one push.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Those that serve it, by name.
    pub serving: Vec<String>,
    /// Those that do not, each with why.
    pub missing: Vec<(String, Vec<String>)>,
}

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

impl Verdict {
    /// Whether every node serves it, and there is one.
    pub fn is_done(&self) -> bool {
        self.missing.is_empty() && !self.serving.is_empty()
    }

    /// Of the nodes that follow `prefix`: who serves the layer with this hash, which is of that revision.
    fn of(nodes: &[Node], prefix: &str, hash: &str, revision: i64) -> (Self, bool) {
        let (mut verdict, mut settled) = (Self::default(), true);
        for node in nodes.iter().filter(|node| node.prefix == prefix || node.unreadable.is_some()) {
            // Of one that refused another state of the prefix, the word is about to change.
            if node.serves(hash) && (node.refused.is_none() || node.refused(hash)) {
                verdict.serving.push(node.node.clone());
                continue;
            }
            let newer = node.revision.iter().chain(node.refused.iter().flat_map(|tree| &tree.revision));
            let newer = newer.filter(|layer| layer.source.contains(prefix) && layer.hash != hash);
            let newer = newer.map(|layer| layer.revision).find(|at| i64::try_from(*at).is_ok_and(|at| at > revision));
            let (whys, decided) = match (&node.unreadable, newer) {
                _ if node.refused(hash) => (node.reasons(), true),
                (Some(why), _) => (vec![why.clone()], true),
                (None, Some(newer)) => {
                    (vec![format!("it has seen revision {newer} already, which holds something else")], true)
                }
                (None, None) => (waits(node, hash), false),
            };
            settled &= decided;
            verdict.missing.push((node.node.clone(), whys));
        }
        let settled = settled && !(verdict.serving.is_empty() && verdict.missing.is_empty());
        (verdict, settled)
    }
}

fn waits(node: &Node, hash: &str) -> Vec<String> {
    let (generation, serves) = (node.generation, &node.hash);
    let mut whys = vec![match node.serves(hash) {
        true => format!("it serves generation {generation}, which has it, and refused something else since"),
        false => format!("it still serves generation {generation} (hash {serves:.12})"),
    }];
    whys.extend(node.degraded.iter().cloned());
    whys.extend(node.reasons());
    whys
}

/// Waits until every gateway that follows `prefix` serves the layer with this `hash`, which was pushed as `revision`; until
/// all others have refused it; or until `deadline` has passed.
///
/// # Errors
/// In words, where etcd does not answer at the end.
pub async fn wait(
    client: &Client,
    status_prefix: &str,
    (prefix, hash, revision): (&str, &str, i64),
    deadline: Duration,
) -> Result<Verdict, String> {
    let end = Instant::now() + deadline;
    loop {
        let nodes = read(client, status_prefix).await;
        let late = Instant::now() >= end;
        match nodes.map(|nodes| Verdict::of(&nodes, prefix, hash, revision)) {
            Ok((verdict, settled)) if settled || late => return Ok(verdict),
            Err(error) if late => return Err(error),
            _ => tokio::time::sleep(INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{NodeRevision, RefusedTree};

    fn layers(revision: u64, hash: &str) -> Vec<NodeRevision> {
        vec![NodeRevision { source: "etcd /gw/".into(), revision, hash: hash.into() }]
    }

    fn node(name: &str, revision: u64, hash: &str) -> Node {
        let (prefix, revision) = ("/gw/".to_owned(), layers(revision, hash));
        Node { node: name.into(), prefix, revision, ..Node::default() }
    }

    #[test]
    fn it_is_settled_when_everybody_has_decided() {
        let refusing_of = |hash: &str| {
            let refused = Some(RefusedTree { revision: layers(9, hash), ..RefusedTree::default() });
            Node { refused, ..node("r", 8, "old") }
        };
        let refusing = refusing_of("new");
        let elsewhere = Node { prefix: "/other/".into(), ..node("e", 1, "x") };
        let refused_before = Node { revision: layers(8, "new"), ..refusing_of("other") };
        let refused_beside = Node { revision: layers(8, "new"), ..refusing_of("new") };
        for (nodes, serving, missing, settled) in [
            (vec![refused_before], 0, 1, false),
            (vec![refused_beside], 1, 0, true),
            (vec![], 0, 0, false),
            (vec![elsewhere.clone()], 0, 0, false),
            (vec![node("a", 9, "new"), elsewhere], 1, 0, true),
            (vec![node("a", 9, "new"), node("b", 8, "old")], 1, 1, false),
            (vec![node("a", 9, "new"), refusing.clone()], 1, 1, true),
            (vec![refusing, node("b", 8, "old")], 0, 2, false),
            (vec![node("a", 10, "newer")], 0, 1, true),
        ] {
            let (verdict, is_settled) = Verdict::of(&nodes, "/gw/", "new", 9);
            let found = (verdict.serving.len(), verdict.missing.len(), is_settled);
            assert_eq!(found, (serving, missing, settled), "{nodes:?}");
            assert_eq!(verdict.is_done(), serving > 0 && missing == 0);
        }
    }
}
