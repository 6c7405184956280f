//! Metrics of the plugin's own, among the gateway's, labelled with the middleware's name. Define them when the plugin is
//! made. One that could not be defined (a name taken by another kind, too many of them) counts nothing.

use crate::host::metrics::{self as host, Kind};

/// Counts up.
///
/// ```
/// # use tidegate_guest::{metrics::Counter, testing::Host};
/// # let host = Host::new();
/// # host.run(|| {
/// let refused = Counter::new("refused");
/// refused.add(1);
/// # });
/// assert_eq!(host.counter("refused"), 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

/// Is set; the last one to set it wins.
///
/// ```
/// # use tidegate_guest::{metrics::Gauge, testing::Host};
/// # let host = Host::new();
/// # host.run(|| {
/// let keys = Gauge::new("keys");
/// keys.set(2);
/// # });
/// assert_eq!(host.gauge("keys"), Some(2));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

/// Counts values in buckets by powers of four.
///
/// ```
/// # use tidegate_guest::{metrics::Histogram, testing::Host};
/// # let host = Host::new();
/// # host.run(|| {
/// let sizes = Histogram::new("token_bytes");
/// sizes.observe(512);
/// # });
/// assert_eq!(host.observed("token_bytes"), [512]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Histogram(Option<u32>);

impl Counter {
    /// The counter of this name.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Counter, testing::Host};
    /// # Host::new().run(|| {
    /// let refused = Counter::new("refused");
    /// # });
    /// ```
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Counter, name))
    }

    /// Adds.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Counter, testing::Host};
    /// # Host::new().run(|| {
    /// Counter::new("refused").add(1);
    /// # });
    /// ```
    pub fn add(self, by: u64) {
        update(self.0, i64::try_from(by).unwrap_or(i64::MAX));
    }
}

impl Gauge {
    /// The gauge of this name.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Gauge, testing::Host};
    /// # Host::new().run(|| {
    /// let keys = Gauge::new("keys");
    /// # });
    /// ```
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Gauge, name))
    }

    /// Sets it.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Gauge, testing::Host};
    /// # Host::new().run(|| {
    /// Gauge::new("keys").set(2);
    /// # });
    /// ```
    pub fn set(self, value: i64) {
        update(self.0, value);
    }
}

impl Histogram {
    /// The histogram of this name.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Histogram, testing::Host};
    /// # Host::new().run(|| {
    /// let sizes = Histogram::new("token_bytes");
    /// # });
    /// ```
    pub fn new(name: &str) -> Self {
        Self(host::define(Kind::Histogram, name))
    }

    /// Records a value.
    ///
    /// ```
    /// # use tidegate_guest::{metrics::Histogram, testing::Host};
    /// # Host::new().run(|| {
    /// Histogram::new("token_bytes").observe(512);
    /// # });
    /// ```
    pub fn observe(self, value: u64) {
        update(self.0, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

fn update(handle: Option<u32>, value: i64) {
    if let Some(handle) = handle {
        host::update(handle, value);
    }
}
