//! Signatures: public keys as people keep them, detached signatures, and what cosign puts into a registry. Verifies;
//! fetches nothing.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::{error::FetchError, layout::Manifest};
use crate::{
    config::{diagnostic::Diagnostic, spec::Pem},
    identity::Identity,
};

/// Who may have signed: one of these.
pub(super) struct Keys(Vec<ParsedPublicKey>);

/// A signature in cosign's form: over a text that names what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cosigned {
    /// The text (`application/vnd.dev.cosign.simplesigning.v1+json`), base64.
    pub(super) payload: String,
    /// Over the text, base64.
    pub(super) signature: String,
}

/// Of a detached signature, in base64 or as it is.
pub(super) const SIGNATURE_BYTES_MAX: usize = 16 << 10;
/// Signatures of one module that are looked at.
pub(super) const COSIGNED_MAX: usize = 16;
/// The type of the layers that cosign puts beside an image.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where such a layer has its signature.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

impl Keys {
    /// Reads public keys.
    ///
    /// # Errors
    /// One finding for each that is none.
    pub(super) fn read(files: &[Pem]) -> Result<Self, Vec<Diagnostic>> {
        let (mut keys, mut wrong) = (Vec::new(), Vec::new());
        for file in files {
            match key(&file.text.0) {
                Some(key) => keys.push(key),
                None => {
                    let what = format!("`{}` is not an Ed25519 or ECDSA P-256 public key", file.named);
                    let hint = "PEM that begins with `-----BEGIN PUBLIC KEY-----`, as `cosign generate-key-pair` and \
                                `openssl pkey -pubout` write it";
                    wrong.push(Diagnostic::error("bad-public-key", what).at(file.place.clone()).hint(hint));
                }
            }
        }
        if wrong.is_empty() { Ok(Self(keys)) } else { Err(wrong) }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|key| key.verify_sig(message, signature).is_ok())
    }

    /// Verifies a detached signature over `module`: its bytes, or these in base64.
    pub(super) fn detached(&self, module: &[u8], signature: &[u8], named: &str) -> Result<(), FetchError> {
        let text = std::str::from_utf8(signature).ok();
        let text = text.map(|text| text.split_ascii_whitespace().collect::<String>());
        let decoded = text.and_then(|text| STANDARD.decode(text).ok());
        if self.verify(module, signature) || decoded.is_some_and(|decoded| self.verify(module, &decoded)) {
            return Ok(());
        }
        let what = format!("the signature at `{named}` is not one over this module by a key that `signed-by` names");
        Err(FetchError::signature(
            what,
            "sign this very file (`cosign sign-blob`, `openssl pkeyutl -sign -rawin`), or correct `gateway.modules.signed-by`",
        ))
    }

    /// Verifies that one of `signatures` is about the manifest with this digest.
    pub(super) fn cosigned(&self, digest: Identity, signatures: &[Cosigned]) -> Result<(), FetchError> {
        let signed = |cosigned: &Cosigned| {
            let payload = STANDARD.decode(&cosigned.payload).ok()?;
            let signature = STANDARD.decode(cosigned.signature.trim()).ok()?;
            self.verify(&payload, &signature).then(|| names(&payload, digest))
        };
        let outcomes: Vec<_> = signatures.iter().filter_map(signed).collect();
        if outcomes.contains(&true) {
            return Ok(());
        }
        let what = match outcomes.is_empty() {
            true => "none of the signatures beside it is by a key that `signed-by` names",
            false => "the signature beside it is over another image",
        };
        Err(FetchError::signature(
            what,
            "sign it with `cosign sign --key KEY IMAGE@DIGEST`, or correct `gateway.modules.signed-by`",
        ))
    }
}

fn key(text: &str) -> Option<ParsedPublicKey> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
    let of = |result: Result<ParsedPublicKey, _>| result.ok();
    of(ParsedPublicKey::new(&ED25519, &*der)).or_else(|| of(ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &*der)))
}

/// The layers of a manifest of signatures: where each payload is, and its signature.
pub(super) fn layers(manifest: &Manifest) -> Vec<(&str, &str)> {
    let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING);
    let layers = layers.filter_map(|layer| Some((layer.digest.as_str(), layer.annotations.get(ANNOTATION)?.as_str())));
    layers.take(COSIGNED_MAX).collect()
}

// Whether a payload says that it is about this image.
fn names(payload: &[u8], digest: Identity) -> bool {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }
    let payload = serde_json::from_slice::<Payload>(payload);
    payload.is_ok_and(|Payload { critical }| {
        critical.image.digest == format!("sha256:{digest}") && critical.kind == "cosign container image signature"
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;
    use crate::config::diagnostic::Place;

    fn pem(text: &str) -> Pem {
        Pem::new("keys/a.pub", text.to_owned(), Place { file: "a.yaml".into(), line: 1, column: 1, length: 1 })
    }

    fn public(prefix: &[u8], key: &[u8]) -> Pem {
        let der = STANDARD.encode([prefix, key].concat());
        pem(&format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"))
    }

    // RFC 8410 and RFC 5480: what stands before the key itself.
    const OF_ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    const OF_P256: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];

    #[test]
    fn detached_signatures_are_by_one_of_the_keys_over_the_very_bytes() {
        let (one, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let keys =
            Keys::read(&[public(OF_ED25519, one.public_key().as_ref()), public(OF_P256, ecdsa.public_key().as_ref())]);
        let keys = keys.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let raw = one.sign(b"module").as_ref().to_vec();
        let by_ecdsa = ecdsa.sign(&SystemRandom::new(), b"module").unwrap().as_ref().to_vec();
        for (module, signature, good) in [
            (&b"module"[..], raw.clone(), true),
            (b"module", format!("{}\n", STANDARD.encode(&raw)).into_bytes(), true),
            (b"module", by_ecdsa.clone(), true),
            (b"module", STANDARD.encode(&by_ecdsa).into_bytes(), true),
            (b"modulo", raw, false),
            (b"module", other.sign(b"module").as_ref().to_vec(), false),
            (b"module", Vec::new(), false),
        ] {
            assert_eq!(keys.detached(module, &signature, "a.sig").is_ok(), good);
        }
    }

    #[test]
    fn what_cosign_signed_has_to_be_this_image() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let keys =
            Keys::read(&[public(OF_P256, pair.public_key().as_ref())]).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let (this, that) = (Identity::of_bytes(b"this"), Identity::of_bytes(b"that"));
        let sign = |digest: Identity, kind: &str| {
            let payload = json!({
                "critical": {
                    "identity": {"docker-reference": "r.example/a"},
                    "image": {"docker-manifest-digest": format!("sha256:{digest}")},
                    "type": kind,
                },
                "optional": null,
            });
            let payload = payload.to_string();
            let signature = pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
            Cosigned { payload: STANDARD.encode(payload), signature: STANDARD.encode(signature) }
        };
        let cosign = "cosign container image signature";
        assert_eq!(keys.cosigned(this, &[sign(that, cosign), sign(this, cosign)]), Ok(()));
        assert!(keys.cosigned(this, &[sign(that, cosign)]).unwrap_err().what().contains("another image"));
        assert!(keys.cosigned(this, &[sign(this, "something else")]).is_err());
        assert!(keys.cosigned(this, &[]).unwrap_err().what().contains("none of the signatures"));
    }

    #[test]
    fn what_is_no_public_key_is_said_at_its_line() {
        let wrong = Keys::read(&[pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), pem("")]);
        assert_eq!(wrong.err().map(|found| found.len()), Some(2));
    }
}
