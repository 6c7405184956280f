//! Sources: where configuration comes from, each read as a directory. A source yields layers of a [`Tree`] and knows
//! no YAML. Behind this door a file and an etcd key are the same thing.

pub mod etcd;
pub mod file;
pub mod memory;
mod monitor;
mod naming;
mod pointer;

pub use monitor::{Comparisons, Expiring, Health, Monitor, Trouble};
pub(crate) use naming::{is_document, is_hidden, is_module};
pub use pointer::Pointer;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use imbl::{OrdMap, ordmap::DiffItem};

use crate::identity::{Identity, Sum};

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

/// One file, or one value. Equal where the hash is.
#[derive(Clone, Debug, Eq)]
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

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Layer {
    /// The hash of all that it holds, source and revision aside: equal for a directory and a prefix that hold the same.
    /// What could not be read is not in it; it refuses the tree, or another layer has it.
    pub fn identity(&self) -> Identity {
        self.sum().identity()
    }

    /// What its hash is of.
    pub(crate) fn sum(&self) -> Sum {
        Sum::of(self.entries.iter().filter_map(part))
    }

    /// The same from that of another layer: what the two differ by is looked at.
    pub(crate) fn sum_from(&self, other: &Self, mut sum: Sum) -> Sum {
        for difference in other.entries.diff(&self.entries) {
            let (before, now) = match difference {
                DiffItem::Add(path, entry) => (None, Some((path, entry))),
                DiffItem::Update { old, new } => (Some(old), Some(new)),
                DiffItem::Remove(path, entry) => (Some((path, entry)), None),
            };
            before.and_then(part).into_iter().for_each(|before| sum.remove(before));
            now.and_then(part).into_iter().for_each(|now| sum.add(now));
        }
        sum
    }

    /// Why the source as a whole could not be read, if it could not: an error of the entry with the empty path.
    pub fn unread(&self) -> Option<&ReadError> {
        self.entries.get("")?.as_ref().err()
    }
}

impl Tree {
    /// The hash of everything in it, sources and revisions aside. That of its layer, where there is one.
    pub fn identity(&self) -> Identity {
        Self::identity_of(&self.layers.iter().map(Layer::identity).collect::<Vec<_>>())
    }

    /// The hash of a tree whose layers have these.
    pub fn identity_of(layers: &[Identity]) -> Identity {
        match layers {
            [layer] => *layer,
            layers => Identity::of_all(layers.iter().copied()),
        }
    }
}

// Of an entry in the hash of its layer.
fn part((path, entry): (&Arc<str>, &Result<Entry, ReadError>)) -> Option<Identity> {
    Some(Identity::named(path, entry.as_ref().ok()?.identity))
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a layer comes from. Never fails for good: what cannot be read is in the layer, as errors.
pub trait Source: Send {
    /// As the operator knows it.
    fn name(&self) -> Arc<str>;

    /// What it is known by from one start of the process to the next, wherever that is started: its last good layer is
    /// found by it.
    fn origin(&self) -> String {
        self.name().to_string()
    }

    /// Whether it is not this machine's own. Where such a source cannot be read, or holds what is refused, a start goes
    /// on with the last good tree.
    fn is_remote(&self) -> bool {
        false
    }

    /// Where it can be seen how the source is; none where there is nothing to see.
    fn monitor(&self) -> Option<Arc<dyn Monitor>> {
        None
    }

    /// Somebody asks for a reload: the next reading is to be of what there is now, whatever was noticed until then.
    fn refresh(&mut self) {}

    /// The present state: every document, and of the other entries those in `wanted` (modules and secrets that
    /// documents name). Reads only what may have changed. A source that cannot be read as a whole says so at the entry
    /// with the empty path. A remote source's reading may be dropped at any await.
    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer>;

    /// Resolves when the state may have changed and has come to rest. May be dropped at any await and called again.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_sum_from_another_layer_is_that_of_the_layer(
            first in vec((0..20_u8, 0..4_u8), 0..20), changes in vec((0..20_u8, 0..5_u8), 0..20),
        ) {
            let mut layer = Layer { source: "test".into(), revision: 1, entries: OrdMap::new() };
            let put = |layer: &mut Layer, (path, content): (u8, u8)| {
                let path = Arc::from(path.to_string());
                match content {
                    0 => drop(layer.entries.remove(&path)),
                    1 => drop(layer.entries.insert(path, Err(ReadError("no".into())))),
                    content => drop(layer.entries.insert(path, Ok(Entry::new(vec![content])))),
                }
            };
            first.into_iter().for_each(|change| put(&mut layer, change));
            let before = layer.clone();
            changes.into_iter().for_each(|change| put(&mut layer, change));
            prop_assert_eq!(layer.sum_from(&before, before.sum()), layer.sum());
            prop_assert_eq!(before.sum_from(&layer, layer.sum()).identity(), before.identity());
        }
    }
}
