//! Writes nodes of the native form, each value where the manifest's stands, so that whatever is found wrong with it is
//! shown there. Knows no field in particular.

use std::sync::Arc;

use crate::config::{
    document::{Kind, Object},
    node::{Key, Node, Pos, Value},
};

/// A map that is being written.
#[derive(Debug)]
pub(super) struct Map {
    pos: Pos,
    entries: Vec<(Key, Node)>,
}

impl Map {
    /// An empty map that stands at `pos`.
    pub(super) const fn at(pos: Pos) -> Self {
        Self { pos, entries: Vec::new() }
    }

    /// With one more entry.
    pub(super) fn with(mut self, key: &str, node: Node) -> Self {
        self.put(key, node);
        self
    }

    /// Adds an entry; the first of a name counts.
    pub(super) fn put(&mut self, key: &str, node: Node) {
        if self.entries.iter().all(|(own, _)| &*own.text != key) {
            self.entries.push((Key { text: key.into(), pos: node.pos }, node));
        }
    }

    /// Adds an entry if there is one.
    pub(super) fn maybe(&mut self, key: &str, node: Option<Node>) {
        if let Some(node) = node {
            self.put(key, node);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn node(self) -> Node {
        Node { value: Value::Map(self.entries), pos: self.pos }
    }
}

/// A text.
pub(super) fn text(text: &str, pos: Pos) -> Node {
    Node { value: Value::Text(text.into()), pos }
}

/// A text in which nothing stands for a secret.
pub(super) fn plain(content: &str, pos: Pos) -> Node {
    text(&content.replace("${", "$${"), pos)
}

/// A whole number.
pub(super) fn number(number: u64, pos: Pos) -> Node {
    Node { value: Value::Number(number.into(), number.to_string().into()), pos }
}

/// A number that need not be whole.
pub(super) fn real(number: f64, pos: Pos) -> Node {
    let text = number.to_string().into();
    Node { value: serde_json::Number::from_f64(number).map_or(Value::Null, |number| Value::Number(number, text)), pos }
}

/// A truth value.
pub(super) fn boolean(value: bool, pos: Pos) -> Node {
    Node { value: Value::Bool(value, value.to_string().into()), pos }
}

/// A list.
pub(super) const fn list(items: Vec<Node>, pos: Pos) -> Node {
    Node { value: Value::List(items), pos }
}

/// An object of the native form.
pub(super) fn object(kind: Kind, name: &str, node: Node, (file, at): (&Arc<str>, Pos)) -> Arc<Object> {
    Arc::new(Object { kind, name: name.into(), at, node, file: Arc::clone(file), stands_at: None })
}

/// A name of the native form made of several: those that are too long are cut, and end on a hash of the whole.
pub(super) fn name(parts: &[&str]) -> String {
    let whole = parts.join(".");
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean: String = whole.chars().map(|c| if usable(c) { c } else { '-' }).collect();
    if clean.len() <= NAME_BYTES_MAX && clean == whole {
        return clean;
    }
    let hash = crate::identity::Identity::of_bytes(whole.as_bytes()).to_string();
    let end = clean.len().min(NAME_BYTES_MAX - HASH_BYTES - 1);
    format!("{}-{}", &clean[..end], &hash[..HASH_BYTES])
}

/// What the native form allows.
const NAME_BYTES_MAX: usize = 128;
const HASH_BYTES: usize = 12;
