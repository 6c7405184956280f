//! JSON Web Keys and sets of them (RFC 7517, 7518, 8037). A set is taken with what of it can be used; the rest is told
//! to the operator.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Algorithm, Key};

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unused {
    /// It is for something else: nothing is wrong with it.
    Other(&'static str),
    /// Something is wrong with it.
    Wrong(&'static str),
}

/// Keys of a set that are looked at; further ones are not.
pub(crate) const KEYS_MAX: usize = 100;

/// Keys that cannot be used, each with its position in its set.
pub(crate) type Left = Vec<(usize, Unused)>;

/// The keys of a set that can be used, and why others are not.
pub(crate) fn set(value: &Value) -> Result<(Vec<Key>, Left), &'static str> {
    let keys = value.get("keys").ok_or("it has no member `keys`")?;
    let keys = keys.as_array().ok_or("its member `keys` is not a list")?;
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for (position, value) in keys.iter().enumerate() {
        let read = if position < KEYS_MAX { key(value) } else { Err(Unused::Wrong("a set has 100 keys at most")) };
        match read {
            Ok(key) => used.push(key),
            Err(why) => unused.push((position, why)),
        }
        if position == KEYS_MAX {
            break;
        }
    }
    Ok((used, unused))
}

/// One key.
pub(crate) fn key(value: &Value) -> Result<Key, Unused> {
    let members = value.as_object().ok_or(Unused::Wrong("it is not an object"))?;
    let kind = text(members, "kty")?.ok_or(Unused::Wrong("it has no `kty`"))?;
    if kind == "oct" {
        return Err(Unused::Other("it is a shared secret (`oct`), which verifies nothing here"));
    }
    if members.contains_key("d") {
        return Err(Unused::Wrong("it is a private key (it has `d`), which nobody else should have"));
    }
    for_signatures(members)?;
    let mut key = match kind {
        "RSA" => Key::rsa(&bytes(members, "n")?, &bytes(members, "e")?).map_err(Unused::Wrong)?,
        "EC" => match text(members, "crv")? {
            Some("P-256") => Key::p256(&bytes(members, "x")?, &bytes(members, "y")?).map_err(Unused::Wrong)?,
            _ => return Err(Unused::Other("its curve is not P-256")),
        },
        "OKP" => match text(members, "crv")? {
            Some("Ed25519") => Key::ed25519(&bytes(members, "x")?).map_err(Unused::Wrong)?,
            _ => return Err(Unused::Other("its curve is not Ed25519")),
        },
        _ => return Err(Unused::Other("its `kty` is not RSA, EC or OKP")),
    };
    if let Some(name) = text(members, "alg")?
        && Algorithm::named(name) != Some(key.algorithm())
    {
        return Err(Unused::Other("its `alg` is another one"));
    }
    key.kid = text(members, "kid")?.map(str::to_owned);
    Ok(key)
}

// `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3).
fn for_signatures(members: &Map<String, Value>) -> Result<(), Unused> {
    if text(members, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(Unused::Other("its `use` is not `sig`"));
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(list)) if list.iter().any(|operation| operation == "verify") => Ok(()),
        Some(_) => Err(Unused::Other("its `key_ops` do not have `verify`")),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Unused> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unused::Wrong("a member that should be text is not")),
    }
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unused> {
    let text = text(members, name)?.ok_or(Unused::Wrong("a member that its `kty` needs is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unused::Wrong("a member is not base64url"))
}

impl Unused {
    /// The reason.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Other(why) | Self::Wrong(why) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ed25519(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a" });
        change(key.as_object_mut().unwrap());
        key
    }

    #[test]
    fn a_key_is_taken_where_all_of_it_fits() {
        let with = |name: &str, value: Value| ed25519(|key| drop(key.insert(name.into(), value)));
        assert_eq!(key(&ed25519(|_| ())).unwrap().kid.as_deref(), Some("a"));
        assert!(key(&with("use", json!("sig"))).is_ok());
        assert!(key(&with("alg", json!("EdDSA"))).is_ok());
        assert!(key(&with("alg", json!("Ed25519"))).is_ok());
        assert!(key(&with("key_ops", json!(["sign", "verify"]))).is_ok());
        let other = [
            with("use", json!("enc")),
            with("alg", json!("RS256")),
            with("alg", json!("none")),
            with("key_ops", json!(["sign"])),
            with("key_ops", json!("verify")),
            with("crv", json!("Ed448")),
            with("kty", json!("oct")),
            with("kty", json!("AKP")),
        ];
        for value in other {
            assert!(matches!(key(&value), Err(Unused::Other(_))), "{value}: {:?}", key(&value));
        }
    }

    #[test]
    fn keys_that_are_broken_or_of_the_wrong_length_are_not_taken() {
        let long = URL_SAFE_NO_PAD.encode([0xffu8; 512]);
        let short = URL_SAFE_NO_PAD.encode([0xffu8; 128]);
        let half = URL_SAFE_NO_PAD.encode([0xffu8; 31]);
        let wrong = [
            json!("text"),
            json!({}),
            json!({ "kty": 5 }),
            json!({ "kty": "OKP", "crv": "Ed25519" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": half }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "!" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X.to_owned() + "=" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([0u8; 32]) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "d": X }),
            json!({ "kty": "EC", "crv": "P-256", "x": X, "y": half }),
            json!({ "kty": "EC", "crv": "P-256", "x": X, "y": X }),
            json!({ "kty": "RSA", "n": short, "e": "AQAB" }),
            json!({ "kty": "RSA", "n": long.clone() + "_w", "e": "AQAB" }),
            json!({ "kty": "RSA", "n": long, "e": "AQ" }),
            json!({ "kty": "RSA", "n": long, "e": "AAAB" }),
            json!({ "kty": "RSA", "n": long, "e": "AQAAAAE" }),
            json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xfeu8; 256]), "e": "AQAB" }),
        ];
        for value in wrong {
            assert!(matches!(key(&value), Err(Unused::Wrong(_))), "{value}: {:?}", key(&value));
        }
    }

    #[test]
    fn a_set_is_used_as_far_as_it_can_be() {
        let good = ed25519(|_| ());
        let (keys, unused) = set(&json!({ "keys": [good, "text", { "kty": "oct", "k": "AA" }], "x": 1 })).unwrap();
        assert_eq!((keys.len(), unused.len(), unused[0].0, unused[1].0), (1, 2, 1, 2));
        let many = vec![good; 300];
        let (keys, unused) = set(&json!({ "keys": many })).unwrap();
        assert_eq!((keys.len(), unused.len()), (KEYS_MAX, 1));
        for value in [json!([]), json!({}), json!({ "keys": {} }), json!(null)] {
            assert!(set(&value).is_err(), "{value}");
        }
    }
}
