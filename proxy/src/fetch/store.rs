//! What was fetched, on disk, by its hash: a restart fetches nothing twice, and needs nobody to be there. Bounded in
//! bytes. Knows no module and no registry.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{identity::Identity, state_dir::Directory};

/// A directory of blobs, each under its SHA-256 in hexadecimal, and of words about them.
#[derive(Debug)]
pub(super) struct Store {
    directory: Directory,
    bytes_max: AtomicU64,
}

/// No blob is larger, whatever the settings say.
const BLOB_BYTES_MAX: u64 = 1 << 30;

impl Store {
    /// Opens it, making it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let directory = Directory::open(path, "executed")?;
        Ok(Self { directory, bytes_max: AtomicU64::new(u64::MAX) })
    }

    /// Keeps at most this many bytes from now on.
    pub(super) fn limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// A blob, if it is there and whole.
    pub(super) fn blob(&self, digest: Identity) -> Option<Bytes> {
        let name = digest.to_string();
        let content = self.directory.read(&name, BLOB_BYTES_MAX).ok()?;
        if Identity::of_bytes(&content) != digest {
            tracing::warn!(%digest, "a fetched module on disk is damaged, and is fetched anew");
            drop(self.directory.remove(&name));
            return None;
        }
        self.touch(&name);
        Some(content.into())
    }

    /// Keeps a blob. Failing costs a fetch after the next start, and nothing else.
    pub(super) fn keep(&self, digest: Identity, content: &[u8]) {
        self.write(&digest.to_string(), content);
    }

    /// What was kept about a blob under `word`: to be verified by whoever asks.
    pub(super) fn about(&self, digest: Identity, word: &str, bytes_max: u64) -> Option<Bytes> {
        let name = format!("{digest}.{word}");
        let content = self.directory.read(&name, bytes_max).ok()?;
        self.touch(&name);
        Some(content.into())
    }

    /// Keeps something about a blob.
    pub(super) fn keep_about(&self, digest: Identity, word: &str, content: &[u8]) {
        self.write(&format!("{digest}.{word}"), content);
    }

    fn write(&self, name: &str, content: &[u8]) {
        let size = content.len() as u64;
        if size > self.bytes_max.load(Relaxed) {
            return;
        }
        let written = self.make_room(size).and_then(|()| self.directory.write(name, &[content], true));
        if let Err(error) = written {
            tracing::warn!(%error, directory = %self.directory.path().display(), "a fetched module could not be kept");
        }
    }

    // What was used longest ago goes first.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut total = files.iter().map(|(_, size, _)| size).sum::<u64>().saturating_add(size);
        for (_, size, path) in files {
            if total <= self.bytes_max.load(Relaxed) {
                return Ok(());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total = total.saturating_sub(size),
            }
        }
        Ok(())
    }

    // That it was used now. Where this fails it goes sooner.
    fn touch(&self, name: &str) {
        let touched = File::options().write(true).open(self.directory.path().join(name));
        drop(touched.and_then(|file| file.set_modified(SystemTime::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("fetched")).unwrap();
        (root, store)
    }

    #[test]
    fn a_damaged_blob_is_as_good_as_none() {
        let (root, store) = store();
        let digest = Identity::of_bytes(b"module");
        assert_eq!(store.blob(digest), None);
        store.keep(digest, b"module");
        assert_eq!(store.blob(digest).as_deref(), Some(&b"module"[..]));
        let path = root.path().join("fetched").join(digest.to_string());
        fs::write(&path, b"modulo").unwrap();
        assert_eq!(store.blob(digest), None);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (root, store) = store();
        let digests = [b"one.", b"two.", b"tre."].map(|blob| (Identity::of_bytes(blob), blob));
        store.limit(8);
        let age = |digest: Identity, seconds: u64| {
            let file = File::options().write(true).open(root.path().join("fetched").join(digest.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        for (at, (digest, blob)) in digests.iter().take(2).enumerate() {
            store.keep(*digest, *blob);
            age(*digest, at as u64);
        }
        // Using it makes it the youngest.
        assert!(store.blob(digests[0].0).is_some());
        store.keep(digests[2].0, digests[2].1);
        let there: Vec<_> = digests.iter().map(|(digest, _)| store.blob(*digest).is_some()).collect();
        assert_eq!(there, [true, false, true]);
        store.keep(Identity::of_bytes(b"over the limit"), b"over the limit");
        assert_eq!(store.blob(Identity::of_bytes(b"over the limit")), None);
    }
}
