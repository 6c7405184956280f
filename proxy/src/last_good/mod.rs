//! The last good tree: what was applied last, kept on disk, so that a start goes on serving while a remote source cannot
//! be read. Content-addressed, checksummed, written in one step. Knows entries and layers, and nothing of what is in
//! them; `docs/etcd.md` tells operators what is kept, and when it is served.

mod index;
mod keeper;
mod objects;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::keeper::Keeper;
use self::{
    index::Index,
    objects::{Objects, Unsound},
};
use crate::{
    identity::Identity,
    source::{Entry, Layer, Tree},
    state_dir::Directory,
    telemetry::Metrics,
};

/// Where the last good tree of one set of sources is kept.
#[derive(Clone, Debug)]
pub struct LastGood {
    directory: PathBuf,
    file: String,
}

/// A tree that was applied once.
#[derive(Clone, Debug)]
pub struct Restored {
    /// As it was, layers and revisions.
    pub tree: Tree,
    /// When it was kept, RFC 3339.
    pub kept_at: String,
}

/// Why there is nothing to restore.
#[derive(Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Nothing was ever kept of these sources.
    Nothing(PathBuf),
    /// The directory is not this user's alone, or what is in it is not what was written. Never served.
    Refused(String),
}

/// The largest index; what 100,000 entries with long paths take.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// All content of a tree together. What is larger is not kept, and the log says so.
const TREE_BYTES_MAX: u64 = 1 << 30;

/// Trees of different sets of sources in one directory; over it, those kept longest ago are removed.
const TREES_MAX: usize = 8;

impl LastGood {
    /// Of the sources of these origins, in their order, in `directory`. Touches nothing yet.
    pub fn new(directory: &Path, sources: &[impl AsRef<str>]) -> Self {
        let nothing = Identity::of_bytes(b"");
        let set = Identity::of_named(sources.iter().map(|name| (name.as_ref(), nothing)));
        Self { directory: directory.into(), file: format!("{}{set:.32}{}", index::STEM, index::ENDING) }
    }

    /// Whether there is something to restore. It may still be refused.
    pub fn exists(&self) -> bool {
        self.directory.join(&self.file).exists()
    }

    /// The tree that was kept last, read and verified.
    ///
    /// # Errors
    /// When there is none, or anything about it is not as it was written.
    pub fn restore(&self) -> Result<Restored, RestoreError> {
        if !self.exists() {
            return Err(RestoreError::Nothing(self.directory.clone()));
        }
        let refused = |why: String| RestoreError::Refused(why);
        let directory = self.open().map_err(refused)?;
        let index = directory.read(&self.file, INDEX_BYTES_MAX).map_err(|error| self.damaged(&error.to_string()))?;
        let index = Index::decode(&index).map_err(|why| self.damaged(&why))?;
        let objects = Objects::open(&directory).map_err(|error| self.damaged(&error.to_string()))?;
        let layers: Result<_, _> = index.layers.iter().map(|layer| read_layer(layer, &objects)).collect();
        let tree = Tree { layers: layers.map_err(|why: String| self.damaged(&why))? };
        if tree.identity().to_string() != index.hash {
            return Err(self.damaged("the hash of the whole is another"));
        }
        Ok(Restored { tree, kept_at: index.kept_at })
    }

    /// Starts to keep what is applied from now on.
    ///
    /// # Errors
    /// When the directory is not this user's alone, or cannot be written.
    pub fn keep(&self, metrics: Arc<Metrics>) -> Result<Keeper, String> {
        Keeper::start(self.open()?, self.file.clone(), metrics)
            .map_err(|error| format!("{} cannot be used: {error}", self.directory.display()))
    }

    fn open(&self) -> Result<Directory, String> {
        Directory::open(&self.directory, "served")
    }

    fn damaged(&self, why: &str) -> RestoreError {
        let place = self.directory.join(&self.file);
        RestoreError::Refused(format!(
            "the last good tree {} is damaged and is not served: {why}; remove {} and it is made anew by the next \
             configuration that is applied",
            place.display(),
            self.directory.display(),
        ))
    }
}

fn read_layer(layer: &index::IndexLayer, objects: &Objects) -> Result<Layer, String> {
    let entry = |(path, identity, bytes): &index::IndexEntry| {
        let content = objects.read(*identity, *bytes).map_err(|unsound| match unsound {
            Unsound::Missing => format!("the content of {path} is missing"),
            Unsound::Altered => format!("the content of {path} is not what was written"),
            Unsound::Unreadable(error) => format!("the content of {path} cannot be read: {error}"),
        })?;
        Ok((Arc::clone(path), Ok(Entry { bytes: content.into(), identity: *identity })))
    };
    let entries: Result<_, String> = layer.entries.iter().map(entry).collect();
    Ok(Layer { source: Arc::clone(&layer.source), revision: layer.revision, entries: entries? })
}

fn too_large(bytes: u64) -> io::Error {
    io::Error::other(format!("the tree has {bytes} bytes, and the limit is {TREE_BYTES_MAX}"))
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(directory) => {
                write!(f, "no last good tree of these sources is kept in {}", directory.display())
            }
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RestoreError {}
