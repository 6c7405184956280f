//! The HTTP/2 connections of one worker to one endpoint, and how a request gets a place on one: on a connection that
//! has room, or else on a new one, which one request makes and others wait for. Knows nothing of requests.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use tokio::sync::Notify;

use super::line::{Line, Seat};
use crate::{
    config::spec::{Protocol, Upstream as Spec},
    error::{Error, Kind},
    state::{EndpointState, Open, States},
    tls::{Connector, Offer, WorkerSocket},
    upstream::{
        connect,
        pool::{Facts, Keep, Pool},
        wire::Wire,
    },
};

/// The connections.
#[derive(Default)]
pub(in crate::upstream) struct Lines {
    open: RefCell<Vec<Rc<Line>>>,
    // One is being made.
    dialing: Cell<bool>,
    // What the endpoint agreed on last, where that was asked: whether HTTP/2.
    agreed: Cell<Option<bool>>,
    room: Notify,
}

/// Who wants a place.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) spec: &'a Spec,
    pub(super) endpoint: &'a Arc<EndpointState>,
    pub(super) connector: Option<&'a Connector>,
    pub(super) pool: &'a Rc<Pool>,
    pub(super) user: &'a Rc<Facts>,
    pub(super) states: &'a States,
    pub(super) keep: Keep,
    /// Whether kept connections are left alone.
    pub(super) fresh: bool,
    /// Whether a request on HTTP/1.1 could not be sent again, so that a kept connection is looked at once more.
    pub(super) sure: bool,
    /// Whether the stream is to switch to WebSocket.
    pub(super) switches: bool,
}

/// What was found.
pub(super) enum Found {
    /// A place, and whether its connection was there already.
    Seat(Seat, bool),
    /// The endpoint speaks HTTP/1.1, and that is allowed.
    Wire(Box<Wire>, bool),
}

