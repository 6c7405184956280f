//! A document as a tree of values, each with its position. What `parse` yields and `decode` reads. Knows neither the
//! syntax that it was written in nor what the values mean.

use std::{collections::HashMap, sync::Arc};

use serde_json::Number;

use super::diagnostic::Place;

/// A position in a document: line and column from 1, columns and length in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) length: u32,
}

impl Pos {
    /// The same position as a place in `file`.
    pub(crate) fn within(self, file: &Arc<str>) -> Place {
        Place { file: Arc::clone(file), line: self.line, column: self.column, length: self.length.max(1) }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) pos: Pos,
}

/// What a node holds. Numbers and booleans keep the text that they were written as, for where text is meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool, Box<str>),
    Number(Number, Box<str>),
    Text(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    pub(crate) pos: Pos,
}

impl Node {
    /// What it is, with an article, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(..) => "a boolean",
            Value::Number(..) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The entries, where it is a map.
    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key`, where it is a map that has it.
    pub(crate) fn find(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(candidate, _)| &*candidate.text == key).map(|(_, node)| node)
    }

    /// Moves it down by so many lines.
    pub(crate) fn shift(&mut self, lines: u32) {
        if lines == 0 {
            return;
        }
        self.pos.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    key.pos.line += lines;
                    node.shift(lines);
                }
            }
            _ => {}
        }
    }

    /// The path from here to the value at `pos`: keys and indices, such as `limits.headers-max` or `endpoints[1]`.
    pub(crate) fn path_to(&self, pos: Pos) -> Option<String> {
        let found = |step: String, node: &Self| match node.path_to(pos) {
            Some(rest) if rest.starts_with('[') => Some(format!("{step}{rest}")),
            Some(rest) => Some(format!("{step}.{rest}")),
            None => (node.pos == pos).then_some(step),
        };
        match &self.value {
            Value::List(items) => items.iter().enumerate().find_map(|(index, item)| found(format!("[{index}]"), item)),
            Value::Map(entries) => entries.iter().find_map(|(key, node)| found(key.text.to_string(), node)),
            _ => None,
        }
    }

    /// Calls `found` with both keys of every map entry whose key came before, at any depth.
    pub(crate) fn duplicates(&self, found: &mut impl FnMut(&Key, &Key)) {
        match &self.value {
            Value::List(items) => items.iter().for_each(|item| item.duplicates(found)),
            Value::Map(entries) => {
                let mut seen: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
                for (key, node) in entries {
                    match seen.get(&*key.text) {
                        Some(first) => found(first, key),
                        None => drop(seen.insert(&key.text, key)),
                    }
                    node.duplicates(found);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_path() {
        let pos = |column| Pos { line: 1, column, length: 1 };
        let key = |text: &str| Key { text: text.into(), pos: Pos::default() };
        let at = |column, value| Node { value, pos: pos(column) };
        let inner =
            at(2, Value::List(vec![at(3, Value::Null), at(4, Value::Map(vec![(key("b"), at(5, Value::Null))]))]));
        let outer = at(1, Value::Map(vec![(key("a"), inner)]));
        assert_eq!(outer.path_to(pos(2)).as_deref(), Some("a"));
        assert_eq!(outer.path_to(pos(5)).as_deref(), Some("a[1].b"));
        assert_eq!(outer.path_to(pos(9)), None);
    }

    #[test]
    fn duplicates_are_found_at_any_depth() {
        let key = |text: &str, line| Key { text: text.into(), pos: Pos { line, column: 1, length: 1 } };
        let null = || Node { value: Value::Null, pos: Pos::default() };
        let inner = Node { value: Value::Map(vec![(key("a", 2), null()), (key("a", 3), null())]), pos: Pos::default() };
        let outer = Node { value: Value::List(vec![inner]), pos: Pos::default() };
        let mut lines = Vec::new();
        outer.duplicates(&mut |first, second| lines.push((first.pos.line, second.pos.line)));
        assert_eq!(lines, [(2, 3)]);
    }
}
