//! One call to an upstream: choose an endpoint, take or make a connection, send, read the head of the answer; go on
//! with another endpoint where none was reached, and send once more where a kept connection proved to be closed.

use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use http::StatusCode;

use super::{
    Upstream,
    balance::{Member, Tried},
    connect::connect,
    decode::Decoder,
    head::{Head, Malformed, Reader},
    incoming::Incoming,
    pool::{Facts, Pool, Pools},
    upload::Upload,
    wire::{Failure, Wire},
};
use crate::{
    error::{Error, Kind},
    exchange::{Duplex, Request, Response, Tunnel, Worker},
};

impl Upstream {
    /// Sends `request`; `own` says whether it is the exchange's own, whose record says where it went.
    pub(super) async fn send(&self, mut request: Box<Request>, own: bool) -> Result<Response, Error> {
        let exchange = Rc::clone(&request.exchange);
        let started = Instant::now();
        let result = self.reach(&exchange.worker, &mut request, (started, own)).await;
        let time = started.elapsed();
        let outcome = result.as_ref().map(|response| response.head.status.as_u16()).map_err(Error::kind);
        self.series.finish(exchange.worker.index, outcome, time);
        if own {
            exchange.record.note(|record| record.upstream_time = Some(time));
        }
        result
    }

    // A connection that could not be made is no reason to fail while there are other endpoints: nothing was sent.
    async fn reach(
        &self,
        worker: &Worker,
        request: &mut Request,
        (started, own): (Instant, bool),
    ) -> Result<Response, Error> {
        let pools = worker.locals.of::<Pools>();
        let user = pools.facts(&self.name, &self.series);
        let (mut tried, mut failed) = (Tried::new(), None);
        while tried.len() < ENDPOINTS_TRIED_MAX
            && let Some(position) = self.balancer.choose(worker.index, &tried)
        {
            let member = &self.balancer.members()[position];
            let pool = pools.pool(worker, &member.endpoint, &self.states);
            let replayable = request.head.method.is_idempotent() && request.body.copy().is_some();
            let (wire, since) = match pool.checkout(!replayable) {
                Some(wire) => {
                    self.series.reused(worker.index);
                    // Saves a look at the clock: this is now, unless another endpoint was tried in vain.
                    (wire, if tried.is_empty() { started } else { Instant::now() })
                }
                None => match self.connect(member, &pool, &user).await {
                    Ok(wire) => (wire, Instant::now()),
                    Err(error) => {
                        if error.kind() != Kind::Overloaded {
                            member.endpoint.suspect(SUSPECT);
                        }
                        note(request, &user, None, own);
                        tried.push(position);
                        failed = Some(Box::new(error));
                        continue;
                    }
                },
            };
            return self.exchange((member, &pool, &user), (wire, since), request, own).await;
        }
        Err(failed.map_or_else(
            || Error::new(Kind::NoEndpoint, format!("upstream {}: it has no endpoint with a weight", self.name)),
            |failed| *failed,
        ))
    }

    async fn exchange(
        &self,
        (member, pool, user): (&Member, &Rc<Pool>, &Rc<Facts>),
        (mut wire, mut since): (Box<Wire>, Instant),
        request: &mut Request,
        own: bool,
    ) -> Result<Response, Error> {
        loop {
            wire.take(Rc::clone(user), self.keep);
            note(request, user, Some(wire.peer), own);
            let copy = if wire.reused { request.body.copy() } else { None };
            let mut upload = Upload::new(request.body.take());
            let failure = match self.attempt((&mut wire, since, own), member, request, &mut upload).await {
                Ok(head) => return self.respond(wire, head, request, upload),
                Err(failure) => failure,
            };
            // A kept connection that ends without a byte of answer was most likely closed before the request came.
            let untouched = upload.sent == 0 || request.head.method.is_idempotent();
            let stale = wire.reused && untouched && matches!(failure, Failure::Broken { answered: false, .. });
            let body = if upload.started { copy } else { Some(upload.body) };
            let (true, Some(body)) = (stale, body) else { return Err(self.error(failure, wire.peer)) };
            request.body = body;
            drop(wire);
            self.series.retried(pool.worker());
            (wire, since) = (self.connect(member, pool, user).await?, Instant::now());
        }
    }

