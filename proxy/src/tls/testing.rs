//! Certificates for the tests of this room, made afresh.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

use crate::config::{
    diagnostic::Place,
    spec::{Certificate, Pem},
};

/// What names a file.
pub(super) fn place(line: u32) -> Place {
    Place { file: "gateway.yaml".into(), line, column: 1, length: 1 }
}

/// The text of a certificate for `names`, signed by itself, and of its key.
pub(super) fn texts(names: &[&str], algorithm: &'static SignatureAlgorithm) -> (String, String) {
    signed(CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap(), algorithm)
}

/// The same of what `params` say.
pub(super) fn signed(params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// As documents name them.
pub(super) fn named((certificate, key): (String, String)) -> Certificate {
    Certificate { certificate: Pem::new("site.pem", certificate, place(3)), key: Pem::new("site.key", key, place(4)) }
}

/// A certificate with an elliptic curve.
pub(super) fn ecdsa(names: &[&str]) -> Certificate {
    named(texts(names, &PKCS_ECDSA_P256_SHA256))
}

/// A certificate with RSA.
pub(super) fn rsa(names: &[&str]) -> Certificate {
    named(texts(names, &PKCS_RSA_SHA256))
}
