//! Values by host: one exact name, else the longest `*.suffix`, else what is for any host. The one that is found decides
//! alone; whoever wants a less specific one too asks a [`super::Table`]. Knows nothing of what the values are.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::config::spec::HostPattern;

/// Values by host pattern.
#[derive(Clone, Debug)]
pub struct ByHost<V> {
    exact: HashMap<Box<str>, V, RandomState>,
    // By suffix, without `*.`.
    wildcard: HashMap<Box<str>, V, RandomState>,
    any: Option<V>,
}

impl<V> Default for ByHost<V> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcard: HashMap::default(), any: None }
    }
}

impl<V> ByHost<V> {
    /// Puts a value under a pattern, `None` for any host; one that was there is replaced.
    pub fn insert(&mut self, host: Option<&HostPattern>, value: V) {
        match host.and_then(HostPattern::named) {
            None => self.any = Some(value),
            Some(HostPattern::Exact(name)) => drop(self.exact.insert(name.as_str().into(), value)),
            Some(HostPattern::Wildcard(suffix)) => drop(self.wildcard.insert(suffix.as_str().into(), value)),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_none()
    }

    /// The value of the most specific pattern that `host` matches: lower-case, without port; one trailing dot is ignored.
    pub fn find(&self, host: &str) -> Option<&V> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(value) = self.exact.get(host) {
            return Some(value);
        }
        let mut suffixes = memchr::memchr_iter(b'.', host.as_bytes()).map(|dot| &host[dot + 1..]);
        let wildcard = if self.wildcard.is_empty() { None } else { suffixes.find_map(|it| self.wildcard.get(it)) };
        wildcard.or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_decides() {
        let mut by_host = ByHost::default();
        assert!(by_host.is_empty() && by_host.find("a.test").is_none());
        for (number, host) in ["*.example.com", "*.foo.example.com", "abc.foo.example.com"].into_iter().enumerate() {
            let pattern = match host.strip_prefix("*.") {
                Some(suffix) => HostPattern::Wildcard(suffix.into()),
                None => HostPattern::Exact(host.into()),
            };
            by_host.insert(Some(&pattern), number);
        }
        let cases = [
            ("bar.com", None),
            ("example.com", None),
            ("bar.example.com", Some(0)),
            ("a.b.example.com.", Some(0)),
            ("foo.example.com", Some(0)),
            ("bar.foo.example.com", Some(1)),
            ("abc.foo.example.com", Some(2)),
            ("", None),
        ];
        for (host, expected) in cases {
            assert_eq!(by_host.find(host).copied(), expected, "{host}");
        }
        by_host.insert(None, 9);
        assert_eq!((by_host.find("bar.com"), by_host.find("")), (Some(&9), Some(&9)));
    }
}
