//! The opening handshake of WebSocket as HTTP/1.1 has it (RFC 6455 section 4), for the gateway that stands between it
//! and the one of HTTP/2, which has no key and no proof of having read it (RFC 8441 section 5). Pure.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// Whether `protocol`, the value of an `Upgrade` field, means WebSocket.
pub fn is_meant(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// A `Sec-WebSocket-Key` of our own: 16 random bytes.
pub fn key() -> HeaderValue {
    let mut bytes = [0; 16];
    // Nobody relies on that it cannot be guessed: it shows that an answer is one to this question.
    let _filled = rand::fill(&mut bytes);
    value(&bytes)
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 section 4.2.2).
pub fn accept(key: &[u8]) -> HeaderValue {
    let question = [key.trim_ascii(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    value(digest(&SHA1_FOR_LEGACY_USE_ONLY, &question).as_ref())
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::try_from(STANDARD.encode(bytes)).expect("Base64 is a field value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_specification_shows() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(key().len() == 24 && key() != key());
        assert!(is_meant(&HeaderValue::from_static("WebSocket")) && !is_meant(&HeaderValue::from_static("h2c")));
    }
}
