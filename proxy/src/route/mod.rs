//! The route table: which row of a listener's table a request belongs to. Pure, generic over what a row holds, and
//! shared between versions host by host. Must not know what the rows lead to.
//!
//! Precedence is that of HTTPRoute v1 of the Kubernetes Gateway API, over all rows whose conditions hold. Each rule
//! decides only what those before it leave open:
//!
//! 1. *Host*: an exact host, then the longest `*.suffix`, then no host at all. A less specific host is asked when no
//!    row of a more specific one matches.
//! 2. *Path*: exact, then template, then regular expression, then prefix. Of templates, the one that has a literal
//!    segment where the other has a `{name}`, at the leftmost difference; of regular expressions, the one with more
//!    characters; of prefixes, the longest.
//! 3. *Method*: a row that asks for one.
//! 4. *Header conditions*: more of them.
//! 5. *Query conditions*: more of them.
//! 6. *Order*: the row that stands first.
//!
//! (Templates and regular expressions are not ranked by the Gateway API; their places are ours.)

mod by_host;
#[cfg(test)]
mod cases;
mod condition;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod host;
mod pattern;
mod prefix;
#[cfg(any(test, fuzzing))]
mod reference;
mod template;

use std::{collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;
use http::{HeaderMap, Method};

pub use self::by_host::ByHost;
use self::{host::HostTable, pattern::Patterns, prefix::Depths};
use crate::{
    config::spec::{HostPattern, Match},
    identity::Identity,
};

/// One way to reach a value: a match of a route under its hosts.
#[derive(Clone, Debug)]
pub struct Row<T> {
    /// Hosts; any where empty.
    pub hosts: Arc<[HostPattern]>,
    /// The conditions.
    pub on: Arc<Match>,
    /// Equal identity, equal row, `value` included: what host tables are compared by when a new version is built.
    pub identity: Identity,
    /// What it leads to.
    pub value: T,
}

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Lower-case, without port. One trailing dot is ignored (`example.com.` is `example.com`).
    pub host: &'a str,
    /// Normalised.
    pub path: &'a str,
    /// Without `?`.
    pub query: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
}

/// Why a table could not be built. A checked configuration has no such row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// The pattern or name at fault.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// All routes of one listener. Cloning shares everything.
#[derive(Clone)]
pub struct Table<T>(Arc<Hosts<T>>);

struct Hosts<T> {
    exact: HashMap<Box<str>, Arc<HostTable<T>>, RandomState>,
    // By suffix, without `*.`.
    wildcard: HashMap<Box<str>, Arc<HostTable<T>>, RandomState>,
    wildcard_labels: Depths,
    any: Option<Arc<HostTable<T>>>,
    patterns: Patterns,
    // Whether a row may have a condition on header fields.
    fields: bool,
    built: usize,
}

impl<T: Clone> Table<T> {
    /// Builds a table of `rows`, in their order of precedence where nothing else decides. A host whose rows are those
    /// of `previous` (by identity, in the same order) keeps its table from there, and a regular expression is compiled
    /// once for all versions that have it.
    ///
    /// # Errors
    /// When a regular expression or header name is not valid, or over [`crate::config::spec::REGEX_BYTES_MAX`].
    pub fn build(rows: &[Row<T>], previous: Option<&Self>) -> Result<Self, BuildError> {
        let previous = previous.map(|table| &*table.0);
        let patterns = Patterns::of(rows.iter().map(|row| &*row.on), previous.map(|hosts| &hosts.patterns))?;
        let fields = rows.iter().any(|row| !row.on.headers.is_empty());
        let mut hosts = Hosts { patterns, fields, ..Hosts::default() };
        for (host, rows) in by_host(rows) {
            hosts.take(host, &rows, previous)?;
        }
        Ok(Self(Arc::new(hosts)))
    }

    /// The table in which these hosts (`None` is any) have these rows, all of theirs and in their order, and all others
    /// what they have here. `None` where a row has a regular expression that is not known here: then build anew.
    ///
    /// # Errors
    /// As [`Table::build`].
    pub fn with<'a>(
        &self,
        changed: impl Iterator<Item = (Option<&'a HostPattern>, Vec<&'a Row<T>>)>,
    ) -> Result<Option<Self>, BuildError>
    where
        T: 'a,
    {
        let before = &*self.0;
        let mut hosts = Hosts {
            exact: before.exact.clone(),
            wildcard: before.wildcard.clone(),
            wildcard_labels: before.wildcard_labels,
            any: before.any.clone(),
            patterns: before.patterns.clone(),
            fields: before.fields,
            built: 0,
        };
        for (host, rows) in changed {
            if !rows.iter().all(|row| hosts.patterns.has_all_of(&row.on)) {
                return Ok(None);
            }
            hosts.fields |= rows.iter().any(|row| !row.on.headers.is_empty());
            if rows.is_empty() {
                hosts.remove(host);
            } else {
                hosts.take(host, &rows, Some(before))?;
            }
        }
        Ok(Some(Self(Arc::new(hosts))))
    }
}

