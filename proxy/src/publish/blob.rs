//! Contents that are too large for a value: in chunks under their hash, verified whenever they are read. Knows keys and
//! bytes only.

use bytes::Bytes;

use super::prefix::Prefix;
use crate::{
    etcd::Client,
    identity::Identity,
    source::{self, Pointer},
};

/// Bytes of a chunk, and of the largest value: etcd takes requests of 1.5 MiB unless its `--max-request-bytes` says
/// otherwise.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// The largest content: what a gateway takes as a module.
pub(super) const CONTENT_BYTES_MAX: u64 = 64 << 20;

/// The pointer to a content, once its chunks are there.
pub(super) fn pointer(content: &[u8], identity: Identity) -> Pointer {
    Pointer { sha256: identity, size: content.len() as u64, chunks: content.len().div_ceil(CHUNK_BYTES) as u64 }
}

/// Writes the chunks of a content.
///
/// # Errors
/// In words, with the endpoint.
pub(super) async fn upload(client: &Client, prefix: &Prefix, content: &Bytes, blob: Identity) -> Result<(), String> {
    for (number, start) in (0..content.len()).step_by(CHUNK_BYTES).enumerate() {
        let chunk = content.slice(start..content.len().min(start + CHUNK_BYTES));
        let put = client.put(prefix.chunk(blob, number as u64), chunk).await;
        put.map_err(|error| format!("a chunk of {} bytes cannot be uploaded: {error}", content.len()))?;
    }
    Ok(())
}

/// Reads what a pointer names, and verifies it.
///
/// # Errors
/// As of [`source::etcd::fetch`].
pub(super) async fn fetch(client: &Client, prefix: &Prefix, pointer: &Pointer) -> Result<Bytes, String> {
    let entry = source::etcd::fetch(client, prefix.directory(), pointer, CONTENT_BYTES_MAX).await?;
    Ok(entry.bytes)
}
