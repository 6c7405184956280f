//! One try over HTTP/2: a place on a connection, the request on a stream of its own, the head of the answer. Knows
//! nothing of other endpoints, and never tries again.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use h2::{RecvStream, client::ResponseFuture};
use http::{StatusCode, Version, header, response, uri::Authority};

use super::{
    failure::{self, Failure},
    head,
    incoming::Incoming,
    line::Seat,
    lines::{Found, Wish},
    outgoing::Outgoing,
    tunnel,
};
use crate::{
    config::spec::{Protocol, Upstream as Spec},
    error::{Error, Kind},
    exchange::{Request, Response},
    upstream::{
        attempt::{Attempt, Cause, Missed, Progress},
        head::Sending,
        wire::Wire,
    },
};

/// Whether an upstream may speak HTTP/2.
pub(in crate::upstream) fn speaks_http2(spec: &Spec) -> bool {
    match spec.protocol {
        Protocol::Auto => spec.tls.is_some(),
        Protocol::Http1 => false,
        Protocol::H2 | Protocol::H2c => true,
    }
}

/// How a try went on, where it may speak HTTP/2.
pub(in crate::upstream) enum Went {
    /// It was made.
    Done(Result<Response, Box<Missed>>),
    /// The endpoint speaks HTTP/1.1: it is to be made on this connection, from this moment on.
    Wire(Box<Wire>, Instant),
}

// A request whose answer is waited for.
struct Sent {
    response: ResponseFuture,
    outgoing: Outgoing,
    interims: u8,
}

