//! One connection that carries many exchanges of one worker: the task that drives it, the places for streams on it, and
//! how it is found dead. Knows nothing of requests.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};

use super::failure;
use crate::{
    config::spec::UpstreamHttp2,
    state::Open,
    tls::WorkerSocket,
    upstream::pool::{Facts, Keep, Pool, SWEEP_INTERVAL},
};

/// A connection. Dropped by all, and without streams, it says GOAWAY and ends.
pub(super) struct Line {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// Whether it is encrypted.
    pub(super) secure: bool,
    /// The longest head that it takes from the other end.
    pub(super) head_bytes_max: usize,
    /// Whether the other end takes extended CONNECT (RFC 8441 section 3).
    pub(super) takes_connect: bool,
    // None where nothing new may be sent on it.
    requests: RefCell<Option<SendRequest<Bytes>>>,
    streams: Cell<usize>,
    // What the other end allows.
    streams_max: Cell<usize>,
    // Whether an exchange got an answer on it.
    served: Cell<bool>,
    // Whether anything was heard on a stream since the last look, and for how many looks nothing was.
    heard: Cell<bool>,
    quiet_sweeps: Cell<u64>,
    ping: Cell<Asked>,
    pings: Cell<Sweeps>,
    cut: Cell<bool>,
    keep: Cell<Keep>,
    expires: Cell<u64>,
    driver: RefCell<Option<Waker>>,
}

// After how many looks of silence a PING is sent, and after how many more the connection is given up.
#[derive(Clone, Copy)]
struct Sweeps {
    after: u64,
    timeout: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    No,
    // To be sent.
    Due,
    // Sent this many looks ago.
    Sent(u64),
    // Answered this many looks ago, and nothing was heard since.
    Answered(u64),
}

/// The place of one stream on a connection, given back when it is dropped.
pub(super) struct Seat {
    pub(super) line: Rc<Line>,
    pub(super) pool: Rc<Pool>,
    user: Rc<Facts>,
}

impl Line {
    /// Opens HTTP/2 on `socket`: a connection stands when the other end has said its settings.
    ///
    /// # Errors
    /// The connection's, or that the other end does not speak HTTP/2.
    pub(super) async fn open(
        (socket, peer, open): (WorkerSocket, SocketAddr, Open),
        (pool, maker): (&Rc<Pool>, &Rc<Facts>),
        head_bytes_max: usize,
    ) -> io::Result<Rc<Self>> {
        let secure = socket.is_secure();
        let (requests, mut connection) =
            builder(head_bytes_max).handshake::<_, Bytes>(socket).await.map_err(failure::io)?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(failure::io(error))),
            // Nothing may be sent before.
            Poll::Pending if requests.current_max_send_streams() == 0 => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        let line = Rc::new(Self {
            peer,
            secure,
            head_bytes_max,
            takes_connect: requests.is_extended_connect_protocol_enabled(),
            streams: Cell::new(0),
            streams_max: Cell::new(requests.current_max_send_streams()),
            requests: RefCell::new(Some(requests)),
            served: Cell::new(false),
            heard: Cell::new(false),
            quiet_sweeps: Cell::new(0),
            ping: Cell::new(Asked::No),
            pings: Cell::new(Sweeps { after: u64::MAX, timeout: u64::MAX }),
            cut: Cell::new(false),
            keep: Cell::new(Keep { idle_max: 0, sweeps: 0 }),
            expires: Cell::new(u64::MAX),
            driver: RefCell::default(),
        });
        maker.series.connected(pool.worker());
        tokio::task::spawn_local(drive(connection, Rc::clone(&line), Rc::clone(pool), (Rc::clone(maker), open)));
        Ok(line)
    }

    /// Whether one more stream may be opened, `streams_max` at most.
    pub(super) fn has_room(&self, streams_max: usize) -> bool {
        self.streams.get() < streams_max.min(self.streams_max.get()) && self.requests.borrow().is_some()
    }

    /// Whether it stands and no stream is open.
    pub(super) fn is_unused(&self) -> bool {
        self.streams.get() == 0 && !self.is_retired()
    }

    /// Whether nothing new may be sent on it.
    pub(super) fn is_retired(&self) -> bool {
        self.requests.borrow().is_none()
    }

    /// A place on it.
    pub(super) fn sit(
        self: &Rc<Self>,
        (pool, user): (&Rc<Pool>, &Rc<Facts>),
        keep: Keep,
        http2: &UpstreamHttp2,
    ) -> Seat {
        self.streams.set(self.streams.get() + 1);
        self.keep.set(keep);
        self.pings.set(Sweeps { after: sweeps(http2.ping_after), timeout: sweeps(http2.ping_timeout) });
        pool.gauges().begin(pool.worker());
        user.series.began(pool.worker());
        Seat { line: Rc::clone(self), pool: Rc::clone(pool), user: Rc::clone(user) }
    }

    /// What requests are sent with; none where the other end takes no more.
    pub(super) fn requests(&self) -> Option<SendRequest<Bytes>> {
        self.requests.borrow().clone()
    }

    /// Whether an exchange got an answer on it.
    pub(super) fn has_served(&self) -> bool {
        self.served.get()
    }

    /// Something was heard on a stream.
    #[inline]
    pub(super) fn hear(&self) {
        self.heard.set(true);
    }

    /// Sends nothing new on it; it ends after the streams that are open.
    pub(super) fn retire(&self) {
        drop(self.requests.take());
    }

    /// Looks after it, at `now` of the pool's clock; answers whether it stays.
    pub(super) fn sweep(&self, now: u64) -> bool {
        if self.streams.get() == 0 {
            self.ping.set(Asked::No);
            return self.expires.get() > now;
        }
        let heard = self.heard.replace(false);
        self.quiet_sweeps.set(if heard { 0 } else { self.quiet_sweeps.get().saturating_add(1) });
        let Sweeps { after, timeout } = self.pings.get();
        self.ping.set(match self.ping.get() {
            _ if heard => Asked::No,
            Asked::No if self.quiet_sweeps.get() >= after => Asked::Due,
            Asked::Sent(since) if since + 1 >= timeout => {
                self.cut.set(true);
                Asked::No
            }
            Asked::Sent(since) => Asked::Sent(since + 1),
            // Servers of gRPC take more PINGs than this for abuse.
            Asked::Answered(since) if since + 1 >= PING_AGAIN_SWEEPS => Asked::Due,
            Asked::Answered(since) => Asked::Answered(since + 1),
            asked => asked,
        });
        if self.ping.get() == Asked::Due || self.cut.get() {
            self.driver.borrow().as_ref().inspect(|driver| driver.wake_by_ref());
        }
        true
    }

    // What the other end said since the last look; answers whether there is more room than before.
    fn look(&self) -> bool {
        let mut requests = self.requests.borrow_mut();
        let Some(open) = requests.as_mut() else { return false };
        // A GOAWAY shows here.
        if let Poll::Ready(Err(_)) = open.poll_ready(&mut Context::from_waker(Waker::noop())) {
            let gone = requests.take();
            drop(requests);
            drop(gone);
            return true;
        }
        let max = open.current_max_send_streams();
        max > self.streams_max.replace(max)
    }

    fn poll_ping(&self, pings: &mut PingPong, cx: &mut Context<'_>) {
        if self.ping.get() == Asked::Due && pings.send_ping(Ping::opaque()).is_ok() {
            self.ping.set(Asked::Sent(0));
        }
        if let Asked::Sent(_) = self.ping.get()
            && let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
        {
            self.ping.set(Asked::Answered(0));
        }
    }
}