    // Boxed, because few calls come this way and every call has room for it.
    fn connect<'a>(
        &'a self,
        member: &'a Member,
        pool: &'a Rc<Pool>,
        user: &'a Rc<Facts>,
    ) -> LocalBoxFuture<'a, Result<Box<Wire>, Error>> {
        let limits = (self.spec.connections_max, self.spec.connect_timeout);
        let target = (&member.endpoint, self.connector.as_deref());
        Box::pin(connect(target, pool, user, &self.states, limits))
    }

    // Sends the request on `wire`, from `since` on, and waits for the head of the answer, no longer than the response timeout after the
    // last byte that the upstream took; while the client is waited for, no time counts.
    async fn attempt(
        &self,
        (wire, since, own): (&mut Wire, Instant, bool),
        member: &Member,
        request: &mut Request,
        upload: &mut Upload,
    ) -> Result<Head, Failure> {
        let host = if self.spec.preserve_host { request.authority.as_str() } else { &member.endpoint.key.address };
        wire.start(request, host, upload);
        let mut reader = Reader::new(self.spec.response_head_bytes_max);
        let (method, fields, interims) = (&request.head.method, &mut request.head.headers, &request.exchange.interims);
        let (mut timeout, mut since, mut sent) = (None, since, 0);
        std::future::poll_fn(|cx| {
            let polled = wire.poll_head(cx, upload, &mut reader, (method, fields));
            if own && !reader.interims.is_empty() {
                interims.borrow_mut().append(&mut reader.interims);
            }
            if polled.is_ready() {
                return polled;
            }
            if upload.waiting {
                (timeout, since) = (None, Instant::now());
                return Poll::Pending;
            }
            let timeout = timeout.get_or_insert_with(|| wire.pool.timers.at(since + self.spec.response_timeout));
            if sent != upload.sent && std::mem::replace(&mut sent, upload.sent) != 0 {
                timeout.reset(Instant::now() + self.spec.response_timeout);
            }
            Pin::new(timeout).poll(cx).map(|()| Err(Failure::Timeout))
        })
        .await
    }

    fn respond(&self, wire: Box<Wire>, head: Head, request: &Request, upload: Upload) -> Result<Response, Error> {
        let peer = wire.peer;
        let malformed = |what| self.error(Failure::Malformed(Malformed(what)), peer);
        if head.parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if request.upgrade.is_none() {
                return Err(malformed("it switches protocols without having been asked to"));
            }
            let end = async { Ok(wire as Box<dyn Duplex>) };
            return Ok(Response { head: head.parts, body: Default::default(), tunnel: Some(Tunnel::new(end)) });
        }
        let decoder = Decoder::new(head.framing, self.spec.response_head_bytes_max);
        let body = Incoming::start(wire, decoder, upload, head.keep_alive, self.spec.idle_timeout)
            .map_err(|Malformed(what)| malformed(what))?;
        Ok(Response { head: head.parts, body, tunnel: None })
    }

    #[cold]
    fn error(&self, failure: Failure, peer: SocketAddr) -> Error {
        let place = || format!("upstream {} at {peer}", self.name);
        match failure {
            Failure::Request(error) => error,
            Failure::Timeout => Error::new(
                Kind::UpstreamTimeout,
                format!("{}: no answer within response-timeout ({:?})", place(), self.spec.response_timeout),
            ),
            Failure::Malformed(Malformed(what)) => {
                Error::new(Kind::UpstreamMalformed, format!("{}: the answer is not HTTP/1.1: {what}", place()))
            }
            Failure::Broken { cause, answered } => {
                let when = if answered { "in the midst of" } else { "before" };
                Error::because(
                    Kind::UpstreamReset,
                    format!("{}: the connection ended {when} an answer", place()),
                    cause,
                )
            }
        }
    }
}

fn note(request: &Request, user: &Facts, peer: Option<SocketAddr>, own: bool) {
    if own {
        request.exchange.record.note(|record| {
            record.upstream = Some(Arc::clone(&user.name));
            record.endpoint = peer.or(record.endpoint);
            record.attempts += 1;
        });
    }
}

// How many endpoints an exchange tries to reach.
const ENDPOINTS_TRIED_MAX: usize = 3;
// How long an endpoint that could not be reached is left alone while there are others.
const SUSPECT: Duration = Duration::from_secs(1);
