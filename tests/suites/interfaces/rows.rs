//! The list of cases, `tests/tables/interfaces.txt`, read. Its head says what the lines mean.

use std::{fs, path::Path};

/// The columns of the table.
pub(super) const INTERFACES: [&str; 6] =
    ["native", "proxy-wasm 0.1.0", "proxy-wasm 0.2.0", "proxy-wasm 0.2.1", "http-wasm", "wasi:http"];

/// Languages that guests of an interface are written in beside text and Rust, each a column of a table of its own: what an interface has
/// no way for, none of its languages has.
pub(super) const LANGUAGES: [&str; 3] = ["proxy-wasm in Go", "http-wasm in Go", "wasi:http in Python"];

/// One behaviour.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) what: String,
    /// `http1` or `http2`; both where nothing is said.
    pub(super) over: Option<String>,
    pub(super) chain: Vec<String>,
    pub(super) asks: Vec<Ask>,
    /// Interfaces that have no way, and why.
    pub(super) reasons: Vec<(String, String)>,
}

/// A request and what follows from it.
#[derive(Default)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<String>,
    pub(super) trailer: Option<(String, String)>,
    /// The first word of a line, and the rest.
    pub(super) expected: Vec<(String, String)>,
}

/// Words that an expectation begins with.
const EXPECTATIONS: [&str; 12] = [
    "saw",
    "unseen",
    "target",
    "received",
    "saw-trailer",
    "status",
    "body",
    "has",
    "without",
    "trailer",
    "reached",
    "called",
];

impl Case {
    /// Why an interface has no way to do it, where it has none.
    pub(super) fn reason(&self, interface: &str) -> Option<&str> {
        self.no_way(interface).map(|(_, reason)| &**reason)
    }

    /// What has no way: an interface in all of its versions and languages, or in the one that is asked for.
    pub(super) fn without(&self, interface: &str) -> &str {
        self.no_way(interface).map_or("", |(named, _)| named)
    }

    fn no_way(&self, interface: &str) -> Option<&(String, String)> {
        let of =
            |named: &str| named == interface || interface.strip_prefix(named).is_some_and(|rest| rest.starts_with(' '));
        self.reasons.iter().find(|(named, _)| of(named))
    }
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables/interfaces.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("one word alone: {line}"));
        if word == "case" {
            let (name, what) = rest.split_once(" — ").unwrap_or_else(|| panic!("it does not say what: {line}"));
            let (chain, asks, reasons) = (vec![name.to_owned()], Vec::new(), Vec::new());
            cases.push(Case { name: name.into(), what: what.into(), over: None, chain, asks, reasons });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("before the first case: {line}"));
        match word {
            "over" => case.over = Some(rest.to_owned()),
            "chain" => case.chain = rest.split(", ").map(str::to_owned).collect(),
            "no" => case.reasons.push(pair(rest)),
            "ask" => case.asks.push(ask(rest)),
            word if EXPECTATIONS.contains(&word) || word == "metric" => {
                let ask = case.asks.last_mut().unwrap_or_else(|| panic!("nothing is asked yet: {line}"));
                ask.expected.push((word.to_owned(), rest.to_owned()));
            }
            _ => panic!("not understood: {line}"),
        }
    }
    cases
}

/// A request and its parts, as a line has them.
pub(super) fn ask(line: &str) -> Ask {
    let mut parts = line.split(" ; ");
    let (method, target) = parts.next().and_then(|first| first.split_once(' ')).expect("METHOD TARGET");
    let mut ask = Ask { method: method.to_owned(), target: target.to_owned(), ..Ask::default() };
    for part in parts {
        if let Some(pieces) = part.strip_prefix("body ") {
            ask.body = pieces.split(" | ").map(str::to_owned).collect();
        } else if let Some(trailer) = part.strip_prefix("trailer ") {
            ask.trailer = Some(pair(trailer));
        } else {
            ask.fields.push(pair(part));
        }
    }
    ask
}

/// `NAME: VALUE`
pub(super) fn pair(text: &str) -> (String, String) {
    if let Some(name) = text.strip_suffix(":") {
        return (name.to_owned(), String::new());
    }
    let (name, value) = text.split_once(": ").unwrap_or_else(|| panic!("no NAME: VALUE: {text}"));
    (name.to_owned(), value.to_owned())
}
