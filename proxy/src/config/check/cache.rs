//! Checks the response cache. Knows nothing of what it does.

use std::time::Duration;

use super::{scope::Scope, values};
use crate::config::{
    raw::{self, Field, Period},
    spec::{Cache, Middleware},
};

pub(super) fn cache(scope: &mut Scope<'_>, raw: raw::Cache) -> Option<Middleware> {
    let default = Cache::default();
    let entry_at = raw.entry_bytes_max.pos().or(raw.bytes_max.pos());
    let bytes_max = values::size(scope, raw.bytes_max, 1, default.bytes_max);
    let entry_bytes_max = match raw.entry_bytes_max.is_absent() {
        true => default.entry_bytes_max.min(bytes_max),
        false => values::size(scope, raw.entry_bytes_max, 1, default.entry_bytes_max),
    };
    if let Some(pos) = entry_at.filter(|_| entry_bytes_max > bytes_max) {
        let message = format!("one response may have {entry_bytes_max} bytes, and all of them together {bytes_max}");
        scope.error("out-of-range", pos, message, "make `bytes-max` larger, or `entry-bytes-max` smaller");
    }
    let percent_at = raw.heuristic_percent.pos();
    let heuristic_percent = values::number(scope, raw.heuristic_percent, 0, default.heuristic_percent);
    if let Some(pos) = percent_at.filter(|_| heuristic_percent > 100) {
        let message = format!("heuristic-percent: {heuristic_percent} is more than all of the time");
        scope.error("out-of-range", pos, message, "RFC 9111 suggests `10`; the greatest is 100");
    }
    Some(Middleware::Cache(Cache {
        bytes_max,
        entries_max: values::number(scope, raw.entries_max, 1, default.entries_max),
        entry_bytes_max,
        default_max_age: time(raw.default_max_age),
        heuristic_percent,
        stale_while_revalidate: time(raw.stale_while_revalidate),
        stale_if_error: time(raw.stale_if_error),
        wait_timeout: values::period(scope, raw.wait_timeout, default.wait_timeout),
        status_header: raw.status_header.or(default.status_header),
    }))
}

// Zero is as if it were not given.
fn time(field: Field<Period>) -> Duration {
    field.value().map_or(Duration::ZERO, |Period(period)| period)
}
