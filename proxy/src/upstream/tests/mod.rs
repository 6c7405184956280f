//! The room over real sockets: an upstream on one worker, and origins that play a script on each connection.

mod failures;
mod keeping;
mod streams;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use super::{SideCall, Upstream, pool::Pools};
use crate::{
    config::{
        diagnostic::Place,
        spec::{self, Dns, Endpoint, Part},
    },
    error::{Error, Kind},
    exchange::{Body, Call, Request, Response, Worker, testing},
    state::States,
    telemetry::UpstreamSeries,
};

/// Runs a test within the runtime of a worker; it fails rather than hangs.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    runtime.block_on(async {
        let whole = tokio::time::timeout(Duration::from_secs(30), local.run_until(test));
        whole.await.expect("the test ends within 30 s");
    });
}

/// A worker and the states of its process.
struct Room {
    worker: Rc<Worker>,
    states: Arc<States>,
}

impl Room {
    fn new() -> Self {
        Self { worker: Rc::default(), states: States::new(2, tokio::runtime::Handle::current()) }
    }

    /// The same process on its other worker.
    fn other(&self) -> Self {
        Self { worker: Rc::new(Worker::new(1)), states: Arc::clone(&self.states) }
    }

    fn upstream(&self, origins: &[SocketAddr], change: impl FnOnce(&mut spec::Upstream)) -> Arc<Upstream> {
        let mut value = settings(origins.iter().map(|origin| Endpoint::new(origin.to_string())).collect());
        change(&mut value);
        let part = Part::new(Place { file: "test".into(), line: 1, column: 1, length: 1 }, value);
        Upstream::build(
            &"users".into(),
            &Arc::new(part),
            (None, &Dns::default()),
            &self.states,
            Arc::new(UpstreamSeries::default()),
        )
    }

    fn request(&self, method: Method, uri: &str) -> Box<Request> {
        testing::request_on(testing::exchange_on(&self.worker), method, uri)
    }

    /// A GET, answered in full.
    async fn get(&self, upstream: &Upstream) -> Result<(u16, Bytes), Error> {
        let response = upstream.call(self.request(Method::GET, "/")).await?;
        let status = response.head.status.as_u16();
        Ok((status, response.body.collect().await?.to_bytes()))
    }

    fn idle(&self, upstream: &Upstream) -> usize {
        let pools = self.worker.locals.of::<Pools>();
        let pool = |member: &super::balance::Member| pools.pool(&self.worker, &member.endpoint, &self.states);
        upstream.balancer.look(|standing| standing.roster.members.iter().map(|member| pool(member).idle()).sum())
    }

    fn sweep(&self) {
        self.worker.locals.of::<Pools>().sweep();
    }
}

/// An upstream of these endpoints, with times that no test comes near.
pub(super) fn settings(endpoints: Vec<Endpoint>) -> spec::Upstream {
    let time = Duration::from_secs(20);
    spec::Upstream {
        connect_timeout: time,
        response_timeout: time,
        idle_timeout: time,
        pool_idle_max: 16,
        connections_max: 100,
        response_head_bytes_max: 8192,
        ..spec::Upstream::of(endpoints)
    }
}

/// An origin whose connections each run `script`, given their number from 0.
struct Origin {
    address: SocketAddr,
    accepted: Rc<Cell<usize>>,
}

impl Origin {
    async fn new<S: Future<Output = ()> + 'static>(script: impl Fn(usize, Peer) -> S + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Rc::<Cell<usize>>::default();
        let count = Rc::clone(&accepted);
        tokio::task::spawn_local(async move {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let number = count.replace(count.get() + 1);
                tokio::task::spawn_local(script(number, Peer { io, input: BytesMut::new() }));
            }
        });
        Self { address, accepted }
    }

    /// An origin that answers each request with the number of its connection, as often as it is asked.
    async fn numbered() -> Self {
        Self::new(|number, mut peer| async move {
            while peer.head().await.is_some() {
                peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}")).await;
            }
        })
        .await
    }
}

/// The origin's end of a connection.
struct Peer {
    io: TcpStream,
    input: BytesMut,
}

impl Peer {
    /// The head of the next request; `None` at the end of the connection.
    async fn head(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        Some(String::from_utf8(head).unwrap())
    }

    /// Reads up to and with `end`.
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.input, end) {
                return Some(self.input.split_to(at + end.len()).to_vec());
            }
            if self.io.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, text: &str) {
        // The other side may be gone already: that is what some tests are about.
        let _sent = self.io.write_all(text.as_bytes()).await.is_ok();
    }

    /// Waits until the other side closes.
    async fn closed(&mut self) {
        while self.io.read_buf(&mut self.input).await.unwrap_or(0) > 0 {}
    }

    /// Ends the connection with a reset.
    fn reset(self) {
        socket2::SockRef::from(&self.io).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A request body that the test feeds.
fn fed() -> (Feed, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    (Feed(sender), Body::stream(Fed(receiver)))
}

struct Feed(tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, Error>>);

struct Fed(tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, Error>>);

impl Feed {
    async fn data(&self, text: &'static str) {
        self.0.send(Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes())))).await.unwrap();
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Error;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        self.0.poll_recv(cx)
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(response.body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn kind<T>(result: Result<T, Error>) -> Kind {
    result.err().expect("it fails").kind()
}
