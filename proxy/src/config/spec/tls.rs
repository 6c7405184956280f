//! TLS of listeners: certificates, versions, protocols, limits of handshakes. Knows nothing of how they are used.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::Secret;
use crate::{config::diagnostic::Place, identity::Identity};

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerTls {
    /// At least one; the first is the default.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Protocols offered, the most preferred first.
    pub alpn: Vec<Alpn>,
    /// Whether a client that asks for a name that no certificate has is refused.
    pub strict_names: bool,
    /// From an accepted connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at a time, in the whole process.
    pub handshakes_max: usize,
    /// Whether clients are asked for a certificate of their own.
    pub client_certificates: Option<ClientCertificates>,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientCertificates {
    /// Who may have signed them.
    pub ca: Pem,
    /// Whether one without is refused.
    pub required: bool,
    /// Whether one that does not hold is taken for none.
    pub unverified: bool,
    /// The field that tells upstreams who the client is; in lower case.
    pub forward_header: Option<String>,
}

/// TLS to the endpoints of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamTls {
    /// Who may have signed the certificates of endpoints; `None`: whom the system trusts.
    pub ca: Option<Pem>,
    /// The name asked for, and looked for in their certificates; `None`: the host of each endpoint.
    pub server_name: Option<String>,
    /// Of these their certificates must have one; where there are none: the name asked for.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// What is shown of the gateway.
    pub certificate: Option<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether certificates are held against all that.
    pub verify: bool,
    /// Where it is set.
    #[serde(skip)]
    pub place: Place,
}

/// A name of a certificate (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SubjectAltName {
    /// A DNS name, which a wildcard of the certificate may cover.
    Dns(String),
    /// A URI, to the letter.
    Uri(String),
}

impl SubjectAltName {
    /// As people write it.
    pub fn text(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Uri(text) => text,
        }
    }
}

/// A certificate with its chain, and its key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    /// The certificate, then those that lead to its root.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

/// Text of a PEM file that a document names. Known by its hash; the text itself is never serialised.
#[derive(Clone, Debug, Serialize)]
pub struct Pem {
    /// The file, or the secret, as it was written.
    pub named: Arc<str>,
    /// The hash of the text: another text is another part.
    pub identity: String,
    /// The text.
    #[serde(skip)]
    pub text: Secret,
    /// Where it is named.
    #[serde(skip)]
    pub place: Place,
}

impl Pem {
    /// The text that `named` stands for at `place`.
    pub fn new(named: &str, text: String, place: Place) -> Self {
        let identity = Identity::of_bytes(text.as_bytes()).to_string();
        Self { named: named.into(), identity, text: Secret(text), place }
    }
}

/// Wherever it is named.
impl PartialEq for Pem {
    fn eq(&self, other: &Self) -> bool {
        self.named == other.named && self.identity == other.identity
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// A protocol over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Alpn {
    /// As RFC 7301 registers it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

impl UpstreamTls {
    /// With every default: whom the system trusts, and the host of each endpoint.
    pub const fn of_system(place: Place) -> Self {
        Self {
            ca: None,
            server_name: None,
            subject_alt_names: Vec::new(),
            certificate: None,
            min_version: TlsVersion::Tls12,
            verify: true,
            place,
        }
    }
}

impl ListenerTls {
    /// With these certificates and every default.
    pub fn of(certificates: Vec<Certificate>) -> Self {
        Self {
            certificates,
            min_version: TlsVersion::Tls12,
            alpn: vec![Alpn::H2, Alpn::Http1],
            strict_names: false,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 10_000,
            client_certificates: None,
        }
    }

    /// Whether a connection that a listener took when its TLS was `before` may be one that it would not take `now`.
    pub fn narrows(before: Option<&Self>, now: Option<&Self>) -> bool {
        match (before, now) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(now)) => {
                let asked = now.client_certificates.as_ref();
                let trusts = |tls: &Self| tls.client_certificates.as_ref().map(|certificates| certificates.ca.clone());
                let had = before.client_certificates.as_ref();
                let demands = asked.is_some_and(|asked| asked.required) && !had.is_some_and(|had| had.required)
                    || asked.is_some_and(|asked| !asked.unverified) && had.is_some_and(|had| had.unverified);
                now.min_version > before.min_version || demands || asked.is_some() && trusts(before) != trusts(now)
            }
        }
    }
}
