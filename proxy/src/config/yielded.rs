//! Routes that tables yield: read and checked as documents are, then joined to the configuration that has the table.
//! Every finding names the table and the route, and stands at the table's entry. Knows nothing of Wasm.

use std::{collections::HashSet, sync::Arc};

use super::{
    check::{self, Outcome, Value},
    cross,
    diagnostic::{Diagnostic, Place},
    document::{Kind, Object, is_name},
    node::{Node, Pos, Value as NodeValue},
    parse,
    secret::Environment,
    spec::{FromTable, HostPattern, Name, Part, Route, Spec, Table},
};
use crate::source::Tree;

/// What one table yielded, checked as far as that can be without the rest of the configuration.
#[derive(Debug)]
pub struct Yielded {
    /// Whether the table chooses among its routes.
    pub selects: bool,
    routes: Vec<(Name, Outcome)>,
}

/// Findings about one table that are shown.
const FINDINGS_MAX: usize = 64;

/// Checks what `table` yielded: names, and definitions as JSON, in order.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(
    name: &Name,
    table: &Part<Table>,
    selects: bool,
    routes: &[(String, String)],
) -> Result<Yielded, Vec<Diagnostic>> {
    let (mut found, mut seen, mut checked) = (Vec::new(), HashSet::new(), Vec::with_capacity(routes.len()));
    for (route, definition) in routes {
        let reader = Reader { table, name, route, selects };
        if !is_name(route) {
            let hint = "names are made of letters, digits, `-`, `_` and `.`, 1 to 128 of them";
            found.push(reader.found("bad-name", "this is no name for a route").hint(hint));
        } else if !seen.insert(route.as_str()) {
            found.push(reader.found("duplicate-name", "the table yields this name twice"));
        } else {
            let mut outcome = reader.read(definition);
            found.append(&mut outcome.diagnostics);
            checked.push((Arc::from(route.as_str()), outcome));
        }
        if found.len() >= FINDINGS_MAX {
            found.push(Diagnostic::warning(
                "too-many",
                format!("further findings about the table `{name}` are not shown"),
            ));
            break;
        }
    }
    if found.iter().any(Diagnostic::is_error) { Err(found) } else { Ok(Yielded { selects, routes: checked }) }
}

/// `spec` with the routes of its tables, and what is worth a warning. Routes of tables come after those of documents,
/// in the order of the tables' names.
///
/// # Errors
/// What tables name and the configuration does not have, and routes that lead nowhere.
pub fn join(spec: &Spec, tables: &[(Name, Arc<Yielded>)]) -> Result<(Spec, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut whole = spec.clone();
    let mut found = Vec::new();
    for (_, outcome) in tables.iter().flat_map(|(_, yielded)| &yielded.routes) {
        whole.middleware.extend(outcome.middleware.iter().cloned());
        for (name, part) in &outcome.upstreams {
            whole.upstreams.entry(Arc::clone(name)).or_insert_with(|| Arc::clone(part));
        }
    }
    for (table, yielded) in tables {
        for (name, outcome) in &yielded.routes {
            let first = found.len();
            cross::undefined_in(spec, &outcome.mentions, &mut found);
            if let Some(Value::Route(route, aimless)) = &outcome.value {
                if aimless.is_some() && !cross::answers(route, &whole) {
                    found.push(cross::leads_nowhere("this route", route.place.clone()));
                }
                whole.routes.push_back(Arc::clone(route));
            }
            found[first..].iter_mut().for_each(|found| say_whose(found, table, name));
        }
    }
    if !found.is_empty() {
        found.truncate(FINDINGS_MAX);
        return Err(found);
    }
    let mut hidden = Vec::new();
    cross::shadowed(&whole, &mut hidden, |route| route.table.is_some());
    hidden.truncate(FINDINGS_MAX);
    Ok((whole, hidden))
}

fn say_whose(found: &mut Diagnostic, table: &str, route: &str) {
    found.message = format!("table `{table}`, route `{route}`: {}", found.message);
}

/// One route of a table that is being read.
struct Reader<'a> {
    table: &'a Part<Table>,
    name: &'a Name,
    route: &'a str,
    selects: bool,
}

