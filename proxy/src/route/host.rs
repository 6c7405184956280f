//! The rows of one host: found by path first, then by the other conditions of the rows that share it. Immutable, and
//! the same object in every version whose rows for this host are the same.

use std::{borrow::Cow, cmp::Reverse, collections::HashMap, ops::Range};

use foldhash::fast::RandomState;

use super::{
    BuildError, Head, Row,
    condition::{self, Conditions},
    pattern::{Pattern, Patterns},
    prefix::{self, Prefixes},
    template::{self, Templates},
};
use crate::{config::spec::PathPattern, identity::Identity};

/// All rows of one host.
pub(super) struct HostTable<T> {
    // Of the rows, in their order.
    identities: Box<[Identity]>,
    // Those with one path pattern stand together, the most specific first.
    entries: Box<[Entry<T>]>,
    exact: HashMap<Box<str>, Span, RandomState>,
    templates: Templates<Span>,
    regexes: Box<[(Pattern, Span)]>,
    prefixes: Prefixes<Span>,
}

struct Entry<T> {
    conditions: Option<Box<Conditions>>,
    value: T,
}

// A range of entries.
#[derive(Clone, Copy, Debug)]
struct Span(u32, u32);

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

impl<T> HostTable<T> {
    /// Whether it was built of these rows.
    pub(super) fn is_of(&self, rows: &[&Row<T>]) -> bool {
        self.identities.iter().eq(rows.iter().map(|row| &row.identity))
    }

    /// What the row of this host leads to that `head` belongs to.
    pub(super) fn find(&self, head: &Head<'_>) -> Option<&T> {
        let exact = || self.exact.get(head.path).into_iter();
        let templates = || self.templates.along(head.path);
        let regexes = || {
            let matching = |(pattern, span)| Pattern::matches(pattern, head.path.as_bytes()).then_some(span);
            self.regexes.iter().map(|(pattern, span)| (pattern, span)).filter_map(matching)
        };
        let pick = |span: &Span| self.pick(*span, head);
        exact()
            .find_map(pick)
            .or_else(|| templates().find_map(pick))
            .or_else(|| regexes().find_map(pick))
            .or_else(|| self.prefixes.along(head.path).find_map(pick))
    }

    fn pick(&self, span: Span, head: &Head<'_>) -> Option<&T> {
        let holds = |entry: &&Entry<T>| entry.conditions.as_ref().is_none_or(|conditions| conditions.hold(head));
        self.entries[span.range()].iter().find(holds).map(|entry| &entry.value)
    }
}

impl<T: Clone> HostTable<T> {
    /// Builds the table of `rows`, which stand in their order.
    pub(super) fn build(rows: &[&Row<T>], patterns: &Patterns) -> Result<Self, BuildError> {
        let mut sorted: Vec<_> = rows.iter().map(|row| (PathKey::of(&row.on.path), *row)).collect();
        // Stable, so that the order decides last.
        sorted.sort_by(|(path, row), (other_path, other)| {
            let specificity = |row: &Row<T>| Reverse(condition::specificity(&row.on));
            path.cmp(other_path).then_with(|| specificity(row).cmp(&specificity(other)))
        });
        let entry = |(_, row): &(PathKey<'_>, &Row<T>)| {
            Ok(Entry { conditions: Conditions::build(&row.on, patterns)?, value: row.value.clone() })
        };
        let mut table = Self {
            identities: rows.iter().map(|row| row.identity).collect(),
            entries: sorted.iter().map(entry).collect::<Result<_, _>>()?,
            exact: HashMap::default(),
            templates: Templates::default(),
            regexes: Box::default(),
            prefixes: Prefixes::default(),
        };
        table.index(&sorted, patterns)?;
        Ok(table)
    }

    fn index(&mut self, sorted: &[(PathKey<'_>, &Row<T>)], patterns: &Patterns) -> Result<(), BuildError> {
        let mut regexes = Vec::new();
        let mut start = 0;
        for leaf in sorted.chunk_by(|(path, _), (next, _)| path == next) {
            let span = Span::new(start, start + leaf.len());
            match &leaf[0].0 {
                PathKey::Exact(path) => drop(self.exact.insert((*path).into(), span)),
                PathKey::Template(path) => self.templates.insert(path, span),
                PathKey::Prefix(path) => self.prefixes.insert(path, span),
                // Equally long ones are told apart by their other conditions, so each row is a leaf.
                PathKey::Regex(_) => {
                    for (offset, (_, row)) in leaf.iter().enumerate() {
                        if let PathPattern::Regex(text) = &row.on.path {
                            regexes.push((patterns.find(text)?, Span::new(start + offset, start + offset + 1)));
                        }
                    }
                }
            }
            start += leaf.len();
        }
        self.regexes = regexes.into();
        Ok(())
    }
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let narrow = |index: usize| u32::try_from(index).expect("a configuration has fewer than 2^32 rows");
        Self(narrow(start), narrow(end))
    }

    const fn range(self) -> Range<usize> {
        self.0 as usize..self.1 as usize
    }
}
