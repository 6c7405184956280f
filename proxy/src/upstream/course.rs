//! The course of one call: what was tried, what is left to be sent, and whether there is another try. The one place
//! where that is decided. Knows no connection and makes no try.

use std::time::{Duration, Instant, SystemTime};

use http::header;

use super::{
    attempt::{Cause, Progress},
    balance,
    call::{Tried, Tries},
    replay::Spare,
    terms::{Flaw, Terms},
};
use crate::{
    exchange::{Body, Request, Response},
    state::Counted,
    telemetry::{RetryReason, Withheld},
};

/// What is known of one call so far.
pub(super) struct Course {
    /// Positions that were tried, since all of them were last.
    pub(super) tried: balance::Tried,
    // What there is of the request's body for another try; in a box, because few calls have it.
    spare: Option<Box<Spare>>,
    retries: u32,
    // What the try under way is made again after.
    reason: Option<RetryReason>,
}

/// A try that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) position: usize,
    /// On a new connection.
    pub(super) fresh: bool,
    /// So long before it.
    pub(super) wait: Duration,
}

impl Course {
    /// Of a call that begins. Where more than the default is asked for, the request is counted, and its body readied
    /// to be sent more than once.
    pub(super) fn new(tries: &Tries<'_>, request: &mut Request, started: Instant) -> Self {
        let terms = tries.terms;
        let spare = match &terms.traffic {
            None => None,
            Some(traffic) => {
                traffic.count(tries.worker.index, started, Counted::Request);
                match &terms.retry {
                    Some(retry) => Some(Box::new(Spare::of(&mut request.body, retry.body_bytes_max))),
                    // A hedge sends what is in memory, and nothing else.
                    None => request.body.copy().map(|copy| Box::new(Spare::Copy(copy))),
                }
            }
        };
        Self { tried: balance::Tried::new(), spare, retries: 0, reason: None }
    }

    /// The first try; none where there is no endpoint.
    pub(super) fn first(&self, tries: &Tries<'_>) -> Option<Next> {
        let position = tries.turn.choose(&self.tried)?;
        Some(Next { position, fresh: false, wait: Duration::ZERO })
    }

    /// Whether further tries may be made beside one that is under way: the request may have its effect twice, and is
    /// at hand.
    pub(super) fn may_hedge(&self, request: &Request) -> bool {
        request.head.method.is_idempotent()
            && request.upgrade.is_none()
            && matches!(self.spare.as_deref(), Some(Spare::Copy(_)))
    }

    /// Counts how the try that was made again went.
    #[inline]
    pub(super) fn note(&mut self, tries: &Tries<'_>, tried: &Tried) {
        if let Some(reason) = self.reason.take() {
            let good = tried.as_ref().is_ok_and(|response| tries.terms.flaw(&response.head).is_none());
            tries.upstream.series.retried(tries.worker.index, reason, good);
        }
    }

    /// The try after one at `position` that had a flaw; none where that was the last. Puts the body back.
    #[cold]
    pub(super) fn next(
        &mut self,
        tries: &Tries<'_>,
        request: &mut Request,
        (position, fresh, flaw): (usize, bool, Flaw),
        tried: &Tried,
    ) -> Option<Next> {
        match self.plan(tries, request, (position, fresh, flaw), tried) {
            Ok(next) => {
                self.reason = Some(reason(flaw));
                Some(next)
            }
            Err(why) => {
                why.inspect(|why| tries.upstream.series.withheld(tries.worker.index, *why));
                None
            }
        }
    }

