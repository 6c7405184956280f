//! Metrics of the plugin's own, among the gateway's, labelled with the middleware's name. Define them when the plugin is
//! made. One that could not be defined (a name taken by another kind, too many of them) counts nothing.

use crate::bindings::tidegate::plugin::metrics::{self as host, Kind};

/// Counts up.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// Is set; the last one to set it wins.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

/// Counts values in buckets by powers of four.
#[derive(Clone, Copy, Debug)]
pub struct Histogram(Option<u32>);

impl Counter {
    /// The counter of this name.
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Counter, name))
    }

    /// Adds.
    pub fn add(self, by: u64) {
        update(self.0, i64::try_from(by).unwrap_or(i64::MAX));
    }
}

impl Gauge {
    /// The gauge of this name.
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Gauge, name))
    }

    /// Sets it.
    pub fn set(self, value: i64) {
        update(self.0, value);
    }
}

impl Histogram {
    /// The histogram of this name.
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Histogram, name))
    }

    /// Records a value.
    pub fn observe(self, value: u64) {
        update(self.0, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

fn update(handle: Option<u32>, value: i64) {
    if let Some(handle) = handle {
        host::update(handle, value);
    }
}
