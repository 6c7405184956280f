//! Bytes to a tree of values with positions. The only file that names the YAML crate. Knows nothing of what the
//! values mean. JSON is read as the subset of YAML that it is.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::{
    DuplicateKeyPolicy, Error as YamlError, Location, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter,
};

use super::{
    diagnostic::{Diagnostic, Place},
    node::{Key, Node, Pos, Value},
};

/// How many bytes a document may have.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// How many values a document may hold, aliases expanded.
const NODES_MAX: usize = 1_000_000;
/// How deep maps and lists may be nested.
const DEPTH_MAX: usize = 48;
/// How many events aliases may expand to.
const ALIAS_EVENTS_MAX: usize = 100_000;

/// Reads the documents of a file, those that hold something.
///
/// # Errors
/// A finding with its place in `file`, where it is not YAML, or over a limit.
pub(crate) fn parse_all(file: &Arc<str>, bytes: &[u8]) -> Result<Vec<Node>, Box<Diagnostic>> {
    let text = readable(file, bytes)?;
    let mut nodes = Vec::new();
    for (line, piece) in pieces(text) {
        match document(file, &piece) {
            Ok(node) => nodes.extend(node.map(|mut node| {
                node.shift(line);
                node
            })),
            Err(mut found) => {
                if let Some(place) = &mut found.at {
                    place.line += line;
                }
                return Err(found);
            }
        }
    }
    Ok(nodes)
}

/// Reads a file of one document. `None` is one that holds nothing (no bytes, or comments only).
///
/// # Errors
/// As [`parse_all`].
pub(crate) fn parse(file: &Arc<str>, bytes: &[u8]) -> Result<Option<Node>, Box<Diagnostic>> {
    document(file, readable(file, bytes)?)
}

fn readable<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Result<&'a str, Box<Diagnostic>> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(Box::new(
            Diagnostic::error("document-too-large", format!("this document has {} bytes", bytes.len()))
                .at(start(file))
                .hint(format!("the limit is {DOCUMENT_BYTES_MAX} bytes; divide it into several documents")),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Box::new(not_utf8(file, bytes, error.valid_up_to())))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

// The documents of a file, each with the number of lines before it. A line that begins with `---` or `...` ends one
// wherever it stands (YAML 1.2.2, section 9.1.2): nothing within a document begins so.
fn pieces(text: &str) -> Vec<(u32, Cow<'_, str>)> {
    let marker = |line: &str| {
        let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    if !text.lines().any(marker) {
        return vec![(0, Cow::Borrowed(text))];
    }
    let mut pieces = vec![(0, String::new())];
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        if marker(line) {
            // What follows the marker on its line belongs to the document.
            pieces.push((number, "   ".to_owned()));
        }
        if let Some((_, piece)) = pieces.last_mut() {
            piece.push_str(if marker(line) { &line[3..] } else { line });
        }
    }
    pieces.into_iter().map(|(number, piece)| (number, Cow::Owned(piece))).collect()
}

fn document(file: &Arc<str>, text: &str) -> Result<Option<Node>, Box<Diagnostic>> {
    if is_empty(text) {
        return Ok(None);
    }
    let node: Node = serde_saphyr::from_str_with_options::<Spanned<Wire>>(text, options())
        .map_err(|error| Box::new(diagnostic(file, text, &error)))?
        .into_node(text);
    Ok(Some(node))
}

fn is_empty(text: &str) -> bool {
    let is_nothing = |line: &str| line.is_empty() || line.starts_with('#') || line == "---" || line == "...";
    let directive = |line: &str| line.starts_with('%');
    text.lines().all(|line| is_nothing(line.trim()) || directive(line))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: NODES_MAX * 3,
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// A value as the YAML crate hands it over, its position around it.
enum Wire {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Box<str>>, Spanned<Self>)>),
}

trait IntoNode {
    fn into_node(self, text: &str) -> Node;
}

impl IntoNode for Spanned<Wire> {
    fn into_node(self, text: &str) -> Node {
        let written = |or: String| source(text, self.defined).map_or_else(|| or.into_boxed_str(), Into::into);
        let mut pos = position(self.defined);
        let value = match self.value {
            Wire::Null => Value::Null,
            Wire::Bool(value) => Value::Bool(value, written(value.to_string())),
            Wire::Number(number) => {
                let written = written(number.to_string());
                Value::Number(number, written)
            }
            Wire::Text(value) => Value::Text(value),
            Wire::List(items) => Value::List(items.into_iter().map(|item| item.into_node(text)).collect()),
            Wire::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let pos = position(key.defined);
                        (Key { text: key.value, pos }, value.into_node(text))
                    })
                    .collect(),
            ),
        };
        if matches!(value, Value::List(_) | Value::Map(_) | Value::Null) {
            pos.length = 1;
        }
        Node { value, pos }
    }
}

