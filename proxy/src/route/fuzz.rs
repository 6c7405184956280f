//! The fuzz target of this room: bytes become rows and requests of a small alphabet, so that they meet often, and the
//! table must find what the reference finds. Built for tests and by `cargo fuzz` only.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Head, Row, Table, reference};
use crate::{
    config::spec::{FieldMatch, HostPattern, Match, PathPattern, ValuePattern},
    identity::Identity,
};

const ROWS_MAX: usize = 32;
const REQUESTS: usize = 32;

/// Decisions read off bytes; 0 where they have run out.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % limit)
    }

    fn of<'b, T: ?Sized>(&mut self, all: &[&'b T]) -> &'b T {
        all[self.below(all.len())]
    }

    fn list<T>(&mut self, limit: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(limit)).map(|_| one(self)).collect()
    }

    fn joined(&mut self, parts: &[&str], separator: &str, limit: usize) -> String {
        self.list(limit, |from| from.of(parts)).join(separator)
    }

    fn path(&mut self, segments: &[&str]) -> String {
        format!("/{}", self.joined(segments, "/", 6))
    }

    fn method(&mut self) -> Option<Method> {
        [None, Some(Method::GET), Some(Method::PUT)][self.below(3)].clone()
    }

    fn host(&mut self) -> HostPattern {
        let name = self.joined(&["a", "b", "", "é"], ".", 4);
        // An exact host without a name is not one that a configuration can have.
        if !name.is_empty() && self.below(2) == 0 { HostPattern::Exact(name) } else { HostPattern::Wildcard(name) }
    }

    fn pattern(&mut self) -> PathPattern {
        match self.below(4) {
            0 => PathPattern::Exact(self.path(&["a", "b", "", "é"])),
            1 => PathPattern::Prefix(self.path(&["a", "b", "", "é"])),
            2 => PathPattern::Template(self.path(&["a", "b", "", "{x}", "{y}", "{", "}", "{}"])),
            _ => PathPattern::Regex(self.of(&["/a.*", "/.*", "/[ab]", ".*b", "/a/b", "", "/(a|b/)+", "[^/]*"]).into()),
        }
    }

    fn field(&mut self) -> FieldMatch {
        let value = match self.below(2) {
            0 => ValuePattern::Exact(self.joined(&["1", "2", ""], ",", 3)),
            _ => ValuePattern::Regex(self.of(&["[12]", "1.*", "", ".*,.*"]).into()),
        };
        FieldMatch { name: self.of(&["x", "y"]).into(), value }
    }

    fn row(&mut self, value: usize) -> Row<usize> {
        let hosts = self.list(4, Self::host);
        let (path, method) = (self.pattern(), self.method());
        let on = Match { path, method, headers: self.list(3, Self::field), query: self.list(3, Self::field) };
        let identity = Identity::of(&(&hosts, &on, value));
        Row { hosts: hosts.into(), on: Arc::new(on), identity, value }
    }
}

/// Runs the target.
///
/// # Panics
/// When the table finds another row than the reference.
pub fn run(data: &[u8]) {
    let from = &mut Choices(data.iter());
    let before: Vec<_> = (0..from.below(ROWS_MAX)).map(|number| from.row(number)).collect();
    let mut after = before.clone();
    for number in 0..from.below(4) {
        let (row, at) = (from.row(ROWS_MAX + number), from.below(after.len() + 1));
        after.insert(at, row);
    }
    let first = Table::build(&before, None).expect("the patterns are valid");
    let second = Table::build(&after, Some(&first)).expect("the patterns are valid");
    for _ in 0..REQUESTS {
        let host = from.joined(&["a", "b", "", "é", "ab"], ".", 5);
        let path = if from.below(16) == 1 { "*".into() } else { from.path(&["a", "b", "", "é", "{x}", "ab"]) };
        let query = from.joined(&["x=1", "y=2", "x", "=", "y=1,2", "x=1=2", ""], "&", 4);
        let method = from.method().unwrap_or(Method::POST);
        let mut headers = HeaderMap::new();
        for (name, value) in from.list(4, |from| (from.of(&["x", "y"]), from.of(&["1", "2", "1,2", "", "3"]))) {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let head = Head { host: &host, path: &path, query: &query, method: &method, headers: &headers };
        assert_eq!(first.find(&head), reference::find(&before, &head), "{head:?} of {before:#?}");
        assert_eq!(second.find(&head), reference::find(&after, &head), "{head:?} of {after:#?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/route");
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 8, "{corpus} has only {}", files.len());
        for file in files {
            run(&std::fs::read(file).unwrap());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            run(&data);
        }
    }
}
