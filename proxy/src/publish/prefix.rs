//! A prefix of etcd as a directory: which key is which path, and which keys are ours beside the tree. Knows no client.

use std::fmt;

use crate::{
    etcd::{Compare, Range, Relation},
    identity::Identity,
    source::{
        etcd::{self as layout, BLOBS},
        is_hidden,
    },
};

/// A prefix; ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// A prefix; a `/` is added where none ends it.
    ///
    /// # Errors
    /// Where it is empty: the whole key space is no directory.
    pub fn new(text: &str) -> Result<Self, String> {
        match text.trim_end_matches('/') {
            "" => Err("the prefix is empty; give one like /gw/".into()),
            stem => Ok(Self(format!("{stem}/"))),
        }
    }

    /// The key of a path.
    pub(super) fn key(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The path of a key; `None` for what is no path: not UTF-8, hidden, with empty or dotted segments or control
    /// characters.
    pub(super) fn path<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let path = std::str::from_utf8(key.strip_prefix(self.0.as_bytes())?).ok()?;
        let odd = path.split('/').any(|segment| segment.is_empty()) || path.chars().any(char::is_control);
        (!odd && !is_hidden(path)).then_some(path)
    }

    /// As it begins every key.
    pub(super) fn directory(&self) -> &str {
        &self.0
    }

    /// The key of a chunk.
    pub(super) fn chunk(&self, blob: Identity, number: u64) -> String {
        layout::chunk_key(&self.0, blob, number)
    }

    /// Which chunk a key is.
    pub(super) fn chunk_of(&self, key: &[u8]) -> Option<(Identity, u64)> {
        let rest = std::str::from_utf8(key.strip_prefix(self.0.as_bytes())?).ok()?;
        let (blob, number) = rest.strip_prefix(BLOBS)?.split_once('/')?;
        Some((Identity::parse(blob)?, number.parse().ok()?))
    }

    /// All chunks of one blob.
    pub(super) fn blob(&self, blob: Identity) -> Range {
        Range::prefix(format!("{}{BLOBS}{blob}/", self.0))
    }

    /// All chunks.
    pub(super) fn blobs(&self) -> Range {
        Range::prefix(format!("{}{BLOBS}", self.0))
    }

    /// Everything but the chunks, in two ranges.
    pub(super) fn documents(&self) -> [Range; 2] {
        layout::around(&self.0).map(|(from, to)| Range::between(from, to))
    }

    /// Nothing but chunks has changed since `revision`. Does not see what was deleted.
    pub(super) fn unchanged_since(&self, revision: i64) -> [Compare; 2] {
        layout::around(&self.0).map(|(from, to)| Compare::mod_revision(from, Relation::Less, revision + 1).until(to))
    }

    /// Written by every push, and read by the next.
    pub(super) fn push_mark(&self) -> String {
        format!("{}.push", self.0)
    }

    /// Written by every collection of blobs.
    pub(super) fn collect_mark(&self) -> String {
        format!("{}.collect", self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_where_they_can_be() {
        let prefix = Prefix::new("/gw").unwrap();
        assert_eq!((prefix.to_string().as_str(), prefix.clone()), ("/gw/", Prefix::new("/gw//").unwrap()));
        assert!(Prefix::new("/").is_err() && Prefix::new("").is_err());
        assert_eq!(prefix.path(prefix.key("routes/a.yaml").as_bytes()), Some("routes/a.yaml"));
        for key in ["/gw/", "/gw//a", "/gw/a/", "/gw/.push", "/gw/a/.b", "/gw/../a", "/gx/a", "/gw/a\n", "/gw.status/a"]
        {
            assert_eq!(prefix.path(key.as_bytes()), None, "{key}");
        }
        assert_eq!(prefix.path(b"/gw/\xff"), None);
    }

    #[test]
    fn chunks_are_told_by_their_keys() {
        let (prefix, blob) = (Prefix::new("/gw/").unwrap(), Identity::of_bytes(b"x"));
        assert_eq!(prefix.chunk_of(prefix.chunk(blob, 12).as_bytes()), Some((blob, 12)));
        assert_eq!(prefix.chunk_of(b"/gw/.blobs/abc/1"), None);
        assert_eq!(prefix.chunk_of(format!("/gw/.blobs/{blob}/x").as_bytes()), None);
    }
}
