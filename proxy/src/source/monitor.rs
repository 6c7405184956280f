//! How a source is: what status, readiness and metrics may ask of it at any time, while the reload loop waits for its
//! next change. Knows no source in particular.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A source's state, readable from any thread.
pub trait Monitor: Send + Sync {
    /// How it is now.
    fn health(&self) -> Health;
}

/// How a source is. What a source does not know of stays at its default.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// How changes are noticed, in a word or two for people: `events`, `polling`, `watch on http://…`, `off`.
    pub how: String,
    /// The source's own number of the last state that it knows of.
    pub revision: Option<u64>,
    /// Changes since it was opened.
    pub events: u64,
    /// Times that events were lost, each followed by a full reading.
    pub overflows: u64,
    /// Watches opened.
    pub watches: u64,
    /// Comparisons of what is known with all that there is.
    pub comparisons: Comparisons,
    /// Tokens asked for.
    pub authentications: u64,
    /// What failed how often, by kind.
    pub failures: Vec<(&'static str, u64)>,
    /// What is wrong now. What is known serves on.
    pub trouble: Option<Trouble>,
    /// Entries that go by themselves.
    pub expiring: Vec<Expiring>,
}

/// What is wrong with a source.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// In one word, the same in metrics, status and log.
    pub kind: &'static str,
    /// For people, with the next step.
    pub text: String,
    /// Since when.
    pub since: Instant,
}

/// How often everything was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// It was what was known.
    pub equal: u64,
    /// It was not; the first reading counts here, too.
    pub different: u64,
}

/// An entry that goes with a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Its path.
    pub path: Arc<str>,
    /// The lease.
    pub lease: i64,
    /// When it goes, unless the lease is kept alive: whole seconds from now.
    pub within: Duration,
}
