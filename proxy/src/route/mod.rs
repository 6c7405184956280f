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
mod index;
mod pattern;
mod prefix;
#[cfg(any(test, fuzzing))]
mod reference;
mod template;

use std::{collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;
use http::{HeaderMap, Method};

pub use self::by_host::ByHost;
use self::{host::HostTable, index::Index, pattern::Patterns, prefix::Depths};
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

#[derive(Clone)]
struct Hosts<T> {
    exact: Index<Arc<HostTable<T>>>,
    // By suffix, without `*.`.
    wildcard: Index<Arc<HostTable<T>>>,
    // Of those that are there, and perhaps of some that were.
    wildcard_labels: Depths,
    any: Option<Arc<HostTable<T>>>,
    patterns: Arc<Patterns>,
    // Whether a row may have a condition on header fields.
    fields: bool,
    built: usize,
}

/// What rows come to be: those of one route before and now, in their order.
pub type Edit<'a, T> = (&'a [Row<T>], &'a [Row<T>]);

impl<T: Clone> Table<T> {
    /// Builds a table of `rows`, in their order of precedence where nothing else decides. A host whose rows are those
    /// of `previous` (by identity, in the same order) keeps its table from there, and a regular expression is compiled
    /// once for all versions that have it.
    ///
    /// # Errors
    /// When a regular expression or header name is not valid, or over [`crate::config::spec::REGEX_BYTES_MAX`].
    pub fn build(rows: &[Row<T>], previous: Option<&Self>) -> Result<Self, BuildError> {
        let previous = previous.map(|table| &*table.0);
        let patterns = Patterns::of(rows.iter().map(|row| &*row.on), previous.map(|hosts| &*hosts.patterns))?;
        let mut hosts = Building { patterns: &patterns, previous, built: 0 };
        let (mut exact, mut wildcard, mut any) = (Vec::new(), Vec::new(), None);
        let mut wildcard_labels = Depths::default();
        for (host, rows) in by_host(rows) {
            let table = hosts.table(host, &rows)?;
            match host {
                None => any = Some(table),
                Some(HostPattern::Exact(name)) => exact.push((Arc::from(name.as_str()), table)),
                Some(HostPattern::Wildcard(suffix)) => {
                    wildcard_labels.insert(dots(suffix) + 1);
                    wildcard.push((Arc::from(suffix.as_str()), table));
                }
            }
        }
        let (built, fields) = (hosts.built, rows.iter().any(|row| !row.on.headers.is_empty()));
        let (exact, wildcard) = (Index::of(exact.into_iter()), Index::of(wildcard.into_iter()));
        let patterns = Arc::new(patterns);
        Ok(Self(Arc::new(Hosts { exact, wildcard, wildcard_labels, any, patterns, fields, built })))
    }

    /// The table in which these rows are others, and all that they do not touch what it is here. `None` where that does not say
    /// everything: a row has a regular expression that is not known here, or its place depends on rows beside it. Build anew then.
    ///
    /// # Errors
    /// As [`Table::build`].
    pub fn with<'a>(&self, edits: impl Iterator<Item = Edit<'a, T>>) -> Result<Option<Self>, BuildError>
    where
        T: 'a,
    {
        let (mut touched, mut fields) = (HashMap::default(), self.0.fields);
        for edit in edits {
            fields |= edit.1.iter().any(|row| !row.on.headers.is_empty());
            if self.0.edit(edit, &mut touched)?.is_none() {
                return Ok(None);
            }
        }
        let mut hosts = Hosts { fields, built: touched.len(), ..Hosts::clone(&self.0) };
        for (host, table) in touched {
            hosts.put(host, (!table.is_empty()).then(|| Arc::new(table)));
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
        for host in row.hosts() {
            let of_host = hosts.entry(host).or_default();
            if !of_host.last().is_some_and(|last| std::ptr::eq(*last, row)) {
                of_host.push(row);
            }
        }
    }
    hosts
}

impl<T> Row<T> {
    // `None` is any.
    fn hosts(&self) -> impl Iterator<Item = Option<&HostPattern>> {
        let any = self.hosts.is_empty().then_some(None);
        any.into_iter().chain(self.hosts.iter().map(HostPattern::named))
    }

    // Each once.
    fn distinct_hosts(&self) -> impl Iterator<Item = Option<&HostPattern>> {
        let before = |at: usize, host: Option<&HostPattern>| self.hosts().take(at).any(|other| other == host);
        self.hosts().enumerate().filter(move |(at, host)| !before(*at, *host)).map(|(_, host)| host)
    }
}

/// A table that is being made of all its rows.
struct Building<'a, T> {
    patterns: &'a Patterns,
    previous: Option<&'a Hosts<T>>,
    built: usize,
}

