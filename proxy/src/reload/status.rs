//! What a reload says of itself: the state that serves, the last attempt, the generations still held. The one
//! vocabulary of `GET /-/status`, `tidegate reload`, log and metrics. Holds values only; the loop is next door.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    compile::Built,
    config::diagnostic::Diagnostic,
    drain::Live,
    telemetry::{Loaded, Metrics, Timestamp},
};

/// What `GET /-/status` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The gateway's own version.
    pub version: &'static str,
    /// The generation that serves.
    pub generation: u64,
    /// The revision of each layer that the serving generation was made of, in the order of the layers.
    pub revision: Vec<Revision>,
    /// The hash of the tree that the serving generation was made of, in hexadecimal.
    pub hash: String,
    /// When the serving generation was swapped in.
    pub serving_since: Timestamp,
    /// When the process started.
    pub started: Timestamp,
    /// How many whole seconds ago that was.
    pub uptime_s: u64,
    /// How many workers there are.
    pub workers: usize,
    /// The last attempt to load, whatever came of it.
    pub last_attempt: Option<Attempt>,
    /// Every generation that something still holds, oldest first.
    pub live_generations: Vec<LiveGeneration>,
    /// The sources and how they are.
    pub sources: Vec<SourceHealth>,
    /// Settings that the running process has otherwise than the documents, and that only a restart changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// What serves instead of what should (the last good tree), and why; one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Plugins whose last version that worked serves in place of what the configuration has (`on-failure: previous`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// A version of a plugin that serves in another's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// The middleware's name.
    pub middleware: String,
    /// What its module was called then.
    pub module: String,
    /// The module that the configuration has, and that failed.
    pub failed_sha256: String,
    /// The one that serves.
    pub serving_sha256: String,
    /// Since when.
    pub since: Timestamp,
}

/// A layer's source and its own number of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// As the operator knows it.
    pub source: String,
    /// Counted by the source.
    pub revision: u64,
    /// The hash of the layer, in hexadecimal: equal for equal content, whatever the source.
    pub hash: String,
}

/// A generation that is still held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveGeneration {
    /// Its number, exchanges and age.
    #[serde(flatten)]
    pub live: Live,
    /// Tunnels that began on it. They hold nothing of it.
    pub tunnels: u64,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceHealth {
    /// As the operator knows it.
    pub source: String,
    /// How changes are noticed (`events`, `polling`, `watch on http://…`, `off`), where the source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
    /// Whether its last reading was whole, and it is followed.
    pub healthy: bool,
    /// What is wrong, if anything is, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// For how many whole seconds it has been wrong, where the source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// What is wrong, if it is not; names the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One attempt to load what the sources hold.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// What asked for it.
    pub trigger: Trigger,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether nothing was to be swapped whatever the outcome: then `applied` says that the tree would have been.
    pub dry_run: bool,
    /// The generation that served before.
    pub generation_before: u64,
    /// The generation that serves after.
    pub generation: u64,
    /// Everything that was found, warnings included.
    pub diagnostics: Vec<Diagnostic>,
    /// How long each phase took.
    pub phases_ms: Phases,
    /// How much was done anew; what did not change was found.
    pub work: Work,
    /// The diagnostics as text for a terminal, with source lines. Only `POST /-/reload` answers with it.
    #[serde(skip)]
    pub report: String,
}

/// How much of an attempt was done anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Documents parsed.
    pub parsed_files: u64,
    /// Objects of documents (routes, listeners, ...) checked.
    pub checked_objects: u64,
    /// Parts built.
    #[serde(flatten)]
    pub built: Built,
}

/// What asked for a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The start of the process.
    Start,
    /// A source saw a change.
    Watch,
    /// `SIGHUP` or `SIGUSR1`.
    Signal,
    /// `POST /-/reload`.
    Admin,
    /// What was refused because somebody did not answer is tried again.
    Retry,
    /// A plugin fails, and its last version that worked takes its place.
    Fallback,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new generation serves.
    Applied,
    /// The tree has errors; the old generation serves on.
    Refused,
    /// The tree is the one that serves.
    Unchanged,
}

