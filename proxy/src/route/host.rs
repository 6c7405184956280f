//! The rows of one host: found by path first, then by the other conditions of the rows that share it. Rows with one path stand
//! together, and versions share what has the same ones; a host whose rows are all the same is the same object.

use std::{borrow::Cow, cmp::Reverse, sync::Arc};

use super::{
    BuildError, Head, Row,
    condition::{self, Conditions},
    index::Index,
    pattern::{Pattern, Patterns},
    prefix::{self, Prefixes},
    template::{self, Templates},
};
use crate::{config::spec::PathPattern, identity::Identity};

/// All rows of one host.
#[derive(Clone)]
pub(super) struct HostTable<T> {
    exact: Index<Leaf<T>>,
    templates: Templates<Leaf<T>>,
    /// The most specific first; each of one row.
    regexes: Arc<[(Pattern, Leaf<T>)]>,
    prefixes: Prefixes<Leaf<T>>,
    rows: usize,
}

/// Rows with one path pattern, the most specific first.
type Leaf<T> = Arc<[Entry<T>]>;

#[derive(Clone)]
struct Entry<T> {
    identity: Identity,
    conditions: Option<Arc<Conditions>>,
    value: T,
}

// What rows are sorted by before their conditions: rows with an equal path key share a leaf. Variants stand in order
// of precedence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathKey<'a> {
    Exact(&'a str),
    Template(Cow<'a, str>),
    Regex(Reverse<usize>),
    Prefix(&'a str),
}

impl<'a> PathKey<'a> {
    fn of(path: &'a PathPattern) -> Self {
        match path {
            PathPattern::Exact(path) => Self::Exact(path),
            PathPattern::Template(path) => Self::Template(template::normal(path).into()),
            PathPattern::Regex(text) => Self::Regex(Reverse(text.chars().count())),
            PathPattern::Prefix(path) => Self::Prefix(prefix::normal(path)),
        }
    }
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self {
            exact: Index::default(),
            templates: Templates::default(),
            regexes: [].into(),
            prefixes: Prefixes::default(),
            rows: 0,
        }
    }
}

impl<T> HostTable<T> {
    /// What the row of this host leads to that `head` belongs to.
    pub(super) fn find<'t>(&'t self, head: &Head<'_>) -> Option<&'t T> {
        let exact = || self.exact.get(head.path).into_iter();
        let templates = || self.templates.along(head.path);
        let regexes = || {
            let matching = |(pattern, leaf)| Pattern::matches(pattern, head.path.as_bytes()).then_some(leaf);
            self.regexes.iter().map(|(pattern, leaf)| (pattern, leaf)).filter_map(matching)
        };
        let pick = |leaf: &'t Leaf<T>| pick(leaf, head);
        exact()
            .find_map(pick)
            .or_else(|| templates().find_map(pick))
            .or_else(|| regexes().find_map(pick))
            .or_else(|| self.prefixes.along(head.path).find_map(pick))
    }

    /// Whether it has no row.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

fn pick<'t, T>(leaf: &'t Leaf<T>, head: &Head<'_>) -> Option<&'t T> {
    let holds = |entry: &&Entry<T>| entry.conditions.as_ref().is_none_or(|conditions| conditions.hold(head));
    leaf.iter().find(holds).map(|entry| &entry.value)
}

impl<T: Clone> HostTable<T> {
    /// The table of `rows`, which stand in their order. What is as in `before` is the same object: rows with one path, or all.
    pub(super) fn build(
        rows: &[&Row<T>],
        patterns: &Patterns,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, BuildError> {
        let mut sorted: Vec<_> = rows.iter().map(|row| (PathKey::of(&row.on.path), *row)).collect();
        // Stable, so that the order decides last.
        sorted.sort_by(|(path, row), (other_path, other)| {
            let specificity = |row: &Row<T>| Reverse(condition::specificity(&row.on));
            path.cmp(other_path).then_with(|| specificity(row).cmp(&specificity(other)))
        });
        let mut building = Building { patterns, before: before.map(|before| &**before), shared: 0 };
        let table = building.table(&sorted)?;
        Ok(match before {
            Some(before) if (building.shared, before.rows) == (rows.len(), rows.len()) => Arc::clone(before),
            _ => Arc::new(table),
        })
    }

    /// Puts `now` in the place of a row that differs in nothing but its value.
    pub(super) fn replace(&mut self, before: &Row<T>, now: &Row<T>) -> Option<()> {
        self.change(before, |leaf| {
            let at = leaf.iter().position(|entry| entry.identity == before.identity)?;
            let mut entries = leaf.to_vec();
            entries[at] = Entry { identity: now.identity, value: now.value.clone(), ..entries[at].clone() };
            Some(entries)
        })
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, row: &Row<T>) -> Option<()> {
        self.change(row, |leaf| {
            let at = leaf.iter().position(|entry| entry.identity == row.identity)?;
            let mut entries = leaf.to_vec();
            entries.remove(at);
            Some(entries)
        })?;
        self.rows -= 1;
        Some(())
    }

    /// Puts a row in. `None` where only the order of all rows says where it stands: build anew then.
    pub(super) fn insert(&mut self, row: &Row<T>, patterns: &Patterns) -> Result<Option<()>, BuildError> {
        let entry = Entry::of(row, patterns)?;
        let put = |leaf: &[Entry<T>]| {
            let more = entry.specificity();
            let at = leaf.iter().position(|other| other.specificity() <= more).unwrap_or(leaf.len());
            let mut entries = leaf.to_vec();
            let is_alone = leaf.get(at).is_none_or(|other| other.specificity() != more);
            is_alone.then(|| {
                entries.insert(at, entry.clone());
                entries
            })
        };
        let put = match &row.on.path {
            PathPattern::Regex(text) => self.insert_regex(text, entry.clone(), patterns)?,
            _ => self.change(row, put),
        };
        self.rows += usize::from(put.is_some());
        Ok(put)
    }

    fn insert_regex(&mut self, text: &str, entry: Entry<T>, patterns: &Patterns) -> Result<Option<()>, BuildError> {
        let long = |pattern: &Pattern| pattern.text().chars().count();
        let chars = text.chars().count();
        let at = self.regexes.iter().position(|(other, _)| long(other) <= chars).unwrap_or(self.regexes.len());
        if self.regexes.get(at).is_some_and(|(other, _)| long(other) == chars) {
            return Ok(None);
        }
        let mut regexes = self.regexes.to_vec();
        regexes.insert(at, (patterns.find(text)?, [entry].into()));
        self.regexes = regexes.into();
        Ok(Some(()))
    }

    /// Changes the rows that have the path of `row`; of regular expressions, `row` itself.
    fn change(&mut self, row: &Row<T>, change: impl FnOnce(&[Entry<T>]) -> Option<Vec<Entry<T>>>) -> Option<()> {
        match PathKey::of(&row.on.path) {
            PathKey::Exact(path) => {
                let leaf = change(self.exact.get(path).map_or(&[], |leaf| leaf))?;
                if leaf.is_empty() { self.exact.remove(path) } else { self.exact.set(path, leaf.into()) }
            }
            PathKey::Template(path) => {
                let leaf = change(self.templates.get(&path).map_or(&[], |leaf| leaf))?;
                self.templates.set(&path, (!leaf.is_empty()).then(|| leaf.into()));
            }
            PathKey::Prefix(path) => {
                let leaf = change(self.prefixes.get(path).map_or(&[], |leaf| leaf))?;
                if leaf.is_empty() { self.prefixes.remove(path) } else { self.prefixes.set(path, leaf.into()) }
            }
            PathKey::Regex(_) => {
                let at = self.regexes.iter().position(|(_, leaf)| leaf[0].identity == row.identity)?;
                let leaf = change(&self.regexes[at].1)?;
                let mut regexes = self.regexes.to_vec();
                if leaf.is_empty() {
                    drop(regexes.remove(at))
                } else {
                    regexes[at].1 = leaf.into()
                }
                self.regexes = regexes.into();
            }
        }
        Some(())
    }
}

/// A table that is being made.
struct Building<'a, T> {
    patterns: &'a Patterns,
    before: Option<&'a HostTable<T>>,
    /// Rows whose leaf is the one of before.
    shared: usize,
}

impl<T: Clone> Building<'_, T> {
    fn table(&mut self, sorted: &[(PathKey<'_>, &Row<T>)]) -> Result<HostTable<T>, BuildError> {
        let (mut exact, mut prefixes, mut regexes, mut templates) =
            (Vec::new(), Vec::new(), Vec::new(), Templates::default());
        for rows in sorted.chunk_by(|(path, _), (next, _)| path == next) {
            match &rows[0].0 {
                PathKey::Exact(path) => {
                    let known = self.before.and_then(|before| before.exact.get(path));
                    exact.push((Arc::from(*path), self.leaf(rows, known)?));
                }
                PathKey::Template(path) => {
                    let known = self.before.and_then(|before| before.templates.get(path));
                    templates.set(path, Some(self.leaf(rows, known)?));
                }
                PathKey::Prefix(path) => {
                    let known = self.before.and_then(|before| before.prefixes.get(path));
                    prefixes.push((Arc::from(*path), self.leaf(rows, known)?));
                }
                // Equally long ones are told apart by their other conditions, so each row is a leaf.
                PathKey::Regex(_) => {
                    for one in rows.chunks(1) {
                        if let PathPattern::Regex(text) = &one[0].1.on.path {
                            let known = self.before.and_then(|before| before.regexes.get(regexes.len()));
                            regexes.push((self.patterns.find(text)?, self.leaf(one, known.map(|(_, leaf)| leaf))?));
                        }
                    }
                }
            }
        }
        Ok(HostTable {
            exact: Index::of(exact.into_iter()),
            templates,
            regexes: regexes.into(),
            prefixes: Prefixes::of(prefixes),
            rows: sorted.len(),
        })
    }

    fn leaf(&mut self, rows: &[(PathKey<'_>, &Row<T>)], known: Option<&Leaf<T>>) -> Result<Leaf<T>, BuildError> {
        let is_of =
            |leaf: &&Leaf<T>| leaf.iter().map(|entry| entry.identity).eq(rows.iter().map(|(_, row)| row.identity));
        if let Some(leaf) = known.filter(is_of) {
            self.shared += rows.len();
            return Ok(Arc::clone(leaf));
        }
        rows.iter().map(|(_, row)| Entry::of(row, self.patterns)).collect()
    }
}

impl<T: Clone> Entry<T> {
    fn of(row: &Row<T>, patterns: &Patterns) -> Result<Self, BuildError> {
        let conditions = Conditions::build(&row.on, patterns)?;
        Ok(Self { identity: row.identity, conditions, value: row.value.clone() })
    }

    fn specificity(&self) -> (bool, usize, usize) {
        self.conditions.as_ref().map_or((false, 0, 0), |conditions| conditions.specificity())
    }
}