impl Attempt<'_> {
    /// Makes it over HTTP/2, where that is what the endpoint speaks.
    pub(in crate::upstream) async fn multiplexed(&self, request: &mut Request) -> Went {
        let (seat, kept) = match self.seat(request).await {
            Ok(Found::Seat(seat, kept)) => (seat, kept),
            Ok(Found::Wire(wire, kept)) => {
                if kept {
                    self.upstream.series.reused(self.pool.worker());
                }
                return Went::Wire(wire, Instant::now());
            }
            Err(error) => return Went::Done(Err(self.unconnected(request, error))),
        };
        if kept {
            self.upstream.series.reused(self.pool.worker());
        }
        self.note(request, Some(seat.line.peer));
        Went::Done(self.on(seat, request).await)
    }

    async fn seat(&self, request: &Request) -> Result<Found, Error> {
        let upstream = self.upstream;
        let wish = Wish {
            spec: &upstream.spec,
            endpoint: &self.member.endpoint,
            connector: upstream.connector.as_deref(),
            pool: self.pool,
            user: self.user,
            states: &upstream.states,
            keep: upstream.keep,
            fresh: self.fresh,
            sure: !self.is_replayable(request),
            switches: tunnel::is_asked_for(request),
        };
        wish.find().await
    }

    async fn on(&self, seat: Seat, request: &mut Request) -> Result<Response, Box<Missed>> {
        let served = seat.line.has_served();
        let copy = request.body.copy();
        let mut sent = match self.send(&seat, request) {
            Ok(sent) => sent,
            // Nothing was sent.
            Err(failure) => return Err(self.missed(failure, &seat, (served, Progress::Unsent), true)),
        };
        match self.answer(&mut sent, &seat, request).await {
            Ok((head, stream)) => {
                seat.answered();
                self.won(request, seat.line.peer);
                Ok(self.response((head, stream), sent.outgoing, seat, request))
            }
            Err(failure) => {
                let progress = failure.progress();
                // The rest is dropped, which resets the stream where it is not over.
                let Sent { mut outgoing, .. } = sent;
                let body = if outgoing.started { copy } else { Some(outgoing.body.take()) };
                let again = body.is_some();
                request.body = body.unwrap_or_default();
                Err(self.missed(failure, &seat, (served, progress), again))
            }
        }
    }

    // Puts the request on a stream. Where that fails, it is as it was.
    fn send(&self, seat: &Seat, request: &mut Request) -> Result<Sent, Failure> {
        let spec = &self.upstream.spec;
        let authority = if spec.preserve_host {
            request.authority.clone()
        } else {
            Authority::try_from(self.member.endpoint.key.authority())
                .map_err(|_| Failure::Malformed("the endpoint's address is no authority"))?
        };
        let secure = seat.line.secure;
        let sending = Sending::of(&request.body);
        let switches = tunnel::is_asked_for(request);
        let (head, whole) = if switches {
            (head::connect(request, authority, secure), false)
        } else {
            (head::request(request, authority, (secure, sending)), sending == Sending::Length(0))
        };
        let head = head.map_err(Failure::Malformed)?;
        let Some(mut requests) = seat.line.requests() else { return Err(Failure::Gone) };
        let (response, stream) = requests.send_request(head, whole).map_err(Failure::Ended)?;
        let body = request.body.take();
        // A stream that switches belongs to the tunnel.
        let outgoing = Outgoing::new(stream, body, whole || switches);
        Ok(Sent { response, outgoing, interims: 0 })
    }

    // Sends the request and waits for the head of the answer, no longer than the response timeout after the last byte
    // that the endpoint took; while the client is waited for, no time counts.
    async fn answer(
        &self,
        sent: &mut Sent,
        seat: &Seat,
        request: &Request,
    ) -> Result<(response::Parts, RecvStream), Failure> {
        let time = self.terms.response_timeout;
        let (mut timeout, mut bytes) = (None, 0);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = sent.poll(cx, |interim| {
                seat.line.hear();
                if self.own {
                    request.exchange.interims.borrow_mut().push(interim);
                }
            }) {
                return Poll::Ready(outcome);
            }
            if sent.outgoing.waiting {
                timeout = None;
                return Poll::Pending;
            }
            let timeout = timeout.get_or_insert_with(|| seat.pool.timers.at(Instant::now() + time));
            if bytes != sent.outgoing.sent {
                bytes = sent.outgoing.sent;
                timeout.reset(Instant::now() + time);
            }
            Pin::new(timeout).poll(cx).map(|()| Err(Failure::Timeout))
        })
        .await
    }

    fn response(
        &self,
        (mut head, stream): (response::Parts, RecvStream),
        outgoing: Outgoing,
        seat: Seat,
        request: &Request,
    ) -> Response {
        head.version = Version::HTTP_2;
        if tunnel::is_asked_for(request) && head.status.is_success() {
            return tunnel::agree(head, (stream, outgoing), seat, request);
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Incoming::start(stream, outgoing, (seat, length), self.terms.idle_timeout);
        // A response without content says nothing that would have to be taken back.
        if body.is_empty() && head.status == StatusCode::NO_CONTENT {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        Response { head, body, tunnel: None }
    }

    #[cold]
    fn missed(&self, failure: Failure, seat: &Seat, (served, progress): (bool, Progress), again: bool) -> Box<Missed> {
        let cause = failure.cause(served);
        let place = || format!("upstream {} at {}", self.upstream.name, seat.line.peer);
        let error = match failure {
            Failure::Request(error) => error,
            Failure::Timeout => {
                let time = self.terms.response_timeout;
                let text = format!("{}: no answer within response-timeout ({time:?})", place());
                Error::new(Kind::UpstreamTimeout, text)
            }
            Failure::Malformed(what) => {
                Error::new(Kind::UpstreamMalformed, format!("{}: the answer is not HTTP/2: {what}", place()))
            }
            Failure::Gone => Error::new(Kind::UpstreamReset, format!("{}: the connection takes no more", place())),
            Failure::Ended(error) if failure::is_malformed(&error) => {
                let text = format!("{}: the answer is not HTTP/2: {}", place(), failure::what(&error));
                Error::because(Kind::UpstreamMalformed, text, error)
            }
            Failure::Ended(error) => {
                let when = match cause {
                    Cause::Refused => "it refused the request",
                    _ => "the stream ended before an answer",
                };
                Error::because(Kind::UpstreamReset, format!("{}: {when}", place()), error)
            }
        };
        Box::new(Missed { error, cause, progress, again })
    }
}

impl Sent {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut interim: impl FnMut(response::Parts),
    ) -> Poll<Result<(response::Parts, RecvStream), Failure>> {
        if !self.outgoing.ended()
            && let Poll::Ready(Err(error)) = self.outgoing.poll(cx)
        {
            return Poll::Ready(Err(Failure::Request(error)));
        }
        while let Poll::Ready(Some(polled)) = self.response.poll_informational(cx) {
            let (head, ()) = polled.map_err(Failure::Ended)?.into_parts();
            self.interims += 1;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Poll::Ready(Err(Failure::Malformed("a status of 101"))),
                _ if self.interims > INFORMATIONAL_MAX => {
                    return Poll::Ready(Err(Failure::Malformed("it sent too many informational responses")));
                }
                // Answers what the gateway itself may have expected.
                StatusCode::CONTINUE => {}
                _ => interim(head),
            }
        }
        Pin::new(&mut self.response)
            .poll(cx)
            .map(|polled| polled.map(http::Response::into_parts).map_err(Failure::Ended))
    }
}

const INFORMATIONAL_MAX: u8 = 16;
