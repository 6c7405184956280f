//! Who a token's bearer is, for later plugins, the log and the upstream. Knows no keys.

use serde_json::Value;
use tidegate_guest::{Request, Result, exchange};

use crate::{
    claims::{Claims, Path, plain},
    refusal::Refusal,
};

/// Which claims are passed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// As attributes of the exchange.
    pub(crate) attributes: Vec<(String, Path)>,
    /// As header fields, which clients cannot set: names in lower case.
    pub(crate) headers: Vec<(String, Path)>,
}

/// What the claims of one token come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    attributes: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

/// Bytes of a claim that is passed on.
const CLAIM_BYTES_MAX: usize = 1024;

impl Passed {
    /// Takes off whatever a client sent under the names of the header fields; `-` and `_` are one, as they are to many
    /// a server behind.
    pub(crate) fn strip(&self, request: Request) -> Result<()> {
        if self.headers.is_empty() {
            return Ok(());
        }
        for (name, _) in request.headers() {
            if self.headers.iter().any(|(own, _)| same(own, &name)) {
                request.remove_header(&name)?;
            }
        }
        Ok(())
    }

    /// The identity in a token's claims.
    pub(crate) fn identity(&self, claims: &Claims) -> Result<Identity, Refusal> {
        let read = |list: &[(String, Path)], form: fn(&Value) -> String| {
            let found = list.iter().filter_map(|(name, path)| Some((name, path, path.of(claims)?)));
            let texts = found.filter(|(.., value)| !value.is_null()).map(|(name, path, value)| match form(value) {
                text if text.len() > CLAIM_BYTES_MAX => Err(Refusal::ClaimTooLong(path.0.clone())),
                text => Ok((name.clone(), text)),
            });
            texts.collect::<Result<Vec<_>, _>>()
        };
        Ok(Identity { attributes: read(&self.attributes, plain)?, headers: read(&self.headers, for_header)? })
    }
}

impl Identity {
    /// Tells it to whom it concerns.
    pub(crate) fn tell(&self, request: Request) -> Result<()> {
        for (name, value) in &self.attributes {
            exchange::set_attribute(name, value)?;
        }
        for (name, value) in &self.headers {
            request.set_header(name, value)?;
        }
        Ok(())
    }

    /// Roughly, in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.attributes.iter().chain(&self.headers).map(|(name, value)| name.len() + value.len() + 48).sum()
    }
}

fn same(own: &str, sent: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    own.len() == sent.len() && own.bytes().zip(sent.bytes()).all(|(own, sent)| plain(own) == plain(sent))
}

// A list of plain values is its items with commas between; what a field cannot carry, and what would be taken for a
// comma, is percent-encoded.
fn for_header(value: &Value) -> String {
    match value {
        Value::Array(list) if list.iter().all(|item| !item.is_array() && !item.is_object()) => {
            list.iter().map(|item| encoded(&plain(item), true)).collect::<Vec<_>>().join(",")
        }
        other => encoded(&plain(other), false),
    }
}

fn encoded(text: &str, in_list: bool) -> String {
    let kept = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'%' && !(in_list && byte == b',');
    text.bytes().fold(String::with_capacity(text.len()), |mut text, byte| {
        match kept(byte) {
            true => text.push(char::from(byte)),
            false => text += &format!("%{byte:02X}"),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_becomes_text_that_a_header_can_carry() {
        let cases = [
            (json!("alice"), "alice"),
            (json!("a, b"), "a, b"),
            (json!("a\r\nx: y"), "a%0D%0Ax: y"),
            (json!("zoë 100%"), "zo%C3%AB 100%25"),
            (json!(["a,b", "c", 5, true]), "a%2Cb,c,5,true"),
            (json!({ "a": 1 }), "{\"a\":1}"),
            (json!(7), "7"),
        ];
        for (value, expected) in cases {
            assert_eq!(for_header(&value), expected, "{value}");
        }
    }

    #[test]
    fn names_that_a_server_behind_takes_for_one_are_one() {
        for sent in ["x-user-id", "x_user_id", "x-user_id", "X-User-Id"] {
            assert!(same("x-user-id", sent), "{sent}");
        }
        assert!(!same("x-user-id", "x-user-ids"));
    }

    #[test]
    fn claims_are_passed_on_where_they_are_and_are_not_too_long() {
        let passed = Passed {
            attributes: vec![("consumer".into(), Path("sub".into())), ("org".into(), Path("/org/id".into()))],
            headers: vec![("x-user".into(), Path("sub".into()))],
        };
        let claims = |value: Value| value.as_object().unwrap().clone();
        let identity = passed.identity(&claims(json!({ "sub": "me", "org": { "id": null } }))).unwrap();
        assert_eq!(identity.attributes, [("consumer".to_owned(), "me".to_owned())]);
        assert_eq!(identity.headers, [("x-user".to_owned(), "me".to_owned())]);
        let long = passed.identity(&claims(json!({ "sub": "x".repeat(1025) })));
        assert_eq!(long, Err(Refusal::ClaimTooLong("sub".into())));
    }
}
