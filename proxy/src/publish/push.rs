//! A push: what differs, what has to be uploaded first, and the one step in which it becomes the prefix's content.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    blob::{self, CHUNK_BYTES, CONTENT_BYTES_MAX},
    changes::{self, Change, Changes},
    flip::{self, Flip, Outcome},
    host,
    prefix::Prefix,
    remote::{Held, Remote},
};
use crate::{
    etcd::Client,
    identity::Identity,
    source::{Entry, Pointer},
    telemetry::Timestamp,
};

/// What etcd takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps of a transaction: the server's `--max-txn-ops`.
    pub txn_ops_max: usize,
    /// Bytes of a request: the server's `--max-request-bytes`.
    pub request_bytes_max: usize,
}

/// What the prefix is to hold.
#[derive(Clone, Debug)]
pub struct Local {
    /// By path; keys under leases aside.
    pub entries: BTreeMap<String, Entry>,
    /// The hash of the layer that gateways will see.
    pub hash: Identity,
}

/// A push that is not carried out yet.
pub struct Push<'a> {
    client: &'a Client,
    prefix: &'a Prefix,
    remote: Remote,
    limits: Limits,
    hash: Identity,
    /// What it changes.
    pub changes: Changes,
    flip: Flip,
    /// Contents to be there first.
    blobs: BTreeMap<Identity, Bytes>,
    unchanged: usize,
}

/// A push that was carried out.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// The revision that it is; that of the prefix where nothing had to be changed.
    pub revision: i64,
    /// The hash that gateways will say of the layer.
    pub hash: String,
    /// What was changed.
    #[serde(flatten)]
    pub changes: Changes,
    /// How many entries were as they are.
    pub unchanged: usize,
    /// Contents that were uploaded; the others were there.
    pub uploaded: usize,
}

/// What a change costs in a transaction besides its key and value, in bytes.
const CHANGE_BYTES: usize = 48;

/// Collections of blobs in between that a push gives way to.
const ATTEMPTS_MAX: usize = 5;

impl Default for Limits {
    fn default() -> Self {
        // etcd's own.
        Self { txn_ops_max: 128, request_bytes_max: 3 << 19 }
    }
}

impl Limits {
    // The rest of the request is for keys that are compared.
    fn flip_bytes_max(self) -> usize {
        self.request_bytes_max / 8 * 7
    }

    fn too_large(self, changes: usize, bytes: usize) -> String {
        format!(
            "{changes} changes make a transaction of {bytes} bytes, and {} is the most for an etcd that takes requests of \
             {}: put several objects into one document, or start etcd with a higher `--max-request-bytes` and give the \
             same number to `tidegate push --max-request-bytes`",
            self.flip_bytes_max(),
            self.request_bytes_max
        )
    }

    pub(super) fn too_many(self, changes: usize) -> String {
        let (ops, most) = (self.txn_ops_max, flip::changes_max(self.txn_ops_max));
        format!(
            "{changes} changes do not fit into one transaction of an etcd that takes {ops} steps (at most {most} do), and \
             are not made one by one: put several objects into one document, or start etcd with a higher \
             `--max-txn-ops` and give the same number to `tidegate push --max-txn-ops`"
        )
    }
}

impl<'a> Push<'a> {
    /// Finds out what differs between `local` and what `remote` is.
    ///
    /// # Errors
    /// In words, where it cannot be pushed: an entry is too large, or is a key that somebody keeps under a lease, or there
    /// are more changes than etcd takes in one step.
    pub async fn plan(
        client: &'a Client,
        prefix: &'a Prefix,
        remote: Remote,
        local: Local,
        limits: Limits,
    ) -> Result<Self, String> {
        let changes = Changes::default();
        let (flip, blobs, unchanged, hash) = (Flip::default(), BTreeMap::new(), 0, local.hash);
        let mut push = Self { client, prefix, remote, limits, hash, changes, flip, blobs, unchanged };
        for (path, entry) in &local.entries {
            push.take(path, entry).await?;
        }
        let gone = |(path, held): &(&String, &Held)| held.lease == 0 && !local.entries.contains_key(*path);
        for (path, held) in push.remote.entries.iter().filter(gone) {
            push.flip.deletes.push(prefix.key(path));
            let (path, bytes_before) = (path.clone(), Some(held.bytes()));
            push.changes.removed.push(Change { path, bytes_before, bytes: None, diff: None });
        }
        push.shrink()?;
        if !flip::fits(push.flip.count(), limits.txn_ops_max) {
            return Err(limits.too_many(push.flip.count()));
        }
        Ok(push)
    }