impl<T> Table<T> {
    /// What the row leads to that `head` belongs to. Allocates nothing but for a header field in several lines, or a
    /// query parameter, that is over 128 bytes and compared with a regular expression.
    pub fn find(&self, head: &Head<'_>) -> Option<&T> {
        self.0.along(head.host).find_map(|table| table.find(head))
    }

    /// Whether which row a request belongs to may depend on its header fields.
    pub fn looks_at_fields(&self) -> bool {
        self.0.fields
    }

    /// How many host tables were built for this version and not taken from the one before.
    pub fn built(&self) -> usize {
        self.0.built
    }

    /// How many host tables there are, the one for any host included.
    pub fn hosts(&self) -> usize {
        self.0.exact.len() + self.0.wildcard.len() + usize::from(self.0.any.is_some())
    }
}

// A host named twice by one row counts once.
fn by_host<T>(rows: &[Row<T>]) -> HashMap<Option<&HostPattern>, Vec<&Row<T>>, RandomState> {
    let mut hosts: HashMap<_, Vec<&Row<T>>, RandomState> = HashMap::default();
    for row in rows {
        let any = row.hosts.is_empty().then_some(None);
        let named = row.hosts.iter().map(HostPattern::named);
        for host in any.into_iter().chain(named) {
            let of_host = hosts.entry(host).or_default();
            if !of_host.last().is_some_and(|last| std::ptr::eq(*last, row)) {
                of_host.push(row);
            }
        }
    }
    hosts
}

impl<T> Hosts<T> {
    fn under(&self, host: Option<&HostPattern>) -> Option<&Arc<HostTable<T>>> {
        match host {
            None => self.any.as_ref(),
            Some(HostPattern::Exact(name)) => self.exact.get(name.as_str()),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard.get(suffix.as_str()),
        }
    }

    // The table of these rows, taken from there if it is the same.
    fn take(&mut self, host: Option<&HostPattern>, rows: &[&Row<T>], previous: Option<&Self>) -> Result<(), BuildError>
    where
        T: Clone,
    {
        let kept = previous.and_then(|previous| previous.under(host)).filter(|table| table.is_of(rows));
        let table = match kept {
            Some(table) => Arc::clone(table),
            None => {
                self.built += 1;
                Arc::new(HostTable::build(rows, &self.patterns)?)
            }
        };
        self.put(host, table);
        Ok(())
    }

    fn remove(&mut self, host: Option<&HostPattern>) {
        match host {
            None => self.any = None,
            Some(HostPattern::Exact(name)) => drop(self.exact.remove(name.as_str())),
            Some(HostPattern::Wildcard(suffix)) => drop(self.wildcard.remove(suffix.as_str())),
        }
    }

    fn put(&mut self, host: Option<&HostPattern>, table: Arc<HostTable<T>>) {
        match host {
            None => self.any = Some(table),
            Some(HostPattern::Exact(name)) => drop(self.exact.insert(name.as_str().into(), table)),
            Some(HostPattern::Wildcard(suffix)) => {
                self.wildcard_labels.insert(dots(suffix) + 1);
                self.wildcard.insert(suffix.as_str().into(), table);
            }
        }
    }

    // The tables whose host matches, most specific first.
    fn along(&self, host: &str) -> impl Iterator<Item = &HostTable<T>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let exact = self.exact.get(host);
        let wildcards = (!self.wildcard.is_empty()).then(|| self.wildcards(host)).into_iter().flatten();
        exact.into_iter().chain(wildcards).chain(&self.any).map(|table| &**table)
    }

    fn wildcards(&self, host: &str) -> impl Iterator<Item = &Arc<HostTable<T>>> {
        let suffixes = memchr::memchr_iter(b'.', host.as_bytes()).map(|dot| &host[dot + 1..]);
        let labels = (1..=dots(host)).rev();
        suffixes
            .zip(labels)
            .filter(|(_, labels)| self.wildcard_labels.contains(*labels))
            .filter_map(|(suffix, _)| self.wildcard.get(suffix))
    }
}

fn dots(host: &str) -> usize {
    memchr::memchr_iter(b'.', host.as_bytes()).count()
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            wildcard_labels: Depths::default(),
            any: None,
            patterns: Patterns::default(),
            fields: false,
            built: 0,
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("hosts", &self.hosts()).field("built", &self.built()).finish()
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be matched: {}", self.pattern, self.reason)
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
mod tests;
