//! How much is measured: all of it, or, where `TIDEGATE_BENCH_SMALL` is set, just enough to see that a part works.

use std::{env, time::Duration};

/// So many, or so few.
pub(crate) fn count(all: usize, few: usize) -> usize {
    if is_small() { few } else { all }
}

/// So long, or a tenth of it.
pub(crate) fn span(whole: Duration) -> Duration {
    if is_small() { whole / 10 } else { whole }
}

fn is_small() -> bool {
    env::var_os("TIDEGATE_BENCH_SMALL").is_some()
}
