//! What certificates are shown, and what is said of those that cannot be.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256};

use super::{
    Acceptor, Tickets,
    certificate::Certified,
    testing::{ecdsa, named, rsa, signed, texts},
};
use crate::config::spec::{Certificate, ListenerTls};

fn codes(certificate: Certificate) -> Vec<(&'static str, u32)> {
    let tickets = Arc::new(Tickets::new().unwrap());
    let found = Acceptor::build(&ListenerTls::of(vec![certificate]), &tickets).err().unwrap_or_default();
    found.iter().map(|found| (found.code, found.at.as_ref().unwrap().line)).collect()
}

#[test]
fn what_is_wrong_with_a_certificate_or_its_key_is_said_where_it_is_named() {
    let (certificate, key) = texts(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    let with = |certificate: &str, key: &str| codes(named((certificate.into(), key.into())));
    assert_eq!(with(&certificate, &key), []);
    let (_, other) = texts(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    assert_eq!(with(&certificate, &other), [("key-mismatch", 4)]);
    assert_eq!(with(&key, &certificate), [("no-certificate", 3)]);
    assert_eq!(with("", &key), [("no-certificate", 3)]);
    assert_eq!(with(&certificate, ""), [("no-key", 4)]);
    assert_eq!(with(&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), [("encrypted-key", 4)]);
    assert_eq!(with(&certificate[..certificate.len() - 20], &key), [("bad-pem", 3)]);
    assert_eq!(with(&certificate.replace("MI", "--"), &key), [("bad-pem", 3)]);
    let nonsense = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(with(nonsense, &key), [("bad-certificate", 3)]);
    let nonsense = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    assert_eq!(with(&certificate, nonsense), [("bad-key", 4)]);
}

#[test]
fn no_finding_tells_anything_of_a_key() {
    let (certificate, key) = texts(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    let broken = key.replace("-----END PRIVATE KEY-----", "");
    let spec = named((certificate, broken));
    let found = Certified::load(&spec).unwrap_err();
    let text = format!("{found:?} {spec:?} {}", serde_json::to_string(&spec).unwrap());
    let secret = key.lines().nth(1).unwrap();
    assert!(!text.contains(&secret[..8]), "{text}");
}

#[test]
fn certificates_are_for_the_names_that_they_say() {
    for certificate in [ecdsa(&["A.example", "*.b.example"]), rsa(&["a.example", "*.b.example"])] {
        assert_eq!(Certified::load(&certificate).unwrap().names, ["a.example", "*.b.example"]);
    }
}

#[test]
fn the_time_of_a_certificate_is_worth_a_word_when_it_is_over_or_nearly_so() {
    let (from, until) = (SystemTime::now() - Duration::from_secs(86_400 * 40), 86_400 * 80);
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_before = from.into();
    params.not_after = (from + Duration::from_secs(until)).into();
    let spec = named(signed(params, &PKCS_ECDSA_P256_SHA256));
    let certified = Certified::load(&spec).unwrap();
    let warned = |days: u64| {
        let found = certified.warning(&spec.certificate, from + Duration::from_secs(86_400 * days));
        found.map(|found| found.code)
    };
    assert_eq!(warned(40), None);
    assert_eq!(warned(74), Some("expiring-certificate"));
    assert_eq!(warned(81), Some("expired-certificate"));
    let early = certified.warning(&spec.certificate, from - Duration::from_secs(86_400));
    assert_eq!(early.map(|found| found.code), Some("future-certificate"));
}
