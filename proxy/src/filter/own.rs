//! A value of which each worker has a copy of its own. Header values and bodies count their holders, so a shared one
//! would be a cache line that every worker writes on each exchange. Knows nothing of what it holds.

use std::{
    fmt,
    sync::{LazyLock, OnceLock},
    thread,
};

use crate::exchange::Exchange;

/// Asked for once: the answer is read from files (three of control groups, twenty-one system calls), and each step of a route asks.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, Into::into));

/// Copies of one value, made on first use. Workers beyond the number of cores share copies.
pub(super) struct PerWorker<T, M = fn() -> T> {
    copies: Box<[OnceLock<T>]>,
    make: M,
}

impl<T, M: Fn() -> T> PerWorker<T, M> {
    /// A value that `make` makes anew for each worker; it must not hand out clones of one shared buffer.
    pub(super) fn new(make: M) -> Self {
        Self { copies: (0..*CORES).map(|_| OnceLock::new()).collect(), make }
    }

    /// The copy of the worker that `exchange` lives on.
    pub(super) fn of(&self, exchange: &Exchange) -> &T {
        self.copies[exchange.worker.index % self.copies.len()].get_or_init(&self.make)
    }
}

impl<T, M> fmt::Debug for PerWorker<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerWorker")
    }
}