/// The text of a plain scalar, as it was written.
fn source(text: &str, at: Location) -> Option<&str> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(at.span().byte_len()?).ok()?)?;
    text.get(start..end).map(str::trim_end)
}

fn position(at: Location) -> Pos {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Pos { line: narrow(at.line()).max(1), column: narrow(at.column()).max(1), length: narrow(at.span().len()).max(1) }
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Wire, E> {
        Ok(Wire::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Wire, E> {
        Ok(Wire::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Wire, E> {
        Ok(Wire::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Wire, E> {
        Ok(Wire::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Wire, E> {
        Ok(Number::from_f64(value).map_or(Wire::Null, Wire::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Wire, E> {
        Ok(Wire::Text(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Wire, E> {
        Ok(Wire::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wire, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Wire::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Wire, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Wire::Map(map))
    }
}

fn start(file: &Arc<str>) -> Place {
    Place { file: Arc::clone(file), line: 1, column: 1, length: 1 }
}

fn not_utf8(file: &Arc<str>, bytes: &[u8], valid: usize) -> Diagnostic {
    let before = &bytes[..valid];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let byte = bytes.get(valid).copied().unwrap_or_default();
    Diagnostic::error("invalid-utf8", format!("byte 0x{byte:02x} is not valid UTF-8"))
        .at(Place { file: Arc::clone(file), line: narrow(line), column: narrow(column), length: 1 })
        .hint("save the document as UTF-8")
}

fn diagnostic(file: &Arc<str>, text: &str, error: &YamlError) -> Diagnostic {
    let error = error.without_snippet();
    let pos = error.location().map(position).unwrap_or(Pos { line: 1, column: 1, length: 1 });
    if let Some(tab) = tab(text, pos.line) {
        return Diagnostic::error("tab", "a tab is used for indentation")
            .at(tab.within(file))
            .hint("indent with spaces: YAML forbids tabs here");
    }
    let (code, message, hint) = describe(error);
    let found = Diagnostic::error(code, message).at(Pos { length: 1, ..pos }.within(file));
    match hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

fn describe(error: &YamlError) -> (&'static str, String, Option<&'static str>) {
    match error {
        YamlError::AliasError { error, .. } => describe(error),
        YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. } => (
            "alias-limit",
            format!("the aliases of this document expand to more than {ALIAS_EVENTS_MAX} values"),
            Some("write the values out, or define a named object and refer to it by name"),
        ),
        YamlError::UnknownAnchor { .. } => (
            "unknown-anchor",
            "this alias names an anchor that is not defined before it".into(),
            Some("define it with `&name` before `*name`; text that starts with `*` must be quoted"),
        ),
        YamlError::RecursiveReferencesRequireWeakTypes { .. } => {
            ("recursive-alias", "this alias stands within the value that it names".into(), None)
        }
        YamlError::MergeValueNotMapOrSeqOfMaps { .. } => (
            "bad-merge",
            "`<<` takes a map, or a list of maps".into(),
            Some("write `<<: *anchor` with an anchored map"),
        ),
        YamlError::MultipleDocuments { .. } => (
            "several-documents",
            "a second YAML document starts here".into(),
            Some("put it into a file of its own; one file is one document"),
        ),
        YamlError::Budget { breach, .. } => budget(breach),
        other => syntax(other),
    }
}

fn budget(breach: &serde_saphyr::budget::BudgetBreach) -> (&'static str, String, Option<&'static str>) {
    use serde_saphyr::budget::BudgetBreach as Breach;
    match breach {
        Breach::Depth { .. } => ("too-deep", format!("maps and lists are nested more than {DEPTH_MAX} deep"), None),
        Breach::Documents { .. } => (
            "several-documents",
            "a second YAML document starts here".into(),
            Some("put it into a file of its own; one file is one document"),
        ),
        Breach::Aliases { .. } | Breach::Anchors { .. } | Breach::AliasAnchorRatio { .. } => (
            "alias-limit",
            "this document uses too many aliases".into(),
            Some("write the values out, or define a named object and refer to it by name"),
        ),
        _ => (
            "document-too-large",
            format!("this document holds more than {NODES_MAX} values, aliases expanded"),
            Some("divide it into several documents"),
        ),
    }
}

/// The YAML crate's own words, with a next step for the commonest mistakes.
fn syntax(error: &YamlError) -> (&'static str, String, Option<&'static str>) {
    use serde_saphyr::MessageFormatter as _;
    let message = UserMessageFormatter.format_message(error).into_owned();
    let hint = HINTS.iter().find(|(words, _)| message.contains(words)).map(|(_, hint)| *hint);
    ("syntax", message, hint)
}

const HINTS: [(&str, &str); 9] = [
    (
        "mapping values",
        "quote a value that contains `: `, and write a space after the `:` of a key, also on the line before",
    ),
    ("illegal placement of ':'", "a list or map above may be open: close it with `]` or `}`"),
    ("unclosed bracket", "close the list with `]`"),
    ("expected ',' or ']'", "close the list with `]`"),
    ("expected ',' or '}'", "the map that opens above is not closed: end it with `}`"),
    ("expected '-'", "items of one list start with `-` in the same column, and their keys stand in one column too"),
    ("block mapping", "keys of one map start in the same column"),
    ("quoted scalar", "close the quotes that open above"),
    ("simple key", "a key needs `:` and a space after it"),
];

/// The first tab in the indentation of `line` or of the line before.
fn tab(text: &str, line: u32) -> Option<Pos> {
    let near = [line.checked_sub(1)?, line, line + 1];
    near.into_iter().filter(|&line| line > 0).find_map(|line| {
        let content = text.lines().nth(line as usize - 1)?;
        let indent = content.len() - content.trim_start_matches([' ', '\t']).len();
        let column = content[..indent].find('\t')?;
        Some(Pos { line, column: u32::try_from(column).ok()? + 1, length: 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Node>, Box<Diagnostic>> {
        parse(&"t.yaml".into(), text.as_bytes())
    }

    #[test]
    fn every_value_has_its_place_and_its_text() {
        let node = read("a:\n  - 1.10\n  - {b: yes, c: 007}\nü: \"x\"\n").unwrap().unwrap();
        let list = node.find("a").unwrap();
        let Value::List(items) = &list.value else { panic!("{list:?}") };
        assert_eq!(items[0].pos, Pos { line: 2, column: 5, length: 4 });
        assert!(matches!(&items[0].value, Value::Number(_, text) if &**text == "1.10"));
        assert!(matches!(&items[1].find("b").unwrap().value, Value::Text(text) if &**text == "yes"));
        assert!(matches!(&items[1].find("c").unwrap().value, Value::Text(text) if &**text == "007"));
        assert_eq!(items[1].find("c").unwrap().pos, Pos { line: 3, column: 17, length: 3 });
        assert_eq!(node.entries()[1].0.pos, Pos { line: 4, column: 1, length: 1 });
    }

    #[test]
    fn nothing_is_none_and_not_an_empty_map() {
        for text in ["", "\n\n", "# a comment\n", "---\n# x\n"] {
            assert_eq!(read(text).unwrap(), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_may_hold_several_documents() {
        let file = "t.yaml".into();
        let text = "# first\n---\na: 1\n--- # second\nb: |\n  ---\n  x\n...\n---\n---\n{c: 3}\n";
        let nodes = parse_all(&file, text.as_bytes()).unwrap();
        let keys: Vec<_> =
            nodes.iter().map(|node| (&*node.entries()[0].0.text, node.entries()[0].0.pos.line)).collect();
        assert_eq!(keys, [("a", 3), ("b", 5), ("c", 11)]);
        let found = parse_all(&file, b"a: 1\n---\nb: [1\nc: 2\n").unwrap_err();
        assert!(found.at.unwrap().line >= 3);
    }

    #[test]
    fn json_indented_with_tabs_is_read() {
        assert!(read("{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t]\n}\n").unwrap().is_some());
    }

    #[test]
    fn findings_have_a_code_and_a_place() {
        for (text, code, line, column) in
            [("a:\n\tb: 1\n", "tab", 2, 1), ("a: *b\n", "unknown-anchor", 1, 4), ("a: [1, 2\nb: 3\n", "syntax", 2, 2)]
        {
            let found = read(text).unwrap_err();
            let at = found.at.as_ref().unwrap();
            assert_eq!((found.code, at.line, at.column), (code, line, column), "{text:?} {found:?}");
        }
    }
}
