//! One try: one endpoint, one connection, the request sent once; a response, or why there is none and how far it got.
//! Knows nothing of other endpoints, and never tries again: that is the loop's, in `call`.

use std::{
    cell::Cell,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, StatusCode};

use super::{
    Upstream,
    balance::Member,
    connect::connect,
    decode::Decoder,
    head::{Head, Malformed, Reader},
    http2::Went,
    incoming::Incoming,
    introduced,
    pool::{Facts, Pool},
    terms::Terms,
    upload::Upload,
    wire::{Failure, Wire},
};
use crate::{
    error::{Error, Kind},
    exchange::{Duplex, Request, Response, Tunnel, rpc, rpc::Rpc},
};

/// A try that is to be made.
pub(super) struct Attempt<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) terms: &'a Terms,
    pub(super) member: &'a Member,
    pub(super) pool: &'a Rc<Pool>,
    pub(super) user: &'a Rc<Facts>,
    /// Whether it is the exchange's own, whose record says where it went.
    pub(super) own: bool,
    // Whether it is one of several at once.
    rival: bool,
    /// Whether it makes a new connection, kept ones or not.
    pub(super) fresh: bool,
    // When the call began, where this try is its first: saves a look at the clock.
    started: Option<Instant>,
    // Whether there is a connection, and the request on its way.
    connected: Cell<bool>,
}

/// A try that brought no response. The request is as it was where it [can be sent again](Missed::again).
#[derive(Debug)]
pub(super) struct Missed {
    /// What the client would be told, and the log.
    pub(super) error: Error,
    pub(super) cause: Cause,
    pub(super) progress: Progress,
    /// Whether the request has its body still, or once more.
    pub(super) again: bool,
}

/// What went wrong with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The endpoint has as many connections as it may have.
    Crowded,
    /// No connection.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// A kept connection ended without a byte of an answer: most likely it was closed before the request came.
    Stale,
    /// The upstream refused the request unprocessed.
    Refused,
    /// The connection ended before a whole head.
    Reset,
    /// No head in time.
    Timeout,
    /// The try took longer than one may.
    TryTimeout,
    /// What came is not HTTP.
    Malformed,
    /// The request's own body failed: no fault of the endpoint.
    Request,
}

/// How far a request got in a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not a byte of it was sent.
    Unsent,
    /// It was sent, and the upstream says that it did nothing with it (RFC 9113 sections 6.8 and 8.7).
    Unprocessed,
    /// It was sent, at least in part: whether it had an effect is not known.
    Sent,
}

