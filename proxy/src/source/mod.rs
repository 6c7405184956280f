//! Sources: where configuration comes from, each read as a directory. A source yields layers of a [`Tree`] and knows
//! no YAML. Behind this door a file and an etcd key are the same thing.

pub mod file;
pub mod memory;
mod naming;

pub(crate) use naming::{is_document, is_module};

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use imbl::OrdMap;

use crate::identity::Identity;

/// All entries of all layers at one time. Later layers override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// In the order of the command line.
    pub layers: Vec<Layer>,
}

/// What one source holds at one time.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The source, as the operator knows it (`./gateway`, `etcd /gw/`); the stem of every place in a diagnostic.
    pub source: Arc<str>,
    /// The source's own number of this state.
    pub revision: u64,
    /// By path from the source's root, `/` between segments. Shared between versions.
    pub entries: OrdMap<Arc<str>, Result<Entry, ReadError>>,
}

/// One file, or one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its content.
    pub bytes: Bytes,
    /// The hash of its content.
    pub identity: Identity,
}

/// Why an entry could not be read. Refuses the tree: it is never taken for a missing entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub Arc<str>);

impl Entry {
    /// An entry of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { identity: Identity::of_bytes(&bytes), bytes }
    }
}

impl Tree {
    /// The hash of everything in it, sources and revisions aside.
    pub fn identity(&self) -> Identity {
        Identity::of_all(self.layers.iter().flat_map(|layer| {
            layer.entries.iter().flat_map(|(path, entry)| {
                let content = match entry {
                    Ok(entry) => entry.identity,
                    Err(ReadError(why)) => Identity::of_bytes(why.as_bytes()),
                };
                [Identity::of_bytes(path.as_bytes()), content]
            })
        }))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a source notices changes, for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// In a word or two, for people: `events`, `polling`.
    pub how: &'static str,
    /// Events since the source was opened.
    pub events: u64,
    /// Times that events were lost, each followed by a full reading.
    pub overflows: u64,
}

/// Where a layer comes from. Never fails for good: what cannot be read is in the layer, as errors.
pub trait Source: Send {
    /// As the operator knows it.
    fn name(&self) -> Arc<str>;

    /// How changes are noticed; none where there is nothing to notice.
    fn watching(&self) -> Option<Watching> {
        None
    }

    /// The present state: every document, and of the other entries those in `wanted` (modules and secrets that
    /// documents name). Reads only what may have changed.
    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer>;

    /// Resolves when the state may have changed and has come to rest. May be dropped at any await and called again.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
}
