//! Collecting blobs that no key names any more. What was uploaded since the last push is spared: another push may be under
//! way that will name it. Each step compares that no key has changed since it was decided, and leaves a mark that makes a
//! push under way look again whether what it found there is there: neither ever takes what the other needs.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::{prefix::Prefix, push::Limits, remote::Remote};
use crate::{
    etcd::{Client, Op},
    identity::Identity,
    telemetry::Timestamp,
};

/// What a collection came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Blobs that nothing named.
    pub removed: usize,
    /// Chunks that they were in.
    pub chunks: usize,
    /// Blobs that something names.
    pub kept: usize,
    /// Blobs that nothing names yet, uploaded since the last push.
    pub spared: usize,
}

/// Changes of the prefix in between that a collection gives way to.
const ATTEMPTS_MAX: usize = 5;

/// Removes every blob that no key names, or only counts them (`dry_run`).
///
/// # Errors
/// In words, where etcd refuses, or the prefix changes all the time.
pub async fn collect(client: &Client, prefix: &Prefix, limits: Limits, dry_run: bool) -> Result<Collected, String> {
    let mut collected = Collected::default();
    for _ in 0..ATTEMPTS_MAX {
        let remote = Remote::read(client, prefix).await?;
        let named: BTreeSet<Identity> = remote.entries.values().filter_map(|held| Some(held.pointer?.sha256)).collect();
        let unnamed = || remote.blobs.iter().filter(|(blob, _)| !named.contains(blob));
        let garbage: Vec<_> = unnamed().filter(|(_, chunks)| chunks.written < remote.mark.1).collect();
        collected.kept = remote.blobs.len() - unnamed().count();
        collected.spared = unnamed().count() - garbage.len();
        let mut since = remote.revision;
        let mut changed = false;
        for batch in garbage.chunks(limits.txn_ops_max.saturating_sub(1).max(1)) {
            if !dry_run {
                match remove(client, prefix, batch.iter().map(|(blob, _)| **blob), since).await? {
                    Some(revision) => since = revision,
                    None => {
                        changed = true;
                        break;
                    }
                }
            }
            collected.removed += batch.len();
            collected.chunks += batch.iter().map(|(_, chunks)| chunks.numbers.len()).sum::<usize>();
        }
        if !changed {
            return Ok(collected);
        }
    }
    Err(format!("{prefix} changed again and again meanwhile; what nothing names is collected another time"))
}

// One step; `None` where a key was written since.
async fn remove(
    client: &Client,
    prefix: &Prefix,
    blobs: impl Iterator<Item = Identity>,
    since: i64,
) -> Result<Option<i64>, String> {
    let mut steps: Vec<_> = blobs.map(|blob| Op::Delete(prefix.blob(blob))).collect();
    steps.push(Op::put(prefix.collect_mark(), json!({"at": Timestamp::now()}).to_string()));
    let answer = client.txn(prefix.unchanged_since(since).to_vec(), steps, Vec::new()).await;
    let answer = answer.map_err(|error| format!("the blobs of {prefix} cannot be collected: {error}"))?;
    Ok(answer.succeeded.then_some(answer.header.revision))
}