impl<T: Clone> Building<'_, T> {
    // The table of these rows, the one from before if it is the same.
    fn table(&mut self, host: Option<&HostPattern>, rows: &[&Row<T>]) -> Result<Arc<HostTable<T>>, BuildError> {
        let before = self.previous.and_then(|previous| previous.under(host));
        let table = HostTable::build(rows, self.patterns, before)?;
        self.built += usize::from(!before.is_some_and(|before| Arc::ptr_eq(before, &table)));
        Ok(table)
    }
}

/// The tables of hosts that are being edited, as they are by now.
type Touched<'a, T> = HashMap<Option<&'a HostPattern>, HostTable<T>, RandomState>;

impl<T: Clone> Hosts<T> {
    fn edit<'a>(&self, (before, now): Edit<'a, T>, touched: &mut Touched<'a, T>) -> Result<Option<()>, BuildError> {
        let is_alike = |(before, now): (&Row<T>, &Row<T>)| before.hosts == now.hosts && before.on == now.on;
        if before.len() == now.len() && before.iter().zip(now).all(is_alike) {
            for (before, now) in before.iter().zip(now) {
                for host in now.distinct_hosts() {
                    if self.touch(host, touched).replace(before, now).is_none() {
                        return Ok(None);
                    }
                }
            }
            return Ok(Some(()));
        }
        if !now.iter().all(|row| self.patterns.has_all_of(&row.on)) {
            return Ok(None);
        }
        for row in before {
            for host in row.distinct_hosts() {
                if self.touch(host, touched).remove(row).is_none() {
                    return Ok(None);
                }
            }
        }
        for row in now {
            for host in row.distinct_hosts() {
                if self.touch(host, touched).insert(row, &self.patterns)?.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }

    fn touch<'t, 'a>(&self, host: Option<&'a HostPattern>, touched: &'t mut Touched<'a, T>) -> &'t mut HostTable<T> {
        let known = || self.under(host).map(|table| HostTable::clone(table)).unwrap_or_default();
        touched.entry(host).or_insert_with(known)
    }

    fn put(&mut self, host: Option<&HostPattern>, table: Option<Arc<HostTable<T>>>) {
        match (host, table) {
            (None, table) => self.any = table,
            (Some(HostPattern::Exact(name)), Some(table)) => self.exact.set(name, table),
            (Some(HostPattern::Exact(name)), None) => self.exact.remove(name),
            (Some(HostPattern::Wildcard(suffix)), Some(table)) => {
                self.wildcard_labels.insert(dots(suffix) + 1);
                self.wildcard.set(suffix, table);
            }
            (Some(HostPattern::Wildcard(suffix)), None) => self.wildcard.remove(suffix),
        }
    }
}

impl<T> Hosts<T> {
    fn under(&self, host: Option<&HostPattern>) -> Option<&Arc<HostTable<T>>> {
        match host {
            None => self.any.as_ref(),
            Some(HostPattern::Exact(name)) => self.exact.get(name),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard.get(suffix),
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
            exact: Index::default(),
            wildcard: Index::default(),
            wildcard_labels: Depths::default(),
            any: None,
            patterns: Arc::default(),
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
