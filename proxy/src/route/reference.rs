//! The same table as a plain list: every row is asked, and the best of those that match wins. What the real one is
//! compared with; it shares nothing with it but the types of the rows.

use std::{cell::RefCell, cmp::Reverse, collections::HashMap};

use http::HeaderMap;

use super::{Head, Row};
use crate::config::spec::{FieldMatch, HostPattern, Match, PathPattern, ValuePattern};

/// The value of the row that `head` belongs to.
pub(super) fn find<'a, T>(rows: &'a [Row<T>], head: &Head<'_>) -> Option<&'a T> {
    let head = &Head { host: head.host.strip_suffix('.').unwrap_or(head.host), ..*head };
    let ranked = rows.iter().enumerate().filter_map(|(position, row)| {
        let host = host_rank(&row.hosts, head.host)?;
        let path = path_rank(&row.on.path, head.path)?;
        let rest = conditions_rank(&row.on, head)?;
        Some(((host, path, rest, Reverse(position)), &row.value))
    });
    ranked.max_by(|(rank, _), (other, _)| rank.cmp(other)).map(|(_, value)| value)
}

fn host_rank(hosts: &[HostPattern], host: &str) -> Option<(usize, usize)> {
    if hosts.is_empty() {
        return Some((0, 0));
    }
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (host == name).then_some((name.len(), name.len())),
        HostPattern::Wildcard(suffix) if suffix.is_empty() => Some((0, 0)),
        HostPattern::Wildcard(suffix) => {
            host.strip_suffix(suffix.as_str())?.ends_with('.').then_some((0, suffix.len() + 2))
        }
    };
    hosts.iter().filter_map(rank).max()
}

// Kind, then what decides within a kind: literal segments of templates from the left, or a length.
fn path_rank(pattern: &PathPattern, path: &str) -> Option<(u8, Vec<bool>, usize)> {
    match pattern {
        PathPattern::Exact(exact) => (exact == path).then_some((3, vec![], 0)),
        PathPattern::Template(template) => {
            let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            let literal = |segment: &str| segment.len() < 2 || !segment.starts_with('{') || !segment.ends_with('}');
            let matches = wanted.len() == given.len()
                && wanted.iter().zip(&given).all(|(a, b)| if literal(a) { a == b } else { !b.is_empty() });
            matches.then(|| (2, wanted.iter().map(|segment| literal(segment)).collect(), 0))
        }
        PathPattern::Regex(text) => full(text, path).then(|| (1, vec![], text.chars().count())),
        PathPattern::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            let rest = path.strip_prefix(prefix)?;
            let whole = rest.starts_with('/') || rest.is_empty() && !prefix.is_empty();
            whole.then_some((0, vec![], prefix.len()))
        }
    }
}

fn conditions_rank(on: &Match, head: &Head<'_>) -> Option<(bool, usize, usize)> {
    let holds = on.method.as_ref().is_none_or(|method| method == head.method)
        && on.headers.iter().all(|field| header_holds(field, head.headers))
        && on.query.iter().all(|field| query_holds(field, head.query));
    holds.then_some((on.method.is_some(), on.headers.len(), on.query.len()))
}

fn header_holds(field: &FieldMatch, headers: &HeaderMap) -> bool {
    let mut values: Vec<_> =
        headers.get_all(&field.name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
    values.push(values.join(","));
    !headers.get_all(&field.name).iter().collect::<Vec<_>>().is_empty()
        && values.iter().any(|value| value_holds(&field.value, value))
}

fn query_holds(field: &FieldMatch, query: &str) -> bool {
    let pair =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find(|(name, _)| *name == field.name);
    pair.is_some_and(|(_, value)| value_holds(&field.value, value))
}

fn value_holds(pattern: &ValuePattern, value: &str) -> bool {
    match pattern {
        ValuePattern::Exact(text) => text == value,
        ValuePattern::Regex(text) => full(text, value),
    }
}

fn full(text: &str, value: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, regex::Regex>> = RefCell::default();
    }
    let compile = || regex::Regex::new(&format!("^(?:{text})$")).expect("the pattern is valid");
    COMPILED.with_borrow_mut(|known| known.entry(text.to_owned()).or_insert_with(compile).is_match(value))
}
