//! How a followed prefix is: written by the one who follows it, read by status, readiness and metrics. Logs when the
//! state changes, not each time that something fails again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::source::{Comparisons, Expiring, Health, Monitor, Trouble};

/// Expiring entries that are told of; a dump with more would say little.
const EXPIRING_MAX: usize = 1000;

/// The state of one source.
#[derive(Debug)]
pub(super) struct EtcdMonitor {
    source: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    endpoint: Option<Arc<str>>,
    revision: i64,
    events: u64,
    watches: u64,
    comparisons: Comparisons,
    failures: BTreeMap<&'static str, u64>,
    authentications: u64,
    /// Why it is not followed at the moment.
    lost: Option<Trouble>,
    /// Why what it holds is not taken.
    refused: Option<Trouble>,
    leases: BTreeMap<i64, Instant>,
    leased: Vec<(Arc<str>, i64)>,
}

impl EtcdMonitor {
    pub(super) fn new(source: &Arc<str>) -> Self {
        let starting = Trouble { kind: "starting", text: "it has not been read yet".to_owned(), since: Instant::now() };
        let state = State { lost: Some(starting), ..State::default() };
        Self { source: Arc::clone(source), state: Mutex::new(state) }
    }

    /// It is followed, at this endpoint.
    pub(super) fn follows(&self, endpoint: &str) {
        let mut state = self.state();
        state.watches += 1;
        state.endpoint = Some(endpoint.into());
        match state.lost.take() {
            Some(lost) if lost.kind != "starting" => {
                let for_s = lost.since.elapsed().as_secs();
                tracing::info!(source = %self.source, endpoint, was = lost.kind, for_s, "followed again");
            }
            _ => {}
        }
    }

    /// It is not followed any more, or still not.
    pub(super) fn lost(&self, kind: &'static str, text: String) {
        let mut state = self.state();
        *state.failures.entry(kind).or_default() += 1;
        state.endpoint = None;
        match &mut state.lost {
            Some(lost) if lost.kind == kind => lost.text = text,
            lost => {
                let what = "not followed; what is known serves on";
                tracing::warn!(source = %self.source, kind, why = %text, "{what}");
                let since = lost.as_ref().map_or_else(Instant::now, |lost| lost.since);
                *lost = Some(Trouble { kind, text, since });
            }
        }
    }

    /// Something failed that does not end the following.
    pub(super) fn failed(&self, kind: &'static str) {
        *self.state().failures.entry(kind).or_default() += 1;
    }

    /// What it holds is not taken, or is taken again.
    pub(super) fn refuses(&self, why: Option<(&'static str, String)>) {
        let mut state = self.state();
        let known = state.refused.as_ref().map(|refused| refused.kind);
        match (why, known) {
            (Some((kind, text)), known) if known != Some(kind) => {
                tracing::error!(source = %self.source, kind, why = %text, "refused; the tree before it stays");
                *state.failures.entry(kind).or_default() += 1;
                state.refused = Some(Trouble { kind, text, since: Instant::now() });
            }
            (None, Some(_)) => {
                tracing::info!(source = %self.source, "taken again");
                state.refused = None;
            }
            _ => {}
        }
    }

    /// Changes arrived, the last of this revision.
    pub(super) fn changed(&self, events: usize, revision: i64) {
        let mut state = self.state();
        state.events += events as u64;
        state.revision = revision;
    }

    /// Everything was read, and was what was known or was not.
    pub(super) fn compared(&self, equal: bool, revision: i64) {
        let mut state = self.state();
        if equal {
            state.comparisons.equal += 1;
        } else {
            state.comparisons.different += 1;
        }
        state.revision = revision;
    }

    /// How often a token was asked for.
    pub(super) fn authentications(&self, count: u64) {
        self.state().authentications = count;
    }

    /// These entries go with leases that live until then.
    pub(super) fn leases(&self, leased: Vec<(Arc<str>, i64)>, leases: BTreeMap<i64, Instant>) {
        let mut state = self.state();
        (state.leased, state.leases) = (leased, leases);
    }

    /// Why it is not followed, if it is not.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.state().lost.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for EtcdMonitor {
    fn health(&self) -> Health {
        let state = self.state();
        let expiring = |(path, lease): &(Arc<str>, i64)| {
            let left = state.leases.get(lease)?.saturating_duration_since(Instant::now());
            Some(Expiring { path: Arc::clone(path), lease: *lease, within: Duration::from_secs(left.as_secs()) })
        };
        Health {
            how: state.endpoint.as_ref().map_or_else(|| "off".to_owned(), |endpoint| format!("watch on {endpoint}")),
            revision: u64::try_from(state.revision).ok(),
            events: state.events,
            watches: state.watches,
            comparisons: state.comparisons,
            authentications: state.authentications,
            failures: state.failures.iter().map(|(kind, count)| (*kind, *count)).collect(),
            trouble: state.lost.clone().or_else(|| state.refused.clone()),
            expiring: state.leased.iter().take(EXPIRING_MAX).filter_map(expiring).collect(),
            ..Health::default()
        }
    }
}
