//! JSON Web Tokens for tests, signed here and now with keys that live as long as the process. Not the code of the plugin
//! that verifies them, nor the libraries behind it.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

/// Who signs: a key pair of its own for each algorithm.
#[derive(Debug)]
pub struct Signer {
    rsa: signature::RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

/// The algorithms of a [`Signer`], by the names that tokens have for them.
pub const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

impl Signer {
    /// The issuer that is trusted.
    pub fn trusted() -> &'static Self {
        static SIGNER: OnceLock<Signer> = OnceLock::new();
        SIGNER.get_or_init(Self::new)
    }

    /// Somebody else.
    pub fn other() -> &'static Self {
        static SIGNER: OnceLock<Signer> = OnceLock::new();
        SIGNER.get_or_init(Self::new)
    }

    fn new() -> Self {
        Self {
            rsa: signature::RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("a key can be made"),
            p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made"),
            ed25519: Ed25519KeyPair::generate().expect("a key can be made"),
        }
    }

    /// A signature.
    ///
    /// # Panics
    /// For an algorithm that is not one of [`ALGORITHMS`].
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            "RS256" => {
                let mut bytes = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut bytes).expect("RSA signs");
                bytes
            }
            "ES256" => self.p256.sign(&random, message).expect("ECDSA signs").as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            _ => panic!("no key for {algorithm}"),
        }
    }

    /// The public key as a JSON Web Key.
    ///
    /// # Panics
    /// For an algorithm that is not one of [`ALGORITHMS`].
    pub fn jwk(&self, algorithm: &str, kid: &str) -> Value {
        match algorithm {
            "RS256" => {
                let key = self.rsa.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) =
                    (base64url(n.big_endian_without_leading_zero()), base64url(e.big_endian_without_leading_zero()));
                json!({ "kty": "RSA", "kid": kid, "n": n, "e": e })
            }
            "ES256" => {
                let point = self.p256.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y })
            }
            "EdDSA" => {
                let x = base64url(self.ed25519.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
            }
            _ => panic!("no key for {algorithm}"),
        }
    }

    /// The public RSA key in PEM.
    pub fn rsa_pem(&self) -> String {
        let key: PublicKeyX509Der<'_> = self.rsa.public_key().as_der().expect("a key has a form");
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(key.as_ref()))
    }

    /// A token of these claims.
    pub fn token(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        format!("{signed}.{}", base64url(self.sign(algorithm, signed.as_bytes())))
    }
}

/// HMAC with SHA-256.
pub fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// Seconds since 1970.
///
/// # Panics
/// When the machine's clock stands before that.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// Base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    encoded(bytes.as_ref(), *b"-_").trim_end_matches('=').to_owned()
}

fn base64(bytes: &[u8]) -> String {
    encoded(bytes, *b"+/")
}

fn encoded(bytes: &[u8], last: [u8; 2]) -> String {
    let digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |number, at| number << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = char::from(digits[number >> (18 - 6 * place) & 63]);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}
