//! Certificates made afresh for each test, clients over TLS that say which of them they were shown, and a front that puts
//! TLS before an origin.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::Client;

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub pem: String,
    /// Its key, PEM.
    pub key: String,
    /// The certificate.
    pub der: CertificateDer<'static>,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An elliptic curve, P-256.
    Ecdsa,
    /// RSA, 2048 bits.
    Rsa,
}

impl Authority {
    /// An authority of its own.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_as(names, Kind::Ecdsa)
    }

    /// A certificate for these names with a key of this kind.
    pub fn issue_as(&self, names: &[&str], kind: Kind) -> Issued {
        self.sign(Self::params(names), kind)
    }

    /// A certificate for these names that has expired.
    pub fn expired(&self, names: &[&str]) -> Issued {
        let mut params = Self::params(names);
        let day = std::time::Duration::from_secs(86_400);
        params.not_before = (SystemTime::now() - 2 * day).into();
        params.not_after = (SystemTime::now() - day).into();
        self.sign(params, Kind::Ecdsa)
    }

    fn params(names: &[&str]) -> CertificateParams {
        let all: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(all).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nameless"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    /// What `params` say, signed.
    pub fn sign(&self, params: CertificateParams, kind: Kind) -> Issued {
        let algorithm = match kind {
            Kind::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Kind::Rsa => &PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Issued { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// How clients speak TLS. Clients made of one value share their sessions.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

/// What may be asked of a client beside its defaults.
#[derive(Debug, Default)]
pub struct TlsOptions<'a> {
    /// Only these versions.
    pub versions: Option<&'a [&'static SupportedProtocolVersion]>,
    /// Protocols offered; none where empty.
    pub alpn: &'a [&'a str],
    /// Only certificates with keys of this kind.
    pub kind: Option<Kind>,
    /// What it shows of itself.
    pub certificate: Option<&'a Issued>,
}

impl Tls {
    /// A client that trusts `authority` and offers HTTP/1.1 and HTTP/2.
    pub fn trusting(authority: &Authority) -> Self {
        Self::with(authority, &TlsOptions { alpn: &["h2", "http/1.1"], ..TlsOptions::default() })
    }

    /// A client that trusts `authority`.
    pub fn with(authority: &Authority, options: &TlsOptions<'_>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("a certificate of ours");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider(options.kind)))
            .with_protocol_versions(options.versions.unwrap_or(rustls::ALL_VERSIONS))
            .expect("the provider has both versions")
            .with_root_certificates(roots);
        let mut config = match options.certificate {
            Some(issued) => {
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key of ours");
                builder.with_client_auth_cert(vec![issued.der.clone()], key).expect("they fit")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(64);
        Self { config: Arc::new(config) }
    }

    /// What it was made of.
    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }

    /// Connects and asks for `name`.
    ///
    /// # Errors
    /// The handshake's.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, name).await
    }

    /// Asks for `name` on a connection that stands.
    ///
    /// # Errors
    /// The handshake's.
    pub async fn over(&self, socket: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name of ours");
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await
    }

    /// A client of HTTP/2 where that is agreed on, else of HTTP/1.1.
    pub async fn client(&self, address: SocketAddr, name: &str) -> Client {
        let stream = self.connect(address, name).await.expect("the handshake succeeds");
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Client::over(stream, http2).await
    }

    /// The certificate that is shown to who asks for `name`.
    pub async fn shown(&self, address: SocketAddr, name: &str) -> io::Result<CertificateDer<'static>> {
        let stream = self.connect(address, name).await?;
        let shown = stream.get_ref().1.peer_certificates().expect("a server shows one");
        Ok(shown[0].clone().into_owned())
    }
}

/// TLS in front of an origin: what a gateway sees that speaks TLS to its upstream.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

/// What a handshake said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name asked for.
    pub server_name: Option<String>,
    /// The certificate shown.
    pub certificate: Option<CertificateDer<'static>>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Front {
    /// Shows `issued` and passes on to `origin`; asks for certificates that `clients` signed, where that is given.
    pub async fn start(origin: SocketAddr, issued: &Issued, clients: Option<&Authority>) -> Self {
        Self::speaking(origin, issued, clients, &[]).await
    }

    /// [`Front::start`] that agrees to speak one of `protocols` (ALPN), the first first.
    pub async fn speaking(
        origin: SocketAddr,
        issued: &Issued,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has both versions");
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.der.clone()).expect("a certificate of ours");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("an authority of ours"))
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key of ours");
        let mut config = builder.with_single_cert(vec![issued.der.clone()], key).expect("they fit");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let task = tokio::spawn(pass(listener, TlsAcceptor::from(Arc::new(config)), origin, Arc::clone(&seen)));
        Self { address, seen, task }
    }

    /// Every handshake that was through, so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: TcpListener, acceptor: TlsAcceptor, origin: SocketAddr, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(socket).await else { return };
            let session = stream.get_ref().1;
            let shown = session.peer_certificates().map(|shown| shown[0].clone().into_owned());
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
                server_name: session.server_name().map(str::to_owned),
                certificate: shown,
                resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            });
            let Ok(mut origin) = TcpStream::connect(origin).await else { return };
            // A peer that goes away is part of many tests.
            drop(tokio::io::copy_bidirectional(&mut stream, &mut origin).await);
        });
    }
}

// The provider of the gateway, or one that takes no signatures by keys of another kind.
fn provider(kind: Option<Kind>) -> CryptoProvider {
    let provider = aws_lc_rs::default_provider();
    let Some(kind) = kind else { return provider };
    let all = provider.signature_verification_algorithms;
    let is_rsa = |scheme: rustls::SignatureScheme| format!("{scheme:?}").starts_with("RSA");
    let mapping = all.mapping.iter().filter(|(scheme, _)| is_rsa(*scheme) == (kind == Kind::Rsa));
    // Tests are few and end soon.
    let mapping = Box::leak(mapping.copied().collect::<Vec<_>>().into_boxed_slice());
    let signature_verification_algorithms = WebPkiSupportedAlgorithms { all: all.all, mapping };
    CryptoProvider { signature_verification_algorithms, ..provider }
}
