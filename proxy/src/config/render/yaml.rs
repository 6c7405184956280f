//! Writes YAML: maps and lists in block style, lists of scalars on one line, each line with a remark where it has one.
//! What it writes reads back as the same value. Knows nothing of what is written.

use std::fmt::Write as _;

/// A value to write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    /// A scalar, in YAML already.
    Scalar(String),
    List(Vec<Self>),
    /// Keys with their values; a remark stands at the end of the key's line.
    Map(Vec<(String, Self, Option<String>)>),
}

impl Out {
    /// A text, quoted where it must be.
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(scalar(text))
    }

    /// A number or boolean.
    pub(super) fn plain(value: impl ToString) -> Self {
        Self::Scalar(value.to_string())
    }

    fn is_flow(&self) -> bool {
        match self {
            Self::Scalar(_) => true,
            Self::List(items) => items.iter().all(|item| matches!(item, Self::Scalar(_))),
            Self::Map(entries) => entries.is_empty(),
        }
    }
}

/// A document that holds `out`.
pub(super) fn document(out: &Out) -> String {
    let mut text = String::new();
    if out.is_flow() {
        flow(&mut text, out);
        text.push('\n');
    } else {
        block(&mut text, out, 0, false);
    }
    text
}

fn flow(text: &mut String, out: &Out) {
    match out {
        Out::Scalar(scalar) => text.push_str(scalar),
        Out::List(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                text.push_str(if position > 0 { ", " } else { "" });
                flow(text, item);
            }
            text.push(']');
        }
        Out::Map(_) => text.push_str("{}"),
    }
}

/// Writes lines at `indent`; the first without indentation where it goes on after `- `.
fn block(text: &mut String, out: &Out, indent: usize, mut goes_on: bool) {
    let mut begin = |text: &mut String| {
        if !std::mem::take(&mut goes_on) {
            write!(text, "{:indent$}", "").expect("a String takes every write");
        }
    };
    match out {
        Out::Scalar(_) => {}
        Out::List(items) => {
            for item in items {
                begin(text);
                text.push_str("- ");
                if item.is_flow() {
                    flow(text, item);
                    text.push('\n');
                } else {
                    block(text, item, indent + 2, true);
                }
            }
        }
        Out::Map(entries) => {
            for (key, value, remark) in entries {
                begin(text);
                write!(text, "{}:", scalar(key)).expect("a String takes every write");
                if value.is_flow() {
                    text.push(' ');
                    flow(text, value);
                }
                if let Some(remark) = remark {
                    write!(text, "  # {remark}").expect("a String takes every write");
                }
                text.push('\n');
                if !value.is_flow() {
                    block(text, value, indent + 2, false);
                }
            }
        }
    }
}

fn scalar(text: &str) -> String {
    if is_plain(text) { text.into() } else { serde_json::Value::from(text).to_string() }
}

/// Whether a text stands for itself without quotes, also within brackets.
fn is_plain(text: &str) -> bool {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@+-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let digits = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    let dotted = digits && text.matches(['.', ':']).count() > 1 && text.bytes().all(simple);
    let unit = digits && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && has_unit(text);
    let word = matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    ((first && !word && text.bytes().all(simple)) || dotted || unit) && !text.ends_with(':')
}

/// Digits with the letters of a size or duration, such as `64KiB` or `1m30s`; no number looks like that.
fn has_unit(text: &str) -> bool {
    let last = text.bytes().last().is_some_and(|byte| matches!(byte, b's' | b'm' | b'h' | b'd' | b'B'));
    last && !text.starts_with("0x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for plain in ["a", "/api/v1", "10.0.0.1:80", "64KiB", "1m30s", "https://id.example.com", "127.0.0.1"] {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in ["", "yes", "1", "1.5", "0x1F", "1e3", "a b", "*.x", "a:", "- a", "#", "é", "~x", "12:30", "null"]
        {
            assert!(scalar(quoted).starts_with('"'), "{quoted}");
        }
    }

    #[test]
    fn lists_and_maps_are_laid_out() {
        let map = Out::Map(vec![
            ("a".into(), Out::List(vec![Out::plain(1), Out::text("x y")]), Some("here".into())),
            ("b".into(), Out::List(vec![Out::Map(vec![("c".into(), Out::plain(true), None)])]), None),
            ("d".into(), Out::Map(Vec::new()), None),
        ]);
        assert_eq!(document(&map), "a: [1, \"x y\"]  # here\nb:\n  - c: true\nd: {}\n");
    }
}
