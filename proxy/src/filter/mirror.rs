//! Sends a copy of a share of the requests elsewhere and ignores the answer. The original is never delayed: its body
//! is copied as it passes, and the copy leaves once it is whole, in a task of its own.
//!
//! Bounds, all of this worker: so many copies at a time, beyond which requests pass without one; a body over
//! `body_bytes_max` is not mirrored; a copy may take 10 s in all, and so much of an answer is read.

mod tee;

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use http::header;
use http_body_util::BodyExt;

use self::tee::{Copy, Tee};
use super::{Filter, Next};
use crate::{
    config::spec,
    error::Error,
    exchange::{Body, Call, Request, Response},
};

/// Copies under way at a time, on one worker.
const MIRRORS_MAX: usize = 256;
/// From the copy's first byte to the last of its answer.
const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer so that its connection may be used again.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The step.
pub(super) struct Mirror {
    to: Arc<dyn Call>,
    upstream: Arc<str>,
    percent: f64,
    body_bytes_max: usize,
}

impl Mirror {
    /// A step that copies to `to`.
    pub(super) fn new(spec: &spec::Mirror, to: Arc<dyn Call>) -> Self {
        let upstream = Arc::clone(&spec.upstream);
        Self { to, upstream, percent: spec.percent, body_bytes_max: spec.body_bytes_max }
    }

    fn begin(&self, request: &mut Request) {
        let mirrors = request.exchange.worker.locals.of::<Mirrors>();
        // A tunnel cannot be copied.
        if request.upgrade.is_some() || !mirrors.picks(self.percent) {
            return;
        }
        let Some(slot) = mirrors.slot() else { return };
        let mut head = request.head.clone();
        head.headers.remove(header::EXPECT);
        let (authority, exchange) = (request.authority.clone(), Rc::clone(&request.exchange));
        let copied = Request { head, authority, body: Body::empty(), upgrade: None, exchange };
        let copy = Copy::new(copied, Arc::clone(&self.to), slot, self.body_bytes_max);
        if request.body.is_empty() {
            copy.send();
        } else {
            request.body = Body::stream(Tee::new(request.body.take(), copy));
        }
    }
}

impl Filter for Mirror {
    fn handle<'a>(&'a self, mut request: Request, next: Next<'a>) -> LocalBoxFuture<'a, Result<Response, Error>> {
        self.begin(&mut request);
        Box::pin(async move { Ok(next.run(request).await) })
    }

    fn describe(&self) -> String {
        format!("mirror {} % to {}", self.percent, self.upstream)
    }
}

/// What became of the copies of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Answered, whatever the status.
    Answered,
    /// Not begun: as many as may be were under way.
    Crowded,
    /// The body was over the limit.
    TooLarge,
    /// The original ended before its body was whole.
    Cut,
    /// The upstream did not answer, or not in time.
    Failed,
}

/// The mirrors of one worker.
#[derive(Debug)]
struct Mirrors {
    random: Cell<u64>,
    under_way: Cell<usize>,
    fates: [Cell<u64>; 5],
}

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            random: Cell::new(RandomState::new().hash_one(0)),
            under_way: Cell::default(),
            fates: Default::default(),
        }
    }
}

impl Mirrors {
    // SplitMix64 (Steele, Lea and Flood 2014): a share of the exchanges needs no better.
    fn picks(&self, percent: f64) -> bool {
        self.random.set(self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut mixed = self.random.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = (mixed ^ (mixed >> 31)) >> 11;
        (uniform as f64) < percent / 100.0 * (1_u64 << 53) as f64
    }

    fn slot(self: &Rc<Self>) -> Option<Slot> {
        if self.under_way.get() >= MIRRORS_MAX {
            self.count(Fate::Crowded);
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        Some(Slot(Rc::clone(self)))
    }

    fn count(&self, fate: Fate) {
        let count = &self.fates[fate as usize];
        count.set(count.get() + 1);
    }
}

/// One of the copies under way.
struct Slot(Rc<Mirrors>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

async fn send(request: Request, to: Arc<dyn Call>, slot: Slot) {
    let answer = async {
        let response = to.call(request).await?;
        let mut body = http_body_util::Limited::new(response.body, ANSWER_BYTES_MAX);
        while let Some(Ok(_)) = body.frame().await {}
        Ok::<_, Error>(())
    };
    let answered = matches!(tokio::time::timeout(MIRROR_TIMEOUT, answer).await, Ok(Ok(())));
    slot.0.count(if answered { Fate::Answered } else { Fate::Failed });
}

#[cfg(test)]
mod tests;
