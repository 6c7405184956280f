//! Public keys in PEM: `PUBLIC KEY` (RFC 5280 section 4.1.2.7, RFC 8410) and `RSA PUBLIC KEY` (RFC 8017 appendix A.1.1).
//! As much of DER as they need, no more: definite lengths, nothing left over.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Key;

/// The keys of a text of one or more blocks; what stands between the blocks is ignored.
pub(crate) fn keys(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let (label, after) = begun.split_once("-----").ok_or("a block's first line does not end")?;
        let end = format!("-----END {label}-----");
        let (body, left) = after.split_once(&end).ok_or_else(|| format!("there is no line `{end}`"))?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| format!("the block `{label}` is not base64"))?;
        keys.push(key(label, &der)?);
        rest = left;
    }
    if keys.is_empty() { Err("there is no block `-----BEGIN PUBLIC KEY-----`".into()) } else { Ok(keys) }
}

fn key(label: &str, der: &[u8]) -> Result<Key, String> {
    match label {
        "PUBLIC KEY" => described(der).unwrap_or(Err("the block is no public key that is known here")),
        "RSA PUBLIC KEY" => rsa(der).unwrap_or(Err("the block is no RSA public key")),
        "CERTIFICATE" => return Err("a certificate is not taken; `openssl x509 -pubkey -noout` prints its key".into()),
        _ if label.contains("PRIVATE") => {
            return Err("this is a private key, which nobody else should have; its public half is wanted".into());
        }
        _ => return Err(format!("a block `{label}` is not taken; `PUBLIC KEY` is")),
    }
    .map_err(str::to_owned)
}

type Read = Option<Result<Key, &'static str>>;

// SubjectPublicKeyInfo: what kind, then the key's bits.
fn described(der: &[u8]) -> Read {
    let mut whole = Der(der);
    let mut info = Der(whole.take(SEQUENCE)?);
    let mut kind = Der(info.take(SEQUENCE)?);
    // Of the bits, the first byte says how many of the last are none.
    let bits = info.take(BIT_STRING)?.strip_prefix(&[0])?;
    (whole.0.is_empty() && info.0.is_empty()).then_some(())?;
    match kind.take(OBJECT)? {
        RSA => rsa(bits),
        EC if kind.take(OBJECT)? == P256 => {
            // Compressed points are rare in the wild, and P-256 keys are 65 bytes long otherwise.
            let point = bits.strip_prefix(&[4]).filter(|point| point.len() == 64)?;
            Some(Key::p256(&point[..32], &point[32..]))
        }
        ED25519 => Some(Key::ed25519(bits)),
        _ => None,
    }
}

fn rsa(der: &[u8]) -> Read {
    let mut whole = Der(der);
    let mut numbers = Der(whole.take(SEQUENCE)?);
    let (modulus, exponent) = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
    (whole.0.is_empty() && numbers.0.is_empty()).then(|| Key::rsa(modulus, exponent))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    // The content of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81 | 0x82 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;

    // Made with `openssl genpkey` and `openssl pkey -pubout`; the private halves are not kept.
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAp/H6zaht/sgM3r6ehhRH
Aq7TB2N0SzkWoDtD7mWdqh0JaJoroOYoWjMfcRStEXqNDxXMyAG44047AIhAb0QV
dXAOrWJUlMwvmi6eta48S3RLNdyZc4UgBx6A4MtDmalAl1t+kFk2u8I6zuLE/o0n
TunpfIshDrnK7AdnIqsy9RKO5OgOL8hOnn7GbmoP7nfjNmWab5mbWHntdEnDF9D+
eVH+9i6llJb3IkF/OafgGhkxLPNpfW654IWoc4bzpCWnj7DcmtF5bfTUZx+z1xUr
Q1VToy2BJiFB50y/MHH9IhnZhBYEhbT3iQdlJtGEBVbL7gSlQWrHYTu/yfhc5uoE
jwIDAQAB
-----END PUBLIC KEY-----
";

    const RSA_PKCS1_PEM: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAp/H6zaht/sgM3r6ehhRHAq7TB2N0SzkWoDtD7mWdqh0JaJoroOYo
WjMfcRStEXqNDxXMyAG44047AIhAb0QVdXAOrWJUlMwvmi6eta48S3RLNdyZc4Ug
Bx6A4MtDmalAl1t+kFk2u8I6zuLE/o0nTunpfIshDrnK7AdnIqsy9RKO5OgOL8hO
nn7GbmoP7nfjNmWab5mbWHntdEnDF9D+eVH+9i6llJb3IkF/OafgGhkxLPNpfW65
4IWoc4bzpCWnj7DcmtF5bfTUZx+z1xUrQ1VToy2BJiFB50y/MHH9IhnZhBYEhbT3
iQdlJtGEBVbL7gSlQWrHYTu/yfhc5uoEjwIDAQAB
-----END RSA PUBLIC KEY-----
";

    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1qIwP7V1B3jbFgKRix+q3eIugwfs
eIdX0CK0HxKlbkF701ZMqgmuLraGME7zw41tTioytQBf9q4XkEBEuW40RQ==
-----END PUBLIC KEY-----
";

    const P384_PEM: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqdrOQHbH2dhRf7h2Z29nAkLsftfpVmyF
1i91FraCwCMhqC5x5BrFwlTNGrJZWC2GU8+POclFjfyLe81rxs4O1s/fdwLwrYo9
Dej5gD4DKTweYKSQYrfjPpEP9twyXlPU
-----END PUBLIC KEY-----
";

    #[test]
    fn keys_of_every_kind_are_read() {
        let cases = [(RSA_PEM, Algorithm::Rs256), (RSA_PKCS1_PEM, Algorithm::Rs256), (P256_PEM, Algorithm::Es256)];
        for (text, algorithm) in cases {
            assert_eq!(keys(text).unwrap()[0].algorithm(), algorithm, "{text}");
        }
        assert!(keys(P384_PEM).is_err());
    }

    #[test]
    fn a_block_is_read_and_what_stands_around_it_is_not() {
        let text = format!("# of the issuer\n{ED25519_PEM}\n{ED25519_PEM}");
        let keys = keys(&text).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.iter().all(|key| key.algorithm() == Algorithm::EdDsa && key.kid.is_none()));
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_to_do() {
        let cut = ED25519_PEM.replace("HURo=", "HU==");
        let cases = [
            ("", "there is no block"),
            ("-----BEGIN PUBLIC KEY-----\n", "there is no line `-----END PUBLIC KEY-----`"),
            ("-----BEGIN PUBLIC", "a block's first line"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "is not base64"),
            ("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----", "is no public key that is known"),
            ("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----", "is no RSA public key"),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "openssl x509 -pubkey"),
            ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----", "private key"),
            ("-----BEGIN X-----\nMAA=\n-----END X-----", "a block `X` is not taken"),
            (cut.as_str(), "is no"),
        ];
        for (text, expected) in cases {
            let error = keys(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_slip_in_a_key_makes_the_reader_fall() {
        let body: String = ED25519_PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        for position in 0..der.len() {
            for byte in 0..=255 {
                let mut slipped = der.clone();
                slipped[position] = byte;
                drop(key("PUBLIC KEY", &slipped));
                drop(key("RSA PUBLIC KEY", &slipped));
            }
            assert!(key("PUBLIC KEY", &der[..position]).is_err());
        }
    }
}