impl Wish<'_> {
    /// Finds it a place, waiting until one is free or a connection stands.
    ///
    /// # Errors
    /// Those of [`connect::open`]; nothing was sent.
    pub(super) async fn find(mut self) -> Result<Found, Error> {
        if let Some(found) = self.kept() {
            return Ok(found);
        }
        if self.is_hopeless() {
            return Err(self.cannot_switch());
        }
        let (lines, end) = (&self.pool.lines, Instant::now() + self.spec.connect_timeout);
        let mut crowded = None;
        loop {
            let alone = self.spec.protocol == Protocol::Auto && lines.agreed.get() == Some(false);
            if alone || !lines.dialing.get() {
                let dialing = Dialing::begin(lines);
                match self.dial(end).await {
                    Ok(found) => {
                        lines.note_room();
                        return Ok(found);
                    }
                    // The connections that there are may still get room.
                    Err(error) if error.kind() == Kind::UpstreamConnectionsMax && lines.has_any() => {
                        if crowded.replace(error).is_some() {
                            dialing.end_quietly();
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            // Whoever waits here waits for a connection that is not there yet.
            self.fresh = false;
            if let Some(found) = self.kept() {
                return Ok(found);
            }
            if self.pool.timers.within(end, lines.wait(self.pool)).await.is_err() {
                return Err(crowded.unwrap_or_else(|| connect::late(self.user, self.endpoint)));
            }
            if let Some(found) = self.kept() {
                return Ok(found);
            }
        }
    }

    // A place on a connection that stands.
    fn kept(&self) -> Option<Found> {
        let line = self.pool.lines.open.borrow().iter().find(|line| self.suits(line)).cloned();
        match line {
            Some(line) => Some(Found::Seat(self.sit(&line), true)),
            None if self.spec.protocol == Protocol::Auto && !self.fresh => {
                self.pool.checkout(self.sure, None).map(|wire| Found::Wire(wire, true))
            }
            None => None,
        }
    }

    fn suits(&self, line: &Line) -> bool {
        line.has_room(self.spec.http2.streams_max)
            && line.head_bytes_max == self.spec.response_head_bytes_max
            && (line.takes_connect || !self.switches)
    }

    fn sit(&self, line: &Rc<Line>) -> Seat {
        let seat = line.sit((self.pool, self.user), self.keep, &self.spec.http2);
        self.pool.note_unused();
        seat
    }

    // A place on a new connection.
    async fn dial(&self, end: Instant) -> Result<Found, Error> {
        let lines = &self.pool.lines;
        let auto = self.spec.protocol == Protocol::Auto;
        // What is known not to take WebSocket on a stream is asked for it in HTTP/1.1.
        let old = auto && self.switches && lines.open.borrow().iter().any(|line| !line.takes_connect);
        let (socket, peer, open) = self
            .open(
                if old {
                    Offer::Http1
                } else if auto {
                    Offer::Both
                } else {
                    Offer::Http2
                },
                end,
            )
            .await?;
        let agreed = socket.agreed_on_http2() == Some(true);
        if auto && !old {
            lines.agreed.set(Some(agreed));
        }
        if auto && !agreed {
            return Ok(self.wire(socket, peer, open));
        }
        let opening = Line::open((socket, peer, open), (self.pool, self.user), self.spec.response_head_bytes_max);
        let opened =
            self.pool.timers.within(end, opening).await.map_err(|_| connect::late(self.user, self.endpoint))?;
        let line = opened.map_err(|cause| {
            let text = format!("upstream {}: no HTTP/2 with {} at {peer}", self.user.name, self.endpoint.key.address);
            Error::because(Kind::UpstreamConnect, text, cause)
        })?;
        lines.open.borrow_mut().push(Rc::clone(&line));
        if self.switches && !line.takes_connect {
            // It serves others.
            if !auto {
                return Err(self.cannot_switch());
            }
            let (socket, peer, open) = self.open(Offer::Http1, end).await?;
            return Ok(self.wire(socket, peer, open));
        }
        Ok(Found::Seat(self.sit(&line), false))
    }

    async fn open(&self, offer: Offer, end: Instant) -> Result<(WorkerSocket, SocketAddr, Open), Error> {
        let (target, limits) = ((self.endpoint, self.connector, (offer, &[][..])), (self.spec.connections_max, end));
        connect::open(target, self.pool, self.user, self.states, limits).await
    }

    fn wire(&self, socket: WorkerSocket, peer: SocketAddr, open: Open) -> Found {
        Found::Wire(Box::new(Wire::new(socket, peer, Rc::clone(self.pool), Rc::clone(self.user), open)), false)
    }

    // Whether it is known that the endpoint does not take what is asked for.
    fn is_hopeless(&self) -> bool {
        let knows = |line: &Rc<Line>| !line.takes_connect;
        self.switches && self.spec.protocol != Protocol::Auto && self.pool.lines.open.borrow().iter().any(knows)
    }

    #[cold]
    fn cannot_switch(&self) -> Error {
        let what = "it does not take WebSocket on streams of HTTP/2 (RFC 8441); `protocol: http1` may do";
        let text = format!("upstream {} at {}: {what}", self.user.name, self.endpoint.key.address);
        Error::new(Kind::UpstreamMalformed, text)
    }
}

// While it lives, others wait; then one of them tries, in whichever way this ended.
struct Dialing<'a> {
    lines: &'a Lines,
    tells: bool,
}

impl<'a> Dialing<'a> {
    fn begin(lines: &'a Lines) -> Self {
        lines.dialing.set(true);
        Self { lines, tells: true }
    }

    // Nobody learns anything new by trying as well.
    fn end_quietly(mut self) {
        self.tells = false;
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.lines.dialing.set(false);
        if self.tells {
            self.lines.note_seat();
        }
    }
}

impl Lines {
    /// How many have no stream.
    pub(in crate::upstream) fn unused(&self) -> usize {
        self.open.borrow().iter().filter(|line| line.is_unused()).count()
    }

    // Until there may be room: on a connection, or for one more.
    async fn wait(&self, pool: &Pool) {
        let (mut room, mut closed) = (pin!(self.room.notified()), pin!(pool.gauges().closed()));
        poll_fn(|cx| {
            let ready = room.as_mut().poll(cx).is_ready() || closed.as_mut().poll(cx).is_ready();
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn has_any(&self) -> bool {
        self.open.borrow().iter().any(|line| !line.is_retired())
    }

    /// There may be more room.
    pub(super) fn note_room(&self) {
        self.room.notify_waiters();
    }

    /// There is room for one more.
    pub(super) fn note_seat(&self) {
        self.room.notify_one();
    }

    /// One has no stream any more; more than `keep` says are not kept.
    pub(super) fn rest(&self, line: &Line, keep: Keep) {
        if keep.sweeps == 0 || self.unused() > keep.idle_max {
            line.retire();
        }
    }

    /// One is over.
    pub(super) fn forget(&self, line: &Rc<Line>) {
        self.open.borrow_mut().retain(|open| !Rc::ptr_eq(open, line));
    }

    /// Looks after all, at `now` of the pool's clock; those that `stays` does not answer for take nothing new.
    pub(in crate::upstream) fn sweep(&self, now: u64, stays: impl Fn(SocketAddr) -> bool) {
        let lines = self.open.borrow().clone();
        for line in lines {
            if !line.sweep(now) || !stays(line.peer) {
                line.retire();
            }
        }
    }

    /// Ends one that has no stream; answers whether there was one.
    pub(in crate::upstream) fn yield_one(&self) -> bool {
        let unused = self.open.borrow().iter().find(|line| line.is_unused()).cloned();
        unused.inspect(|line| line.retire()).is_some()
    }

    /// Ends all, each after the streams that are open on it.
    pub(in crate::upstream) fn close(&self) {
        let lines = self.open.take();
        lines.iter().for_each(|line| line.retire());
    }
}
