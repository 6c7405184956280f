//! Several tries at once: where the first is slow to answer, one more begins on another endpoint; the first good answer
//! wins, and the others are dropped, which cancels them. Knows nothing of connections.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;

use super::{
    call::{Tried, Tries},
    course::{Course, Next},
};
use crate::{
    config::spec::Hedge,
    exchange::{Body, Request, Timers},
    telemetry::{HedgeOutcome, Withheld},
};

/// Tries under way.
struct Race<'a> {
    running: Vec<(usize, LocalBoxFuture<'a, Tried>)>,
    // The positions of those that were begun beside the first.
    hedges: Vec<usize>,
}

/// Tries `first`, and more beside it as `hedge` says; answers with the good answer, or with the last one that came.
pub(super) async fn race(
    tries: &Tries<'_>,
    hedge: Hedge,
    request: &Request,
    course: &mut Course,
    first: Next,
) -> (usize, Tried) {
    let begin = |next: Next| -> LocalBoxFuture<'_, Tried> {
        let mut own = again(request, course.body());
        Box::pin(async move { tries.one(&mut own, (next.position, next.fresh), None, true).await })
    };
    let mut race = Race { running: vec![(first.position, begin(first))], hedges: Vec::new() };
    let mut asked = course.tried.clone();
    asked.push(first.position);
    let mut pause = tries.worker.locals.of::<Timers>().after(hedge.after);
    let mut more = hedge.requests_max - 1;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = race.poll(tries, cx) {
                return Poll::Ready(ended);
            }
            if more == 0 || Pin::new(&mut pause).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let Some(position) = tries.turn.choose(&asked).filter(|_| tries.afford(hedge)) else {
                more = 0;
                return Poll::Pending;
            };
            more -= 1;
            asked.push(position);
            race.hedges.push(position);
            race.running.push((position, begin(Next { position, fresh: false, wait: Duration::ZERO })));
            pause.reset(Instant::now() + hedge.after);
        }
    })
    .await;
    race.count(tries, &ended);
    course.tried = asked;
    ended
}

impl Race<'_> {
    // The good answer, or the last of all.
    fn poll(&mut self, tries: &Tries<'_>, cx: &mut Context<'_>) -> Poll<(usize, Tried)> {
        let mut at = 0;
        while let Some((position, running)) = self.running.get_mut(at) {
            let position = *position;
            let Poll::Ready(tried) = running.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            drop(self.running.swap_remove(at));
            let good = tried.as_ref().is_ok_and(|response| tries.terms.flaw(&response.head).is_none());
            if good || self.running.is_empty() {
                return Poll::Ready((position, tried));
            }
        }
        Poll::Pending
    }

    fn count(&self, tries: &Tries<'_>, (winner, tried): &(usize, Tried)) {
        for hedge in &self.hedges {
            let outcome = match (hedge == winner, tried) {
                (_, Err(_)) => HedgeOutcome::Failed,
                (true, Ok(_)) => HedgeOutcome::Won,
                (false, Ok(_)) => HedgeOutcome::Lost,
            };
            tries.upstream.series.hedged(tries.worker.index, outcome);
        }
    }
}

impl Tries<'_> {
    fn afford(&self, hedge: Hedge) -> bool {
        let affordable = self.terms.afford(hedge.budget, self.worker.index);
        if !affordable {
            self.upstream.series.withheld(self.worker.index, Withheld::Budget);
        }
        affordable
    }
}

// The same request once more.
fn again(request: &Request, body: Option<Body>) -> Box<Request> {
    Box::new(Request {
        head: request.head.clone(),
        authority: request.authority.clone(),
        body: body.unwrap_or_default(),
        upgrade: None,
        exchange: Rc::clone(&request.exchange),
    })
}
