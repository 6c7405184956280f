//! Checks how many requests an upstream takes, and when it takes none. Knows nothing of requests.

use std::time::Duration;

use super::{
    retry::{conditions, within},
    scope::Scope,
    values,
};
use crate::config::{
    node::Pos,
    raw::{self, Count, Field},
    spec::{Breaker, Conditions, Queue},
};

/// The limit on requests, and the queue before it.
pub(super) fn limits(
    scope: &mut Scope<'_>,
    requests_max: Field<raw::Limit<Count>>,
    queue: Field<raw::Queue>,
) -> (Option<usize>, Option<Queue>) {
    let limit = requests_max.spot().and_then(|(raw::Limit(limit), pos)| limit.map(|limit| (limit, pos)));
    let limit = limit.map(|(limit, pos)| values::number(scope, Field::Given(limit, pos), 1, 1));
    let queue = queue.spot().map(|(raw, pos)| {
        if limit.is_none() {
            let hint = "add `requests-max`: requests wait while so many are under way";
            scope.error("queue-without-limit", pos, "nothing ever waits in this queue", hint);
        }
        Queue {
            requests_max: values::number(scope, raw.requests_max, 1, 100),
            timeout: values::period(scope, raw.timeout, Duration::from_secs(1)),
        }
    });
    (limit, queue)
}

pub(super) fn breaker(scope: &mut Scope<'_>, field: Field<raw::Breaker>) -> Option<Breaker> {
    let (raw, _) = field.spot()?;
    let row = some(scope, raw.consecutive_errors, u32::MAX);
    let share = some(scope, raw.error_percent, 100);
    let window_at = raw.window.pos();
    let window = values::period(scope, raw.window, Duration::from_secs(10));
    if let Some(pos) = window_at.filter(|_| window > WINDOW_MAX || window.subsec_millis() > 0) {
        let hint = "the least is `1s`, the most `60s`";
        scope.error("out-of-range", pos, "a window has whole seconds, 60 at most", hint);
    }
    Some(Breaker {
        on: conditions(scope, raw.on, failures()),
        error_percent: share.or_else(|| row.is_none().then_some(50)),
        requests_min: within(scope, raw.requests_min, 20, u32::MAX),
        window,
        consecutive_errors: row,
        open_time: values::period(scope, raw.open_time, Duration::from_secs(10)),
        probes: some(scope, raw.probes, 1000).unwrap_or(3),
    })
}

fn failures() -> Conditions {
    Conditions {
        connect_failure: true,
        refused_stream: false,
        reset: true,
        timeout: true,
        statuses: (500..=599).collect(),
        calls: Vec::new(),
    }
}

// A number from 1 to `max`, where one is given.
fn some(scope: &mut Scope<'_>, field: Field<Count>, max: u32) -> Option<u32> {
    let pos: Pos = field.pos()?;
    let number = within(scope, field, 1, max);
    if number == 0 {
        let field = scope.field(pos).unwrap_or_default();
        scope.error("out-of-range", pos, format!("{field}: 0 is too small"), "the least is 1");
    }
    Some(number.max(1))
}

const WINDOW_MAX: Duration = Duration::from_secs(60);
