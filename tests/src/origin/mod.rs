//! An origin behind the gateway, over real sockets on a port of its own, in a thread of its own. It answers by itself
//! (see [`Origin`]), or hands a request to the test, which then holds its connection and plays the origin by hand.

mod answers;
mod held;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use serde_json::Value;
use tokio::{
    io::BufStream,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

pub use held::{Held, Hold};

use crate::wire::{self, Head};

/// Answers by path, unless a path is held:
///
/// | path | answer |
/// |---|---|
/// | `/status/NNN` | that status and no body |
/// | `/bytes/N` | N bytes with a length |
/// | `/chunks/N` | N chunks of ten bytes and a trailer `x-digest` |
/// | `/upgrade` | 101 for whatever is asked for, then what arrives is sent back |
/// | `/websocket` | 101, then every message is sent back |
/// | `/hints` | 103 with a `link`, then as below |
/// | `/close` | as below, with `connection: close` |
/// | anything else | 200 and what arrived, as JSON: [`Origin::echo`] |
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    name: String,
    accepted: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    // The status that everything is answered with; 0 where it answers as it should.
    failing: AtomicU16,
    held: Mutex<HashMap<String, mpsc::UnboundedSender<Held>>>,
}

pub(crate) type Socket = BufStream<TcpStream>;

impl Origin {
    /// An origin called `origin` in what it answers.
    pub fn start() -> Self {
        Self::named("origin")
    }

    /// An origin called `name` in what it answers.
    pub fn named(name: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::on(listener, name)
    }

    /// An origin on a socket that is bound already.
    pub fn on(listener: std::net::TcpListener, name: &str) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let state = Arc::new(State { name: name.to_owned(), ..State::default() });
        let (stop, stopped) = oneshot::channel();
        let own = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, own) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted since it began.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Relaxed)
    }

    /// Request heads read since it began.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Relaxed)
    }

    /// From now on, what is not held is answered with `status` and no body; as it should be again with `None`.
    pub fn fail(&self, status: Option<u16>) {
        self.state.failing.store(status.unwrap_or_default(), Relaxed);
    }

    /// From now on, requests for `path` (query aside) are the test's to answer.
    pub fn hold(&self, path: &str) -> Hold {
        let (sender, requests) = mpsc::unbounded_channel();
        self.state.held.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), sender);
        Hold { requests }
    }

    /// Ends it: the port is closed, and every connection with it.
    pub fn stop(mut self) {
        self.end();
    }

    /// What the origin saw, from the body of an echoed answer: `origin`, `method`, `target`, `headers` (pairs),
    /// `body_bytes`, `body_digest`, `trailers` (pairs).
    pub fn echo(body: &[u8]) -> Value {
        serde_json::from_slice(body)
            .unwrap_or_else(|error| panic!("not an echo ({error}): {}", String::from_utf8_lossy(body)))
    }

    /// The values of a field in an [`Origin::echo`].
    pub fn echoed(body: &[u8], name: &str) -> Vec<String> {
        let echo = Self::echo(body);
        let fields = echo["headers"].as_array().expect("an echo has headers").iter();
        fields.filter(|field| field[0] == name).map(|field| field[1].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the origin does not panic");
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).expect("a bound socket joins a runtime");
    while let Ok((socket, _)) = listener.accept().await {
        state.accepted.fetch_add(1, Relaxed);
        state.open.fetch_add(1, Relaxed);
        socket.set_nodelay(true).expect("a TCP socket takes the option");
        let guard = Open(Arc::clone(&state));
        tokio::spawn(async move {
            // A peer that goes away is part of many tests.
            drop(serve(BufStream::new(socket), guard).await);
        });
    }
}

/// Counts a connection as open for as long as it is held.
#[derive(Debug)]
pub(crate) struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

async fn serve(mut socket: Socket, open: Open) -> std::io::Result<()> {
    let state = Arc::clone(&open.0);
    while let Some(head) = wire::read_head(&mut socket).await? {
        state.requests.fetch_add(1, Relaxed);
        if let Some(test) = state.holder(&head) {
            drop(test.send(Held::new(head, socket, open)));
            return Ok(());
        }
        let failing = state.failing.load(Relaxed);
        let head = match failing {
            0 => head,
            status => Head { first: format!("{} /status/{status} HTTP/1.1", head.method()), ..head },
        };
        if !answers::answer(&state.name, &head, &mut socket).await? {
            return Ok(());
        }
    }
    Ok(())
}

impl State {
    fn holder(&self, head: &Head) -> Option<mpsc::UnboundedSender<Held>> {
        let path = head.target().split('?').next().unwrap_or_default();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}
