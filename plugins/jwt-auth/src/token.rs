//! A JSON Web Token in its compact form (RFC 7515 section 7.1, RFC 7519), taken apart and not yet believed. Knows no
//! keys and no rules.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// A token's parts.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    /// What is signed: the first two parts as they came.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    payload: &'a str,
}

/// What a token says of itself. Only a hint: which algorithm is right follows from the key.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) kid: Option<String>,
    pub(crate) kind: Option<String>,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Characters of a `kid`: it is compared, logged and nothing else.
const KID_BYTES_MAX: usize = 256;

impl<'a> Token<'a> {
    /// Takes a text apart.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Malformed("it has no dots"))?;
        let (header, payload) = signed.split_once('.').ok_or(Malformed("it has one dot"))?;
        if payload.contains('.') {
            return Err(Malformed("it has more than three parts (encrypted tokens are not taken)"));
        }
        let header = Header::parse(header)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Malformed("its signature is not base64url"))?;
        Ok(Self { header, signed: signed.as_bytes(), signature, payload })
    }

    /// The claims. Nobody vouches for them until the signature is verified.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Malformed> {
        let json = URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Malformed("its payload is not base64url"))?;
        object(&json).ok_or(Malformed("its payload is not a JSON object with unique members"))
    }
}

impl Header {
    fn parse(part: &str) -> Result<Self, Malformed> {
        let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed("its header is not base64url"))?;
        let mut members = object(&json).ok_or(Malformed("its header is not a JSON object with unique members"))?;
        // Extensions that must be understood (RFC 7515 section 4.1.11): none is.
        if members.contains_key("crit") {
            return Err(Malformed("its header has `crit`, of which nothing is known here"));
        }
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed("its header has a member that should be text and is not")),
        };
        let (algorithm, kid, kind) = (text("alg")?, text("kid")?, text("typ")?);
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(Malformed("its `kid` is over 256 bytes"));
        }
        Ok(Self { algorithm: algorithm.ok_or(Malformed("its header has no `alg`"))?, kid, kind })
    }
}

/// A JSON object in which no member stands twice (RFC 7515 section 4, RFC 7519 section 4): two readers must not see two
/// different tokens.
fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let members = Unique.deserialize(&mut reader).ok()?;
    reader.end().is_ok().then_some(members)
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &str, payload: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = text(r#"{"alg":"RS256","kid":"a","typ":"JWT","jku":"https://evil.example"}"#, r#"{"sub":"me"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.header.algorithm.as_str(), token.header.kid.as_deref()), ("RS256", Some("a")));
        assert_eq!(token.signed, text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(token.signature, [0; 3]);
        assert_eq!(token.claims().unwrap()["sub"], "me");
    }

    #[test]
    fn what_is_not_exactly_a_token_is_none() {
        let good = r#"{"alg":"RS256"}"#;
        let header = |header: &str| text(header, "{}");
        let deep = format!("{{\"alg\":\"RS256\",\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        let cases = [
            String::new(),
            "a".into(),
            "a.b".into(),
            "..".into(),
            text(good, "{}") + ".AAAA.AAAA",
            text(good, "{}").replace('.', ". "),
            text(good, "{}") + "=",
            text(good, "{}") + "A",
            header("{}"),
            header("[]"),
            header("null"),
            header("{\"alg\":\"RS256\"} x"),
            header("{\"alg\":\"RS256\",\"alg\":\"none\"}"),
            header("{\"alg\":5}"),
            header("{\"alg\":null}"),
            header("{\"alg\":\"RS256\",\"kid\":7}"),
            header("{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}"),
            header("{\"alg\":\"RS256\",\"crit\":[]}"),
            header(&format!("{{\"alg\":\"RS256\",\"kid\":\"{}\"}}", "k".repeat(257))),
            header(&deep),
        ];
        for case in cases {
            assert!(Token::parse(&case).is_err(), "{case}");
        }
        for payload in ["", "x", "[]", "{} {}", r#"{"sub":"a","sub":"b"}"#, "\u{0}"] {
            assert!(Token::parse(&text(good, payload)).unwrap().claims().is_err(), "{payload}");
        }
    }

    #[test]
    fn base64url_is_taken_in_one_form_only() {
        // The last character has bits that stand for nothing; all but one way to set them are refused.
        let token = text(r#"{"alg":"RS256"}"#, "{}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert!(Token::parse(&format!("{signed}.AA")).is_ok());
        for signature in ["AB", "AA==", "A+", "A/", "A"] {
            assert!(Token::parse(&format!("{signed}.{signature}")).is_err(), "{signature}");
        }
    }
}
