//! Entries that are larger than a value of etcd may be: the key holds a small pointer document, the bytes lie in chunks
//! under `.blobs/`, named by their hash. Knows keys and bytes, and not who asks for them.

use std::collections::HashMap;

use crate::{
    etcd::{Client, Range},
    identity::Identity,
    source::{Entry, Pointer, ReadError},
};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

/// Where chunks lie, below the prefix. Never part of a tree.
pub(crate) const FOLDER: &str = ".blobs/";

/// Chunks of one entry.
const CHUNKS_MAX: u64 = 65_536;

/// Chunks that are fetched at a time.
const FETCHES_MAX: u64 = 4;

/// The key of chunk `number` of a content.
pub(crate) fn chunk_key(directory: &str, content: Identity, number: u64) -> String {
    format!("{directory}{FOLDER}{content}/{number}")
}

/// Everything below a directory but the chunks: two ranges of keys, each without its end.
pub(crate) fn around(directory: &str) -> [(String, String); 2] {
    // `0` is the character after `/`.
    let after = |directory: &str| format!("{}0", directory.trim_end_matches('/'));
    let chunks = format!("{directory}{FOLDER}");
    [(directory.to_owned(), chunks.clone()), (after(&chunks), after(directory))]
}

/// Reads what a pointer means, and verifies it.
///
/// # Errors
/// In words: it is larger than `bytes_max`, a chunk is missing or cut short, the whole is another, or etcd does not
/// answer.
pub(crate) async fn fetch(
    client: &Client,
    directory: &str,
    pointer: &Pointer,
    bytes_max: u64,
) -> Result<Entry, String> {
    check(pointer, bytes_max).map_err(|why| format!("the pointer to its chunks cannot be used: {why}"))?;
    let size = usize::try_from(pointer.size).map_err(|_| "it is larger than memory".to_owned())?;
    let mut bytes = BytesMut::with_capacity(size);
    let mut next = 0;
    while next < pointer.chunks && bytes.len() <= size {
        let batch = next..pointer.chunks.min(next + FETCHES_MAX);
        next = batch.end;
        for chunk in join_all(batch.map(|number| chunk(client, directory, pointer, number))).await {
            bytes.extend_from_slice(&chunk?);
        }
    }
    if bytes.len() != size {
        return Err(format!(
            "its chunks have {} bytes or more, and its pointer says {size}; push it again",
            bytes.len()
        ));
    }
    let entry = Entry::new(bytes.freeze());
    if entry.identity == pointer.sha256 {
        Ok(entry)
    } else {
        let (is, says) = (entry.identity, pointer.sha256);
        Err(format!("its chunks are not what its pointer says: their SHA-256 is {is}, not {says}; push it again"))
    }
}

fn check(pointer: &Pointer, bytes_max: u64) -> Result<(), String> {
    if pointer.size > bytes_max {
        return Err(format!("it is {} bytes long, and {bytes_max} is the most", pointer.size));
    }
    let chunks_max = CHUNKS_MAX.min(pointer.size.max(1));
    if pointer.chunks > chunks_max {
        return Err(format!("it has {} chunks, and {chunks_max} is the most", pointer.chunks));
    }
    Ok(())
}

/// Entries that were put together, by hash. Those that nobody asks for any more are let go of.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    known: HashMap<Identity, Entry>,
    used: HashMap<Identity, Entry>,
}

impl Blobs {
    /// The entry that a pointer means.
    pub(super) async fn entry(
        &mut self,
        client: &Client,
        directory: &str,
        pointer: &Pointer,
        bytes_max: u64,
    ) -> Result<Entry, ReadError> {
        let found = self.used.get(&pointer.sha256).or_else(|| self.known.get(&pointer.sha256)).cloned();
        let entry = match found {
            Some(entry) => entry,
            None => fetch(client, directory, pointer, bytes_max).await.map_err(|why| ReadError(why.into()))?,
        };
        self.used.insert(pointer.sha256, entry.clone());
        Ok(entry)
    }

    /// Ends a reading: what it used is kept, and what the one before it used goes.
    pub(super) fn read(&mut self) {
        self.known = std::mem::take(&mut self.used);
    }
}

async fn chunk(client: &Client, directory: &str, pointer: &Pointer, number: u64) -> Result<Bytes, String> {
    let key = chunk_key(directory, pointer.sha256, number);
    let page = client.range(&Range::key(key.as_str())).await.map_err(|error| error.to_string())?;
    let missing = || format!("chunk {number} of {} is missing ({key}); push it again", pointer.chunks);
    page.kvs.into_iter().next().map(|kv| kv.value).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_to_too_much_is_not_followed() {
        let pointer = Pointer { sha256: Identity::of_bytes(b"x"), size: 5, chunks: 1 };
        assert_eq!(chunk_key("/gw/", pointer.sha256, 3), format!("/gw/.blobs/{}/3", pointer.sha256));
        assert_eq!(check(&pointer, 5), Ok(()));
        assert!(check(&pointer, 4).is_err());
        assert!(check(&Pointer { chunks: 6, ..pointer }, 5).is_err());
        let long = Pointer { size: 2 * CHUNKS_MAX, ..pointer };
        assert_eq!(check(&Pointer { chunks: CHUNKS_MAX, ..long }, u64::MAX), Ok(()));
        assert!(check(&Pointer { chunks: CHUNKS_MAX + 1, ..long }, u64::MAX).is_err());
    }

    #[test]
    fn chunks_lie_between_two_ranges_of_documents() {
        assert_eq!(around("/gw/"), [("/gw/".into(), "/gw/.blobs/".into()), ("/gw/.blobs0".into(), "/gw0".into())]);
    }
}