    /// The hash that gateways will say of the layer.
    pub fn hash(&self) -> Identity {
        self.hash
    }

    /// How many entries are as they are.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// Keys under leases, which are left alone.
    pub fn leased(&self) -> Vec<String> {
        let leased = self.remote.entries.iter().filter(|(_, held)| held.lease != 0);
        leased.map(|(path, _)| path.clone()).collect()
    }

    /// Uploads what is missing, and flips.
    ///
    /// # Errors
    /// In words, where somebody else changed the prefix meanwhile, or etcd refuses. Nothing is changed then.
    pub async fn carry_out(mut self) -> Result<Pushed, String> {
        let mut uploaded = self.upload().await?;
        if self.flip.count() == 0 {
            let revision = self.remote.revision;
            return Ok(self.done(revision, uploaded));
        }
        let mark: Bytes = mark(self.hash).to_string().into();
        for _ in 0..ATTEMPTS_MAX {
            match self.flip.carry_out(self.client, self.prefix, &self.remote, &mark, self.limits).await? {
                Outcome::Done { revision, lost } if lost <= 0 => return Ok(self.done(revision, uploaded)),
                Outcome::Done { revision, lost } => {
                    return Err(format!(
                        "pushed as revision {revision}, but somebody deleted {lost} keys meanwhile, which are missing \
                         now; push again"
                    ));
                }
                Outcome::Changed => self.only_collected().await?,
            }
            uploaded += self.upload().await?;
        }
        Err("blobs were collected again and again meanwhile, and nothing was changed; push again later".into())
    }

    async fn take(&mut self, path: &str, entry: &Entry) -> Result<(), String> {
        if entry.bytes.len() as u64 > CONTENT_BYTES_MAX {
            return Err(format!("{path} has {} bytes, and the limit is {CONTENT_BYTES_MAX}", entry.bytes.len()));
        }
        if Pointer::read(&entry.bytes).is_some() {
            return Err(format!(
                "{path} points at a content in etcd instead of having one; `tidegate pull` fetches it"
            ));
        }
        let held = self.remote.entries.get(path).cloned();
        if held.as_ref().is_some_and(|held| held.lease != 0) {
            return Err(format!(
                "{path} is a key under a lease, which belongs to whoever keeps the lease; remove the file, or revoke the lease"
            ));
        }
        let large = entry.bytes.len() > CHUNK_BYTES;
        if let Some(held) = held.as_ref().filter(|held| held.identity == entry.identity) {
            self.unchanged += 1;
            if held.pointer.is_some_and(|pointer| !self.remote.has(&pointer)) {
                self.blobs.insert(entry.identity, entry.bytes.clone());
            }
            return Ok(());
        }
        let bytes = Some(entry.bytes.len() as u64);
        let mut change = Change { path: path.to_owned(), bytes_before: None, bytes, diff: None };
        match held {
            None => {
                self.flip.added += 1;
                self.changes.added.push(change);
            }
            Some(held) => {
                change.bytes_before = Some(held.bytes());
                if held.bytes() <= changes::DIFF_BYTES_MAX && !large {
                    // What cannot be read is no reason not to replace it.
                    let before = held.content(self.client, self.prefix, path).await.ok();
                    change.diff = before.and_then(|before| changes::diff(&before, &entry.bytes));
                }
                self.changes.changed.push(change);
            }
        }
        let value = if large { self.point(&entry.bytes, entry.identity) } else { entry.bytes.clone() };
        self.flip.puts.push((self.prefix.key(path), value));
        Ok(())
    }