impl<'a> Attempt<'a> {
    /// On the terms of an upstream, to one of its members. See the fields.
    pub(super) const fn new(
        (upstream, terms): (&'a Upstream, &'a Terms),
        (member, pool, user): (&'a Member, &'a Rc<Pool>, &'a Rc<Facts>),
        (own, rival): (bool, bool),
        (fresh, started): (bool, Option<Instant>),
    ) -> Self {
        Self { upstream, terms, member, pool, user, own, rival, fresh, started, connected: Cell::new(false) }
    }

    /// Makes it. Takes the body out of `request`, and puts it back where it fails and the body is at hand.
    ///
    /// # Errors
    /// [`Missed`], in a box because almost no try fails.
    pub(super) async fn make(&self, request: &mut Request) -> Result<Response, Box<Missed>> {
        if request.exchange.rpc.get() != Rpc::None {
            tell_timeout(request);
        }
        let found = if self.upstream.multiplexes {
            match Box::pin(self.multiplexed(request)).await {
                Went::Done(outcome) => return outcome,
                Went::Wire(wire, since) => Ok((wire, since)),
            }
        } else {
            self.wire(request).await
        };
        let (mut wire, since) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.unconnected(request, error)),
        };
        wire.take(Rc::clone(self.user), self.upstream.keep);
        self.note(request, Some(wire.peer));
        let copy = if wire.reused { request.body.copy() } else { None };
        let mut upload = Upload::new(request.body.take());
        match self.head(&mut wire, since, request, &mut upload).await {
            Ok(head) => {
                self.won(request, wire.peer);
                self.respond(wire, head, request, upload)
            }
            Err(failure) => {
                let progress = if upload.sent == 0 { Progress::Unsent } else { Progress::Sent };
                let body = if upload.started { copy } else { Some(upload.body) };
                let again = body.is_some();
                request.body = body.unwrap_or_default();
                Err(self.failed(failure, (wire.peer, wire.reused), progress, again))
            }
        }
    }

    /// A try that found no connection.
    #[cold]
    pub(super) fn unconnected(&self, request: &Request, error: Error) -> Box<Missed> {
        self.note(request, None);
        let cause = match error.kind() {
            Kind::UpstreamConnectionsMax => Cause::Crowded,
            Kind::UpstreamConnectTimeout => Cause::ConnectTimeout,
            Kind::UpstreamMalformed => Cause::Malformed,
            _ => Cause::Connect,
        };
        Box::new(Missed { error, cause, progress: Progress::Unsent, again: true })
    }

    /// Whether the request can be sent again where a kept connection proves to be closed.
    pub(super) fn is_replayable(&self, request: &Request) -> bool {
        let at_hand = self.terms.retry.is_some() || request.body.copy().is_some();
        request.head.method.is_idempotent() && at_hand
    }

    // A kept connection or a new one, and since when the answer is waited for.
    async fn wire(&self, request: &Request) -> Result<(Box<Wire>, Instant), Error> {
        let introduction =
            self.upstream.spec.proxy_protocol.map(|version| introduced::header(version, &request.exchange));
        let kept =
            if self.fresh { None } else { self.pool.checkout(!self.is_replayable(request), introduction.as_deref()) };
        if let Some(wire) = kept {
            self.upstream.series.reused(self.pool.worker());
            return Ok((wire, self.started.unwrap_or_else(Instant::now)));
        }
        Ok((self.connect(introduction).await?, Instant::now()))
    }

    // Boxed, because few calls come this way and every call has room for it.
    fn connect(&self, introduction: Option<Box<[u8]>>) -> LocalBoxFuture<'_, Result<Box<Wire>, Error>> {
        let Upstream { spec, connector, states, .. } = self.upstream;
        let limits = (spec.connections_max, spec.connect_timeout);
        let target = (&self.member.endpoint, connector.as_deref());
        Box::pin(connect(target, self.pool, self.user, states, limits, introduction))
    }

    // Sends the request on `wire`, from `since` on, and waits for the head of the answer, no longer than the response
    // timeout after the last byte that the upstream took; while the client is waited for, no time counts.
    async fn head(
        &self,
        wire: &mut Wire,
        since: Instant,
        request: &mut Request,
        upload: &mut Upload,
    ) -> Result<Head, Failure> {
        let spec = &self.upstream.spec;
        let host = if spec.preserve_host { request.authority.as_str() } else { self.member.endpoint.key.authority() };
        wire.start(request, request.exchange.told.borrow().as_deref().filter(|_| self.own), host, upload);
        let mut reader = Reader::new(spec.response_head_bytes_max);
        // The memory of the request's fields is used for the response's, but where the request may be sent again.
        let mut spare = self.terms.retry.as_ref().map(|_| Box::<HeaderMap>::default());
        let fields = spare.as_deref_mut().unwrap_or(&mut request.head.headers);
        let (method, interims) = (&request.head.method, &request.exchange.interims);
        let (mut timeout, mut since, mut sent) = (None, since, 0);
        std::future::poll_fn(|cx| {
            let polled = wire.poll_head(cx, upload, &mut reader, (method, fields));
            if self.own && !reader.interims.is_empty() {
                interims.borrow_mut().append(&mut reader.interims);
            }
            if polled.is_ready() {
                return polled;
            }
            if upload.waiting {
                (timeout, since) = (None, Instant::now());
                return Poll::Pending;
            }
            let timeout = timeout.get_or_insert_with(|| wire.pool.timers.at(since + self.terms.response_timeout));
            if sent != upload.sent && std::mem::replace(&mut sent, upload.sent) != 0 {
                timeout.reset(Instant::now() + self.terms.response_timeout);
            }
            Pin::new(timeout).poll(cx).map(|()| Err(Failure::Timeout))
        })
        .await
    }

    fn respond(&self, wire: Box<Wire>, head: Head, request: &Request, upload: Upload) -> Result<Response, Box<Missed>> {
        let (peer, reused) = (wire.peer, wire.reused);
        let malformed = |what| self.failed(Failure::Malformed(Malformed(what)), (peer, reused), Progress::Sent, false);
        if head.parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if request.upgrade.is_none() {
                return Err(malformed("it switches protocols without having been asked to"));
            }
            let end = async { Ok(wire as Box<dyn Duplex>) };
            return Ok(Response { head: head.parts, body: Default::default(), tunnel: Some(Tunnel::new(end)) });
        }
        let spec = &self.upstream.spec;
        let decoder = Decoder::new(head.framing, spec.response_head_bytes_max);
        let body = Incoming::start(wire, decoder, upload, head.keep_alive, self.terms.idle_timeout)
            .map_err(|Malformed(what)| malformed(what))?;
        Ok(Response { head: head.parts, body, tunnel: None })
    }

    /// What it is when its time is up; it must not be polled any more.
    #[cold]
    pub(super) fn late(&self, request: &Request, time: Duration) -> Box<Missed> {
        let connected = self.connected.get();
        if !connected {
            self.note(request, None);
        }
        let progress = if connected { Progress::Sent } else { Progress::Unsent };
        let place = format!("upstream {} at {}", self.upstream.name, self.member.endpoint.key.address);
        let error = Error::new(Kind::UpstreamTryTimeout, format!("{place}: no answer within try-timeout ({time:?})"));
        Box::new(Missed { error, cause: Cause::TryTimeout, progress, again: !connected })
    }

    /// Notes where the answer came from: of several tries at once, another may have been noted since.
    pub(super) fn won(&self, request: &Request, peer: SocketAddr) {
        if self.rival && self.own {
            request.exchange.record.note(|record| record.endpoint = Some(peer));
        }
    }

    /// Notes where the request went.
    pub(super) fn note(&self, request: &Request, peer: Option<SocketAddr>) {
        if self.own {
            request.exchange.record.note(|record| {
                record.upstream = Some(Arc::clone(&self.user.name));
                record.endpoint = peer.or(record.endpoint);
                record.attempts += 1;
            });
        }
        self.connected.set(peer.is_some());
    }

    #[cold]
    fn failed(
        &self,
        failure: Failure,
        (peer, reused): (SocketAddr, bool),
        progress: Progress,
        again: bool,
    ) -> Box<Missed> {
        let cause = match &failure {
            Failure::Request(_) => Cause::Request,
            Failure::Timeout => Cause::Timeout,
            Failure::Malformed(_) => Cause::Malformed,
            Failure::Broken { answered: false, .. } if reused => Cause::Stale,
            Failure::Broken { .. } => Cause::Reset,
        };
        let error = error(self.upstream, failure, peer, self.terms.response_timeout);
        Box::new(Missed { error, cause, progress, again })
    }
}

// A call of gRPC says how much time is left.
fn tell_timeout(request: &mut Request) {
    if let Some(left) = request.exchange.time_left(Instant::now()) {
        rpc::tell_timeout(&mut request.head.headers, left);
    }
}

fn error(upstream: &Upstream, failure: Failure, peer: SocketAddr, timeout: Duration) -> Error {
    let place = || format!("upstream {} at {peer}", upstream.name);
    match failure {
        Failure::Request(error) => error,
        Failure::Timeout => {
            Error::new(Kind::UpstreamTimeout, format!("{}: no answer within response-timeout ({timeout:?})", place()))
        }
        Failure::Malformed(Malformed(what)) => {
            Error::new(Kind::UpstreamMalformed, format!("{}: the answer is not HTTP/1.1: {what}", place()))
        }
        Failure::Broken { cause, answered } => {
            let when = if answered { "in the midst of" } else { "before" };
            let text = format!("{}: the connection ended {when} an answer", place());
            Error::because(Kind::UpstreamReset, text, cause)
        }
    }
}