impl Reader<'_> {
    fn place(&self) -> Place {
        self.table.place.clone()
    }

    fn found(&self, code: &'static str, message: &str) -> Diagnostic {
        let mut found = Diagnostic::error(code, message).at(self.place());
        say_whose(&mut found, self.name, self.route);
        found
    }

    fn read(&self, definition: &str) -> Outcome {
        let only = |diagnostic| Outcome { diagnostics: vec![diagnostic], ..Outcome::default() };
        let file = Arc::from("a route's definition");
        let node = match parse::parse(&file, definition.as_bytes()) {
            Ok(Some(node @ Node { value: NodeValue::Map(_), .. })) => node,
            Ok(_) => return only(self.found("wrong-type", "its definition is not a JSON object")),
            Err(found) => {
                let mut found = Diagnostic { at: Some(self.place()), ..*found };
                say_whose(&mut found, self.name, self.route);
                return only(found);
            }
        };
        let mut duplicates = Vec::new();
        node.duplicates(&mut |_, key| duplicates.push(format!("`{}` is given twice in one map", key.text)));
        let id = format!("{}/{}", self.name, self.route);
        let at = Pos { line: 1, column: 1, length: 1 };
        let object = Object { kind: Kind::Route, name: id.into(), at, node, file, stands_at: Some(self.place()) };
        // A table's module is given what documents say, and nothing beyond: secrets are not its to name.
        let nothing = std::collections::BTreeMap::new();
        let environment = Environment { variable: &|_| None, tree: &Tree::default(), secrets: &nothing };
        let mut outcome = check::check(&object, &environment);
        outcome.diagnostics.iter_mut().for_each(|found| say_whose(found, self.name, self.route));
        outcome.diagnostics.extend(duplicates.iter().map(|message| self.found("duplicate-key", message)));
        outcome.diagnostics.extend(self.oversteps(&outcome));
        self.own(&mut outcome);
        outcome
    }

    fn oversteps(&self, outcome: &Outcome) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if !outcome.secrets.is_empty() {
            let message = "a route of a table cannot name secrets";
            let hint =
                "define a middleware with the secret in a document, and name it; or give it to the table's `config`";
            found.push(self.found("table-scope", message).hint(hint));
        }
        if !outcome.modules.is_empty() {
            let hint = "define a middleware with the module in a document, and name it";
            found.push(self.found("table-scope", "a route of a table cannot bring a module of its own").hint(hint));
        }
        found
    }

    // The route as this table's, within what its entry allows.
    fn own(&self, outcome: &mut Outcome) {
        let Some(Value::Route(part, aimless)) = &outcome.value else { return };
        let mut route: Route = part.value.clone();
        let stranger = route.listeners.iter().find(|name| !self.table.listeners.contains(name));
        let stranger = stranger.filter(|_| !self.table.listeners.is_empty());
        let outside = route.hosts.iter().find(|host| !self.table.hosts.iter().any(|own| own.covers(host)));
        let outside = outside.filter(|_| !self.table.hosts.is_empty());
        let hint = "let the entry under `tables:` allow it, or the module leave it out";
        if let Some(name) = stranger {
            let message = format!("the listener `{name}` is none of the table's");
            outcome.diagnostics.push(self.found("table-scope", &message).hint(hint));
        }
        if let Some(host) = outside {
            let message = format!("the host `{host}` is none of the table's");
            outcome.diagnostics.push(self.found("table-scope", &message).hint(hint));
        }
        if route.listeners.is_empty() {
            route.listeners.clone_from(&self.table.listeners);
        }
        if route.hosts.is_empty() {
            route.hosts.clone_from(&self.table.hosts);
        }
        let (table, name) = (Arc::clone(self.name), self.route.into());
        route.table = Some(FromTable { table, name, selected: self.selects });
        outcome.value = Some(Value::Route(Arc::new(Part::new(part.place.clone(), route)), aimless.clone()));
    }
}

impl HostPattern {
    /// Whether a host, in lower case and without port, is one of this pattern's.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(own) => own == host,
            Self::Wildcard(suffix) => suffix.is_empty() || is_below(host, suffix),
        }
    }

    /// Whether every host of `other` is one of this pattern's.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Exact(_), Self::Wildcard(_)) => false,
            (Self::Wildcard(_), Self::Exact(other)) => self.matches(other),
            (Self::Wildcard(own), Self::Wildcard(other)) => own.is_empty() || own == other || is_below(other, own),
        }
    }
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Memo, load_with},
        source::{Entry, Layer},
    };

    const DOCUMENT: &str = "listeners: {web: {address: '127.0.0.1:0'}, other: {address: '127.0.0.1:0'}}