    // Has a content uploaded, and answers with what points there.
    fn point(&mut self, content: &Bytes, identity: Identity) -> Bytes {
        self.blobs.insert(identity, content.clone());
        blob::pointer(content, identity).write().into()
    }

    // All values together must fit into one request: the largest go the way of the large ones until they do.
    fn shrink(&mut self) -> Result<(), String> {
        let bytes_max = self.limits.flip_bytes_max();
        let deletes: usize = self.flip.deletes.iter().map(|key| key.len() + CHANGE_BYTES).sum();
        let puts: usize = self.flip.puts.iter().map(|(key, value)| key.len() + value.len() + CHANGE_BYTES).sum();
        let mut bytes = deletes + puts;
        let mut by_size: Vec<usize> = (0..self.flip.puts.len()).collect();
        by_size.sort_by_key(|at| std::cmp::Reverse(self.flip.puts[*at].1.len()));
        for at in by_size {
            if bytes <= bytes_max {
                break;
            }
            let content = self.flip.puts[at].1.clone();
            let pointer = self.point(&content, Identity::of_bytes(&content));
            if pointer.len() >= content.len() {
                self.blobs.remove(&Identity::of_bytes(&content));
                break;
            }
            bytes = bytes + pointer.len() - content.len();
            self.flip.puts[at].1 = pointer;
        }
        if bytes <= bytes_max { Ok(()) } else { Err(self.limits.too_large(self.flip.count(), bytes)) }
    }

    // Makes sure that every content is there, and is what it says. Answers how many had to be uploaded.
    async fn upload(&self) -> Result<usize, String> {
        let mut uploaded = 0;
        for (identity, content) in &self.blobs {
            let pointer = blob::pointer(content, *identity);
            let there = self.remote.has(&pointer) && blob::fetch(self.client, self.prefix, &pointer).await.is_ok();
            if !there {
                blob::upload(self.client, self.prefix, content, *identity).await?;
                uploaded += 1;
            }
        }
        Ok(uploaded)
    }

    // The prefix is not what it was. If that is because blobs were collected, we may go on; else somebody else pushed.
    async fn only_collected(&mut self) -> Result<(), String> {
        let now = Remote::read(self.client, self.prefix).await?;
        if now.mark.1 != self.remote.mark.1 {
            let by: Value = serde_json::from_slice(&now.mark.0).unwrap_or_default();
            let (who, at) = (by["by"].as_str().unwrap_or("?"), by["at"].as_str().unwrap_or("?"));
            return Err(changed(&format!("somebody else pushed (revision {}, by {who} at {at})", now.mark.1)));
        }
        let revision = |remote: &Remote, path: &str| remote.entries.get(path).map(|held| held.mod_revision);
        let mut paths = now.entries.keys().chain(self.remote.entries.keys());
        if let Some(path) = paths.find(|path| revision(&now, path) != revision(&self.remote, path)) {
            let what = revision(&now, path).map_or("deleted".to_owned(), |at| format!("written (revision {at})"));
            return Err(changed(&format!("{path} was {what} by somebody else")));
        }
        if now.strangers != self.remote.strangers
            || now.keys != self.remote.keys + usize::from(self.remote.collected == 0 && now.collected != 0)
        {
            return Err(changed("keys were written beside the documents"));
        }
        self.remote = now;
        Ok(())
    }

    fn done(self, revision: i64, uploaded: usize) -> Pushed {
        let Self { changes, unchanged, hash, .. } = self;
        Pushed { revision, hash: hash.to_string(), changes, unchanged, uploaded }
    }
}

fn changed(what: &str) -> String {
    format!("{what} meanwhile, and nothing was changed; look at what differs now (--dry-run), and push again")
}

// For people, and for a push to know its own.
fn mark(hash: Identity) -> Value {
    let (by, at) = (host::whoever(), Timestamp::now().to_string());
    let own = Identity::of_bytes(format!("{by} {at} {} {hash}", std::process::id()).as_bytes());
    let version = env!("CARGO_PKG_VERSION");
    json!({"hash": hash, "at": at, "by": by, "version": version, "id": format!("{own:.16}")})
}
