//! A public key and what it verifies. Which algorithm a key is for follows from the key, never from a token. Knows no
//! tokens, no sets of keys, no host.

pub(crate) mod jwk;
pub(crate) mod pem;
mod rsa;

use p256::ecdsa::{self, signature::hazmat::PrehashVerifier};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What a signature is made with (RFC 7518 section 3, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// EdDSA on edwards25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its name in its set, if it has one.
    pub(crate) kid: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Algorithm {
    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Of the name that a token or a JWK has for it. RFC 9864 calls EdDSA on this curve `Ed25519`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl Key {
    /// An RSA key of its modulus and exponent, big-endian.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        Ok(Self::of(Material::Rsa(Box::new(rsa::PublicKey::new(modulus, exponent)?))))
    }

    /// A key on P-256 of its point's coordinates, 32 bytes each.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Result<Self, &'static str> {
        if x.len() != 32 || y.len() != 32 {
            return Err("a coordinate on P-256 has 32 bytes");
        }
        let point = [&[4], x, y].concat();
        let key = ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| "the point is not on P-256")?;
        Ok(Self::of(Material::P256(Box::new(key))))
    }

    /// An Ed25519 key of its 32 bytes.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes = bytes.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| "the bytes are no Ed25519 key")?;
        if key.is_weak() {
            return Err("the Ed25519 key is of small order: anybody could sign for it");
        }
        Ok(Self::of(Material::Ed25519(Box::new(key))))
    }

    /// What it verifies.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's for `message`. One of the wrong length is not.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(key) => key.verifies(&Sha256::digest(message), signature),
            Material::P256(key) => ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&Sha256::digest(message), &signature).is_ok()),
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }

    const fn of(material: Material) -> Self {
        Self { kid: None, material }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn rs256_takes_what_a_key_signed_and_nothing_else() {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let (mut key, mut name, mut good, mut bad) = (None, "", 0, 0);
        for line in include_str!("rs256.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (kind, rest) = line.split_once(' ').unwrap();
            if kind == "key" {
                let mut words = rest.split(' ');
                name = words.next().unwrap();
                key = Some(Key::rsa(&bytes(words.next().unwrap()), &bytes(words.next().unwrap())).unwrap());
                continue;
            }
            let (title, signature) = rest.split_once(": ").unwrap();
            let taken = key.as_ref().unwrap().verifies(b"what is signed", &bytes(signature));
            assert_eq!(taken, kind == "good", "{name}: {title}");
            *(if taken { &mut good } else { &mut bad }) += 1;
        }
        assert!(good == 5 && bad >= 17, "{good} and {bad} cases");
    }

    #[test]
    fn a_signature_with_a_turned_bit_or_of_another_length_is_nobodys() {
        use ed25519_dalek::Signer;

        let message = b"what is signed";
        let curve = ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = curve.verifying_key().to_sec1_point(false);
        let edwards = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let signature: ecdsa::Signature = curve.sign(message);
        let cases = [
            (Key::p256(point.x().unwrap(), point.y().unwrap()).unwrap(), signature.to_bytes().to_vec()),
            (Key::ed25519(edwards.verifying_key().as_bytes()).unwrap(), edwards.sign(message).to_bytes().to_vec()),
        ];
        for (key, signature) in cases {
            let what = key.algorithm();
            assert!(key.verifies(message, &signature), "{what:?}");
            assert!(!key.verifies(b"what is not", &signature), "{what:?}");
            for position in (0..signature.len()).step_by(9) {
                let mut turned = signature.clone();
                turned[position] ^= 0x10;
                assert!(!key.verifies(message, &turned), "{what:?} at {position}");
                assert!(!key.verifies(message, &signature[..position]), "{what:?} cut to {position}");
            }
            assert!(!key.verifies(message, &[&signature[..], &[0]].concat()), "{what:?} and a byte more");
            assert!(!key.verifies(message, &[0; 64]) && !key.verifies(message, &[0xff; 64]), "{what:?}");
        }
    }
}