async fn drive(
    mut connection: Connection<WorkerSocket, Bytes>,
    line: Rc<Line>,
    pool: Rc<Pool>,
    (maker, open): (Rc<Facts>, Open),
) {
    let mut pings = connection.ping_pong();
    let outcome = poll_fn(|cx| {
        if line.cut.get() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to a PING")));
        }
        let polled = Pin::new(&mut connection).poll(cx);
        if line.look() {
            pool.lines.note_room();
        }
        if let Poll::Ready(outcome) = polled {
            return Poll::Ready(outcome.map_err(failure::io));
        }
        if let Some(pings) = &mut pings {
            line.poll_ping(pings, cx);
        }
        let mut driver = line.driver.borrow_mut();
        if driver.as_ref().is_none_or(|driver| !driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
    if let Err(error) = outcome {
        tracing::debug!(upstream = &*maker.name, peer = %line.peer, %error, "an HTTP/2 connection to an endpoint ended");
    }
    line.retire();
    drop(connection);
    pool.lines.forget(&line);
    maker.series.disconnected(pool.worker());
    drop(open);
    pool.note_unused();
    pool.lines.note_room();
}

fn builder(head_bytes_max: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // Unknown until the other end says it.
        .initial_max_send_streams(0)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
    builder
}

fn sweeps(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(SWEEP_INTERVAL.as_millis())).unwrap_or(u64::MAX >> 1).max(1)
}

impl Seat {
    /// The upstream whose exchange sits here, as logs name it.
    pub(super) fn user(&self) -> &str {
        &self.user.name
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        self.line.served.set(true);
        self.line.hear();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (line, pool) = (&self.line, &self.pool);
        pool.gauges().end(pool.worker());
        self.user.series.ended(pool.worker());
        line.streams.set(line.streams.get() - 1);
        if line.is_unused() {
            line.quiet_sweeps.set(0);
            line.expires.set(pool.now().saturating_add(line.keep.get().sweeps));
            pool.lines.rest(line, line.keep.get());
            pool.note_unused();
        }
        pool.lines.note_seat();
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({}, {} streams)", self.peer, self.streams.get())
    }
}

// What an endpoint may send on a stream before its client takes it. A connection has room for it on as many streams as
// are usual, so that a slow client holds up none but itself.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
// What is kept of one stream's request until the endpoint takes it.
const SEND_BUFFER_BYTES_MAX: usize = 128 * 1024;
// Five minutes.
const PING_AGAIN_SWEEPS: u64 = 300;
