//! Regular expressions over whole values, each compiled once for all hosts and versions that have it.
//! Knows nothing of rows and hosts.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use regex::bytes::{Regex, RegexBuilder};

use super::BuildError;
use crate::config::spec::{Match, PathPattern, REGEX_BYTES_MAX, ValuePattern};

/// A regular expression that matches a whole value or nothing.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Arc<Regex>);

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, BuildError> {
        RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map(|regex| Self(Arc::new(regex)))
            .map_err(|error| BuildError { pattern: pattern.to_owned(), reason: error.to_string() })
    }

    /// Whether the whole of `value` matches.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
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
    fn what_is_too_large_or_malformed_is_an_error_that_names_the_pattern() {
        for text in ["(", r"\w{1000}{1000}", "[z-a]"] {
            assert_eq!(Pattern::compile(text).unwrap_err().pattern, text);
        }
    }
}
