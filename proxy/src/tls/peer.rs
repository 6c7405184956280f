//! Who is at the other end, by the certificate that it showed. Knows no handshake.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{exchange::ClientIdentity, identity::Identity};

/// What `certificate`, which was verified against `authority`, says. A certificate that was verified and does not read
/// has its fingerprint and no names.
pub(super) fn identity(certificate: &CertificateDer<'_>, authority: &str) -> ClientIdentity {
    let mut identity = ClientIdentity {
        fingerprint: Identity::of_bytes(certificate).to_string(),
        subject: String::new(),
        dns_names: Vec::new(),
        uris: Vec::new(),
        authority: authority.to_owned(),
    };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return identity };
    identity.subject = certificate.subject().to_string();
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => identity.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
            _ => {}
        }
    }
    identity
}
