//! Checks the conditions of a route: paths, methods, headers, query parameters.

use http::Method;

use super::{scope::Scope, values};
use crate::config::{
    node::Pos,
    raw::{self, Entries, Field, OneOrMany, ValueForm},
    spec::{FieldMatch, Match, PathPattern, ValuePattern},
};

/// The matches of a route; never empty.
pub(super) fn matches(scope: &mut Scope<'_>, raw: &mut raw::Route) -> Vec<Match> {
    if let (Some(_), Some(pos)) = (raw.method.pos(), raw.methods.pos()) {
        let hint = "both take a method or a list of methods; keep one";
        scope.error("conflicting-fields", pos, "`method` and `methods` are the same field", hint);
    }
    let method = if raw.method.is_absent() { &mut raw.methods } else { &mut raw.method };
    let own = raw::Match {
        path: std::mem::take(&mut raw.path),
        method: std::mem::take(method),
        headers: std::mem::take(&mut raw.headers),
        query: std::mem::take(&mut raw.query),
    };
    let Some((list, pos)) = std::mem::take(&mut raw.matches).spot() else { return ways(scope, own) };
    let beside = [own.path.pos(), own.method.pos(), own.headers.pos(), own.query.pos()].into_iter().flatten().next();
    if let Some(beside) = beside {
        let hint = "put this condition into each of the `matches`";
        scope.error("conflicting-fields", beside, "a condition beside `matches` has no meaning", hint);
    }
    if list.is_empty() {
        scope.error("missing-field", pos, "`matches` is empty", "leave it out to match every request");
    }
    list.into_iter().filter_map(Field::value).flat_map(|raw| ways(scope, raw)).collect()
}

/// One match for each method.
fn ways(scope: &mut Scope<'_>, raw: raw::Match) -> Vec<Match> {
    let path = match raw.path.spot() {
        None => Some(PathPattern::Prefix("/".into())),
        Some((form, pos)) => path(scope, form, pos),
    };
    let any = raw.method.is_absent();
    let methods = methods(scope, raw.method);
    let headers = conditions(scope, raw.headers, true);
    let query = conditions(scope, raw.query, false);
    let Some(path) = path else { return Vec::new() };
    let one = |method| Match { path: path.clone(), method, headers: headers.clone(), query: query.clone() };
    if any { vec![one(None)] } else { methods.into_iter().map(|method| one(Some(method))).collect() }
}

fn methods(scope: &mut Scope<'_>, field: Field<OneOrMany<String>>) -> Vec<Method> {
    let pos = field.pos();
    let texts = field.many();
    if let (Some(pos), true) = (pos, texts.is_empty()) {
        scope.error("missing-field", pos, "this list of methods is empty", "leave it out to match every method");
    }
    let mut methods = Vec::new();
    for (text, pos) in texts {
        let upper = text.to_ascii_uppercase();
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                let message = format!("requests with the method `{text}` are never forwarded");
                scope.error("bad-method", pos, message, "remove it: such requests are answered 405");
            }
            Ok(method) if upper == text => methods.extend((!methods.contains(&method)).then_some(method)),
            Ok(_) => {
                let hint = format!("methods are case-sensitive; write `{upper}`");
                scope.error("bad-method", pos, format!("`{text}` is not a method that clients send"), hint);
            }
            Err(_) => scope.error("bad-method", pos, format!("`{text}` is not a method"), "such as `GET`"),
        }
    }
    methods
}

fn path(scope: &mut Scope<'_>, form: raw::PathForm, pos: Pos) -> Option<PathPattern> {
    let map = match form {
        raw::PathForm::Text(text) => return short(scope, &text, pos),
        raw::PathForm::Map(map) => map,
    };
    let given = [map.exact.pos(), map.prefix.pos(), map.template.pos(), map.regex.pos()];
    let mut given = given.into_iter().flatten();
    if let (Some(_), Some(second)) = (given.next(), given.next()) {
        let hint = "several ways to match go into `matches`";
        scope.error("conflicting-fields", second, "a path is one of `exact`, `prefix`, `template`, `regex`", hint);
        return None;
    }
    match (map.exact.spot(), map.prefix.spot(), map.template.spot(), map.regex.spot()) {
        (Some((text, pos)), ..) => values::path(scope, &text, pos).map(PathPattern::Exact),
        (_, Some((text, pos)), ..) => values::path(scope, &text, pos).map(|path| prefix(&path)),
        (.., Some((text, pos)), _) => template(scope, &text, pos),
        (.., Some((text, pos))) => values::regex(scope, &text, pos).map(PathPattern::Regex),
        _ => {
            if scope.is_sound() {
                scope.error("missing-field", pos, "this says no path", "one of `exact`, `prefix`, `template`, `regex`");
            }
            None
        }
    }
}

