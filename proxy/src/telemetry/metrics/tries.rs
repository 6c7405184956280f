//! What an upstream's series counts of tries beside the first: retries, what was held back, hedges. Knows no text
//! format.

use super::{UpstreamSeries, render::Page, series::UpstreamShard, shard::Count};
use crate::telemetry::names;

/// What a request was sent again after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// An endpoint had no connection left.
    Crowded,
    /// No connection.
    Connect,
    /// A kept connection proved to be closed.
    Stale,
    /// The request was refused unprocessed.
    Refused,
    /// The connection ended, or what came is not HTTP.
    Reset,
    /// There was no answer in time.
    Timeout,
    /// The status of an answer.
    Status,
}

/// Why a request was not sent again although that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// It was sent as often as it may be.
    Attempts,
    /// The budget was spent.
    Budget,
    /// Its body was longer than what is kept.
    Body,
    /// It may have had its effect, and its method may not have it twice.
    Method,
    /// There was no time left for it.
    Time,
}

/// How a hedge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeOutcome {
    /// Its answer was taken.
    Won,
    /// Another one was.
    Lost,
    /// There was no good answer.
    Failed,
}

const REASONS: [(RetryReason, &str); 7] = [
    (RetryReason::Crowded, "crowded"),
    (RetryReason::Connect, "connect"),
    (RetryReason::Stale, "stale"),
    (RetryReason::Refused, "refused"),
    (RetryReason::Reset, "reset"),
    (RetryReason::Timeout, "timeout"),
    (RetryReason::Status, "status"),
];
const WITHHELD: [(Withheld, &str); 5] = [
    (Withheld::Attempts, "attempts"),
    (Withheld::Budget, "budget"),
    (Withheld::Body, "body"),
    (Withheld::Method, "method"),
    (Withheld::Time, "time"),
];
const HEDGES: [(HedgeOutcome, &str); 3] =
    [(HedgeOutcome::Won, "won"), (HedgeOutcome::Lost, "lost"), (HedgeOutcome::Failed, "failed")];

#[derive(Debug, Default)]
pub(super) struct TryCounts {
    // By reason, and whether it brought a good answer.
    retries: [[Count; 2]; REASONS.len()],
    withheld: [Count; WITHHELD.len()],
    hedges: [Count; HEDGES.len()],
}

impl UpstreamSeries {
    /// A request was sent once more, and that is over: `answered` says whether with a good answer.
    pub fn retried(&self, worker: usize, reason: RetryReason, answered: bool) {
        self.shards.of(worker).inspect(|shard| shard.tries.retries[reason as usize][usize::from(answered)].add(1));
    }

    /// A request was not sent once more.
    pub fn withheld(&self, worker: usize, why: Withheld) {
        self.shards.of(worker).inspect(|shard| shard.tries.withheld[why as usize].add(1));
    }

    /// A further try beside one under way is over.
    pub fn hedged(&self, worker: usize, outcome: HedgeOutcome) {
        self.shards.of(worker).inspect(|shard| shard.tries.hedges[outcome as usize].add(1));
    }
}

/// Writes the families. Only what did happen: a series for everything that did not would be most of the page.
pub(super) fn render(all: &[(Box<str>, std::sync::Arc<UpstreamSeries>)], page: &mut Page) {
    let sum = |series: &UpstreamSeries, count: &dyn Fn(&TryCounts) -> &Count| {
        series.shards.sum(|shard: &UpstreamShard| count(&shard.tries))
    };
    page.family(names::UPSTREAM_RETRIES, |to| {
        for (name, series) in all {
            for (reason, label) in REASONS {
                for (good, outcome) in [(1, "answered"), (0, "failed")] {
                    let count = sum(series, &|tries| &tries.retries[reason as usize][good]);
                    to.positive(&[name, label, outcome], count);
                }
            }
        }
    });
    page.family(names::UPSTREAM_WITHHELD, |to| {
        for (name, series) in all {
            WITHHELD.iter().for_each(|(why, label)| {
                to.positive(&[name, label], sum(series, &|tries| &tries.withheld[*why as usize]));
            });
        }
    });
    page.family(names::UPSTREAM_HEDGES, |to| {
        for (name, series) in all {
            HEDGES.iter().for_each(|(outcome, label)| {
                to.positive(&[name, label], sum(series, &|tries| &tries.hedges[*outcome as usize]));
            });
        }
    });
}
