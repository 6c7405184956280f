//! TLS of one listener, compiled: its certificates, what it speaks, and the handshake. Knows no listener's socket.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    HandshakeKind, ProtocolVersion, ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{
    Socket,
    certificate::{self, Certified},
    names::Names,
    peer,
    verifier::{self, Lenient},
};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{ClientCertificates, ListenerTls, TlsVersion},
    },
    exchange::{ClientIdentity, Secured},
};

/// TLS of one listener.
pub struct Acceptor {
    config: Arc<ServerConfig>,
    quic: Arc<QuicServerConfig>,
    certificates: Vec<Certified>,
    handshake_timeout: Duration,
    handshakes_max: usize,
    // The hash of those who may have signed the certificates of clients.
    authority: Option<String>,
    // Who verifies certificates of clients after the handshake, where that takes everybody.
    lenient: Option<Arc<dyn ClientCertVerifier>>,
    // Found by the next acceptor of the listener for as long as this one lives.
    _tickets: Arc<Tickets>,
}

/// The keys of session tickets (RFC 8446 section 4.6.1, RFC 5077): one set for all workers and all versions of a
/// listener, so that a client resumes wherever it arrives. A new key each six hours; tickets hold for twelve at most.
#[derive(Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// What came of a handshake, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The version agreed on.
    pub version: TlsVersion,
    /// Whether an earlier session went on.
    pub resumed: bool,
    /// What exchanges may know of it.
    pub secured: Box<Secured>,
}

/// Why a handshake failed, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It took too long.
    Timeout,
    /// There are too many at a time.
    Crowded,
    /// The client speaks HTTP without TLS.
    Cleartext,
    /// The client showed no certificate where one is required, or one that is not trusted.
    ClientCertificate,
    /// The client went away.
    Closed,
    /// Both ends have no version, cipher or signature in common, or one of them is at fault.
    Protocol,
}

impl Refusal {
    /// All of them, each at the position that `refusal as usize` gives.
    pub const ALL: [Self; 6] =
        [Self::Timeout, Self::Crowded, Self::Cleartext, Self::ClientCertificate, Self::Closed, Self::Protocol];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::Cleartext => "cleartext",
            Self::ClientCertificate => "client_certificate",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }

    /// What the error of a handshake says.
    pub fn of(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                Self::ClientCertificate
            }
            Some(_) => Self::Protocol,
            None => Self::Closed,
        }
    }
}

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> Result<Self, Box<Diagnostic>> {
        let failed = |error| {
            let what = format!("no keys for session tickets can be made: {error}");
            Box::new(Diagnostic::error("no-tickets", what))
        };
        Ticketer::new().map(Self).map_err(failed)
    }
}

impl Acceptor {
    /// Builds from what is checked; reads certificates and keys.
    ///
    /// # Errors
    /// One finding for each certificate that cannot be used.
    pub fn build(spec: &ListenerTls, tickets: &Arc<Tickets>) -> Result<Self, Vec<Diagnostic>> {
        let (mut certificates, mut wrong) = (Vec::new(), Vec::new());
        for certificate in &spec.certificates {
            match Certified::load(certificate) {
                Ok(certified) => certificates.push(certified),
                Err(found) => wrong.push(*found),
            }
        }
        if certificates.is_empty() && wrong.is_empty() {
            wrong.push(Diagnostic::error("no-certificate", "there is no certificate to show"));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let verifier = verifier_of(spec.client_certificates.as_ref()).map_err(|found| vec![*found])?;
        let unverified = spec.client_certificates.as_ref().is_some_and(|clients| clients.unverified);
        let lenient = unverified.then(|| Arc::clone(&verifier));
        let verifier = if unverified { Arc::new(Lenient(verifier)) } else { verifier };
        let versions: &[_] = match spec.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Names::new(&certificates, spec.strict_names)));
        config.alpn_protocols = spec.alpn.iter().map(|protocol| protocol.name().into()).collect();
        config.ticketer = Arc::clone(&tickets.0);
        // One ticket does for a client that comes back, and no session is kept here: nothing to lock and to bound.
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let mut quic = config.clone();
        quic.alpn_protocols = vec![b"h3".to_vec()];
        let quic =
            QuicServerConfig::try_from(Arc::new(quic)).expect("the provider has the suite that QUIC begins with");
        Ok(Self {
            config: Arc::new(config),
            quic: Arc::new(quic),
            certificates,
            handshake_timeout: spec.handshake_timeout,
            handshakes_max: spec.handshakes_max,
            authority: spec.client_certificates.as_ref().map(|clients| clients.ca.identity.clone()),
            lenient,
            _tickets: Arc::clone(tickets),
        })
    }

    /// How long a handshake may take.
    pub const fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// How many may be under way at a time.
    pub const fn handshakes_max(&self) -> usize {
        self.handshakes_max
    }

    /// The certificates that it shows: the file of each as it was named, and when it ends to hold.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, SystemTime)> {
        self.certificates.iter().map(|certified| (&*certified.named, certified.validity.1))
    }

    /// The same for QUIC (RFC 9001): TLS 1.3, and `h3` as the protocol (RFC 9114 section 3.2).
    pub fn quic(&self) -> Arc<dyn quinn::crypto::ServerConfig> {
        Arc::<QuicServerConfig>::clone(&self.quic)
    }

    /// What a handshake over QUIC settled.
    pub fn settled(&self, server_name: Option<String>, shown: Option<&CertificateDer<'_>>) -> Handshake {
        let client = self.client(shown.map(std::slice::from_ref).unwrap_or_default());
        let secured = Secured { version: TlsVersion::Tls13.name(), cipher: None, server_name, client };
        Handshake { version: TlsVersion::Tls13, resumed: false, secured: Box::new(secured) }
    }

    /// What is worth a word at this time: certificates that expired, or will soon.
    pub fn warnings(&self, spec: &ListenerTls, now: SystemTime) -> Vec<Diagnostic> {
        let both = self.certificates.iter().zip(&spec.certificates);
        both.filter_map(|(certified, named)| certified.warning(&named.certificate, now)).collect()
    }

    /// Shakes hands with whoever is at the other end of `stream`.
    ///
    /// # Errors
    /// `InvalidData` where both ends do not agree; they were told by an alert. Others are the connection's.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Socket, Handshake)> {
        let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let secured = Secured {
            version: version.name(),
            cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            server_name: session.server_name().map(str::to_owned),
            client: self.client(session.peer_certificates().unwrap_or_default()),
        };
        let handshake = Handshake { version, resumed, secured: Box::new(secured) };
        Ok((Socket::Secure(Box::new(TlsStream::Server(stream))), handshake))
    }

    // Who showed these certificates, its own first; nobody where they do not hold.
    fn client(&self, shown: &[CertificateDer<'_>]) -> Option<ClientIdentity> {
        let (own, authority) = (shown.first()?, self.authority.as_deref()?);
        let holds = self.lenient.as_ref().is_none_or(|verifier| verifier::holds(&**verifier, shown));
        holds.then(|| peer::identity(own, authority))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acceptor({} certificates)", self.certificates.len())
    }
}

fn verifier_of(clients: Option<&ClientCertificates>) -> Result<Arc<dyn ClientCertVerifier>, Box<Diagnostic>> {
    let Some(clients) = clients else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let roots = Arc::new(certificate::roots(&clients.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(aws_lc_rs::default_provider()));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| {
        let what = format!("the certificates in `{}` can verify nobody: {error}", clients.ca.named);
        let found = Diagnostic::error("bad-certificate", what).at(clients.ca.place.clone());
        Box::new(found.hint("name the authority's own certificate"))
    })
}
