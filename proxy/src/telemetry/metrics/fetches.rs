//! What is counted of modules that are fetched. Written by the control plane.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Metrics, render::Page};
use crate::telemetry::names;

/// Modules that a configuration newly named, by how they came.
#[derive(Debug, Default)]
pub struct Fetches {
    fetched: AtomicU64,
    found: AtomicU64,
    failed: AtomicU64,
}

impl Fetches {
    /// One was fetched.
    pub fn fetched(&self) {
        self.fetched.fetch_add(1, Relaxed);
    }

    /// One was found on disk.
    pub fn found(&self) {
        self.found.fetch_add(1, Relaxed);
    }

    /// One could not be had.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Each outcome's name and count.
    pub fn all(&self) -> [(&'static str, u64); 3] {
        [("fetched", &self.fetched), ("disk", &self.found), ("failed", &self.failed)]
            .map(|(name, count)| (name, count.load(Relaxed)))
    }
}

/// Writes them.
pub(super) fn families(metrics: &Metrics, page: &mut Page) {
    page.family(names::MODULE_FETCHES, |to| {
        let counts = metrics.fetches.get().map(|fetches| fetches.all());
        counts.into_iter().flatten().for_each(|(outcome, count)| to.sample(&[outcome], count));
    });
}
