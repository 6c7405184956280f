//! The end of an exchange, exactly once, in whichever way it comes: the last byte handed over, the client gone, an
//! error. Held by the exchange's future until there is a response, and by the response's body from then on.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderValue, Method, Uri};

use super::{
    alarm::Alarm,
    connect::Opening,
    inbound::Received,
    interim::Early,
    session::{Handed, Session},
};
use crate::{
    error::{Error, Kind},
    exchange::{Authority, Exchange, Outcome},
    snapshot::WorkerPlan,
    telemetry::{access, trace},
};

/// What a log line says of the request, as it came in.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Uri,
    /// `None` where the request was refused before it was routed.
    pub(super) authority: Option<Authority>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
}

/// An exchange that is not over; dropped, it is.
#[derive(Debug)]
pub(super) struct Life {
    /// The exchange.
    pub(super) exchange: Rc<Exchange>,
    /// Its connection.
    pub(super) session: Rc<Session>,
    /// What is known of the request body, if there is one.
    pub(super) received: Option<Rc<Received>>,
    /// The protocol that the client asked to upgrade to.
    pub(super) upgrade: Option<HeaderValue>,
    /// The stream that is to become a tunnel, where the client asks for that on one.
    pub(super) opening: Option<Opening>,
    /// Where interim responses go that the connection does not write itself.
    pub(super) early: Option<Rc<Early>>,
    /// The status sent.
    pub(super) status: u16,
    /// Body bytes sent.
    pub(super) sent: u64,
    /// The length that the response's head promised.
    pub(super) promised: Option<u64>,
    /// Of a stream: when the last piece was handed over, until another is asked for.
    pub(super) handed: Option<Rc<Handed>>,
    /// Whether all of the response was handed over.
    pub(super) complete: bool,
    plan: RefCell<Rc<WorkerPlan>>,
    // Refused before it was routed: no route counts it.
    refused: bool,
    asked: Asked,
    // Of a stream's own task; an HTTP/1 exchange lives on its connection's.
    alarm: Option<Alarm>,
}

impl Life {
    /// Begins. In a box, because it goes from hand to hand.
    pub(super) fn new(
        session: &Rc<Session>,
        exchange: &Rc<Exchange>,
        plan: &Rc<WorkerPlan>,
        asked: Asked,
    ) -> Box<Self> {
        session.follow(exchange);
        Box::new(Self {
            exchange: Rc::clone(exchange),
            session: Rc::clone(session),
            received: None,
            upgrade: None,
            opening: None,
            early: None,
            status: 0,
            sent: 0,
            promised: None,
            complete: false,
            handed: session.is_multiplexed().then(|| session.watch()),
            plan: RefCell::new(Rc::clone(plan)),
            refused: asked.authority.is_none(),
            asked,
            alarm: session.is_multiplexed().then(|| Alarm::new(Rc::clone(&session.timers))),
        })
    }

    /// Another route was chosen, before anything was sent.
    pub(super) fn reroute(&self, plan: &Rc<WorkerPlan>) {
        self.plan.replace(Rc::clone(plan));
    }

    /// The timer of the task that this exchange lives on.
    pub(super) fn alarm(&self) -> &Alarm {
        self.alarm.as_ref().unwrap_or(&self.session.alarm)
    }

    /// Why the exchange may not go on: its own time is up, or its generation's. If it may, the task is woken when that
    /// changes. Whoever waits must ask again each time the task is woken.
    pub(super) fn poll_overdue(&self, cx: &mut Context<'_>) -> Poll<Error> {
        poll_overdue(&self.exchange, self.alarm(), cx)
    }

    fn finish(&mut self) {
        let now = Instant::now();
        let failed = self.exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind));
        if !self.complete && failed.is_none() {
            self.exchange.record.fail(&Error::new(Kind::ClientGone, "went away before the response was complete"));
        }
        let error = failed.or((!self.complete).then_some(Kind::ClientGone));
        if self.status == 0 {
            self.status = error.unwrap_or(Kind::ClientGone).status().as_u16();
        }
        let outcome = Outcome {
            status: self.status,
            request_bytes: self.received.as_ref().map_or(0, |received| received.bytes()),
            response_bytes: self.sent,
            duration: now.saturating_duration_since(self.exchange.started),
            error,
        };
        self.exchange.finish(outcome);
        self.report(&outcome);
        self.session.end_exchange(now, self.complete);
    }

    // Metrics, the access log, the exchange's span.
    fn report(&self, outcome: &Outcome) {
        let (worker, plan) = (self.exchange.worker.index, self.plan.borrow());
        let plan = plan.plan();
        if self.refused {
            let kind = outcome.error.unwrap_or(Kind::MalformedRequest);
            self.session.door.hall.series.refused(worker, kind);
        } else {
            plan.series.finish(worker, outcome);
        }
        if plan.sink.is_on() {
            plan.sink.write(worker, &self.line(outcome));
        }
        if let Some(spans) = &self.exchange.spans {
            spans.finish(trace::exchange(&self.line(outcome)));
        }
    }

    fn line<'a>(&'a self, outcome: &'a Outcome) -> access::Line<'a> {
        access::Line {
            exchange: &self.exchange,
            method: &self.asked.method,
            authority: self.asked.authority.as_ref().map_or("", Authority::as_str),
            path: self.asked.target.path_and_query().map_or("", |target| target.as_str()),
            user_agent: self.asked.user_agent.as_ref(),
            referer: self.asked.referer.as_ref(),
            outcome,
        }
    }
}

/// See [`Life::poll_overdue`].
pub(super) fn poll_overdue(exchange: &Exchange, alarm: &Alarm, cx: &mut Context<'_>) -> Poll<Error> {
    if exchange.poll_expired(cx).is_ready() {
        let text = format!("generation {} was replaced too long ago", exchange.generation());
        return Poll::Ready(Error::new(Kind::GenerationExpired, text));
    }
    let Some(deadline) = exchange.deadline.get() else { return Poll::Pending };
    let late = |()| Error::new(Kind::ExchangeTimeout, format!("not over after {:?}", exchange.started.elapsed()));
    alarm.poll_at(deadline, cx).map(late)
}

impl Drop for Life {
    fn drop(&mut self) {
        self.finish();
    }
}
