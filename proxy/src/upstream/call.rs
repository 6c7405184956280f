//! One call to an upstream: the loop of tries. Chooses an endpoint, has a try made, and decides by how far it got
//! whether another one is made: with another endpoint where nothing was sent, and once more where a kept connection
//! proved to be closed. Knows neither connections nor protocols.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Upstream,
    attempt::{Attempt, Cause, Missed, Progress},
    balance::{Tried, Turn},
    pool::Pools,
};
use crate::{
    error::Error,
    exchange::{Request, Response, Worker},
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

    async fn reach(
        &self,
        worker: &Worker,
        request: &mut Request,
        (started, own): (Instant, bool),
    ) -> Result<Response, Error> {
        let pools = worker.locals.of::<Pools>();
        let user = pools.facts(&self.name, &self.series);
        let turn = self.balancer.turn(worker, request).await;
        let (mut tried, mut first) = (Tried::new(), Some(started));
        // Why the last try failed, and the endpoint that is to be tried again.
        let (mut last, mut again) = (None, None);
        while let Some(position) = again.or_else(|| choose(&turn, &tried)) {
            let member = turn.member(position);
            let pool = pools.pool(worker, &member.endpoint, &self.states);
            let (fresh, begun) = (again.take().is_some(), first.take());
            let attempt = Attempt { upstream: self, member, pool: &pool, user: &user, own, fresh, started: begun };
            let since = begun.unwrap_or_else(Instant::now);
            let missed = match attempt.run(request).await {
                Ok(mut response) => {
                    turn.learn(position, Ok(&response.head), since.elapsed());
                    if own {
                        turn.bind(position, request, &mut response.head.headers);
                    }
                    return Ok(response);
                }
                Err(missed) => missed,
            };
            learn(&turn, position, &missed, since.elapsed());
            match missed.next(request, fresh) {
                Next::Other => tried.push(position),
                Next::Same => {
                    again = Some(position);
                    self.series.retried(worker.index);
                }
                Next::None => return Err(missed.error),
            }
            last = Some(missed);
        }
        Err(last.map_or_else(|| turn.nothing(&self.name), |missed| missed.error))
    }
}

// The endpoint of the next try; none where enough were tried.
fn choose(turn: &Turn<'_>, tried: &Tried) -> Option<usize> {
    if tried.len() < ENDPOINTS_TRIED_MAX { turn.choose(tried) } else { None }
}

// What a failed try says of its endpoint.
#[cold]
fn learn(turn: &Turn<'_>, position: usize, missed: &Missed, time: Duration) {
    match missed.cause {
        // Its connections are all in use, or the client is at fault, which says nothing against it; and of a kept
        // connection that was closed, the try on a new one tells.
        Cause::Crowded | Cause::Request | Cause::Stale => {}
        Cause::Connect | Cause::ConnectTimeout => turn.unreached(position, missed.error.kind(), time),
        _ => turn.learn(position, Err(missed.error.kind()), time),
    }
}

// What follows a try that failed.
enum Next {
    // Another endpoint.
    Other,
    // The same one on a new connection, once.
    Same,
    None,
}

impl Missed {
    #[cold]
    fn next(&self, request: &Request, fresh: bool) -> Next {
        let harmless = self.progress != Progress::Sent || request.head.method.is_idempotent();
        match self.cause {
            // Nothing was sent: this is no reason to fail while there are other endpoints.
            Cause::Crowded | Cause::Connect | Cause::ConnectTimeout => Next::Other,
            Cause::Stale | Cause::Refused if harmless && self.again && !fresh => Next::Same,
            _ => Next::None,
        }
    }
}

// How many endpoints an exchange tries to reach.
const ENDPOINTS_TRIED_MAX: usize = 3;
