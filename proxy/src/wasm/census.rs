//! What is counted of one guest for as long as it stands: that it does, where, and how much memory it has. Knows no ABI.

use std::sync::Arc;

use super::{Counters, guest::Wear};
use crate::telemetry::PluginSeries;

/// One guest, counted until this is dropped.
pub(super) struct Counted {
    counters: Arc<Counters>,
    /// The worker that it lives on, and the series that counts it there.
    home: Option<(usize, Arc<PluginSeries>)>,
    /// Of its memory, as the series has it.
    bytes: usize,
    /// Into it, so far.
    calls: u64,
}

impl Counted {
    /// One that was instantiated just now.
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.instantiated();
        Self { counters: Arc::clone(counters), home: None, bytes: 0, calls: 0 }
    }

    /// It lives on `worker` from now on, with so many bytes of memory. To be called there.
    pub(super) fn settle(&mut self, worker: usize, series: &Arc<PluginSeries>, bytes: usize) {
        series.instantiated(worker);
        series.adopted(worker);
        self.home = Some((worker, Arc::clone(series)));
        self.remember(bytes);
    }

    /// Whether it lives somewhere.
    pub(super) const fn is_settled(&self) -> bool {
        self.home.is_some()
    }

    /// It has so many bytes of memory now.
    #[inline]
    pub(super) fn remember(&mut self, bytes: usize) {
        if bytes != self.bytes
            && let Some((worker, series)) = &self.home
        {
            series.remembers(*worker, self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    /// A call into it has returned and left it so many bytes of memory. Answers whether it is worn.
    #[inline]
    pub(super) fn returned(&mut self, bytes: usize, wear: Wear) -> bool {
        self.calls += 1;
        self.remember(bytes);
        self.calls >= wear.calls_max || bytes > wear.bytes_max
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.dropped();
        self.remember(0);
        if let Some((worker, series)) = &self.home {
            series.dropped(*worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_worn_by_calls_or_by_memory() {
        let counters = Arc::new(Counters::default());
        let mut counted = Counted::new(&counters);
        assert_eq!(counters.guests_live(), 1);
        let wear = Wear { calls_max: 3, bytes_max: 100 };
        assert!(!counted.returned(100, wear) && counted.returned(101, wear));
        assert!(counted.returned(1, wear), "the third call is the last");
        drop(counted);
        assert_eq!(counters.guests_live(), 0);
    }
}
