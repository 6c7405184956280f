//! Renders how a request is tried.

use super::{Fields, Out, Written, limit, period, texts};
use crate::config::spec::{Budget, Conditions, Hedge, Methods, Retry, RouteTerms};

/// What a route says in place of its upstream.
pub(super) fn terms(fields: &mut Fields<'_>, terms: &RouteTerms) {
    fields.maybe("response-timeout", terms.response_timeout.map(period));
    fields.maybe("idle-timeout", terms.idle_timeout.map(period));
    fields.maybe("try-timeout", terms.try_timeout.map(|timeout| limit(timeout.map(period))));
    both(fields, terms.retry.as_ref(), terms.hedge.as_ref());
}

/// `retry` and `hedge`, where they are set.
pub(super) fn both(fields: &mut Fields<'_>, retry: Option<&Retry>, hedge: Option<&Hedge>) {
    if let Some(retry) = retry {
        let inner = again(fields.written("retry"), retry);
        fields.map("retry", inner);
    }
    if let Some(hedge) = hedge {
        let mut inner = Fields::of(fields.written("hedge"));
        inner.put("after", period(hedge.after));
        inner.put("requests-max", Out::plain(hedge.requests_max));
        budget(&mut inner, hedge.budget);
        fields.map("hedge", inner);
    }
}

fn again<'a>(written: Written<'a>, retry: &Retry) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("on", conditions(&retry.on));
    fields.put("attempts", Out::plain(retry.attempts));
    let mut back_off = Fields::of(fields.written("back-off"));
    back_off.put("base", period(retry.base));
    back_off.put("max", period(retry.max));
    back_off.put("retry-after-max", period(retry.retry_after_max));
    fields.map("back-off", back_off);
    budget(&mut fields, retry.budget);
    fields.put(
        "methods",
        match &retry.methods {
            Methods::Idempotent => Out::text("idempotent"),
            Methods::All => Out::text("all"),
            Methods::Listed(methods) => texts(methods),
        },
    );
    fields.put("body-bytes-max", Out::plain(retry.body_bytes_max));
    fields
}

fn budget(fields: &mut Fields<'_>, budget: Budget) {
    let mut inner = Fields::of(fields.written("budget"));
    inner.put("percent", Out::plain(budget.percent));
    inner.put("per-second-min", Out::plain(budget.per_second_min));
    fields.map("budget", inner);
}

/// As short as it was written, or shorter.
pub(super) fn conditions(on: &Conditions) -> Out {
    let flags = [
        ("connect-failure", on.connect_failure),
        ("refused-stream", on.refused_stream),
        ("reset", on.reset),
        ("timeout", on.timeout),
    ];
    let mut listed: Vec<Out> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| Out::text(name)).collect();
    let all = (500..=599).all(|status| on.statuses.binary_search(&status).is_ok());
    if all {
        listed.push(Out::text("5xx"));
    }
    let apart = on.statuses.iter().filter(|status| !(all && **status >= 500));
    listed.extend(apart.map(Out::plain));
    listed.extend(on.calls.iter().map(|status| Out::text(status.name())));
    Out::List(listed)
}
