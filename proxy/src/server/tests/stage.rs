//! What the tests of this room stand on: a door with one listener on one worker, in front of an end that repeats what
//! it was asked, and raw clients.

use std::{collections::BTreeMap, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
    time::timeout,
};

use crate::{
    config::{
        diagnostic::Place,
        spec::{Limits, Listener, Match, Part, PathPattern, PathPolicy, Spec},
    },
    drain::{Drain, Tunnels},
    error::Error,
    exchange::{Body, Call, Request, Response, Worker},
    filter::Chain,
    identity::Identity,
    listen,
    route::{ByHost, Row, Table},
    server::{Door, Hall},
    snapshot::{Current, Graveyard, ListenerPlan, Plan, Section, Serving, Snapshot, View},
};

/// How the stage is set.
pub(super) struct Stage {
    pub(super) limits: Limits,
    pub(super) path: PathPolicy,
    pub(super) timeout: Option<Duration>,
    pub(super) end: Arc<dyn Call>,
}

impl Default for Stage {
    fn default() -> Self {
        Self { limits: Limits::default(), path: PathPolicy::default(), timeout: None, end: Arc::new(Repeat) }
    }
}

/// A stage with the lights on.
pub(super) struct Running {
    address: SocketAddr,
    door: Rc<Door>,
    drain: Drain,
}

/// Answers with method, target, authority and body of the request.
pub(super) struct Repeat;

impl Call for Repeat {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async move {
            let mut text = format!("{} {} {} ", request.head.method, request.head.uri, request.authority);
            text.push_str(&String::from_utf8_lossy(&request.body.collect().await?.to_bytes()));
            let mut response = Response::empty(http::StatusCode::OK);
            response.body = Body::full(text);
            Ok(response)
        })
    }
}

/// An end that does what a function does.
pub(super) struct Act<F>(pub(super) F);

impl<F, A> Call for Act<F>
where
    F: Fn(Box<Request>) -> A + Send + Sync,
    A: Future<Output = Result<Response, Error>> + 'static,
{
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(self.0(request))
    }
}

/// A stage whose end does what a function does.
pub(super) fn act<A: Future<Output = Result<Response, Error>> + 'static>(
    act: impl Fn(Box<Request>) -> A + Send + Sync + 'static,
) -> Stage {
    Stage { end: Arc::new(Act(act)), ..Stage::default() }
}

/// A listener with every default.
pub(in crate::server) fn listener() -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        public_port: None,
        sections: BTreeMap::new(),
        tls: None,
        http3: None,
        proxy_protocol: None,
        middleware: Vec::new(),
        trusted_proxies: Vec::new(),
        generation_header: false,
        path: PathPolicy::default(),
        limits: Limits::default(),
    }
}

impl Stage {
    /// The same with other limits.
    pub(super) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(super) fn run(self, play: impl AsyncFnOnce(Rc<Running>)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let running = self.light();
            timeout(PATIENCE, play(running)).await.expect("the play ends in time");
        });
    }

    fn light(self) -> Rc<Running> {
        let drain = Drain::default();
        let snapshot = self.snapshot(&drain);
        let current = Arc::new(Current::new(Serving { stable: Arc::new(snapshot), candidate: None }));
        let view = Rc::new(View::new(current, 0, Graveyard::new().0));
        let bound = listen::bind("127.0.0.1:0".parse().unwrap(), listen::Transport::Tcp, 1).unwrap();
        let listen::Sockets::Tcp(mut sockets) = bound.sockets else { panic!("sockets of TCP") };
        let socket = tokio::net::TcpListener::from_std(sockets.remove(0)).unwrap();
        let hall = Hall::new(Arc::<Tunnels>::default(), Arc::default());
        let door = Door::new("web".into(), view, Rc::new(Worker::new(0)), hall);
        tokio::task::spawn_local(listen::accept(socket, Rc::clone(&door)));
        Rc::new(Running { address: bound.address, door, drain })
    }

    fn snapshot(self, drain: &Drain) -> Snapshot {
        let place = Place { file: "test".into(), line: 1, column: 1, length: 1 };
        let listener = Listener { generation_header: true, path: self.path, limits: self.limits, ..listener() };
        let plan = |id: &str, prefix: &str| {
            Arc::new(Plan {
                identity: Identity::of_bytes(id.as_bytes()),
                id: id.into(),
                prefix: prefix.into(),
                pattern: prefix.into(),
                chain: Chain::default(),
                end: Arc::clone(&self.end),
                timeout: self.timeout,
                body_bytes_max: None,
                series: Arc::default(),
                sink: Arc::default(),
            })
        };
        let on = Match { path: PathPattern::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() };
        let row =
            Row { hosts: Arc::new([]), on: Arc::new(on), identity: Identity::of_bytes(b"row"), value: plan("all", "") };
        let listener = ListenerPlan {
            tls: None,
            identity: Identity::of_bytes(b"listener"),
            spec: Arc::new(Part::new(place, listener)),
            rest: Section {
                table: Table::build(&[row], None).unwrap(),
                selections: Box::default(),
                fallback: plan("fallback", ""),
            },
            sections: BTreeMap::new(),
            by_host: ByHost::default(),
        };
        Snapshot {
            generation: 7,
            identity: Identity::of_bytes(b"tree"),
            spec: Arc::new(Spec::default()),
            listeners: BTreeMap::from([("web".into(), Arc::new(listener))]),
            tracer: None,
            ledger: drain.open(7, 1, None),
        }
    }
}

