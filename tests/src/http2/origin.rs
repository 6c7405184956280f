//! An origin that speaks HTTP/2 with prior knowledge and nothing else, on the runtime of its test.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::wire;

/// What the origin says in its SETTINGS.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub streams_max: Option<u32>,
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL`: WebSocket on streams.
    pub connect: bool,
    /// `SETTINGS_INITIAL_WINDOW_SIZE`.
    pub window_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { streams_max: None, connect: true, window_bytes: 65_535 }
    }
}

/// Answers by path:
///
/// | path | answer |
/// |---|---|
/// | `/bytes/N` | N bytes with a length |
/// | `/stream` | 200 at once, then every piece of the request's body as it comes, then its trailers |
/// | `/trailers` | 200, three bytes, a trailer `x-digest` |
/// | `/early` | 200 and `early`, the request's body unread, then the stream is reset with NO_ERROR |
/// | `/hints` | 103 with a `link`, then as below |
/// | `/silent` | nothing until the stream is reset |
/// | `/reset` | the stream is reset |
/// | `/begin` | 200 and `beginning`, nothing more until the stream is reset |
/// | anything else | 200 and what arrived, as JSON, as [`crate::Origin::echo`] reads it |
///
/// An extended CONNECT is answered with 200, and what arrives is sent back.
#[derive(Debug)]
pub struct Origin2 {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    goaway: watch::Sender<u32>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    accepted: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    streams: AtomicUsize,
    streams_most: AtomicUsize,
    resets: Mutex<Vec<String>>,
    received_bytes: AtomicUsize,
}

impl Origin2 {
    /// An origin with every default.
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// An origin with these settings.
    pub async fn with(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<State>::default();
        let (goaway, told) = watch::channel(0);
        let own = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                own.accepted.fetch_add(1, Relaxed);
                own.open.fetch_add(1, Relaxed);
                let (state, told) = (Arc::clone(&own), told.clone());
                tokio::spawn(async move {
                    // A peer that goes away is part of many tests.
                    drop(serve(socket, settings, Arc::clone(&state), told).await);
                    state.open.fetch_sub(1, Relaxed);
                });
            }
        });
        Self { address, state, goaway, task }
    }

    /// Connections accepted since it began.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Relaxed)
    }

    /// Requests since it began.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Relaxed)
    }

    /// Streams open now, on all connections.
    pub fn streams(&self) -> usize {
        self.state.streams.load(Relaxed)
    }

    /// The most streams that were open at a time on one connection.
    pub fn streams_most(&self) -> usize {
        self.state.streams_most.load(Relaxed)
    }

    /// Bytes of request bodies that `/stream` took.
    pub fn received_bytes(&self) -> usize {
        self.state.received_bytes.load(Relaxed)
    }

    /// The reasons for which streams were reset by the other end.
    pub fn resets(&self) -> Vec<String> {
        self.state.resets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every connection that stands, each after the streams that are open on it.
    pub fn go_away(&self) {
        self.goaway.send_modify(|times| *times += 1);
    }
}

impl Drop for Origin2 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    socket: TcpStream,
    settings: Settings,
    state: Arc<State>,
    mut told: watch::Receiver<u32>,
) -> Result<(), h2::Error> {
    let mut builder = Builder::new();
    builder.initial_window_size(settings.window_bytes).initial_connection_window_size(1 << 20);
    if let Some(max) = settings.streams_max {
        builder.max_concurrent_streams(max);
    }
    if settings.connect {
        builder.enable_connect_protocol();
    }
    let mut connection = builder.handshake::<_, Bytes>(socket).await?;
    let here = Arc::<AtomicUsize>::default();
    told.mark_unchanged();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Ok(()) = told.changed() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        state.requests.fetch_add(1, Relaxed);
        state.streams.fetch_add(1, Relaxed);
        state.streams_most.fetch_max(here.fetch_add(1, Relaxed) + 1, Relaxed);
        let (state, here) = (Arc::clone(&state), Arc::clone(&here));
        tokio::spawn(async move {
            drop(answer(request, respond, &state).await);
            here.fetch_sub(1, Relaxed);
            state.streams.fetch_sub(1, Relaxed);
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let number = || path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    if request.method() == http::Method::CONNECT {
        return tunnel(request, respond).await;
    }
    match path.as_str() {
        _ if path.starts_with("/bytes/") => {
            let response = Response::builder().header("content-length", number()).body(()).expect("a head");
            let mut out = respond.send_response(response, false)?;
            push(&mut out, vec![b'x'; number()].into()).await?;
            out.send_data(Bytes::new(), true)
        }
        "/stream" => stream(request, respond, state).await,
        "/trailers" => {
            let head = Response::builder().header("trailer", "x-digest").body(()).expect("a head");
            let mut out = respond.send_response(head, false)?;
            push(&mut out, "abc".into()).await?;
            out.send_trailers(HeaderMap::from_iter([("x-digest".parse().expect("a name"), HeaderValue::from(7))]))
        }
        "/early" => {
            let mut out = respond.send_response(Response::new(()), false)?;
            push(&mut out, "early".into()).await?;
            // What is not read of the request is reset with NO_ERROR when this is dropped.
            out.send_data(Bytes::new(), true)
        }
        "/silent" => {
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            state.note_reset(reason)
        }
        "/begin" => {
            let mut out = respond.send_response(Response::new(()), false)?;
            push(&mut out, "beginning".into()).await?;
            state.note_reset(std::future::poll_fn(|cx| out.poll_reset(cx)).await)
        }
        "/reset" => {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        _ => {
            if path == "/hints" {
                let hints = Response::builder().status(103).header("link", "</style.css>; rel=preload");
                respond.send_informational(hints.body(()).expect("a head"))?;
            }
            echo(request, respond).await
        }
    }
}

impl State {
    fn note_reset(&self, reason: Result<h2::Reason, h2::Error>) -> Result<(), h2::Error> {
        let text = reason.map_or_else(|error| error.to_string(), |reason| format!("{reason:?}"));
        self.resets.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(())
    }
}

// As far as flow control allows.
async fn push(out: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        out.reserve_capacity(data.len());
        while out.capacity() == 0 {
            match std::future::poll_fn(|cx| out.poll_capacity(cx)).await {
                Some(capacity) => drop(capacity?),
                None => return Ok(()),
            }
        }
        let piece = data.split_to(out.capacity().min(data.len()));
        out.send_data(piece, false)?;
    }
    Ok(())
}

async fn stream(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut out = respond.send_response(Response::new(()), false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        state.received_bytes.fetch_add(data.len(), Relaxed);
        body.flow_control().release_capacity(data.len())?;
        push(&mut out, data).await?;
    }
    match body.trailers().await? {
        Some(trailers) => out.send_trailers(trailers),
        None => out.send_data(Bytes::new(), true),
    }
}

async fn tunnel(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let protocol = request.extensions().get::<h2::ext::Protocol>().map(|protocol| protocol.as_str().to_owned());
    let seen = json!({
        "protocol": protocol,
        "target": request.uri().path_and_query().map(ToString::to_string),
        "authority": request.uri().authority().map(ToString::to_string),
        "headers": pairs(request.headers()),
    });
    let mut head = Response::builder().header("x-seen", seen.to_string());
    if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
        head = head.header("sec-websocket-protocol", protocol);
    }
    let head = head.body(()).expect("a head");
    let mut out = respond.send_response(head, false)?;
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        push(&mut out, data).await?;
    }
    out.send_data(Bytes::new(), true)
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend(data);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let seen = json!({
        "origin": "origin2",
        "method": head.method.as_str(),
        "scheme": head.uri.scheme_str(),
        "authority": head.uri.authority().map(ToString::to_string),
        "target": head.uri.path_and_query().map(ToString::to_string),
        "headers": pairs(&head.headers),
        "body_bytes": bytes.len(),
        "body_digest": wire::digest(&bytes),
        "trailers": pairs(&trailers),
    });
    let response = Response::builder().status(StatusCode::OK).header("content-type", "application/json");
    let mut out = respond.send_response(response.body(()).expect("a head"), false)?;
    push(&mut out, seen.to_string().into()).await?;
    out.send_data(Bytes::new(), true)
}

fn pairs(fields: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
