//! One call to an upstream: the loop of tries. Has an endpoint chosen and a try made, and another one for as long as
//! [`Course`] says so: by how far the last one got, what is asked for, and what may be spent. Knows neither connections
//! nor protocols.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Upstream,
    admission::Admission,
    attempt::{Attempt, Cause, Missed},
    balance::Turn,
    course::Course,
    deadline, hedge,
    pool::{Facts, Pools},
    terms::{Flaw, Terms},
};
use crate::{
    error::{Error, Kind},
    exchange::{Request, Response, Timers, Worker},
};

/// What all tries of one call share.
pub(super) struct Tries<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) terms: &'a Terms,
    pub(super) turn: Turn<'a>,
    pub(super) worker: &'a Worker,
    pools: Rc<Pools>,
    user: Rc<Facts>,
    own: bool,
}

/// What comes of a try.
pub(super) type Tried = Result<Response, Box<Missed>>;

impl Upstream {
    /// Sends `request` on `terms`; `own` says whether it is the exchange's own, whose record says where it went.
    pub(super) async fn send(&self, terms: &Terms, mut request: Box<Request>, own: bool) -> Result<Response, Error> {
        let exchange = Rc::clone(&request.exchange);
        let started = Instant::now();
        let result = match &self.admission {
            None => self.reach(terms, &exchange.worker, &mut request, (started, own)).await,
            Some(admission) => Box::pin(self.admitted(admission, terms, &mut request, (started, own))).await,
        };
        let time = started.elapsed();
        let outcome = result.as_ref().map(|response| response.head.status.as_u16()).map_err(Error::kind);
        self.series.finish(exchange.worker.index, outcome, time);
        if own {
            exchange.record.note(|record| record.upstream_time = Some(time));
        }
        result
    }

    // Boxed by the caller, because few upstreams have limits and every call has room for it.
    async fn admitted(
        &self,
        admission: &Admission,
        terms: &Terms,
        request: &mut Request,
        (started, own): (Instant, bool),
    ) -> Result<Response, Error> {
        let exchange = Rc::clone(&request.exchange);
        if own {
            exchange.record.note(|record| record.upstream = Some(Arc::clone(&self.name)));
        }
        let taken = admission.take(self, &exchange).await?;
        let result = self.reach(terms, &exchange.worker, request, (started, own)).await;
        taken.settle(result)
    }

    async fn reach(
        &self,
        terms: &Terms,
        worker: &Worker,
        request: &mut Request,
        (started, own): (Instant, bool),
    ) -> Result<Response, Error> {
        let pools = worker.locals.of::<Pools>();
        let user = pools.facts(&self.name, &self.series);
        let turn = self.balancer.turn(worker, request).await;
        let tries = Tries { upstream: self, terms, turn, worker, pools, user, own };
        let mut course = Course::new(&tries, request, started);
        let Some(first) = course.first(&tries) else { return Err(tries.turn.nothing(&self.name)) };
        let (mut next, mut begun) = (first, Some(started));
        loop {
            // In a block of its own: a call has no room for a response while it waits.
            next = {
                let (position, tried) = match terms.hedge.filter(|_| course.may_hedge(request)) {
                    Some(hedge) => Box::pin(hedge::race(&tries, hedge, request, &mut course, next)).await,
                    None => (next.position, tries.one(request, (next.position, next.fresh), begun.take(), false).await),
                };
                course.note(&tries, &tried);
                let flaw = match &tried {
                    Ok(response) => terms.flaw(&response.head),
                    Err(missed) => Some(Flaw::Missed(missed.cause)),
                };
                let further = flaw.and_then(|flaw| course.next(&tries, request, (position, next.fresh, flaw), &tried));
                match further {
                    Some(further) => further,
                    None => return tries.conclude(position, tried, request),
                }
            };
            if !next.wait.is_zero() {
                Box::pin(worker.locals.of::<Timers>().after(next.wait)).await;
            }
        }
    }
}

impl Tries<'_> {
    /// Makes one try, and tells the balancer how it went. `begun` is given for a call's first: it saves a look at the
    /// clock. A `rival` is one of several at once.
    pub(super) async fn one(
        &self,
        request: &mut Request,
        (position, fresh): (usize, bool),
        begun: Option<Instant>,
        rival: bool,
    ) -> Tried {
        let member = self.turn.member(position);
        let pool = self.pools.pool(self.worker, &member.endpoint, &self.upstream.states);
        let (upstream, terms, user) = (self.upstream, self.terms, &self.user);
        let since = begun.unwrap_or_else(Instant::now);
        let attempt = Attempt::new((upstream, terms), (member, &pool, user), (self.own, rival), (fresh, begun));
        let tried = match terms.try_timeout {
            // Not through `run`, whose own room every call would have.
            None if request.exchange.spans.is_none() => attempt.make(request).await,
            None => Box::pin(attempt.run(request)).await,
            Some(time) => Box::pin(timed(&attempt, request, since, time)).await,
        };
        match &tried {
            Ok(response) => self.turn.learn(position, Ok(&response.head), since),
            Err(missed) => learn(&self.turn, position, missed, since),
        }
        tried
    }

    fn conclude(&self, position: usize, tried: Tried, request: &Request) -> Result<Response, Error> {
        let mut response = tried.map_err(|missed| missed.error)?;
        if self.own {
            self.turn.bind(position, request, &mut response.head.headers);
        }
        Ok(response)
    }
}

// A try with an end that is set beforehand, which holds for the body of its response, too.
async fn timed(attempt: &Attempt<'_>, request: &mut Request, since: Instant, time: Duration) -> Tried {
    let (at, timers) = (since + time, &attempt.pool.timers);
    let Ok(tried) = timers.within(at, attempt.run(request)).await else { return Err(attempt.late(request, time)) };
    let mut response = tried?;
    if response.tunnel.is_none() {
        let place = format!("upstream {}", attempt.user.name);
        let late = move || {
            let text = format!("{place}: its response was not over within try-timeout ({time:?})");
            Error::new(Kind::UpstreamTryTimeout, text)
        };
        response.body = deadline::until(response.body, at, timers, late);
    }
    Ok(response)
}

// What a failed try says of its endpoint.
#[cold]
fn learn(turn: &Turn<'_>, position: usize, missed: &Missed, since: Instant) {
    match missed.cause {
        // Its connections are all in use, or the client is at fault, which says nothing against it; and of a kept
        // connection that was closed, the try on a new one tells.
        Cause::Crowded | Cause::Request | Cause::Stale => {}
        Cause::Connect | Cause::ConnectTimeout => turn.unreached(position, missed.error.kind(), since),
        _ => turn.learn(position, Err(missed.error.kind()), since),
    }
}
