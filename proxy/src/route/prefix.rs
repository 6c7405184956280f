//! Prefixes by whole segments: the longest first, each found by one hash of a leading part of the path. Only parts
//! with as many segments as some prefix has are hashed, so a path of a thousand slashes costs no more than another.
//! Knows nothing of what a prefix leads to.

use std::sync::Arc;

use super::index::Index;

/// Values by path prefix.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<V> {
    by_prefix: Index<V>,
    // Of those that are there, and perhaps of some that were.
    segments: Depths,
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { by_prefix: Index::default(), segments: Depths::default() }
    }
}

/// The form in which prefixes are compared: without trailing slashes, so that `/` is the empty one.
pub(super) fn normal(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

impl<V: Clone> Prefixes<V> {
    /// These prefixes, each in its normal form and there once.
    pub(super) fn of(all: Vec<(Arc<str>, V)>) -> Self {
        let mut segments = Depths::default();
        all.iter().for_each(|(prefix, _)| segments.insert(slashes(prefix)));
        Self { by_prefix: Index::of(all.into_iter()), segments }
    }

    /// Puts in a prefix in its normal form, or another value for it.
    pub(super) fn set(&mut self, prefix: &str, value: V) {
        self.segments.insert(slashes(prefix));
        self.by_prefix.set(prefix, value);
    }

    /// Takes a prefix out.
    pub(super) fn remove(&mut self, prefix: &str) {
        self.by_prefix.remove(prefix);
    }
}

impl<V> Prefixes<V> {
    /// The value of a prefix in its normal form.
    pub(super) fn get(&self, prefix: &str) -> Option<&V> {
        self.by_prefix.get(prefix)
    }

    /// What the prefixes of `path` lead to, the longest first. A path that does not start with `/` (`*`) has none.
    pub(super) fn along(&self, path: &str) -> impl Iterator<Item = &V> {
        let usable = path.starts_with('/') && !self.by_prefix.is_empty();
        let path = if usable { path } else { "" };
        // The whole path, then what stands before each slash, from the last.
        let whole = usable.then_some(path.len());
        let ends = whole.into_iter().chain(memchr::memrchr_iter(b'/', path.as_bytes()));
        let segments = (0..=slashes(path)).rev();
        ends.zip(segments)
            .filter(|(_, segments)| self.segments.contains(*segments))
            .filter_map(|(end, _)| self.by_prefix.get(&path[..end]))
    }
}

fn slashes(path: &str) -> usize {
    memchr::memchr_iter(b'/', path.as_bytes()).count()
}

/// A set of small numbers; those from 63 on are one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Depths(u64);

impl Depths {
    /// Adds a number.
    pub(super) const fn insert(&mut self, depth: usize) {
        self.0 |= Self::bit(depth);
    }

    /// Whether it, or for numbers over 63 any of those, was added.
    pub(super) const fn contains(self, depth: usize) -> bool {
        self.0 & Self::bit(depth) != 0
    }

    const fn bit(depth: usize) -> u64 {
        1 << if depth < 63 { depth } else { 63 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_comes_first_and_segments_are_whole() {
        let all = ["/", "/a", "/a/b/", "/a//c"].map(|prefix| (Arc::from(normal(prefix)), prefix));
        let mut prefixes = Prefixes::of(all.into());
        prefixes.set("/ab", "/ab");
        prefixes.set("/gone", "/gone");
        prefixes.remove("/gone");
        let cases: [(&str, &[&str]); 11] = [
            ("/", &["/"]),
            ("/gone", &["/"]),
            ("/a", &["/a", "/"]),
            ("/a/", &["/a", "/"]),
            ("/abc", &["/"]),
            ("/ab", &["/ab", "/"]),
            ("/a/b", &["/a/b/", "/a", "/"]),
            ("/a/b//", &["/a/b/", "/a", "/"]),
            ("/a//c/d", &["/a//c", "/a", "/"]),
            ("*", &[]),
            ("", &[]),
        ];
        for (path, expected) in cases {
            assert_eq!(prefixes.along(path).copied().collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn depths_over_63_are_one() {
        let mut depths = Depths::default();
        depths.insert(70);
        assert!(depths.contains(64) && depths.contains(63) && !depths.contains(62));
    }
}