upstreams: {a: {endpoints: ['127.0.0.1:9']}}
middleware: {say: {respond: {}}}
tables: {main: {module: t.wat, listeners: web, hosts: ['*.example.com']}}
routes: [{id: all, upstream: a}]
";

    fn spec() -> Arc<Spec> {
        let entry = |text: &str| Ok(Entry::new(text.to_owned()));
        let entries = [(Arc::from("c.yaml"), entry(DOCUMENT)), (Arc::from("t.wat"), entry("(module)"))];
        let layer = Layer { source: "t".into(), revision: 1, entries: entries.into_iter().collect() };
        let checked = load_with(&Tree { layers: vec![layer] }, &mut Memo::default(), &|_| Some("hunter2".into()));
        checked.spec.unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
    }

    /// What is said of one route, or the spec with it.
    fn joined(name: &str, definition: &str) -> Result<Spec, Vec<Diagnostic>> {
        let (spec, table) = (spec(), Arc::from("main"));
        let yielded = check(&table, &spec.tables["main"], false, &[(name.to_owned(), definition.to_owned())])?;
        join(&spec, &[(table, Arc::new(yielded))]).map(|(spec, _)| spec)
    }

    #[test]
    fn a_route_is_a_route_like_any_other_within_what_the_entry_allows() {
        let spec = joined("a", r#"{"path": "/x/*", "upstream": "a", "middleware": [{"headers": {}}]}"#).unwrap();
        let route = spec.routes.last().unwrap();
        assert_eq!((&*route.id, &*route.listeners[0], &*route.middleware[0]), ("main/a", "web", "main/a/1"));
        assert_eq!(route.hosts, [HostPattern::Wildcard("example.com".into())]);
        assert!(spec.middleware.contains_key("main/a/1"));
        assert_eq!((spec.routes.len(), route.place.line), (2, 4));
        assert!(joined("a", r#"{"target": "127.0.0.1:10"}"#).unwrap().upstreams.contains_key("127.0.0.1:10"));
    }

    #[test]
    fn what_is_wrong_names_table_and_route_and_stands_at_the_entry() {
        let cases = [
            ("a b", "{}", "bad-name"),
            ("a", "[]", "wrong-type"),
            ("a", "{", "syntax"),
            ("a", r#"{"upstream": "nobody"}"#, "unknown-reference"),
            ("a", r#"{"middleware": "nothing", "upstream": "a"}"#, "unknown-reference"),
            ("a", r#"{"upstraem": "a"}"#, "unknown-field"),
            ("a", r#"{"path": "x", "upstream": "a"}"#, "bad-path"),
            ("a", r#"{"upstream": "a", "upstream": "a"}"#, "duplicate-key"),
            ("a", "{}", "no-target"),
            ("a", r#"{"upstream": "a", "listeners": "other"}"#, "table-scope"),
            ("a", r#"{"upstream": "a", "host": "example.org"}"#, "table-scope"),
            ("a", r#"{"middleware": [{"module": "t.wat"}]}"#, "table-scope"),
            ("a", r#"{"middleware": [{"respond": {"body": "${env:TOKEN}"}}]}"#, "table-scope"),
        ];
        for (name, definition, code) in cases {
            let found = joined(name, definition).expect_err(definition);
            assert!(found.iter().any(|found| found.code == code), "{definition}: {found:?}");
            for found in found {
                assert!(found.message.starts_with(&format!("table `main`, route `{name}`: ")), "{}", found.message);
                assert_eq!(found.at.unwrap().line, 4, "{definition}");
                assert!(!found.message.contains("hunter2"));
            }
        }
    }

    #[test]
    fn a_pattern_covers_what_it_would_match() {
        let of = |text: &str| match text.strip_prefix("*.") {
            Some(suffix) => HostPattern::Wildcard(suffix.into()),
            None => HostPattern::Exact(text.into()),
        };
        let cases = [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("*.test", "*.test", true),
            ("*.test", "*.a.test", true),
            ("*.a.test", "*.test", false),
            ("*.test", "attest", false),
            ("a.test", "*.test", false),
        ];
        for (own, other, expected) in cases {
            assert_eq!(of(own).covers(&of(other)), expected, "{own} {other}");
        }
    }
}
