//! Runs `tests/tables/routes.txt`, the specification of matching and precedence, on the table and on its reference.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::spec::{FieldMatch, PathPattern, ValuePattern};

const CASES: &str = include_str!("../../../tests/tables/routes.txt");

#[test]
fn requests_belong_to_the_rows_that_the_specification_says() {
    let (mut title, mut rows, mut asked) = ("", Vec::new(), 0);
    for (number, line) in CASES.lines().enumerate() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("" | "#", _) => {}
            ("==", name) => (title, rows) = (name, Vec::new()),
            ("row", row) => rows.push(self::row(row)),
            ("ask", ask) => {
                check(&rows, ask, &format!("line {}: {title}: {ask}", number + 1));
                asked += 1;
            }
            _ => panic!("line {}: neither a case, nor a row, nor a request", number + 1),
        }
    }
    assert!(asked >= 96, "only {asked} requests were asked for");
}

fn row(text: &str) -> Row<String> {
    let mut words = text.split_whitespace();
    let (id, path) = (words.next().unwrap(), words.next().unwrap());
    let mut on = Match { path: self::path(path), method: None, headers: vec![], query: vec![] };
    let mut hosts = vec![];
    for word in words {
        let (condition, value) = word.split_once('=').unwrap();
        let value_pattern = match value.strip_prefix('~') {
            Some(regex) => ValuePattern::Regex(regex.into()),
            None => ValuePattern::Exact(value.into()),
        };
        match condition.split_once(':').unwrap_or((condition, "")) {
            ("host", _) => hosts.push(match value.strip_prefix("*.") {
                Some(suffix) => HostPattern::Wildcard(suffix.into()),
                None => HostPattern::Exact(value.into()),
            }),
            ("method", _) => on.method = Some(value.parse().unwrap()),
            ("header", name) => on.headers.push(FieldMatch { name: name.to_lowercase(), value: value_pattern }),
            ("query", name) => on.query.push(FieldMatch { name: name.into(), value: value_pattern }),
            _ => panic!("`{word}` is no condition"),
        }
    }
    Row { hosts: hosts.into(), on: Arc::new(on), identity: Identity::of_bytes(text.as_bytes()), value: id.into() }
}

fn path(text: &str) -> PathPattern {
    if let Some(regex) = text.strip_prefix('~') {
        PathPattern::Regex(regex.into())
    } else if let Some(prefix) = text.strip_suffix("/*") {
        PathPattern::Prefix(if prefix.is_empty() { "/".into() } else { prefix.into() })
    } else if text.contains('{') {
        PathPattern::Template(text.into())
    } else {
        PathPattern::Exact(text.into())
    }
}

fn check(rows: &[Row<String>], ask: &str, case: &str) {
    let (request, expected) = ask.split_once(" -> ").unwrap();
    let mut words = request.split_whitespace();
    let method: Method = words.next().unwrap().parse().unwrap();
    let (target, query) = words.next().map(|target| target.split_once('?').unwrap_or((target, ""))).unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in words.map(|field| field.split_once('=').unwrap()) {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let head = Head { host, path, query, method: &method, headers: &headers };
    let table = Table::build(rows, None).unwrap();
    let expected = Some(expected).filter(|id| *id != "-");
    assert_eq!(table.find(&head).map(String::as_str), expected, "{case}");
    // The reference compares parameters as they are.
    if !query.contains('%') {
        assert_eq!(reference::find(rows, &head).map(String::as_str), expected, "by the reference: {case}");
    }
}
