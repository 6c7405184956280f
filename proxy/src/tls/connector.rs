//! TLS to the endpoints of an upstream, compiled: whom it trusts, what it shows, and the handshake. Sessions are kept by
//! connector, so a changed one verifies anew. Knows no endpoint.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{
    Socket,
    certificate::{self, Certified},
    verifier::{Endpoints, Whom},
};
use crate::config::{
    diagnostic::Diagnostic,
    spec::{Pem, TlsVersion, UpstreamTls},
};

/// TLS to endpoints.
#[derive(Debug)]
pub struct Connector {
    // By what is offered: see [`Offer`].
    configs: [Arc<ClientConfig>; 4],
    server_name: Option<ServerName<'static>>,
    // Found by the next connector for as long as this one lives.
    _system: Option<Arc<SystemRoots>>,
}

/// What a handshake offers to speak (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, or else HTTP/1.1.
    Both,
    /// Nothing: what is spoken is known, and no HTTP.
    Nothing,
}

impl Offer {
    const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Both, Self::Nothing];

    fn protocols(self) -> Vec<Vec<u8>> {
        let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![http2],
            Self::Both => vec![http2, http1],
            Self::Nothing => Vec::new(),
        }
    }
}

/// Whom the system trusts, read once while anybody uses it.
#[derive(Debug)]
pub struct SystemRoots(Arc<RootCertStore>);

impl SystemRoots {
    /// Reads them: from `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else from where the system keeps them.
    /// What does not read is left out; with nobody to trust, no endpoint is verified.
    pub fn load() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (taken, left) = roots.add_parsable_certificates(found.certs);
        if taken == 0 || left > 0 || !found.errors.is_empty() {
            let errors = found.errors.len();
            tracing::warn!(taken, left, errors, "not all certificates that the system trusts could be read");
        }
        Self(Arc::new(roots))
    }
}

/// What a library that speaks HTTPS by itself is given: it trusts who is in `ca`, or whom the system trusts.
///
/// # Errors
/// Where `ca` cannot be used.
pub fn https(ca: Option<&Pem>, system: impl FnOnce() -> Arc<SystemRoots>) -> Result<ClientConfig, Box<Diagnostic>> {
    let roots = match ca {
        Some(ca) => Arc::new(certificate::roots(ca)?),
        None => Arc::clone(&system().0),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Connector {
    /// Builds from what is checked; `system` yields whom the system trusts where that is asked for.
    ///
    /// # Errors
    /// One finding for each file that cannot be used.
    pub fn build(spec: &UpstreamTls, system: impl FnOnce() -> Arc<SystemRoots>) -> Result<Self, Vec<Diagnostic>> {
        let mut wrong = Vec::new();
        let mut note = |found: Box<Diagnostic>| wrong.push(*found);
        let own = spec.certificate.as_ref().and_then(|own| Certified::load(own).map_err(&mut note).ok());
        let ca = spec.ca.as_ref().and_then(|ca| certificate::roots(ca).map_err(&mut note).ok());
        let system = (spec.ca.is_none() && spec.verify).then(system);
        if system.as_ref().is_some_and(|system| system.0.is_empty()) {
            let none = Diagnostic::error("no-roots", "the system trusts nobody, so no endpoint can be verified");
            let none = none.at(spec.place.clone());
            note(Box::new(none.hint("install its certificates (`ca-certificates`), or set `ca`")));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = match spec.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions");
        let roots = ca.map(Arc::new).or_else(|| system.as_ref().map(|system| Arc::clone(&system.0)));
        let builder = match roots.filter(|_| spec.verify) {
            Some(roots) if spec.subject_alt_names.is_empty() => builder.with_root_certificates(roots),
            Some(roots) => {
                let whom = Whom::Named(roots, spec.subject_alt_names.clone());
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Endpoints { whom, provider }))
            }
            None => {
                let anybody = Endpoints { whom: Whom::Anybody, provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(anybody))
            }
        };
        let config = match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key))),
            None => builder.with_no_client_auth(),
        };
        let configs = Offer::ALL.map(|offer| {
            let mut config = config.clone();
            config.alpn_protocols = offer.protocols();
            Arc::new(config)
        });
        let server_name = spec.server_name.as_ref().and_then(|name| ServerName::try_from(name.clone()).ok());
        Ok(Self { configs, server_name, _system: system })
    }

    /// Shakes hands with the endpoint at the other end of `stream`, to speak what is offered; `host` is its name or
    /// address.
    ///
    /// # Errors
    /// `InvalidData` where it is not who it should be, or both ends do not agree; others are the connection's.
    pub async fn connect(&self, stream: TcpStream, host: &str, offer: Offer) -> io::Result<Socket> {
        let own = || ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => own().map_err(|_| io::Error::other(format!("`{host}` is no name that a certificate can have")))?,
        };
        let stream = TlsConnector::from(Arc::clone(&self.configs[offer as usize])).connect(name, stream).await?;
        Ok(Socket::Secure(Box::new(TlsStream::Client(stream))))
    }
}
