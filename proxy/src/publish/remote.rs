//! What a prefix holds at one revision: read in pages, contents fetched when they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{blob, prefix::Prefix};
use crate::{
    etcd::{Client, KeyValue},
    identity::Identity,
    source::{Entry, Pointer},
};

/// A prefix at one revision.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// The revision.
    pub revision: i64,
    /// By path.
    pub(super) entries: BTreeMap<String, Held>,
    /// What there is of each blob.
    pub(super) blobs: BTreeMap<Identity, Chunks>,
    /// Keys that are no paths; nobody reads them.
    pub(super) strangers: Vec<String>,
    /// Keys beside the chunks, all of them.
    pub(super) keys: usize,
    /// What the last push left behind, and the revision of that; 0 where nobody pushed yet.
    pub(super) mark: (Bytes, i64),
    /// The revision of the last collection; 0 where there was none.
    pub(super) collected: i64,
}

/// The chunks of one blob that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    pub(super) numbers: BTreeSet<u64>,
    /// The revision in which one of them was written last.
    pub(super) written: i64,
}

/// A value under a path.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) value: Bytes,
    /// Of the content, not of a pointer to it.
    pub(super) identity: Identity,
    /// Where the content is, if it is not the value.
    pub(super) pointer: Option<Pointer>,
    pub(super) mod_revision: i64,
    pub(super) lease: i64,
}

impl Remote {
    /// Reads a prefix.
    ///
    /// # Errors
    /// In words, with the endpoint and the next step.
    pub async fn read(client: &Client, prefix: &Prefix) -> Result<Self, String> {
        let failed = |error: crate::etcd::Error| format!("{prefix} cannot be read: {error}");
        let [before, after] = prefix.documents();
        let first = client.read(&before).await.map_err(failed)?;
        let revision = first.header.revision;
        let second = client.read(&after.at(revision)).await.map_err(failed)?;
        let chunks = client.read(&prefix.blobs().keys_only().at(revision)).await.map_err(failed)?;
        let mut remote = Self { revision, keys: first.kvs.len() + second.kvs.len(), ..Self::default() };
        first.kvs.into_iter().chain(second.kvs).for_each(|kv| remote.take(prefix, kv));
        for chunk in &chunks.kvs {
            match prefix.chunk_of(&chunk.key) {
                Some((blob, number)) => {
                    let chunks = remote.blobs.entry(blob).or_default();
                    chunks.numbers.insert(number);
                    chunks.written = chunks.written.max(chunk.mod_revision);
                }
                None => remote.strangers.push(lossy(&chunk.key)),
            }
        }
        Ok(remote)
    }

    fn take(&mut self, prefix: &Prefix, kv: KeyValue) {
        if *kv.key == *prefix.push_mark().as_bytes() {
            self.mark = (kv.value, kv.mod_revision);
        } else if *kv.key == *prefix.collect_mark().as_bytes() {
            self.collected = kv.mod_revision;
        } else if let Some(path) = prefix.path(&kv.key) {
            self.entries.insert(path.to_owned(), Held::of(kv.value, kv.mod_revision, kv.lease));
        } else {
            self.strangers.push(lossy(&kv.key));
        }
    }

    /// What goes with a lease, its contents fetched: whoever keeps the lease keeps it, not who pushes.
    ///
    /// # Errors
    /// In words, with the path.
    pub async fn leased(&self, client: &Client, prefix: &Prefix) -> Result<Vec<(String, Entry)>, String> {
        let mut leased = Vec::new();
        for (path, held) in self.entries.iter().filter(|(_, held)| held.lease != 0) {
            leased.push((path.clone(), Entry::new(held.content(client, prefix, path).await?)));
        }
        Ok(leased)
    }

    /// Whether all chunks are there that a pointer names.
    pub(super) fn has(&self, pointer: &Pointer) -> bool {
        let there = self.blobs.get(&pointer.sha256).map_or(0, |chunks| chunks.numbers.range(..pointer.chunks).count());
        there as u64 == pointer.chunks
    }
}

impl Held {
    fn of(value: Bytes, mod_revision: i64, lease: i64) -> Self {
        let pointer = Pointer::read(&value);
        let identity = pointer.map_or_else(|| Identity::of_bytes(&value), |pointer| pointer.sha256);
        Self { value, identity, pointer, mod_revision, lease }
    }

    /// The size of the content, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.pointer.map_or(self.value.len() as u64, |pointer| pointer.size)
    }

    /// The content.
    pub(super) async fn content(&self, client: &Client, prefix: &Prefix, path: &str) -> Result<Bytes, String> {
        match &self.pointer {
            None => Ok(self.value.clone()),
            Some(pointer) => {
                blob::fetch(client, prefix, pointer).await.map_err(|why| format!("{path} cannot be read: {why}"))
            }
        }
    }
}

fn lossy(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