/// The steps of an attempt, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Sources to tree.
    Read,
    /// Tree to spec.
    Check,
    /// Modules and secrets that documents name.
    Resolve,
    /// Spec to snapshot, modules compiled.
    Compile,
    /// Guests instantiated, listeners bound, on every worker.
    Warm,
    /// Until every worker serves the new generation.
    Swap,
}

/// How long each phase took, in the order of their running; a phase that did not run is absent. Serialises as a map
/// from name to milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases(pub Vec<(Phase, Duration)>);

impl Attempt {
    /// Counts this attempt; a dry run is not one.
    pub fn count(&self, metrics: &Metrics) {
        if self.dry_run {
            return;
        }
        let phases: Vec<_> = self.phases_ms.0.iter().map(|(phase, time)| (phase.name(), *time)).collect();
        metrics.loaded(&Loaded {
            at: self.at,
            trigger: self.trigger.name(),
            outcome: self.outcome.name(),
            refused: self.outcome == Outcome::Refused,
            phases: &phases,
        });
    }
}

impl Trigger {
    /// Whether somebody asked for the attempt, so that the sources are looked at whatever they noticed.
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Signal | Self::Admin)
    }

    /// Every trigger.
    pub const ALL: [Self; 6] = [Self::Start, Self::Watch, Self::Signal, Self::Admin, Self::Retry, Self::Fallback];

    /// The name in logs, metric labels and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Refused, Self::Unchanged];

    /// The name in logs, metric labels and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 6] = [Self::Read, Self::Check, Self::Resolve, Self::Compile, Self::Warm, Self::Swap];

    /// The name in logs, metric labels and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Check => "check",
            Self::Resolve => "resolve",
            Self::Compile => "compile",
            Self::Warm => "warm",
            Self::Swap => "swap",
        }
    }
}

impl Phases {
    /// Notes that `phase` took `time`; the same phase again adds to it.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        match self.0.iter_mut().find(|(noted, _)| *noted == phase) {
            Some((_, total)) => *total += time,
            None => self.0.push((phase, time)),
        }
    }
}

impl Serialize for Phases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (phase, time) in &self.0 {
            // Microseconds are as fine as anyone reads.
            map.serialize_entry(phase.name(), &(time.as_micros() as f64 / 1000.0))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serialises() {
        for trigger in Trigger::ALL {
            assert_eq!(serde_json::to_value(trigger).expect("a word"), trigger.name());
        }
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).expect("a word"), outcome.name());
        }
    }

    #[test]
    fn an_attempt_is_counted_and_a_dry_run_is_not() {
        let metrics = Metrics::new(1);
        let mut attempt = Attempt {
            at: Timestamp::now(),
            trigger: Trigger::Admin,
            outcome: Outcome::Refused,
            dry_run: true,
            generation_before: 1,
            generation: 1,
            diagnostics: Vec::new(),
            phases_ms: Phases::default(),
            work: Work::default(),
            report: String::new(),
        };
        let counted = r#"tidegate_reloads_total{trigger="admin",outcome="refused"} 1"#;
        attempt.count(&metrics);
        assert!(!metrics.render().contains(counted));
        attempt.dry_run = false;
        attempt.count(&metrics);
        assert!(metrics.render().contains(counted));
    }

    #[test]
    fn phases_serialise_in_order_as_milliseconds() {
        let mut phases = Phases::default();
        phases.add(Phase::Read, Duration::from_micros(1500));
        phases.add(Phase::Check, Duration::from_millis(2));
        phases.add(Phase::Read, Duration::from_micros(500));
        assert_eq!(serde_json::to_string(&phases).expect("a map"), r#"{"read":2.0,"check":2.0}"#);
    }
}
