//! The index: which content stands under which path of which layer. One line with its format and checksum, then JSON.
//! Knows no disk.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{
    identity::Identity,
    source::{Layer, Tree},
};

/// What the names of indexes begin and end with.
pub(super) const STEM: &str = "tree-";
pub(super) const ENDING: &str = ".json";

const FORMAT: &str = "tidegate-last-good 2 ";

/// A tree by reference.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) kept_at: String,
    /// Of the gateway that wrote it.
    pub(super) version: String,
    pub(super) generation: u64,
    /// Of the tree.
    pub(super) hash: String,
    pub(super) layers: Vec<IndexLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IndexLayer {
    pub(super) source: Arc<str>,
    pub(super) revision: u64,
    pub(super) entries: Vec<IndexEntry>,
}

/// Path, content, size in bytes.
pub(super) type IndexEntry = (Arc<str>, Identity, u64);

impl Index {
    /// The index of a tree. What could not be read is not in it: a tree that was applied has it in another layer.
    pub(super) fn of(tree: &Tree, generation: u64, hash: Identity, kept_at: String) -> Self {
        let layer = |layer: &Layer| IndexLayer {
            source: Arc::clone(&layer.source),
            revision: layer.revision,
            entries: layer
                .entries
                .iter()
                .filter_map(|(path, entry)| Some((path, entry.as_ref().ok()?)))
                .map(|(path, entry)| (Arc::clone(path), entry.identity, entry.bytes.len() as u64))
                .collect(),
        };
        let (version, hash) = (env!("CARGO_PKG_VERSION").to_owned(), hash.to_string());
        Self { kept_at, version, generation, hash, layers: tree.layers.iter().map(layer).collect() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec(self).expect("an index has string keys only, so it serialises");
        let mut file = format!("{FORMAT}{}\n", Identity::of_bytes(&body)).into_bytes();
        file.extend(body);
        file
    }

    /// What [`Self::encode`] wrote, or what is wrong with it.
    pub(super) fn decode(file: &[u8]) -> Result<Self, String> {
        let line = file.iter().position(|byte| *byte == b'\n').ok_or("its index has no first line")?;
        let (first, body) = (&file[..line], &file[line + 1..]);
        let written = std::str::from_utf8(first).ok().and_then(|first| first.strip_prefix(FORMAT));
        let written = written.ok_or("its index is of another format")?;
        if Identity::parse(written) != Some(Identity::of_bytes(body)) {
            return Err("its index is not what was written".into());
        }
        serde_json::from_slice(body).map_err(|error| format!("its index does not read: {error}"))
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
    }
}
