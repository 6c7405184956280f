//! What fields say of a body: whether it is JSON, and whether it is as it is written.

/// Fields that hold for a body only as long as nobody changes it (RFC 9530, RFC 3230, RFC 1864).
pub(crate) const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Whether a media type is JSON: `application/json`, or one that ends in `+json` (RFC 6839), with any parameters.
pub(crate) fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.rsplit_once('+').is_some_and(|(_, suffix)| suffix == "json")
}

/// Whether a body is coded in another way than as it is.
pub(crate) fn is_encoded(content_encoding: &[Vec<u8>]) -> bool {
    let codings = content_encoding.iter().flat_map(|value| value.split(|byte| *byte == b','));
    codings.map(<[u8]>::trim_ascii).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_the_rest() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "a/b+json"] {
            assert!(is_json(Some(json)), "{json}");
        }
        for other in ["text/plain", "application/x-ndjson", "application/json-seq", "text/json", "json", ""] {
            assert!(!is_json(Some(other)), "{other}");
        }
        assert!(!is_json(None));
    }

    #[test]
    fn identity_is_no_coding() {
        assert!(!is_encoded(&[]) && !is_encoded(&[b"Identity".to_vec()]) && !is_encoded(&[b" , ".to_vec()]));
        assert!(is_encoded(&[b"gzip".to_vec()]) && is_encoded(&[b"identity, br".to_vec()]));
    }
}
