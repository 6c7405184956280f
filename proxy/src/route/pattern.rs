//! Regular expressions over whole values, each compiled once for all hosts and versions that have it.
//! Knows nothing of rows and hosts.
//!
//! A search needs scratch memory. `regex::Regex` takes it from a pool that all threads share, behind locks; here each
//! thread keeps its own, so that workers that ask the same expression do not meet.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use regex_automata::{
    Input,
    meta::{Cache, Config, Regex},
    util::syntax,
};

use super::BuildError;
use crate::config::spec::{Match, PathPattern, REGEX_BYTES_MAX, ValuePattern};

/// A regular expression that matches a whole value or nothing.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: Box<str>,
    regex: Regex,
    // Never used twice: what scratch memory is found by.
    number: u64,
}

/// Scratch memory that one thread keeps: of so many expressions, then it begins anew.
const SCRATCH_MAX: usize = 128;
/// Scratch memory of one expression's lazy automaton.
const SCRATCH_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static SCRATCH: RefCell<HashMap<u64, Cache, RandomState>> = RefCell::default();
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, BuildError> {
        static COMPILED: AtomicU64 = AtomicU64::new(0);
        // With room to spare, so that what a check accepted by a limit of its own is not refused here.
        let size = Some(REGEX_BYTES_MAX * 2);
        let limits = Config::new().nfa_size_limit(size).hybrid_cache_capacity(SCRATCH_BYTES_MAX);
        let any_bytes = syntax::Config::new().utf8(false);
        let built =
            Regex::builder().configure(limits.utf8_empty(false)).syntax(any_bytes).build(&format!("^(?:{pattern})$"));
        let reason =
            |error: &dyn std::error::Error| error.source().map_or(error.to_string(), |cause| cause.to_string());
        match built {
            Ok(regex) => {
                Ok(Self(Arc::new(Compiled { text: pattern.into(), regex, number: COMPILED.fetch_add(1, Relaxed) })))
            }
            Err(error) => Err(BuildError { pattern: pattern.to_owned(), reason: reason(&error) }),
        }
    }

    /// What it was compiled of.
    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the whole of `value` matches.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        let Compiled { regex, number, .. } = &*self.0;
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() >= SCRATCH_MAX && !scratch.contains_key(number) {
                scratch.clear();
            }
            let cache = scratch.entry(*number).or_insert_with(|| regex.create_cache());
            regex.search_half_with(cache, &Input::new(value).earliest(true)).is_some()
        })
    }
}

/// Every pattern of a table, by its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns(HashMap<Box<str>, Pattern, RandomState>);

impl Patterns {
    /// The patterns of `matches`, those that `previous` has taken from there.
    pub(super) fn of<'a>(
        matches: impl Iterator<Item = &'a Match>,
        previous: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let mut patterns = Self::default();
        for text in matches.flat_map(texts) {
            if !patterns.0.contains_key(text) {
                let known = previous.and_then(|previous| previous.0.get(text)).cloned();
                let pattern = known.map_or_else(|| Pattern::compile(text), Ok)?;
                patterns.0.insert(text.into(), pattern);
            }
        }
        Ok(patterns)
    }

    /// Whether every pattern of a match is here.
    pub(super) fn has_all_of(&self, on: &Match) -> bool {
        texts(on).all(|text| self.0.contains_key(text))
    }

    /// Whether each pattern of `other` is here, as the same object.
    #[cfg(test)]
    pub(super) fn shares_all_of(&self, other: &Self) -> bool {
        other.0.iter().all(|(text, pattern)| self.0.get(text).is_some_and(|own| Arc::ptr_eq(&own.0, &pattern.0)))
    }

    /// The pattern with this text.
    pub(super) fn find(&self, text: &str) -> Result<Pattern, BuildError> {
        self.0.get(text).cloned().map_or_else(|| Pattern::compile(text), Ok)
    }
}

fn texts(on: &Match) -> impl Iterator<Item = &str> {
    let path = match &on.path {
        PathPattern::Regex(text) => Some(text.as_str()),
        _ => None,
    };
    let values = on.headers.iter().chain(&on.query).filter_map(|field| match &field.value {
        ValuePattern::Regex(text) => Some(text.as_str()),
        ValuePattern::Exact(_) => None,
    });
    path.into_iter().chain(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_values_match() {
        let either = Pattern::compile("a|b").unwrap();
        assert!(either.matches(b"a") && either.matches(b"b"));
        assert!(!either.matches(b"ab") && !either.matches(b"a\n") && !either.matches(b""));
    }

    #[test]
    fn bytes_need_not_be_utf8() {
        assert!(Pattern::compile(r"(?-u)\xff+").unwrap().matches(b"\xff\xff"));
        assert!(!Pattern::compile(".").unwrap().matches(b"\xff"));
        assert!(Pattern::compile("ü").unwrap().matches("ü".as_bytes()));
    }

    #[test]
    fn scratch_memory_is_bounded() {
        for number in 0..3 * SCRATCH_MAX {
            assert!(Pattern::compile(&format!("x{number}")).unwrap().matches(format!("x{number}").as_bytes()));
            assert!(SCRATCH.with_borrow(HashMap::len) <= SCRATCH_MAX);
        }
    }

    #[test]
    fn what_is_too_large_or_malformed_is_an_error_that_names_the_pattern() {
        for text in ["(", r"\w{1000}{1000}", "[z-a]"] {
            assert_eq!(Pattern::compile(text).unwrap_err().pattern, text);
        }
    }
}
