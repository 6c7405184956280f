//! What an operator writes, and what is wrong with it. Knows no request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_guest::{
    Problem, Problems,
    fields::{is_reserved, is_token},
};

use crate::keys::Digest;

/// The settings of `key-auth`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Who may pass, each with the SHA-256 of a key. A consumer with two keys is listed twice.
    pub(crate) consumers: Vec<Consumer>,
    /// The header that the key comes in. `x-api-key`, unless `query` is set and this is not.
    pub(crate) header: Option<String>,
    /// The query parameter that the key may come in. Keys in URLs end up in logs and histories: a header is better.
    pub(crate) query: Option<String>,
    /// A request header in which the upstream is told the consumer's name. What clients send in it is removed.
    pub(crate) consumer_header: Option<String>,
    /// Whether the key is passed on to the upstream.
    #[serde(default)]
    pub(crate) keep_key: bool,
    /// The consumer that a request without any key is taken for. Without it, such a request is answered with 401.
    pub(crate) anonymous: Option<String>,
    /// What the challenge calls the place that keys are asked for.
    #[serde(default = "realm")]
    pub(crate) realm: String,
}

/// One key and whose it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Consumer {
    /// Who it is.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: String,
    /// The key's SHA-256 in hexadecimal: `printf %s "$KEY" | sha256sum`.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(crate) key_sha256: String,
}

const NAME_BYTES_MAX: usize = 128;

fn realm() -> String {
    "gateway".to_owned()
}

impl Settings {
    /// The digests of all keys, in the order of the consumers.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn check(&self) -> Result<Vec<Digest>, Problems> {
        let mut problems = Problems::default();
        let mut say = |pointer: String, message: &str| problems.push(Problem::at(pointer, message));
        for (field, header) in [("header", &self.header), ("consumer-header", &self.consumer_header)] {
            let Some(name) = header else { continue };
            if !is_token(name) {
                say(format!("/{field}"), "must be a header name: letters, digits and `-`");
            } else if is_reserved(name) {
                say(format!("/{field}"), "is not a plugin's to change: it frames messages or concerns one connection");
            }
        }
        if let (Some(consumer), Some(header)) = (&self.consumer_header, self.header())
            && consumer.eq_ignore_ascii_case(header)
        {
            say("/consumer-header".into(), "is the header that the key comes in");
        }
        if self.query.as_ref().is_some_and(|name| !is_parameter(name)) {
            say("/query".into(), "must be a name of letters, digits, `-` and `_`");
        }
        if self.anonymous.as_ref().is_some_and(|name| !is_name(name)) {
            say("/anonymous".into(), NAME_RULE);
        }
        if self.realm.bytes().any(|byte| !(b' '..=b'~').contains(&byte) || matches!(byte, b'"' | b'\\')) {
            say("/realm".into(), "must be of printable ASCII, without `\"` and `\\`");
        }
        let digests = self.digests(&mut say);
        problems.or(digests)
    }

    /// The header that the key comes in, if it may come in one.
    pub(crate) fn header(&self) -> Option<&str> {
        let default = self.query.is_none().then_some("x-api-key");
        self.header.as_deref().or(default)
    }

    fn digests(&self, say: &mut impl FnMut(String, &str)) -> Vec<Digest> {
        let mut digests = Vec::with_capacity(self.consumers.len());
        let mut first = BTreeMap::new();
        for (index, consumer) in self.consumers.iter().enumerate() {
            if !is_name(&consumer.name) {
                say(format!("/consumers/{index}/name"), NAME_RULE);
            }
            let at = format!("/consumers/{index}/key-sha256");
            let Some(digest) = digest(&consumer.key_sha256) else {
                say(at, "must be the key's SHA-256, 64 hexadecimal digits: printf %s \"$KEY\" | sha256sum");
                continue;
            };
            if let Some(other) = first.insert(digest, index) {
                say(at, &format!("is the same key as /consumers/{other}/key-sha256"));
            }
            digests.push(digest);
        }
        if self.consumers.is_empty() && self.anonymous.is_none() {
            say("/consumers".into(), "is empty: nobody could pass");
        }
        digests
    }
}

const NAME_RULE: &str = "must be 1 to 128 characters of printable ASCII, without a space at either end";

fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

// It goes into a header as it is.
fn is_name(name: &str) -> bool {
    let printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    printable && !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.trim() == name
}

fn digest(hex: &str) -> Option<Digest> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(digest)
}
