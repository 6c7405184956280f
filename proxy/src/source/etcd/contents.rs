//! What a prefix holds, as a tree: kept up to date change by change, shared between versions, so that one changed key
//! costs the logarithm of their number. Knows keys and values, and no connection.

use std::{collections::HashSet, sync::Arc};

use imbl::OrdMap;

use super::blob;
use crate::{
    etcd::{Event, KeyValue},
    source::{Entry, Pointer, ReadError, is_document, naming},
};

/// The entries below a prefix at one revision. Cloning it costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// The revision that it is of.
    pub(super) revision: i64,
    /// Rises with every revision that changed it.
    pub(super) version: u64,
    /// By path.
    pub(super) documents: OrdMap<Arc<str>, Result<Entry, ReadError>>,
    /// Documents that lie in chunks, by path; none of `documents` says what they hold.
    pub(super) pointers: OrdMap<Arc<str>, Pointer>,
    /// Everything else: modules, secrets, pointers to them.
    pub(super) others: OrdMap<Arc<str>, Entry>,
    /// Leases of entries that have one.
    pub(super) leases: OrdMap<Arc<str>, i64>,
    /// All values together.
    pub(super) bytes: usize,
}

impl Contents {
    /// The entry's path, if the key is one of a tree: below the prefix, and nothing in it hidden.
    fn path<'k>(directory: &str, key: &'k [u8]) -> Option<Result<&'k str, Arc<str>>> {
        let below = key.strip_prefix(directory.as_bytes())?;
        match std::str::from_utf8(below) {
            Ok(path) if path.starts_with(blob::FOLDER) || naming::is_hidden(path) || path.is_empty() => None,
            Ok(path) => Some(Ok(path)),
            Err(_) => Some(Err(String::from_utf8_lossy(below).into())),
        }
    }

    /// Takes one change over. Answers whether the tree is another one for it.
    pub(super) fn apply(&mut self, directory: &str, event: &Event) -> bool {
        let Some(path) = Self::path(directory, &event.kv().key) else { return false };
        match (event, path) {
            (Event::Put(kv), Ok(path)) => self.put(path, kv),
            (Event::Delete(_), Ok(path)) => self.remove(path),
            (Event::Put(_), Err(path)) => {
                let unreadable = Err(ReadError("its key is not UTF-8; delete it".into()));
                self.documents.insert(path, unreadable.clone()) != Some(unreadable)
            }
            (Event::Delete(_), Err(path)) => self.documents.remove(&path).is_some(),
        }
    }

    /// Makes it what was read, whatever it was before; what is equal stays the same object. Answers whether the tree
    /// is another one for it.
    pub(super) fn replace(&mut self, directory: &str, kvs: &[KeyValue]) -> bool {
        let mut changed = false;
        let mut there = HashSet::with_capacity(kvs.len());
        for kv in kvs {
            let Some(path) = Self::path(directory, &kv.key) else { continue };
            there.insert(match &path {
                Ok(path) => Arc::from(*path),
                Err(path) => Arc::clone(path),
            });
            changed |= self.apply(directory, &Event::Put(kv.clone()));
        }
        let known = self.documents.keys().chain(self.pointers.keys()).chain(self.others.keys());
        let gone: Vec<_> = known.filter(|path| !there.contains(*path)).cloned().collect();
        for path in gone {
            changed |= self.remove(&path);
        }
        changed
    }

    /// Whether there is no document.
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.pointers.is_empty()
    }

    fn put(&mut self, path: &str, kv: &KeyValue) -> bool {
        if kv.lease != 0 {
            self.leases.insert(path.into(), kv.lease);
        } else if self.leases.contains_key(path) {
            self.leases.remove(path);
        }
        if self.holds(path, &kv.value) {
            return false;
        }
        self.forget(path);
        self.bytes += kv.value.len();
        // The value is a slice of a whole page, which must not stay because of it.
        let entry = || Entry::new(bytes::Bytes::copy_from_slice(&kv.value));
        let path: Arc<str> = path.into();
        match Pointer::read(&kv.value).filter(|_| is_document(&path)) {
            Some(pointer) => drop(self.pointers.insert(path, pointer)),
            None if is_document(&path) => drop(self.documents.insert(path, Ok(entry()))),
            None => drop(self.others.insert(path, entry())),
        }
        true
    }

    fn remove(&mut self, path: &str) -> bool {
        if self.leases.contains_key(path) {
            self.leases.remove(path);
        }
        self.forget(path)
    }

    /// Whether this is what is there already.
    fn holds(&self, path: &str, value: &[u8]) -> bool {
        let document = || self.documents.get(path).and_then(|entry| entry.as_ref().ok());
        let entry = if is_document(path) { document() } else { self.others.get(path) };
        entry.is_some_and(|entry| entry.bytes == value)
            || self.pointers.get(path).is_some_and(|known| Pointer::read(value).as_ref() == Some(known))
    }

    fn forget(&mut self, path: &str) -> bool {
        let (document, other) = (self.documents.remove(path), self.others.remove(path));
        let pointer = self.pointers.remove(path);
        let entry = document.as_ref().and_then(|entry| entry.as_ref().ok()).or(other.as_ref());
        let bytes = entry.map_or(0, |entry| entry.bytes.len());
        let bytes = bytes + pointer.as_ref().map_or(0, |pointer| pointer.write().len());
        self.bytes = self.bytes.saturating_sub(bytes);
        document.is_some() || other.is_some() || pointer.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        }
    }

    fn put(key: &str, value: &str) -> Event {
        Event::Put(kv(key, value))
    }

    #[test]
    fn keys_are_paths_and_what_is_hidden_is_no_part_of_the_tree() {
        let mut contents = Contents::default();
        for (key, is_part) in [
            ("/gw/gateway.yaml", true),
            ("/gw/routes/a.json", true),
            ("/gw/plugins/x.wasm", true),
            ("/gw/", false),
            ("/gw/.blobs/aa/0", false),
            ("/gw/.git/a.yaml", false),
            ("/gwx/a.yaml", false),
        ] {
            assert_eq!(contents.apply("/gw/", &put(key, "x: 1")), is_part, "{key}");
        }
        let documents: Vec<_> = contents.documents.keys().map(ToString::to_string).collect();
        assert_eq!(documents, ["gateway.yaml", "routes/a.json"]);
        assert_eq!((contents.others.len(), contents.bytes), (1, 12));
    }

    #[test]
    fn an_equal_value_changes_nothing_and_keeps_the_same_bytes() {
        let mut contents = Contents::default();
        assert!(contents.apply("/gw/", &put("/gw/a.yaml", "a: 1")));
        let before = contents.documents["a.yaml"].clone().expect("an entry").bytes.as_ptr();
        assert!(!contents.apply("/gw/", &put("/gw/a.yaml", "a: 1")));
        assert!(!contents.replace("/gw/", &[kv("/gw/a.yaml", "a: 1")]));
        assert_eq!(contents.documents["a.yaml"].clone().expect("an entry").bytes.as_ptr(), before);
        assert!(contents.apply("/gw/", &put("/gw/a.yaml", "a: 2")));
        assert!(contents.replace("/gw/", &[kv("/gw/b.yaml", "b: 1")]));
        assert!(!contents.documents.contains_key("a.yaml"));
        assert_eq!(contents.bytes, 4);
    }

    #[test]
    fn a_deleted_key_takes_its_lease_with_it() {
        let mut contents = Contents::default();
        contents.apply("/gw/", &Event::Put(KeyValue { lease: 7, ..kv("/gw/a.yaml", "a: 1") }));
        assert_eq!(contents.leases.get("a.yaml"), Some(&7));
        contents.apply("/gw/", &Event::Put(KeyValue { lease: 7, ..kv("/gw/b.yaml", "b: 1") }));
        assert!(contents.apply("/gw/", &Event::Delete(kv("/gw/a.yaml", ""))));
        assert!(!contents.apply("/gw/", &put("/gw/b.yaml", "b: 1")), "the same content, and no lease any more");
        assert!(contents.leases.is_empty());
        assert_eq!(contents.documents.len(), 1);
    }

    #[test]
    fn a_document_in_chunks_is_a_document() {
        let mut contents = Contents::default();
        let pointer = Pointer { sha256: crate::identity::Identity::of_bytes(b"x"), size: 5, chunks: 1 };
        assert!(contents.apply("/gw/", &put("/gw/routes.yaml", std::str::from_utf8(&pointer.write()).expect("text"))));
        assert!(!contents.apply("/gw/", &put("/gw/routes.yaml", std::str::from_utf8(&pointer.write()).expect("text"))));
        assert!(!contents.is_empty() && contents.documents.is_empty());
        assert!(contents.apply("/gw/", &put("/gw/routes.yaml", "routes: []")));
        assert!(contents.pointers.is_empty());
        assert_eq!(contents.bytes, 10);
    }
}
