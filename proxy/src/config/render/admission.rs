//! Renders how many requests an upstream takes, and when it takes none.

use super::{Fields, Out, limit, period, retry::conditions};
use crate::config::spec::Upstream;

pub(super) fn admission(fields: &mut Fields<'_>, upstream: &Upstream) {
    fields.put("requests-max", limit(upstream.requests_max.map(Out::plain)));
    if let Some(queue) = &upstream.queue {
        let mut inner = Fields::of(fields.written("queue"));
        inner.put("requests-max", Out::plain(queue.requests_max));
        inner.put("timeout", period(queue.timeout));
        fields.map("queue", inner);
    }
    if let Some(breaker) = &upstream.breaker {
        let mut inner = Fields::of(fields.written("breaker"));
        inner.put("on", conditions(&breaker.on));
        inner.maybe("error-percent", breaker.error_percent.map(Out::plain));
        inner.put("requests-min", Out::plain(breaker.requests_min));
        inner.put("window", period(breaker.window));
        inner.maybe("consecutive-errors", breaker.consecutive_errors.map(Out::plain));
        inner.put("open-time", period(breaker.open_time));
        inner.put("probes", Out::plain(breaker.probes));
        fields.map("breaker", inner);
    }
}
