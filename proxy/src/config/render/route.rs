//! Renders routes.

use super::{Fields, Out, Written, limit, middleware, period, retry, target, texts};
use crate::config::spec::{FieldMatch, Match, PathPattern, Route, Spec, ValuePattern};

pub(super) fn route<'a>(spec: &Spec, written: Written<'a>, route: &Route) -> Fields<'a> {
    let mut fields = Fields::of(written);
    if !route.listeners.is_empty() {
        fields.put("listeners", texts(&route.listeners));
    }
    if !route.hosts.is_empty() {
        fields.put("hosts", texts(&route.hosts));
        remark(&mut fields, &["hosts", "host"]);
    }
    match &route.matches[..] {
        [one] => matching(&mut fields, one),
        several => {
            let one = |one: &Match| {
                let mut inner = Fields::of(Written { node: None, explain: false, ..written });
                matching(&mut inner, one);
                inner.done()
            };
            fields.put("matches", Out::List(several.iter().map(one).collect()));
            remark(&mut fields, &["matches", "methods", "method"]);
        }
    }
    if !route.middleware.is_empty() {
        fields.put("middleware", middleware::steps(spec, written.field(&["middleware"]), &route.middleware));
    }
    target::targets(&mut fields, spec, &route.targets);
    fields.put("timeout", limit(route.timeout.map(period)));
    retry::terms(&mut fields, &route.terms);
    if let Some(bytes) = route.body_bytes_max {
        fields.put("body-bytes-max", limit((bytes < u64::MAX).then(|| Out::plain(bytes))));
    }
    fields
}

/// Corrects the remark of the last field: it may have been written under another of these names.
pub(super) fn remark(fields: &mut Fields<'_>, names: &[&str]) {
    let remark = fields.written.field(names).remark();
    if let Some(last) = fields.entries.last_mut() {
        last.2 = remark;
    }
}

fn matching(fields: &mut Fields<'_>, on: &Match) {
    fields.put("path", path(&on.path));
    if let Some(method) = &on.method {
        fields.put("method", Out::text(method.as_str()));
        remark(fields, &["method", "methods"]);
    }
    if !on.headers.is_empty() {
        fields.put("headers", conditions(&on.headers));
    }
    if !on.query.is_empty() {
        fields.put("query", conditions(&on.query));
    }
}

fn path(path: &PathPattern) -> Out {
    let map = |name: &str, path: &str| Out::Map(vec![(name.into(), Out::text(path), None)]);
    match path {
        PathPattern::Exact(path) if path.contains(['*', '{', '}']) => map("exact", path),
        PathPattern::Exact(path) | PathPattern::Template(path) => Out::text(path),
        PathPattern::Prefix(path) if path.contains(['*', '{', '}']) => map("prefix", path),
        PathPattern::Prefix(path) if path == "/" => Out::text("/*"),
        PathPattern::Prefix(path) => Out::text(&format!("{path}/*")),
        PathPattern::Regex(pattern) => map("regex", pattern),
    }
}

fn conditions(conditions: &[FieldMatch]) -> Out {
    let one = |condition: &FieldMatch| {
        let value = match &condition.value {
            ValuePattern::Exact(text) => Out::text(text),
            ValuePattern::Regex(pattern) => Out::Map(vec![("regex".into(), Out::text(pattern), None)]),
        };
        (condition.name.clone(), value, None)
    };
    Out::Map(conditions.iter().map(one).collect())
}
