//! Pointers: what a key holds instead of a content that is too large for a value. The content is then elsewhere, in
//! chunks, under its hash. Knows no client.

use serde::Deserialize;
use serde_json::json;

use crate::identity::Identity;

/// What a key points at: `{"tidegate-blob": {"sha256": "<hexadecimal>", "size": N, "chunks": K}}`. The chunks are
/// `<prefix>/.blobs/<sha256>/<n>`, `n` from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The SHA-256 of the content.
    pub sha256: Identity,
    /// Its size in bytes.
    pub size: u64,
    /// How many chunks it is in.
    pub chunks: u64,
}

/// No pointer is longer, however it is indented.
const POINTER_BYTES_MAX: usize = 1024;

impl Pointer {
    /// The pointer that a value is; `None` for every other value.
    pub fn read(value: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Document {
            tidegate_blob: Blob,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Blob {
            sha256: String,
            size: u64,
            chunks: u64,
        }
        if value.len() > POINTER_BYTES_MAX {
            return None;
        }
        let Document { tidegate_blob: Blob { sha256, size, chunks } } = serde_json::from_slice(value).ok()?;
        Some(Self { sha256: Identity::parse(&sha256)?, size, chunks })
    }

    /// The value of a key that points there.
    pub fn write(&self) -> Vec<u8> {
        let Self { sha256, size, chunks } = self;
        json!({"tidegate-blob": {"sha256": sha256, "size": size, "chunks": chunks}}).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_back_and_nothing_else_is_one() {
        let pointer = Pointer { sha256: Identity::of_bytes(b"x"), size: 5 << 20, chunks: 5 };
        let written = pointer.write();
        assert_eq!(Pointer::read(&written), Some(pointer));
        let text = String::from_utf8(written).unwrap();
        for other in [
            "routes: []".to_owned(),
            "{}".to_owned(),
            text.replace("tidegate-blob", "blob"),
            text.replace("\"size\"", "\"sizes\""),
            text.replace("\"chunks\":5", "\"chunks\":-5"),
            format!("{text}{}", " ".repeat(POINTER_BYTES_MAX)),
        ] {
            assert_eq!(Pointer::read(other.as_bytes()), None, "{other}");
        }
    }
}
