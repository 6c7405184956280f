//! A certificate and its key, from PEM: read, held against each other, and what a certificate says of itself.
//! Every way in which they are wrong is a finding at the line that names the file.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::{
    diagnostic::Diagnostic,
    spec::{Certificate, Pem},
};

/// A certificate that may be shown, with its key.
#[derive(Debug)]
pub(super) struct Certified {
    /// The file, as it was named.
    pub(super) named: Arc<str>,
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names that it is for, in lower case, wildcards among them.
    pub(super) names: Vec<String>,
    /// When it begins and ends to hold.
    pub(super) validity: (SystemTime, SystemTime),
}

impl Certified {
    /// Reads a certificate with its chain, and its key.
    ///
    /// # Errors
    /// What is wrong with either, or that they do not belong together.
    pub(super) fn load(spec: &Certificate) -> Result<Self, Box<Diagnostic>> {
        let chain = chain(&spec.certificate)?;
        let (names, validity) = read(&spec.certificate, &chain[0])?;
        let signing = aws_lc_rs::default_provider().key_provider.load_private_key(key(&spec.key)?);
        let signing = signing.map_err(|error| {
            let what = format!("the key in `{}` cannot be used: {error}", spec.key.named);
            at(&spec.key, "bad-key", what, "use an ECDSA (P-256, P-384), RSA (2048 bits or more) or Ed25519 key")
        })?;
        let key = CertifiedKey::new(chain, signing);
        match key.keys_match() {
            // A key that cannot say its public half is taken at its word.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => {
                let what = format!(
                    "the key in `{}` does not fit the certificate in `{}`",
                    spec.key.named, spec.certificate.named
                );
                let hint =
                    "name the key that the certificate was issued for; the certificate itself is the first of its file";
                let found = at(&spec.key, "key-mismatch", what, hint);
                return Err(Box::new(found.related(spec.certificate.place.clone(), "the certificate is named here")));
            }
        }
        Ok(Self { named: Arc::clone(&spec.certificate.named), key: Arc::new(key), names, validity })
    }

    /// What is worth a word about its time.
    pub(super) fn warning(&self, spec: &Pem, now: SystemTime) -> Option<Diagnostic> {
        let (from, until) = self.validity;
        let warn =
            |code, what: String, hint: &str| Some(Diagnostic::warning(code, what).at(spec.place.clone()).hint(hint));
        let named = &spec.named;
        if now >= until {
            let what = format!("the certificate in `{named}` expired on {}", date(until));
            return warn("expired-certificate", what, "renew it; clients refuse it, and until then it is still shown");
        }
        if now < from {
            let what = format!("the certificate in `{named}` is not valid before {}", date(from));
            return warn("future-certificate", what, "clients refuse it until then; check the clock of this machine");
        }
        if until.duration_since(now).is_ok_and(|left| left < SOON) {
            let what = format!("the certificate in `{named}` expires on {}", date(until));
            return warn("expiring-certificate", what, "renew it; the file is read again when it changes");
        }
        None
    }
}

/// All certificates of a file, at least one.
///
/// # Errors
/// The file is not PEM, or holds none.
pub(super) fn chain(file: &Pem) -> Result<Vec<CertificateDer<'static>>, Box<Diagnostic>> {
    let certificates = CertificateDer::pem_slice_iter(file.text.0.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| bad_pem(file, &error))?;
    if certificates.is_empty() {
        let key = if file.text.0.contains("PRIVATE KEY-----") { "; it holds a key" } else { "" };
        let what = format!("there is no certificate in `{}`{key}", file.named);
        let hint = "a PEM file has a part that begins with `-----BEGIN CERTIFICATE-----` for each certificate";
        return Err(at(file, "no-certificate", what, hint));
    }
    Ok(certificates)
}

/// The certificates of a file, as those that others have to lead to.
///
/// # Errors
/// The file is not PEM, or holds none that can be one.
pub(super) fn roots(file: &Pem) -> Result<RootCertStore, Box<Diagnostic>> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots.add(certificate).map_err(|error| {
            let what = format!("a certificate in `{}` is not one of an authority: {error}", file.named);
            at(file, "bad-certificate", what, "name the certificates of authorities")
        })?;
    }
    Ok(roots)
}

fn key(file: &Pem) -> Result<PrivateKeyDer<'static>, Box<Diagnostic>> {
    PrivateKeyDer::from_pem_slice(file.text.0.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound if file.text.0.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            let what = format!("the key in `{}` is encrypted", file.named);
            at(file, "encrypted-key", what, "store it without a password: `openssl pkey -in KEY -out PLAIN`")
        }
        pem::Error::NoItemsFound => {
            let what = format!("there is no private key in `{}`", file.named);
            at(file, "no-key", what, "a PEM file has a part that begins with `-----BEGIN PRIVATE KEY-----`")
        }
        error => bad_pem(file, &error),
    })
}

fn bad_pem(file: &Pem, error: &pem::Error) -> Box<Diagnostic> {
    // Of a key not even a line may be told.
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a part has no end",
        pem::Error::IllegalSectionStart { .. } => "a part does not begin well",
        pem::Error::Base64Decode(_) => "a part is not base64",
        _ => "it cannot be read",
    };
    let what = format!("`{}` is not a PEM file: {why}", file.named);
    at(file, "bad-pem", what, "write it anew, whole; certificates and keys are PEM, not DER or PKCS #12")
}

fn at(file: &Pem, code: &'static str, what: String, hint: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, what).at(file.place.clone()).hint(hint))
}

type Facts = (Vec<String>, (SystemTime, SystemTime));

// The names that a certificate is for (RFC 9525: the DNS names of its alternative names; its common name where there
// is nothing else), and its time.
fn read(file: &Pem, der: &[u8]) -> Result<Facts, Box<Diagnostic>> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| {
        let what = format!("the first certificate in `{}` is not an X.509 certificate", file.named);
        at(file, "bad-certificate", what, "issue it anew")
    })?;
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let general = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = general
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if alternative.is_none() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    let validity = certificate.validity();
    Ok((names, (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()))))
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

// Who renews by machine does so earlier.
const SOON: Duration = Duration::from_secs(7 * 86_400);
