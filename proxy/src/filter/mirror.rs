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

use http::header;
use http_body_util::BodyExt;

use self::tee::{Copy, Tee};
use super::{Edit, Flow};
use crate::{
    config::spec,
    error::Error,
    exchange::{Body, Call, Request},
    telemetry::{MirrorOutcome, MirrorSeries},
};

/// Copies under way at a time, on one worker.
const MIRRORS_MAX: usize = 256;
/// From the copy's first byte to the last of its answer.
const MIRROR_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer so that its connection may be used again.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The step.
pub(super) struct Mirror {
    target: Arc<Target>,
    percent: f64,
    body_bytes_max: usize,
}

// Where copies go, and where they are counted. Shared by workers: a copy costs a whole exchange, one count more is
// nothing to it.
struct Target {
    to: Arc<dyn Call>,
    upstream: Arc<str>,
    series: Arc<MirrorSeries>,
}

impl Mirror {
    /// A step that copies to `to`, counted in `series`.
    pub(super) fn new(spec: &spec::Mirror, to: Arc<dyn Call>, series: Arc<MirrorSeries>) -> Self {
        let target = Arc::new(Target { to, upstream: Arc::clone(&spec.upstream), series });
        Self { target, percent: spec.percent, body_bytes_max: spec.body_bytes_max }
    }

    fn begin(&self, request: &mut Request) {
        let mirrors = request.exchange.worker.locals.of::<Mirrors>();
        // A tunnel cannot be copied.
        if request.upgrade.is_some() || !mirrors.picks(self.percent) {
            return;
        }
        let Some(slot) = mirrors.slot() else {
            return self.target.series.finish(request.exchange.worker.index, MirrorOutcome::Crowded);
        };
        let mut head = request.head.clone();
        head.headers.remove(header::EXPECT);
        let (authority, exchange) = (request.authority.clone(), Rc::clone(&request.exchange));
        let copied = Box::new(Request { head, authority, body: Body::empty(), upgrade: None, exchange });
        let copy = Copy::new(copied, Arc::clone(&self.target), slot, self.body_bytes_max);
        if request.body.is_empty() {
            copy.send();
        } else {
            request.body = Body::stream(Tee::new(request.body.take(), copy));
        }
    }
}

impl Edit for Mirror {
    fn request(&self, request: &mut Request) -> Result<Flow, Error> {
        self.begin(request);
        Ok(Flow::Continue)
    }

    fn describe(&self) -> String {
        format!("mirror {} % to {}", self.percent, self.target.upstream)
    }
}

/// The mirrors of one worker.
#[derive(Debug)]
struct Mirrors {
    random: Cell<u64>,
    under_way: Cell<usize>,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self { random: Cell::new(RandomState::new().hash_one(0)), under_way: Cell::default() }
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
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        Some(Slot(Rc::clone(self)))
    }
}

/// One of the copies under way.
struct Slot(Rc<Mirrors>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

async fn send(request: Box<Request>, target: Arc<Target>, slot: Slot) {
    let worker = request.exchange.worker.index;
    let answer = async {
        let response = target.to.call(request).await?;
        let mut body = http_body_util::Limited::new(response.body, ANSWER_BYTES_MAX);
        while let Some(Ok(_)) = body.frame().await {}
        Ok::<_, Error>(())
    };
    let answered = matches!(tokio::time::timeout(MIRROR_TIMEOUT, answer).await, Ok(Ok(())));
    target.series.finish(worker, if answered { MirrorOutcome::Answered } else { MirrorOutcome::Failed });
    drop(slot);
}

#[cfg(test)]
mod tests;
