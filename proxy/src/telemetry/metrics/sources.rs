//! What the metrics say of sources: taken from them when somebody asks, since each counts for itself. Knows no source.

use std::sync::{Arc, PoisonError};

use super::{Metrics, render::Page};
use crate::telemetry::names;

/// A source, as the metrics see it.
#[derive(Clone, Debug)]
pub struct SourceSample {
    /// As the operator knows it.
    pub source: Arc<str>,
    /// The source's own number of the last state that it knows of, where it counts them.
    pub revision: Option<u64>,
    /// Changes.
    pub events: u64,
    /// Times that changes were lost.
    pub overflows: u64,
    /// Watches opened.
    pub watches: u64,
    /// Comparisons that found nothing new, and those that did.
    pub comparisons: [u64; 2],
    /// Tokens asked for.
    pub authentications: u64,
    /// What failed how often, by kind.
    pub failures: Vec<(&'static str, u64)>,
    /// What is wrong now.
    pub trouble: Option<&'static str>,
    /// Entries that go by themselves.
    pub expiring: usize,
}

/// The families of sources. Two layers of one name are told apart by nobody, so the first one counts.
pub(super) fn families(metrics: &Metrics, page: &mut Page) {
    let mut all = metrics.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
    all.sort_by(|one, other| one.source.cmp(&other.source));
    all.dedup_by(|one, other| one.source == other.source);
    let mut each = |family, value: &dyn Fn(&SourceSample) -> Option<u64>| {
        page.family(family, |to| {
            for sample in &all {
                if let Some(value) = value(sample) {
                    to.sample(&[&sample.source], value);
                }
            }
        });
    };
    each(names::SOURCE_HEALTHY, &|sample| Some(u64::from(sample.trouble.is_none())));
    each(names::SOURCE_REVISION, &|sample| sample.revision);
    each(names::SOURCE_EVENTS, &|sample| Some(sample.events));
    each(names::SOURCE_OVERFLOWS, &|sample| Some(sample.overflows));
    each(names::SOURCE_WATCHES, &|sample| Some(sample.watches));
    each(names::SOURCE_AUTHENTICATIONS, &|sample| Some(sample.authentications));
    each(names::SOURCE_EXPIRING, &|sample| Some(sample.expiring as u64));
    page.family(names::SOURCE_TROUBLE, |to| {
        for sample in &all {
            sample.trouble.iter().for_each(|kind| to.sample(&[&sample.source, kind], 1));
        }
    });
    page.family(names::SOURCE_FAILURES, |to| {
        for sample in &all {
            sample.failures.iter().for_each(|(kind, count)| to.sample(&[&sample.source, kind], count));
        }
    });
    page.family(names::SOURCE_COMPARISONS, |to| {
        for sample in &all {
            let outcomes = ["equal", "different"].into_iter().zip(sample.comparisons);
            outcomes.for_each(|(outcome, count)| to.sample(&[&sample.source, outcome], count));
        }
    });
}
