//! How the load speaks: HTTP/1.1 in cleartext and over TLS 1.3, HTTP/2 over TLS 1.3, HTTP/3. Bodies are counted and thrown away.

use std::{
    cell::RefCell,
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bytes::{Buf, Bytes};
use h2::client::SendRequest;
use h3_quinn::OpenStreams;
use http::Request;
use quinn::{Endpoint, TransportConfig, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use tidegate_tests::Authority;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

/// The name on the certificate of what is measured.
pub(crate) const HOST: &str = "bench.example";

/// A protocol.
#[derive(Clone)]
pub(crate) enum Speech {
    /// HTTP/1.1 in cleartext.
    Http1,
    /// HTTP/1.1 over TLS 1.3.
    Http1Tls(Arc<ClientConfig>),
    /// HTTP/2 over TLS 1.3.
    Http2(Arc<ClientConfig>),
    /// HTTP/3, all connections from one socket.
    Http3(Endpoint),
}

/// A request, and whom it goes to.
#[derive(Clone)]
pub(crate) struct Call {
    /// Where the gateway, or what stands for it, listens.
    pub(crate) address: SocketAddr,
    /// How it is spoken to.
    pub(crate) speech: Speech,
    /// What it is asked for.
    pub(crate) path: Rc<str>,
}

/// The exchanges of closed loops.
#[derive(Default)]
pub(crate) struct Tally {
    // How long each took, µs, in the order of their ends.
    times_us: RefCell<Vec<f32>>,
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Anything that bytes go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Tally {
    /// How many have ended.
    pub(crate) fn count(&self) -> usize {
        self.times_us.borrow().len()
    }

    /// How long each took that ended behind the first `count`, µs.
    pub(crate) fn since(&self, count: usize) -> Vec<f64> {
        self.times_us.borrow()[count..].iter().map(|time| f64::from(*time)).collect()
    }

    /// Counts `exchange`, if it does not fail.
    async fn time<E>(&self, exchange: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let began = Instant::now();
        exchange.await?;
        self.times_us.borrow_mut().push(began.elapsed().as_secs_f32() * 1e6);
        Ok(())
    }
}

impl Speech {
    /// All of them, as the tables name them; those over TLS to whoever shows a certificate of `authority`.
    pub(crate) fn all(authority: &Authority) -> [(&'static str, Self); 4] {
        [
            ("HTTP/1.1", Self::Http1),
            ("HTTP/1.1 over TLS 1.3", Self::http1_tls(authority)),
            ("HTTP/2 over TLS 1.3", Self::http2(authority)),
            ("HTTP/3", Self::Http3(endpoint(&config_of(authority, b"h3")))),
        ]
    }

    /// HTTP/2 over TLS 1.3, to whoever shows a certificate of `authority`.
    pub(crate) fn http2(authority: &Authority) -> Self {
        Self::Http2(config_of(authority, b"h2"))
    }

    /// HTTP/1.1 over TLS 1.3, to whoever shows a certificate of `authority`.
    pub(crate) fn http1_tls(authority: &Authority) -> Self {
        Self::Http1Tls(config_of(authority, b"http/1.1"))
    }

    /// Whether it is encrypted.
    pub(crate) const fn is_secure(&self) -> bool {
        !matches!(self, Self::Http1)
    }

    /// Whether it goes over QUIC.
    pub(crate) const fn is_http3(&self) -> bool {
        matches!(self, Self::Http3(_))
    }

    /// Requests at a time on a connection.
    pub(crate) const fn streams(&self) -> usize {
        if matches!(self, Self::Http2(_) | Self::Http3(_)) { STREAMS } else { 1 }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        match self {
            Self::Http1 => Ok(Box::new(socket)),
            Self::Http1Tls(config) | Self::Http2(config) => {
                let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
                Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, socket).await?))
            }
            Self::Http3(_) => Err(io::Error::other("QUIC is no socket of bytes")),
        }
    }
}

impl Call {
    /// One connection, asked without end by as many loops as it takes of `loops`; each whole response counts.
    pub(crate) async fn again_and_again(self, loops: usize, tally: Rc<Tally>) -> Outcome {
        if let Speech::Http3(endpoint) = &self.speech {
            let (mut tasks, sender) = begin_http3(endpoint, self.address).await?;
            for _ in 0..loops.min(STREAMS) {
                let (call, mut sender, tally) = (self.clone(), sender.clone(), Rc::clone(&tally));
                tasks.spawn_local(async move {
                    loop {
                        tally.time(call.http3(&mut sender)).await?;
                    }
                });
            }
            return tasks.join_next().await.expect("there are loops")?;
        }
        let mut socket = self.speech.connect(self.address).await?;
        if !matches!(self.speech, Speech::Http2(_)) {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                tally.time(self.http1(&mut socket, &mut buffer)).await?;
            }
        }
        let (sender, connection) = begin(socket).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(async move { Ok(connection.await?) });
        for _ in 0..loops.min(STREAMS) {
            let (call, sender, tally) = (self.clone(), sender.clone(), Rc::clone(&tally));
            tasks.spawn_local(async move {
                loop {
                    tally.time(call.http2(sender.clone())).await?;
                }
            });
        }
        // The first that ends says why all of them do.
        tasks.join_next().await.expect("there are loops")?
    }

    /// Opens a connection, makes the call once and leaves the connection open for as long as what is returned lives.
    pub(crate) async fn once(self) -> Result<Box<dyn std::any::Any>, Box<dyn Error + Send + Sync>> {
        if let Speech::Http3(endpoint) = &self.speech {
            let (tasks, mut sender) = begin_http3(endpoint, self.address).await?;
            self.http3(&mut sender).await?;
            return Ok(Box::new((tasks, sender)));
        }
        let mut socket = self.speech.connect(self.address).await?;
        if !matches!(self.speech, Speech::Http2(_)) {
            self.http1(&mut socket, &mut vec![0; 4096]).await?;
            return Ok(Box::new(socket));
        }
        let (sender, connection) = begin(socket).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(connection);
        self.http2(sender.clone()).await?;
        Ok(Box::new((tasks, sender)))
    }

    /// One connection of HTTP/2, asked `streams` times at once; `each` is told of every call that ends whether it was answered
    /// with 200. Over when all are.
    pub(crate) async fn at_once(self, streams: usize, each: impl Fn(bool) + Clone + 'static) -> Outcome {
        let (sender, connection) = begin(self.speech.connect(self.address).await?).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (call, sender, each) = (self.clone(), sender.clone(), each.clone());
            tasks.spawn_local(async move { each(call.http2(sender).await.is_ok()) });
        }
        drop(sender);
        let over = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = over => Ok(()),
            ended = connection => Ok(ended?),
        }
    }

    /// Makes the call once over HTTP/1.1.
    pub(crate) async fn http1(&self, socket: &mut Box<dyn Io>, buffer: &mut [u8]) -> io::Result<()> {
        let request = format!("GET {} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n", self.path);
        socket.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        let left = loop {
            filled += some(socket.read(&mut buffer[filled..]).await?)?;
            if let Some((head, length)) = head(&buffer[..filled])? {
                break (head + length).saturating_sub(filled);
            }
        };
        let mut left = left;
        while left > 0 {
            let most = left.min(buffer.len());
            left -= some(socket.read(&mut buffer[..most]).await?)?;
        }
        Ok(())
    }

    /// Makes the call once over HTTP/2.
    pub(crate) async fn http2(&self, sender: SendRequest<Bytes>) -> Outcome {
        let uri = format!("https://{HOST}{}", self.path);
        let request = Request::get(uri).header("user-agent", "bench").header("accept", "*/*").body(())?;
        let (response, _) = sender.ready().await?.send_request(request, true)?;
        let response = response.await?;
        if response.status() != 200 {
            return Err(format!("the status is {}", response.status()).into());
        }
        let mut body = response.into_body();
        while let Some(bytes) = body.data().await {
            body.flow_control().release_capacity(bytes?.len())?;
        }
        Ok(())
    }

    async fn http3(&self, sender: &mut Http3) -> Outcome {
        let uri = format!("https://{HOST}{}", self.path);
        let request = Request::get(uri).header("user-agent", "bench").header("accept", "*/*").body(())?;
        let mut stream = sender.send_request(request).await?;
        stream.finish().await?;
        let response = stream.recv_response().await?;
        if response.status() != 200 {
            return Err(format!("the status is {}", response.status()).into());
        }
        while let Some(mut bytes) = stream.recv_data().await? {
            bytes.advance(bytes.remaining());
        }
        Ok(())
    }
}