    // An error is why a retry that was asked for is not made, or nothing where none was.
    fn plan(
        &mut self,
        tries: &Tries<'_>,
        request: &mut Request,
        (position, fresh, flaw): (usize, bool, Flaw),
        tried: &Tried,
    ) -> Result<Next, Option<Withheld>> {
        let terms = tries.terms;
        let missed = tried.as_ref().err();
        let progress = missed.map_or(Progress::Sent, |missed| missed.progress);
        // A call that is refused in so many words had no effect, or one that may be had twice: that is why it is listed.
        let refused = matches!(flaw, Flaw::Call(_));
        let harmless = progress != Progress::Sent || refused || terms.allow_twice(&request.head.method);
        let Some(restored) = harmless.then(|| self.restore(request, missed.is_some_and(|missed| missed.again))) else {
            return Err(terms.want(flaw).then_some(Withheld::Method));
        };
        // Closed before the request came, in all likelihood, or refused: on a new connection it is as good as new.
        if let Flaw::Missed(cause @ (Cause::Stale | Cause::Refused)) = flaw
            && restored
            && !fresh
            && (cause == Cause::Stale || terms.retry.is_none())
        {
            return Ok(Next { position, fresh: true, wait: Duration::ZERO });
        }
        if !terms.want(flaw) {
            return Err(None);
        } else if !restored {
            return Err(Some(Withheld::Body));
        } else if self.retries >= terms.retries_max() {
            return Err(terms.retry.as_ref().filter(|retry| retry.attempts > 0).map(|_| Withheld::Attempts));
        }
        let next = self.elsewhere(tries, (position, flaw), progress)?;
        let wait = self.wait(terms, request, next, tried.as_ref().ok().filter(|_| next.position == position))?;
        // What reached nobody costs nobody: it needs no budget where nothing is said of retries.
        if let (Some(retry), false) = (&terms.retry, matches!(flaw, Flaw::Missed(Cause::Crowded)))
            && !terms.afford(retry.budget, tries.worker.index)
        {
            return Err(Some(Withheld::Budget));
        }
        self.retries += 1;
        Ok(Next { wait, ..next })
    }

    /// The request's body from its beginning, where that can be had.
    pub(super) fn body(&self) -> Option<Body> {
        self.spare.as_deref().and_then(Spare::body)
    }

    // Whether the request has its body again.
    fn restore(&self, request: &mut Request, untouched: bool) -> bool {
        if let Some(body) = self.body() {
            request.body = body;
            return true;
        }
        untouched
    }

    // Another endpoint, and only where there is none, one that was tried already. Says with the wait whether one is due.
    fn elsewhere(
        &mut self,
        tries: &Tries<'_>,
        (position, flaw): (usize, Flaw),
        progress: Progress,
    ) -> Result<Next, Option<Withheld>> {
        if !self.tried.contains(&position) {
            self.tried.push(position);
        }
        if let Some(position) = tries.turn.choose(&self.tried) {
            let wait = if progress == Progress::Sent { Duration::MAX } else { Duration::ZERO };
            return Ok(Next { position, fresh: false, wait });
        }
        if tries.terms.retry.is_none() || flaw == Flaw::Missed(Cause::Crowded) {
            return Err(None);
        }
        self.tried.clear();
        self.tried.push(position);
        let other = tries.turn.choose(&self.tried);
        let position = other.or_else(|| {
            self.tried.clear();
            tries.turn.choose(&self.tried)
        });
        position.map(|position| Next { position, fresh: false, wait: Duration::MAX }).ok_or(None)
    }

    // The wait before a try; `same` is the answer of the endpoint that is to be tried once more.
    fn wait(
        &self,
        terms: &Terms,
        request: &Request,
        next: Next,
        same: Option<&Response>,
    ) -> Result<Duration, Option<Withheld>> {
        let Some(retry) = terms.retry.as_ref().filter(|_| !next.wait.is_zero()) else { return Ok(Duration::ZERO) };
        let seed = request.exchange.trace.span_id ^ u64::from(self.retries);
        let asked = same.and_then(retry_after).unwrap_or(Duration::ZERO);
        let wait = terms.back_off(self.retries, seed).max(asked);
        let left = request.exchange.time_left(Instant::now());
        if asked > retry.retry_after_max || left.is_some_and(|left| wait >= left) {
            return Err(Some(Withheld::Time));
        }
        Ok(wait)
    }
}

// RFC 9110 section 10.2.3: seconds, or a date. What is neither is taken for a long time.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.head.headers.get(header::RETRY_AFTER)?.to_str().unwrap_or_default().trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    // A date that is over is now.
    let date = || Some(httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default());
    Some(seconds.or_else(date).unwrap_or(Duration::MAX))
}

const fn reason(flaw: Flaw) -> RetryReason {
    match flaw {
        Flaw::Status(_) | Flaw::Call(_) => RetryReason::Status,
        Flaw::Missed(cause) => match cause {
            Cause::Crowded => RetryReason::Crowded,
            Cause::Connect | Cause::ConnectTimeout => RetryReason::Connect,
            Cause::Stale => RetryReason::Stale,
            Cause::Refused => RetryReason::Refused,
            Cause::Timeout | Cause::TryTimeout => RetryReason::Timeout,
            Cause::Reset | Cause::Malformed | Cause::Request => RetryReason::Reset,
        },
    }
}