/// A path in its short form.
fn short(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<PathPattern> {
    if let Some(pattern) = text.strip_prefix('~') {
        return values::regex(scope, pattern, pos).map(PathPattern::Regex);
    }
    if text.contains(['{', '}']) {
        return template(scope, text, pos);
    }
    let (path, is_prefix) = match text.strip_suffix("/*") {
        Some("") => return Some(PathPattern::Prefix("/".into())),
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.contains('*') {
        let hint = "`*` stands only as the last segment, as in `/api/*`; for others use `{name}` or `~^regex$`";
        scope.error("bad-path", pos, format!("the path `{text}` has a `*` in the middle"), hint);
        return None;
    }
    let path = values::path(scope, path, pos)?;
    Some(if is_prefix { prefix(&path) } else { PathPattern::Exact(path) })
}

fn prefix(path: &str) -> PathPattern {
    let trimmed = path.trim_end_matches('/');
    PathPattern::Prefix(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
}

/// Segments of a path with names: a table is as deep.
const SEGMENTS_MAX: usize = 256;

fn template(scope: &mut Scope<'_>, text: &str, pos: Pos) -> Option<PathPattern> {
    let path = values::path(scope, text, pos)?;
    let segments = path.split('/').count() - 1;
    if segments > SEGMENTS_MAX {
        let message = format!("this path has {segments} segments, and with a `{{name}}` it may have {SEGMENTS_MAX}");
        scope.error("bad-path", pos, message, "match a prefix of it, or use `~^regex$`");
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let problem = match name {
            Some(name)
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') =>
            {
                Some("has a `{name}` that is not made of letters, digits, `_` and `-`")
            }
            Some(name) if names.contains(&name) => Some("has the same `{name}` twice"),
            None if segment.contains(['{', '}']) => Some("has a `{name}` that is not a whole segment"),
            None if segment.contains('*') => Some("has both `{name}` and `*`"),
            _ => None,
        };
        if let Some(why) = problem {
            let hint = "`{name}` stands for one whole segment, as in `/users/{id}/photo`; for more use `~^regex$`";
            scope.error("bad-path", pos, format!("the path `{text}` {why}"), hint);
            return None;
        }
        names.extend(name);
    }
    Some(PathPattern::Template(path))
}

fn conditions(scope: &mut Scope<'_>, field: Field<Entries<ValueForm>>, is_header: bool) -> Vec<FieldMatch> {
    let mut conditions: Vec<FieldMatch> = Vec::new();
    for (text, pos, form) in field.value().unwrap_or_default().0 {
        let name = if is_header {
            values::header_name(scope, &text, pos).map(|name| name.as_str().to_owned())
        } else {
            Some(text)
        };
        let Some((form, at)) = form.spot() else { continue };
        let (Some(name), Some(value)) = (name, value(scope, form, at)) else { continue };
        if conditions.iter().any(|condition| condition.name == name) {
            let hint = "remove one of them; header names are the same in any case";
            scope.error("duplicate-key", pos, format!("there are two conditions on `{name}`"), hint);
            continue;
        }
        conditions.push(FieldMatch { name, value });
    }
    conditions.sort();
    conditions
}

fn value(scope: &mut Scope<'_>, form: ValueForm, pos: Pos) -> Option<ValuePattern> {
    let map = match form {
        ValueForm::Text(raw::Text(text)) => return Some(ValuePattern::Exact(text)),
        ValueForm::Map(map) => map,
    };
    match (map.exact, map.regex) {
        (Field::Given(raw::Text(text), _), Field::Absent) => Some(ValuePattern::Exact(text)),
        (Field::Absent, Field::Given(text, pos)) => values::regex(scope, &text, pos).map(ValuePattern::Regex),
        (Field::Absent, Field::Absent) => {
            scope.error("missing-field", pos, "this condition says no value", "write a value, `exact` or `regex`");
            None
        }
        (Field::Given(..), Field::Given(_, pos)) => {
            scope.error("conflicting-fields", pos, "`exact` and `regex` exclude each other", "keep one of them");
            None
        }
        _ => None,
    }
}
