//! Envoy's foreign functions `sign` and `verify_signature`: RSA (PKCS#1 v1.5) and ECDSA (ASN.1, P-256 and P-384), by the
//! name of a hash, with keys in DER or PEM. Knows nothing of exchanges.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{self, EcdsaKeyPair, RsaEncoding, UnparsedPublicKey, VerificationAlgorithm},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Done, Guest, Status};
use crate::wasm::proxy_wasm::messages::{Sign, SignatureVerified, Signed, VerifySignature, decode, encode};

/// Verifies a signature; what is wrong with one is an answer, and no status.
pub(super) fn verify(_: &mut Guest<'_>, args: &[u8]) -> Done<Vec<u8>> {
    verified(args).map(|answer| encode(&answer))
}

/// Signs.
pub(super) fn sign(_: &mut Guest<'_>, args: &[u8]) -> Done<Vec<u8>> {
    signed(args).map(|answer| encode(&answer))
}

fn verified(args: &[u8]) -> Done<SignatureVerified> {
    let args: VerifySignature = decode(args).map_err(|_| Status::BadArgument)?;
    let key = key(&args.public_key, &args.public_key_pem)?;
    let algorithms = verifiers(&args.hash_function);
    let right = algorithms
        .iter()
        .any(|algorithm| UnparsedPublicKey::new(*algorithm, &key).verify(&args.text, &args.signature).is_ok());
    let error = match right {
        true => String::new(),
        false if algorithms.is_empty() => format!("{} is not supported.", args.hash_function),
        false => "Failed to verify digest.".to_owned(),
    };
    Ok(SignatureVerified { result: right, error })
}

fn verifiers(hash: &str) -> &'static [&'static dyn VerificationAlgorithm] {
    match &*hash.to_ascii_lowercase() {
        "sha1" => &[&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY],
        "sha256" => &[
            &signature::RSA_PKCS1_2048_8192_SHA256,
            &signature::ECDSA_P256_SHA256_ASN1,
            &signature::ECDSA_P384_SHA256_ASN1,
        ],
        "sha384" => &[
            &signature::RSA_PKCS1_2048_8192_SHA384,
            &signature::ECDSA_P256_SHA384_ASN1,
            &signature::ECDSA_P384_SHA384_ASN1,
        ],
        "sha512" => &[&signature::RSA_PKCS1_2048_8192_SHA512],
        _ => &[],
    }
}

fn signed(args: &[u8]) -> Done<Signed> {
    let args: Sign = decode(args).map_err(|_| Status::BadArgument)?;
    let key = key(&args.private_key, &args.private_key_pem)?;
    let (made, reason) = match RsaKeyPair::from_pkcs8(&key).or_else(|_| RsaKeyPair::from_der(&key)) {
        Ok(pair) => (by_rsa(&pair, &args), "is not supported."),
        Err(_) => (by_ecdsa(&key, &args)?, "is not supported for this key."),
    };
    Ok(match made {
        Some(signature) => Signed { result: true, signature, error: String::new() },
        None => Signed { result: false, signature: Vec::new(), error: format!("{} {reason}", args.hash_function) },
    })
}

fn by_rsa(pair: &RsaKeyPair, args: &Sign) -> Option<Vec<u8>> {
    let encoding: &dyn RsaEncoding = match &*args.hash_function.to_ascii_lowercase() {
        "sha256" => &signature::RSA_PKCS1_SHA256,
        "sha384" => &signature::RSA_PKCS1_SHA384,
        "sha512" => &signature::RSA_PKCS1_SHA512,
        _ => return None,
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), &args.text, &mut signature).ok()?;
    Some(signature)
}

// Curve and hash of these signatures go together.
fn by_ecdsa(key: &[u8], args: &Sign) -> Done<Option<Vec<u8>>> {
    let pair = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, key).ok();
    let small = pair(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).map(|pair| ("sha256", pair));
    let large = || pair(&signature::ECDSA_P384_SHA384_ASN1_SIGNING).map(|pair| ("sha384", pair));
    let (hash, pair) = small.or_else(large).ok_or(Status::BadArgument)?;
    if !args.hash_function.eq_ignore_ascii_case(hash) {
        return Ok(None);
    }
    Ok(pair.sign(&SystemRandom::new(), &args.text).ok().map(|signature| signature.as_ref().to_vec()))
}

// DER, of whichever form it was given in: exactly one of the two.
fn key(der: &[u8], pem: &str) -> Done<Vec<u8>> {
    match (der.is_empty(), pem.is_empty()) {
        (false, true) => Ok(der.to_vec()),
        (true, false) => {
            let inside = pem.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----"));
            let body = inside.and_then(|(_, rest)| rest.split_once("-----END ")).ok_or(Status::BadArgument)?.0;
            let body: String = body.split_ascii_whitespace().collect();
            STANDARD.decode(body).map_err(|_| Status::BadArgument)
        }
        _ => Err(Status::BadArgument),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, KeyPair},
    };

    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN A KEY-----\n{}\n-----END A KEY-----\n", STANDARD.encode(der))
    }

    fn sign(hash: &str, private_key: &[u8], in_pem: bool) -> Done<Signed> {
        let (der, text) = if in_pem { (Vec::new(), pem(private_key)) } else { (private_key.to_vec(), String::new()) };
        let args = Sign { hash_function: hash.into(), private_key: der, text: b"text".into(), private_key_pem: text };
        signed(&encode(&args))
    }

    fn verify(hash: &str, public_key: &[u8], signature: &[u8], text: &[u8]) -> SignatureVerified {
        let args = VerifySignature {
            hash_function: hash.into(),
            public_key_pem: pem(public_key),
            signature: signature.to_vec(),
            text: text.to_vec(),
            ..VerifySignature::default()
        };
        verified(&encode(&args)).unwrap()
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let (private, public) = (rsa.as_der().unwrap(), rsa.public_key().as_der().unwrap());
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let own = ecdsa.to_pkcs8v1().unwrap();
        let ecdsa_public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(ecdsa.public_key()).unwrap();
        let keys = [
            ("sha256", private.as_ref(), public.as_ref()),
            ("SHA512", private.as_ref(), public.as_ref()),
            ("sha256", own.as_ref(), ecdsa_public.as_ref()),
        ];
        for (hash, private, public) in keys {
            for in_pem in [false, true] {
                let made = sign(hash, private, in_pem).unwrap();
                assert!(made.result && made.error.is_empty(), "{made:?}");
                assert!(verify(hash, public, &made.signature, b"text").result);
                let wrong = verify(hash, public, &made.signature, b"another");
                assert_eq!((wrong.result, wrong.error.as_str()), (false, "Failed to verify digest."));
            }
        }
    }

    #[test]
    fn no_key_two_keys_and_unknown_hashes_are_told() {
        assert_eq!(sign("sha256", b"", false), Err(Status::BadArgument));
        assert_eq!(sign("sha256", b"no key", false), Err(Status::BadArgument));
        let both = Sign { private_key: vec![1], private_key_pem: pem(&[1]), ..Sign::default() };
        assert_eq!(signed(&encode(&both)), Err(Status::BadArgument));
        assert_eq!(verify("md5", b"key", b"", b"").error, "md5 is not supported.");
    }
}