type Http3 = h3::client::SendRequest<OpenStreams, Bytes>;

/// A connection of HTTP/3, and the task that keeps it going.
async fn begin_http3(
    endpoint: &Endpoint,
    address: SocketAddr,
) -> Result<(JoinSet<Outcome>, Http3), Box<dyn Error + Send + Sync>> {
    let connection = endpoint.connect(address, HOST)?.await?;
    let (mut connection, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(async move { Err(std::future::poll_fn(|cx| connection.poll_close(cx)).await.into()) });
    Ok((tasks, sender))
}

/// One socket for all connections over QUIC, with windows large enough that a body need not wait for them.
fn endpoint(config: &Arc<ClientConfig>) -> Endpoint {
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let quic =
        QuicClientConfig::try_from(Arc::clone(config)).expect("the provider has the suite that QUIC begins with");
    let mut transport = TransportConfig::default();
    transport.stream_receive_window((1_u32 << 20).into()).receive_window((16_u32 << 20).into());
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

/// Streams at a time on a connection of HTTP/2 or HTTP/3.
const STREAMS: usize = 8;
const BUFFER_BYTES: usize = 256 * 1024;

/// A connection of HTTP/2, with windows large enough that a body need not wait for them.
pub(crate) async fn begin(
    socket: Box<dyn Io>,
) -> Result<(SendRequest<Bytes>, h2::client::Connection<Box<dyn Io>, Bytes>), h2::Error> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
    builder.handshake(socket).await
}

fn config_of(authority: &Authority, protocol: &[u8]) -> Arc<ClientConfig> {
    Arc::new(config(authority, protocol, Arc::new(aws_lc_rs::default_provider())))
}

/// TLS 1.3 by what `provider` knows, for `protocol`, to whoever shows a certificate of `authority`.
pub(crate) fn config(authority: &Authority, protocol: &[u8], provider: Arc<CryptoProvider>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("an authority shows its own");
    roots.add(certificate).expect("an authority may be trusted");
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let mut config = builder.expect("the provider has TLS 1.3").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

fn some(read: usize) -> io::Result<usize> {
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
}

/// The length of the head and of the body, once the head is whole; an error where it is not a 200.
pub(crate) fn head(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(head).into_owned()));
    }
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let name = b"content-length:";
        let is = line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        is.then(|| std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse::<usize>().ok()).flatten()
    });
    Ok(Some((end + 4, length.unwrap_or(0))))
}
