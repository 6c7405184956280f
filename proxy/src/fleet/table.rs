//! The fleet at one time: which gateway serves what should be served, which does not, and why; as people read it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Node;

/// The gateways that follow one prefix.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fleet {
    /// The prefix.
    pub prefix: String,
    /// Whether there is a gateway, and every one serves what should be served.
    pub healthy: bool,
    /// By name.
    pub nodes: Vec<Member>,
    /// How many gateways follow other prefixes, by prefix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub elsewhere: BTreeMap<String, usize>,
}

/// One gateway, and how it stands to the others.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// In one word.
    pub state: State,
    /// What it says.
    #[serde(flatten)]
    pub node: Node,
}

/// How a gateway stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It serves what is newest.
    Serving,
    /// Another gateway serves a newer revision, and it does not say why it does not.
    Behind,
    /// It refused the last tree that it read, and serves the one before.
    Refused,
    /// The last good tree serves in place of what it should read.
    Degraded,
    /// What it wrote is not what a gateway writes.
    Unreadable,
}

impl Fleet {
    /// Of all gateways that say something, those that follow `prefix`. What cannot be read may be any of them.
    pub fn of(all: Vec<Node>, prefix: &str) -> Self {
        let mut elsewhere = BTreeMap::new();
        let mut own = Vec::new();
        for node in all {
            match node.unreadable.is_some() || node.prefix == prefix {
                true => own.push(node),
                false => *elsewhere.entry(node.prefix).or_default() += 1,
            }
        }
        let layers = own.iter().filter_map(Node::layer);
        let newest = layers.max_by_key(|layer| layer.revision).cloned();
        let state = |node: &Node| State::of(node, newest.as_ref().is_none_or(|newest| node.serves(&newest.hash)));
        let nodes: Vec<_> = own.into_iter().map(|node| Member { state: state(&node), node }).collect();
        let healthy = !nodes.is_empty() && nodes.iter().all(|member| member.state == State::Serving);
        Self { prefix: prefix.to_owned(), healthy, nodes, elsewhere }
    }

    /// One line a gateway, then what is wrong with which.
    pub fn text(&self) -> String {
        let mut text = match self.nodes.is_empty() {
            true => format!("no gateway says that it follows {}\n", self.prefix),
            false => self.table() + &self.whys(),
        };
        if !self.elsewhere.is_empty() {
            let others: Vec<_> = self.elsewhere.iter().map(|(prefix, count)| format!("{prefix} ({count})")).collect();
            text.push_str(&format!("\nothers follow {}: see them with --etcd-prefix\n", printable(&others.join(", "))));
        }
        text
    }

    fn table(&self) -> String {
        let head = ["NODE", "STATE", "GENERATION", "REVISION", "HASH", "SINCE", "VERSION"].map(str::to_owned);
        let mut rows = vec![head];
        rows.extend(self.nodes.iter().map(Member::row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
        let line = |row: &[String; 7]| {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        rows.iter().map(line).collect()
    }

    fn whys(&self) -> String {
        let mut text = String::new();
        for Member { node, .. } in &self.nodes {
            let whys = node.unreadable.iter().cloned().chain(node.degraded.iter().cloned()).chain(node.reasons());
            let whys: String = whys.map(|why| format!("  {}\n", printable(&why).replace('\n', "\n  "))).collect();
            if !whys.is_empty() {
                text.push_str(&format!("\n{}:\n{whys}", printable(&node.node)));
            }
        }
        text
    }
}

impl State {
    fn of(node: &Node, newest: bool) -> Self {
        match node {
            Node { unreadable: Some(_), .. } => Self::Unreadable,
            Node { refused: Some(_), .. } => Self::Refused,
            Node { degraded, .. } if !degraded.is_empty() => Self::Degraded,
            _ if newest => Self::Serving,
            _ => Self::Behind,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Behind => "behind",
            Self::Refused => "refused",
            Self::Degraded => "degraded",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Member {
    fn row(&self) -> [String; 7] {
        let Self { state, node } = self;
        let revisions = |layers: &[super::NodeRevision]| {
            let revisions: Vec<_> = layers.iter().map(|layer| layer.revision.to_string()).collect();
            revisions.join("+")
        };
        let refused = node.refused.as_ref().map_or_else(String::new, |tree| format!(" {}", revisions(&tree.revision)));
        let row = [
            node.node.clone(),
            format!("{}{refused}", state.name()),
            node.generation.to_string(),
            revisions(&node.revision),
            node.hash.chars().take(12).collect(),
            node.since.clone(),
            node.version.clone(),
        ];
        row.map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(&cell) })
    }
}

// Whoever may write there must not write to our terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::{NodeRevision, RefusedTree};

    fn node(name: &str, revision: u64, hash: &str) -> Node {
        let revision = vec![NodeRevision { source: "etcd /gw/".into(), revision, hash: hash.into() }];
        let hash = "0123456789abcdef".into();
        Node { node: name.into(), prefix: "/gw/".into(), generation: 3, hash, revision, ..Node::default() }
    }

    fn refusing() -> Node {
        let revision = vec![NodeRevision { source: "etcd /gw/".into(), revision: 9, hash: "def".into() }];
        let diagnostics = vec![json!({"message": "no field `paht`", "hint": "did you mean `path`?"})];
        Node { refused: Some(RefusedTree { revision, diagnostics, more: 2 }), ..node("another", 7, "abc") }
    }

    #[test]
    fn every_gateway_is_in_one_state_and_all_must_serve_what_is_newest() {
        let degraded = Node { degraded: vec!["etcd /gw/ cannot be read".into()], ..node("d", 9, "new") };
        let unreadable = Node { node: "u".into(), unreadable: Some("what".into()), ..Node::default() };
        let elsewhere = Node { prefix: "/other/".into(), ..node("e", 99, "x") };
        for (nodes, states, healthy) in [
            (vec![], &[][..], false),
            (vec![elsewhere.clone()], &[], false),
            (vec![node("a", 9, "new"), elsewhere], &[State::Serving], true),
            (vec![node("a", 9, "new"), node("b", 10, "new")], &[State::Serving, State::Serving], true),
            (vec![node("a", 9, "new"), node("b", 8, "old")], &[State::Serving, State::Behind], false),
            (vec![refusing()], &[State::Refused], false),
            (vec![degraded], &[State::Degraded], false),
            (vec![unreadable, node("a", 9, "new")], &[State::Unreadable, State::Serving], false),
        ] {
            let fleet = Fleet::of(nodes, "/gw/");
            let found: Vec<_> = fleet.nodes.iter().map(|member| member.state).collect();
            assert_eq!((&found[..], fleet.healthy), (states, healthy), "{fleet:?}");
        }
    }

    #[test]
    fn the_table_says_who_refused_and_why() {
        let elsewhere = Node { prefix: "/other/".into(), ..Node::default() };
        let text = Fleet::of(vec![node("one", 7, "abc"), refusing(), elsewhere], "/gw/").text();
        for part in [
            "NODE ",
            "one      serving    3 ",
            " 7         0123456789ab  ",
            "refused 9",
            "another:\n  no field `paht` (did you mean `path`?)\n  … and 2 more",
            "others follow /other/ (1)",
        ] {
            assert!(text.contains(part), "`{part}` in\n{text}");
        }
        assert_eq!(Fleet::of(Vec::new(), "/gw/").text(), "no gateway says that it follows /gw/\n");
        let odd = Fleet::of(vec![node("\x1b[2J", 7, "abc")], "/gw/").text();
        assert!(!odd.contains('\x1b'), "{odd:?}");
    }
}
