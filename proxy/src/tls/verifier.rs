//! Who is taken for whom, where that is not just the name that was asked for: endpoints by other names of their
//! certificates, endpoints whatever they show, and clients whose certificate does not hold. Knows no handshake.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::peer;
use crate::config::spec::SubjectAltName;

/// Verifies endpoints; whoever shows a certificate must have its key.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// Who is to be at the other end.
    pub(super) whom: Whom,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Who is to be at the other end.
#[derive(Debug)]
pub(super) enum Whom {
    /// Whoever it is.
    Anybody,
    /// Whoever somebody of these signed for, under one of the names.
    Named(Arc<RootCertStore>, Vec<SubjectAltName>),
}

impl ServerCertVerifier for Endpoints {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Whom::Named(roots, names) = &self.whom {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
            let own = peer::identity(end_entity, "");
            let has = |name: &SubjectAltName| match name {
                SubjectAltName::Uri(uri) => own.uris.contains(uri),
                SubjectAltName::Dns(name) if name.starts_with("*.") => {
                    own.dns_names.iter().any(|own| own.eq_ignore_ascii_case(name))
                }
                SubjectAltName::Dns(name) => {
                    ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
                }
            };
            if !names.iter().any(has) {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Lets every client in that has the key of what it shows. Whether its certificate holds is asked of the verifier inside,
/// after the handshake.
#[derive(Debug)]
pub(super) struct Lenient(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whether a certificate that a client showed holds.
pub(super) fn holds(verifier: &dyn ClientCertVerifier, shown: &[CertificateDer<'_>]) -> bool {
    let Some((own, others)) = shown.split_first() else { return false };
    verifier.verify_client_cert(own, others, UnixTime::now()).is_ok()
}
