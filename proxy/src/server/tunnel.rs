//! A connection after a 101: bytes both ways until both ends are done, or neither has said anything for long enough.
//! Holds two sockets and the number of a generation; the exchange that led here is over.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{alarm::Alarm, life::Life, session::Session};
use crate::{
    drain::TunnelPin,
    exchange::{Duplex, Tunnel},
};

/// An agreement to switch protocols, not carried out yet.
#[derive(Debug)]
pub(super) struct Switch {
    tunnel: Tunnel,
    pin: TunnelPin,
    idle: Duration,
}

impl Switch {
    /// The upstream agreed to switch.
    pub(super) fn new(tunnel: Tunnel, life: &Life) -> Self {
        Self {
            tunnel,
            pin: life.session.door.hall.tunnels.open(life.exchange.generation()),
            idle: life.session.limits(|limits| limits.tunnel_idle_timeout),
        }
    }

    /// Carries it out on the client's `stream`, of which `early` was already read.
    pub(super) async fn run(self, stream: impl Duplex, early: &[u8], session: &Rc<Session>) {
        let Self { tunnel, pin, idle } = self;
        let (series, worker) = (&session.door.hall.series, session.door.worker.index);
        series.tunnel_opened(worker);
        let outcome = match tunnel.open().await {
            Ok(upstream) => copy(stream, upstream, early, (session, idle)).await,
            Err(error) => Err(error),
        };
        series.tunnel_closed(worker);
        drop(pin);
        let (listener, peer) = (&*session.door.name, session.connection.peer);
        match outcome {
            Ok((up, down)) => tracing::debug!(listener, %peer, up, down, "tunnel closed"),
            Err(error) => tracing::debug!(listener, %peer, %error, "tunnel broke off"),
        }
    }
}

// Answers the bytes that went up and down.
async fn copy(
    mut client: impl Duplex,
    mut upstream: Box<dyn Duplex>,
    early: &[u8],
    (session, idle): (&Session, Duration),
) -> io::Result<(u64, u64)> {
    let (mut up, mut down) = (Pipe::new(early), Pipe::new(&[]));
    let mut last = Instant::now();
    let alarm = Alarm::new(Rc::clone(&session.timers));
    poll_fn(|cx| {
        let before = up.moved + down.moved;
        let sent = up.poll(cx, Pin::new(&mut client), Pin::new(&mut *upstream))?;
        let received = down.poll(cx, Pin::new(&mut *upstream), Pin::new(&mut client))?;
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if up.moved + down.moved != before {
            last = Instant::now();
        }
        let timed_out = |()| Err(io::Error::new(io::ErrorKind::TimedOut, "no byte in either direction for too long"));
        let half = sent.is_ready() || received.is_ready();
        alarm.poll_at(last + if half { idle.min(HALF_OPEN_IDLE) } else { idle }, cx).map(timed_out)
    })
    .await?;
    Ok((up.moved, down.moved))
}

// One side is done: the other may still say what it has to say, but need not be waited for as an open tunnel is.
const HALF_OPEN_IDLE: Duration = Duration::from_secs(5);

// One direction.
struct Pipe {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    moved: u64,
    state: PipeState,
}

#[derive(Clone, Copy, PartialEq)]
enum PipeState {
    Open,
    Ending,
    Ended,
}

impl Pipe {
    fn new(early: &[u8]) -> Self {
        let mut buffer = early.to_vec();
        buffer.resize(early.len().max(PIPE_BYTES), 0);
        Self { buffer, start: 0, end: early.len(), moved: 0, state: PipeState::Open }
    }

    fn poll<W: AsyncWrite + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut (impl AsyncRead + ?Sized)>,
        mut to: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.start < self.end {
                let written = ready!(to.as_mut().poll_write(cx, &self.buffer[self.start..self.end]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.moved += written as u64;
            }
            match self.state {
                PipeState::Ended => return Poll::Ready(Ok(())),
                PipeState::Ending => {
                    ready!(to.as_mut().poll_shutdown(cx))?;
                    self.state = PipeState::Ended;
                }
                PipeState::Open => {
                    let mut read = ReadBuf::new(&mut self.buffer);
                    if from.as_mut().poll_read(cx, &mut read)?.is_pending() {
                        ready!(to.as_mut().poll_flush(cx))?;
                        return Poll::Pending;
                    }
                    (self.start, self.end) = (0, read.filled().len());
                    if self.end == 0 {
                        self.state = PipeState::Ending;
                    }
                }
            }
        }
    }
}

// Of each direction.
const PIPE_BYTES: usize = 16 * 1024;
