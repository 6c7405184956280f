//! A correct client over HTTP/1.1 or HTTP/2 (prior knowledge), one connection each.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::Authority};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
};

use crate::Origin;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The host that requests are for, unless they say another.
const HOST: &str = "test.example";

type Outgoing = BoxBody<Bytes, std::io::Error>;

/// One connection.
pub struct Client(Connection);

enum Connection {
    One(http1::SendRequest<Outgoing>),
    Two(http2::SendRequest<Outgoing>),
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: HeaderMap,
}

impl Client {
    /// Connects with HTTP/1.1.
    pub async fn http1(address: SocketAddr) -> Self {
        let (sender, connection) = http1::handshake(socket(address).await).await.expect("HTTP/1.1 begins");
        // Its end shows in the requests that it carried.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Self(Connection::One(sender))
    }

    /// Connects with HTTP/2, prior knowledge.
    pub async fn http2(address: SocketAddr) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), socket(address).await);
        let (sender, connection) = handshake.await.expect("HTTP/2 begins");
        tokio::spawn(async move { drop(connection.await) });
        Self(Connection::Two(sender))
    }

    /// Speaks HTTP/2, or else HTTP/1.1, on a connection that stands.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) -> Self {
        let stream = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2 begins");
            tokio::spawn(async move { drop(connection.await) });
            return Self(Connection::Two(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1 begins");
        tokio::spawn(async move { drop(connection.await) });
        Self(Connection::One(sender))
    }

    /// Asks for `target` with GET.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(request(Method::GET, target)).await
    }

    /// Sends a request whose body is in memory and reads the whole response.
    pub async fn send(&mut self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.expect("the exchange succeeds")
    }

    /// [`Client::send`] that may fail.
    ///
    /// # Errors
    /// A connection that ended, a stream that was reset.
    ///
    /// # Panics
    /// When no answer comes for 30 seconds.
    pub async fn try_send(&mut self, request: Request<Bytes>) -> Result<Answer, hyper::Error> {
        self.try_send_within(PATIENCE, request).await
    }

    /// [`Client::try_send`] for what may take longer, or must take less.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// When no answer comes within `patience`.
    pub async fn try_send_within(
        &mut self,
        patience: Duration,
        request: Request<Bytes>,
    ) -> Result<Answer, hyper::Error> {
        let body = |bytes: Bytes| http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed();
        let answer = async { Answer::read(self.exchange(request.map(body)).await?).await };
        tokio::time::timeout(patience, answer).await.expect("the gateway answers")
    }

    /// Sends a request and answers with the response's head; its body follows.
    ///
    /// # Errors
    /// A connection that ended, a stream that was reset.
    pub async fn open(&mut self, request: Request<Streamed>) -> Result<Response<Incoming>, hyper::Error> {
        tokio::time::timeout(PATIENCE, self.exchange(request.map(BodyExt::boxed))).await.expect("the gateway answers")
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Connection::One(sender) => sender.is_closed(),
            Connection::Two(sender) => sender.is_closed(),
        }
    }

    /// Another handle of the same HTTP/2 connection.
    ///
    /// # Panics
    /// For HTTP/1.1, where there is only one exchange at a time.
    #[must_use]
    pub fn another(&self) -> Self {
        match &self.0 {
            Connection::One(_) => panic!("HTTP/1.1 carries one exchange at a time"),
            Connection::Two(sender) => Self(Connection::Two(sender.clone())),
        }
    }

    async fn exchange(&mut self, mut request: Request<Outgoing>) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.0 {
            Connection::One(sender) => {
                if let Some(authority) = request.uri().authority().cloned() {
                    let host = HeaderValue::from_str(authority.as_str()).expect("an authority is a field value");
                    request.headers_mut().entry(header::HOST).or_insert(host);
                    *request.uri_mut() = origin_form(request.uri());
                }
                sender.ready().await?;
                sender.send_request(request).await
            }
            Connection::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Connection::One(_) => "Client over HTTP/1.1",
            Connection::Two(_) => "Client over HTTP/2",
        })
    }
}

/// A request for `target` (a path, or a whole URI where the host matters), without a body.
///
/// # Panics
/// When `target` is no URI.
pub fn request(method: Method, target: &str) -> Request<Bytes> {
    let mut uri: Uri = target.parse().unwrap_or_else(|error| panic!("{target}: {error}"));
    if uri.authority().is_none() {
        let mut parts = uri.into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(Authority::from_static(HOST));
        uri = Uri::from_parts(parts).expect("a path with a host is a URI");
    }
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// When its body breaks off.
    pub async fn read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
    }

    /// A field as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// The generation that the gateway says it answered on; 0 where it does not say.
    pub fn generation(&self) -> u64 {
        self.header("tidegate-generation").parse().unwrap_or(0)
    }

    /// What the origin saw; see [`Origin::echo`].
    pub fn echo(&self) -> Value {
        Origin::echo(&self.body)
    }

    /// The values of a field as the origin saw it.
    pub fn echoed(&self, name: &str) -> Vec<String> {
        Origin::echoed(&self.body, name)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// With the text, when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A body that the test sends piece by piece.
#[derive(Debug)]
pub struct Streamed {
    pieces: mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>,
}

/// The test's end of a [`Streamed`] body. Dropped, the body ends well.
#[derive(Debug)]
pub struct Sender {
    pieces: mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>,
}

/// A body and the handle to feed it; one piece may wait.
pub fn streamed() -> (Sender, Streamed) {
    let (sender, pieces) = mpsc::channel(1);
    (Sender { pieces: sender }, Streamed { pieces })
}

impl Sender {
    /// Sends one piece; waits while the one before it is not taken. Answers whether somebody still reads.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.pieces.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Sends one piece if the one before it is taken; answers whether it was.
    pub fn offer(&self, bytes: impl Into<Bytes>) -> bool {
        self.pieces.try_send(Ok(Frame::data(bytes.into()))).is_ok()
    }

    /// Ends the body with a trailer.
    pub async fn trailer(self, name: &'static str, value: &'static str) {
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self.pieces.send(Ok(Frame::trailers(trailers))).await.expect("the gateway reads");
    }

    /// Breaks the body off.
    pub async fn break_off(self) {
        drop(self.pieces.send(Err(std::io::ErrorKind::BrokenPipe.into())).await);
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.pieces.poll_recv(cx)
    }
}

async fn socket(address: SocketAddr) -> TokioIo<TcpStream> {
    let socket = TcpStream::connect(address).await.expect("the gateway accepts");
    socket.set_nodelay(true).expect("a TCP socket takes the option");
    TokioIo::new(socket)
}

fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()))
}
