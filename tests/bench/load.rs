//! The load and the origin of the measurements, on one thread: closed loops over kept-alive connections, and an
//! endpoint that answers bodies of the length that the path asks for. As little work as possible, so that what is measured
//! is the bottleneck.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use crate::speech::{Call, Speech, Tally};

/// Connections of one load.
pub(crate) const CONNECTIONS: usize = 64;

/// What the origins answer with.
pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n\
    {\"message\":\"a small response, as an API gives most of the time\"}";

/// The path that the origin answers with so many bytes.
pub(crate) fn path_of(bytes: usize) -> String {
    format!("/bytes/{bytes}")
}

/// Runs `measure` beside an origin, whose address it is given.
pub(crate) fn beside_an_origin<T>(measure: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    alone(async {
        let origin = serve(answer).await;
        measure(origin).await
    })
}

/// Runs `measure` on this thread, with what it spawns there.
pub(crate) fn alone<T>(measure: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, measure)
}

/// A server on this thread whose connections are each given to `answer`; where it listens.
pub(crate) async fn serve<F>(answer: impl Fn(TcpStream) -> F + 'static) -> SocketAddr
where
    F: Future<Output: 'static> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(answer(socket));
        }
    });
    address
}

/// What a span of load was measured over.
pub(crate) struct Span {
    /// Exchanges that ended within it.
    pub(crate) exchanges: u64,
    /// How long each of them took, µs.
    pub(crate) times_us: Vec<f64>,
    /// What `cost` rose by.
    pub(crate) cost: f64,
}

/// Asks `address` for `path` over [`CONNECTIONS`] closed loops of HTTP/1.1; see [`span_of`].
pub(crate) async fn span(address: SocketAddr, path: &str, span: Duration, cost: impl Fn() -> f64) -> Span {
    let call = Call { address, speech: Speech::Http1, path: path.into() };
    span_of(&call, CONNECTIONS, span, cost).await
}

/// Makes `call` over `loops` closed loops; counts exchanges for `span` after a warm-up, and how much `cost` rises meanwhile.
pub(crate) async fn span_of(call: &Call, loops: usize, span: Duration, cost: impl Fn() -> f64) -> Span {
    let tally = Rc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for _ in 0..loops.div_ceil(call.speech.streams()) {
        tasks.spawn_local(call.clone().again_and_again(loops, Rc::clone(&tally)));
    }
    sleep(span / 5).await;
    let (ended, spent) = (tally.count(), cost());
    sleep(span).await;
    let (cost, times_us) = (cost() - spent, tally.since(ended));
    let span = Span { exchanges: times_us.len() as u64, times_us, cost };
    if let Some(ended) = tasks.try_join_next() {
        panic!("a connection ended under load: {ended:?}");
    }
    tasks.shutdown().await;
    span
}

async fn answer(socket: TcpStream) -> io::Result<()> {
    let body = vec![b'x'; 64 * 1024];
    each_request(socket, async |socket, request| match asked(request) {
        None => socket.write_all(ANSWER).await,
        Some(bytes) => send(socket, bytes, &body).await,
    })
    .await
}

/// Answers each request of a connection by `answer`, until the other side closes it.
pub(crate) async fn each_request(
    mut socket: TcpStream,
    answer: impl AsyncFn(&mut TcpStream, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            answer(&mut socket, &buffer[..filled]).await?;
            filled = 0;
        }
    }
}

/// The length that the path of a request asks for.
fn asked(request: &[u8]) -> Option<usize> {
    let path = request.strip_prefix(b"GET /bytes/")?;
    let end = path.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(&path[..end]).ok()?.parse().ok()
}

async fn send(socket: &mut TcpStream, bytes: usize, body: &[u8]) -> io::Result<()> {
    let mut first =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {bytes}\r\n\r\n")
            .into_bytes();
    // A small body leaves with its head.
    let with_head = bytes.min(4096);
    first.extend_from_slice(&body[..with_head]);
    socket.write_all(&first).await?;
    let mut left = bytes - with_head;
    while left > 0 {
        let next = left.min(body.len());
        socket.write_all(&body[..next]).await?;
        left -= next;
    }
    Ok(())
}
