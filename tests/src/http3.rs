//! A correct client over HTTP/3, one connection each.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use h3::{
    client::{RequestStream, SendRequest},
    error::StreamError,
};
use h3_quinn::{BidiStream, OpenStreams};
use http::{Method, Request, uri::Scheme};
use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::task::JoinHandle;

use crate::{Answer, Tls, request};

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Http3 {
    sender: SendRequest<OpenStreams, Bytes>,
    shared: Arc<Shared>,
}

// Closed when the last handle of it is gone.
struct Shared {
    connection: quinn::Connection,
    // What keeps the connection going.
    driver: JoinHandle<()>,
    _endpoint: Endpoint,
}

/// A request that is under way.
pub type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

impl Http3 {
    /// Connects as `tls` says and asks for `name`.
    ///
    /// # Errors
    /// The handshake's.
    pub async fn connect(tls: &Tls, address: SocketAddr, name: &str) -> io::Result<Self> {
        let (connection, endpoint) = quic(tls, address, name).await?;
        let built = h3::client::builder().build::<_, _, Bytes>(h3_quinn::Connection::new(connection.clone())).await;
        let (mut driver, sender) = built.map_err(io::Error::other)?;
        // Its end shows in the requests that it carried.
        let driver = tokio::spawn(async move { drop(std::future::poll_fn(|cx| driver.poll_close(cx)).await) });
        Ok(Self { sender, shared: Arc::new(Shared { connection, driver, _endpoint: endpoint }) })
    }

    /// Asks for `target` with GET.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(request(Method::GET, target)).await
    }

    /// Sends a request whose body is in memory and reads the whole response.
    pub async fn send(&mut self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.expect("the exchange succeeds")
    }

    /// [`Http3::send`] that may fail.
    ///
    /// # Errors
    /// A connection that ended, a stream that was reset.
    ///
    /// # Panics
    /// When no answer comes for 30 seconds.
    pub async fn try_send(&mut self, request: Request<Bytes>) -> Result<Answer, StreamError> {
        let (head, body) = request.into_parts();
        let mut stream = self.open(Request::from_parts(head, ())).await?;
        let exchange = async {
            if !body.is_empty() {
                // A gateway that wants no more of it has answered.
                drop(stream.send_data(body).await);
            }
            drop(stream.finish().await);
            answer(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("the gateway answers")
    }

    /// Begins a request; its body follows.
    ///
    /// # Errors
    /// A connection that ended.
    pub async fn open(&mut self, mut request: Request<()>) -> Result<Stream, StreamError> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        *request.uri_mut() = http::Uri::from_parts(parts).expect("it was a URI");
        self.sender.send_request(request).await
    }

    /// Another handle of the same connection.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { sender: self.sender.clone(), shared: Arc::clone(&self.shared) }
    }

    /// The QUIC connection below.
    pub fn quic(&self) -> &quinn::Connection {
        &self.shared.connection
    }

    /// Whether the gateway said that it takes no more, or the connection is over.
    pub fn is_closed(&self) -> bool {
        self.shared.driver.is_finished() || self.shared.connection.close_reason().is_some()
    }
}

/// A connection over QUIC on which nobody has said anything; it lives as long as its endpoint.
///
/// # Errors
/// The handshake's.
pub async fn quic(tls: &Tls, address: SocketAddr, name: &str) -> io::Result<(quinn::Connection, Endpoint)> {
    let mut rustls = tls.config();
    rustls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = QuicClientConfig::try_from(rustls).expect("the provider has the suite that QUIC begins with");
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let connecting = endpoint.connect_with(ClientConfig::new(Arc::new(quic)), address, name);
    let connection = connecting.map_err(io::Error::other)?.await.map_err(io::Error::other)?;
    Ok((connection, endpoint))
}

/// Reads the response of a request that was sent.
///
/// # Errors
/// A connection that ended, a stream that was reset.
pub async fn answer(stream: &mut Stream) -> Result<Answer, StreamError> {
    let mut response = stream.recv_response().await?;
    while response.status().is_informational() {
        response = stream.recv_response().await?;
    }
    let mut body = BytesMut::new();
    while let Some(mut piece) = stream.recv_data().await? {
        body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
    }
    let trailers = stream.recv_trailers().await?.unwrap_or_default();
    let (head, ()) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.freeze(), trailers })
}

impl fmt::Debug for Http3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client over HTTP/3")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.connection.close(quinn::VarInt::from_u32(0x100), b"");
        self.driver.abort();
    }
}
