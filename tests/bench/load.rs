//! The load and the origin of the measurements, on one thread: closed loops over kept-alive connections, and an
//! endpoint that answers the same few bytes. As little work as possible, so that what is measured is the bottleneck.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    task::{JoinSet, LocalSet},
    time::sleep,
};

/// Connections of one load.
pub(crate) const CONNECTIONS: usize = 64;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n\
    {\"message\":\"a small response, as an API gives most of the time\"}";

/// Runs `measure` beside an origin, whose address it is given.
pub(crate) fn beside_an_origin<T>(measure: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::task::spawn_local(accept(listener));
        measure(address).await
    })
}

/// What a span of load was measured over.
pub(crate) struct Span {
    /// Exchanges that ended within it.
    pub(crate) exchanges: u64,
    /// What `cost` rose by.
    pub(crate) cost: f64,
}

/// Asks `address` for `path` over [`CONNECTIONS`] closed loops; counts exchanges for `span` after a warm-up, and how
/// much `cost` rises meanwhile.
pub(crate) async fn span(address: SocketAddr, path: &str, span: Duration, cost: impl Fn() -> f64) -> Span {
    let request: Rc<[u8]> =
        format!("GET {path} HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench\r\naccept: */*\r\n\r\n")
            .into_bytes()
            .into();
    let count = Rc::new(Cell::new(0_u64));
    let mut loops = JoinSet::new();
    for _ in 0..CONNECTIONS {
        loops.spawn_local(ask(address, Rc::clone(&request), Rc::clone(&count)));
    }
    sleep(span / 5).await;
    let (exchanges, spent) = (count.get(), cost());
    sleep(span).await;
    let span = Span { exchanges: count.get() - exchanges, cost: cost() - spent };
    if let Some(ended) = loops.try_join_next() {
        panic!("a connection ended under load: {ended:?}");
    }
    loops.shutdown().await;
    span
}

async fn ask(address: SocketAddr, request: Rc<[u8]>, count: Rc<Cell<u64>>) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    loop {
        socket.write_all(&request).await?;
        let mut filled = 0;
        while !whole(&buffer[..filled])? {
            let read = socket.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
        }
        count.set(count.get() + 1);
    }
}

/// Whether `bytes` hold a whole response; an error where it is not a 200.
fn whole(bytes: &[u8]) -> io::Result<bool> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = &bytes[..end];
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(head).into_owned()));
    }
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let name = b"content-length:";
        let is = line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        is.then(|| std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse::<usize>().ok()).flatten()
    });
    Ok(bytes.len() >= end + 4 + length.unwrap_or(0))
}

async fn accept(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::task::spawn_local(answer(socket));
    }
}

async fn answer(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            socket.write_all(ANSWER).await?;
        }
    }
}
