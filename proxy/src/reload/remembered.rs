//! What the policy `previous` knows, on disk, so that a process that starts anew knows it, too: for each plugin the version
//! that serves, the one before it that worked, and which version failed. Knows nothing of when that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{identity::Identity, source::Entry, state_dir::Directory};

/// Where it is kept.
#[derive(Clone)]
pub struct Remembered(Arc<Kept>);

struct Kept {
    directory: Directory,
    /// What is in each file, by its name.
    written: Mutex<BTreeMap<String, Identity>>,
}

/// What is known of one plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) name: String,
    /// What serves; in the place of `failed`, if something has.
    pub(super) serving: Kind,
    /// Whether it has worked.
    pub(super) worked: bool,
    /// The last that worked before it.
    pub(super) good: Option<Kind>,
    pub(super) failed: Option<Failed>,
}

/// A module with a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kind {
    /// As the configuration called it.
    pub(super) module: String,
    pub(super) config: Value,
    /// Of the module.
    pub(super) sha256: String,
}

/// A version that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// Of module, configuration and name.
    pub(super) version: String,
    /// Of the module.
    pub(super) sha256: String,
}

/// Notes over it are not read, and modules are bounded as everywhere.
const NOTE_BYTES_MAX: u64 = 16 << 20;
const MODULE_BYTES_MAX: u64 = 64 << 20;
const NOTE: &str = ".json";
const MODULE: &str = ".wasm";

impl Remembered {
    /// Opens the directory, making it if it is not there.
    ///
    /// # Errors
    /// In words, where it is not this user's alone.
    pub fn open(path: &Path) -> Result<Self, String> {
        let directory = Directory::open(path, "run")?;
        Ok(Self(Arc::new(Kept { directory, written: Mutex::default() })))
    }

    /// Everything that is whole. What is not is left out, and said.
    pub(super) fn read(&self) -> Vec<(Note, Vec<Entry>)> {
        let directory = &self.0.directory;
        let names = directory.names().unwrap_or_default();
        let notes = names.iter().filter(|name| name.ends_with(NOTE)).filter_map(|name| {
            let read = self.note(name);
            read.inspect_err(|why| tracing::warn!(file = name, why, "what is known of a plugin's versions is lost"))
                .ok()
        });
        notes.collect()
    }

    fn note(&self, name: &str) -> Result<(Note, Vec<Entry>), String> {
        let bytes = self.0.directory.read(name, NOTE_BYTES_MAX).map_err(|error| error.to_string())?;
        let note: Note = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let entries = note.kinds().map(|kind| self.module(&kind.sha256)).collect::<Result<_, _>>()?;
        Ok((note, entries))
    }

    fn module(&self, sha256: &str) -> Result<Entry, String> {
        let wanted = Identity::parse(sha256).ok_or("a hash that is none")?;
        let bytes = self.0.directory.read(&format!("{wanted}{MODULE}"), MODULE_BYTES_MAX);
        let entry = Entry::new(bytes.map_err(|error| error.to_string())?);
        if entry.identity == wanted { Ok(entry) } else { Err(format!("the module {wanted:.12} is not what it was")) }
    }

    /// Writes what is new of these, and removes what is in none of them. A write that fails is said, and tried again with the
    /// next change. Answers whether all is as it was to be.
    pub(super) async fn write(&self, notes: Vec<(Note, Vec<Entry>)>) -> bool {
        let own = self.clone();
        let written = tokio::task::spawn_blocking(move || own.replace(&notes)).await;
        if let Ok(Err(error)) = &written {
            tracing::warn!(%error, "what is known of plugins' versions cannot be kept");
        }
        written.is_ok_and(|written| written.is_ok())
    }

    fn replace(&self, notes: &[(Note, Vec<Entry>)]) -> std::io::Result<()> {
        let Kept { directory, written } = &*self.0;
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = BTreeSet::new();
        for (note, entries) in notes {
            for entry in entries {
                let name = format!("{}{MODULE}", entry.identity);
                if written.get(&name) != Some(&entry.identity) {
                    directory.write(&name, &[&entry.bytes], true)?;
                    written.insert(name.clone(), entry.identity);
                }
                wanted.insert(name);
            }
            let text = serde_json::to_vec(note).map_err(std::io::Error::other)?;
            let (name, identity) =
                (format!("{}{NOTE}", Identity::of_bytes(note.name.as_bytes())), Identity::of_bytes(&text));
            if written.get(&name) != Some(&identity) {
                directory.write(&name, &[&text], true)?;
                written.insert(name.clone(), identity);
            }
            wanted.insert(name);
        }
        for name in directory.names()?.iter().filter(|name| !wanted.contains(*name)) {
            directory.remove(name)?;
            written.remove(name);
        }
        Ok(())
    }
}

impl Note {
    /// Its versions, in the order of their modules.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        std::iter::once(&self.serving).chain(&self.good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(module: &Entry, good: Option<&Entry>) -> Note {
        let kind = |entry: &Entry| Kind {
            module: "a.wasm".into(),
            config: Value::from(1),
            sha256: entry.identity.to_string(),
        };
        let failed = Some(Failed { version: "v".into(), sha256: "s".into() });
        Note { name: "a".into(), serving: kind(module), worked: true, good: good.map(kind), failed }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_of_no_use_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let remembered = Remembered::open(&root.path().join("fallbacks")).unwrap();
        let (one, two) = (Entry::new("one"), Entry::new("two"));
        let first = (note(&two, Some(&one)), vec![two.clone(), one.clone()]);
        remembered.replace(std::slice::from_ref(&first)).unwrap();
        let again = Remembered::open(&root.path().join("fallbacks")).unwrap();
        let read = again.read();
        assert_eq!(read.iter().map(|(note, _)| note).collect::<Vec<_>>(), [&first.0]);
        assert!(read[0].1.iter().map(|entry| entry.identity).eq([two.identity, one.identity]));
        again.replace(&[(note(&one, None), vec![one.clone()])]).unwrap();
        assert_eq!(again.0.directory.names().unwrap().len(), 2);
        again.0.directory.write(&format!("{}{MODULE}", one.identity), &[b"other"], false).unwrap();
        assert!(again.read().is_empty(), "a module that is not what it was is not run");
    }
}