impl Running {
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn door(&self) -> &Rc<Door> {
        &self.door
    }

    pub(super) fn open_exchanges(&self) -> u64 {
        self.drain.live().iter().map(|live| live.exchanges).sum()
    }

    /// Waits for a condition; the play's own deadline ends the wait.
    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    pub(super) async fn connect_http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let executor = hyper_util::rt::TokioExecutor::new();
        let (sender, connection) = http2::handshake(executor, stream).await.unwrap();
        tokio::task::spawn_local(connection);
        sender
    }

    pub(super) async fn ask_http2(&self, request: http::request::Builder) -> Answer {
        let mut sender = self.connect_http2().await;
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        let fields = head.headers.iter().chain(&trailers);
        let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        Answer { status: head.status.as_u16(), fields: fields.collect(), body: text }
    }
}

/// A raw client.
pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response, its body unframed.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }
}

impl Client {
    pub(super) async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(super) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next response, framed by its length or in chunks, or by the end of the connection.
    pub(super) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("a response")
    }

    /// The next response, or nothing when the connection ends first.
    pub(super) async fn try_answer(&mut self) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut answer = Answer { status, fields, body: String::new() };
        if let Some(length) = answer.field("content-length") {
            answer.body = self.take(length.parse().unwrap()).await?;
        } else if answer.field("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.until(b"\r\n").await?.trim_end(), 16).unwrap();
                let chunk = self.take(size + 2).await?;
                if size == 0 {
                    break;
                }
                answer.body.push_str(&chunk[..size]);
            }
        }
        Some(answer)
    }

    /// The next head, as it came.
    pub(super) async fn head(&mut self) -> String {
        self.until(b"\r\n\r\n").await.expect("a head")
    }

    pub(super) async fn exactly(&mut self, length: usize) -> String {
        self.take(length).await.expect("so many bytes")
    }

    /// Everything up to the end of the connection, and whether that was an orderly one.
    pub(super) async fn all(&mut self) -> (String, bool) {
        let mut orderly = true;
        while orderly {
            match Pin::new(&mut self.stream).read_buf(&mut self.read).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => orderly = false,
            }
        }
        (String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned(), orderly)
    }

    pub(super) async fn expect_end(&mut self) {
        assert_eq!(self.all().await, (String::new(), true));
    }

    async fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|window| window == mark) {
                return self.take(at + mark.len()).await;
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<String> {
        while self.read.len() < length {
            if !self.more().await {
                return None;
            }
        }
        let rest = self.read.split_off(length);
        Some(String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap())
    }

    async fn more(&mut self) -> bool {
        let read = Pin::new(&mut self.stream).read_buf(&mut self.read).await;
        read.is_ok_and(|count| count > 0)
    }
}

// Far more than any play takes; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(30);
