//! What is counted of reloads and of the generation that serves. Written by the control plane, a few times a second
//! at most. Knows triggers, outcomes and phases by name only: `reload` says what they are.

use std::{collections::BTreeMap, time::Duration};

use super::{
    render::Page,
    shard::{Histogram, Slow},
};
use crate::{
    drain::Live,
    telemetry::{Timestamp, names},
};

/// An attempt to load, as the metrics see it.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    /// When it began.
    pub at: Timestamp,
    /// What asked for it.
    pub trigger: &'static str,
    /// What came of it.
    pub outcome: &'static str,
    /// Whether the tree was refused.
    pub refused: bool,
    /// The phases that ran and how long each took.
    pub phases: &'a [(&'static str, Duration)],
}

#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) attempts: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) phases: BTreeMap<&'static str, Histogram<Slow>>,
    pub(super) last_attempt: Option<(Timestamp, bool)>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) last_good_serves: bool,
    pub(super) last_good_kept: Option<Timestamp>,
    pub(super) last_good_errors: u64,
    pub(super) fleet_status_errors: u64,
    pub(super) generation: u64,
    pub(super) hash: String,
    pub(super) certificates: Vec<(String, String, u64)>,
    pub(super) live: Vec<Live>,
    /// By plugin: how often its last version that worked was put in its place, and whether that serves now.
    pub(super) fallbacks: BTreeMap<String, (u64, bool)>,
}

impl Reloads {
    pub(super) fn count(&mut self, attempt: &Loaded<'_>) {
        *self.attempts.entry((attempt.trigger, attempt.outcome)).or_default() += 1;
        for (phase, time) in attempt.phases {
            self.phases.entry(phase).or_default().observe(*time);
        }
        self.last_attempt = Some((attempt.at, !attempt.refused));
        if !attempt.refused {
            self.last_success = Some(attempt.at);
        }
    }

    /// Writes which plugins an earlier version stands in for.
    pub(super) fn show_fallbacks(&self, page: &mut Page) {
        page.family(names::PLUGIN_FALLBACKS, |to| {
            self.fallbacks.iter().for_each(|(plugin, (count, _))| to.sample(&[plugin], *count));
        });
        page.family(names::PLUGIN_FALLBACK, |to| {
            self.fallbacks.iter().for_each(|(plugin, (_, serves))| to.sample(&[plugin], u8::from(*serves)));
        });
    }

    /// Exchanges under way on the generation that serves, and on older ones.
    pub(super) fn exchanges(&self) -> (u64, u64) {
        self.live.iter().fold((0, 0), |(current, old), live| match live.generation == self.generation {
            true => (current + live.exchanges, old),
            false => (current, old + live.exchanges),
        })
    }
}
