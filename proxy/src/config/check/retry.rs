//! Checks how a request is tried. Knows nothing of requests.

use http::Method;

use super::{scope::Scope, values};
use crate::config::{
    node::Pos,
    raw::{self, Field, OneOrMany, Text},
    spec::{Budget, CallStatus, Conditions, Hedge, Methods, Retry},
    suggest,
};

pub(super) fn retry(scope: &mut Scope<'_>, field: Field<raw::Retry>) -> Option<Retry> {
    let (raw, _) = field.spot()?;
    let default = Retry::default();
    let back_off = raw.back_off.value().unwrap_or_default();
    let base = values::period(scope, back_off.base, default.base);
    let max_at = back_off.max.pos();
    let max = values::period(scope, back_off.max, default.max.max(base));
    if let (true, Some(pos)) = (max < base, max_at) {
        scope.error("out-of-range", pos, "`max` is less than `base`", "the wait grows from `base` up to `max`");
    }
    Some(Retry {
        on: conditions(scope, raw.on, default.on),
        attempts: within(scope, raw.attempts, default.attempts, ATTEMPTS_MAX),
        base,
        max,
        retry_after_max: back_off.retry_after_max.value().map_or(default.retry_after_max, |raw::Period(period)| period),
        budget: budget(scope, raw.budget),
        methods: methods(scope, raw.methods),
        body_bytes_max: values::size(scope, raw.body_bytes_max, 0, default.body_bytes_max),
    })
}

pub(super) fn hedge(scope: &mut Scope<'_>, field: Field<raw::Hedge>) -> Option<Hedge> {
    let (raw, pos) = field.spot()?;
    if raw.after.is_absent() {
        scope.missing("after", pos, "say how long an answer is waited for, such as `after: 50ms`");
    }
    let given = raw.after.pos().is_some();
    let after = values::period(scope, raw.after, std::time::Duration::from_secs(1));
    let at = raw.requests_max.pos().unwrap_or(pos);
    let requests_max = within(scope, raw.requests_max, 2, ATTEMPTS_MAX);
    if requests_max < 2 {
        let hint = "the least is 2, the first included; remove `hedge` to have none";
        scope.error("out-of-range", at, "with one request at a time there is nothing to hedge with", hint);
    }
    let budget = budget(scope, raw.budget);
    given.then_some(Hedge { after, requests_max, budget })
}

fn budget(scope: &mut Scope<'_>, field: Field<raw::RetryBudget>) -> Budget {
    let default = Budget::default();
    let Some((raw, _)) = field.spot() else { return default };
    Budget {
        percent: within(scope, raw.percent, default.percent, PERCENT_MAX),
        per_second_min: within(scope, raw.per_second_min, default.per_second_min, u32::MAX),
    }
}

/// What is listed of what may go wrong with a try.
pub(super) fn conditions(scope: &mut Scope<'_>, field: Field<OneOrMany<Text>>, default: Conditions) -> Conditions {
    if field.is_absent() {
        return default;
    }
    let mut on = Conditions::default();
    for (Text(text), pos) in field.many() {
        match &*text {
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "reset" => on.reset = true,
            "timeout" => on.timeout = true,
            "gateway-error" => on.statuses.extend([502, 503, 504]),
            "5xx" => on.statuses.extend(500..=599),
            "retriable-4xx" => on.statuses.push(409),
            other => match CallStatus::ALL.into_iter().find(|status| status.name() == other) {
                Some(status) => on.calls.push(status),
                None => on.statuses.extend(status(scope, other, pos)),
            },
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on.calls.sort_unstable();
    on.calls.dedup();
    on
}

fn status(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<u16> {
    let status = text.parse().ok().filter(|status| (300..=599).contains(status));
    if status.is_none() {
        let hint = match suggest::nearest(text, CONDITIONS.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a status from 300 to 599, or one of {}", suggest::listed(CONDITIONS.into_iter())),
        };
        scope.error("bad-condition", pos, format!("`{text}` is nothing that can go wrong with a try"), hint);
    }
    status
}

fn methods(scope: &mut Scope<'_>, field: Field<OneOrMany<String>>) -> Methods {
    let mut listed = Vec::new();
    let mut all = field.many();
    match &all[..] {
        [] => return Methods::Idempotent,
        [(only, _)] if only == "idempotent" => return Methods::Idempotent,
        [(only, _)] if only == "all" => return Methods::All,
        _ => {}
    }
    for (text, pos) in all.drain(..) {
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if text.to_ascii_uppercase() == text => listed.push(method),
            _ => {
                let hint = "write `idempotent`, `all`, or methods in capitals, such as `[GET, POST]`";
                scope.error("bad-method", pos, format!("`{text}` is not a method"), hint);
            }
        }
    }
    Methods::Listed(listed)
}

/// A number up to `max`.
pub(super) fn within(scope: &mut Scope<'_>, field: Field<raw::Count>, default: u32, max: u32) -> u32 {
    let Some((raw::Count(number), pos)) = field.spot() else { return default };
    u32::try_from(number).ok().filter(|number| *number <= max).unwrap_or_else(|| {
        let field = scope.field(pos).unwrap_or_default();
        scope.error("out-of-range", pos, format!("{field}: {number} is too large"), format!("the most is {max}"));
        default
    })
}

// More tries than this help nobody.
const ATTEMPTS_MAX: u32 = 20;
const PERCENT_MAX: u32 = 1000;
const CONDITIONS: [&str; 12] = [
    "connect-failure",
    "refused-stream",
    "reset",
    "timeout",
    "gateway-error",
    "5xx",
    "retriable-4xx",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];
