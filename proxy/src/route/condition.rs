//! What a row asks for beside host and path: method, header fields, query parameters. Compared in place.
//!
//! A header field in several lines matches by any one line, or by all of them joined with `,` (RFC 9110 section 5.3).
//! Of a query parameter that comes more than once the first counts; names and values are compared decoded as forms
//! encode them (`%xx`, and `+` for a space).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use smallvec::SmallVec;

use super::{
    BuildError, Head,
    pattern::{Pattern, Patterns},
};
use crate::config::spec::{FieldMatch, Match, ValuePattern};

/// The conditions of one row, compiled.
#[derive(Debug)]
pub(super) struct Conditions {
    method: Option<Method>,
    headers: Box<[(HeaderName, Value)]>,
    query: Box<[(Box<str>, Value)]>,
}

#[derive(Debug)]
enum Value {
    Exact(Box<[u8]>),
    Regex(Pattern),
}

/// How specific the conditions of `on` are: method, number of header and of query conditions. Larger goes first.
pub(super) fn specificity(on: &Match) -> (bool, usize, usize) {
    (on.method.is_some(), on.headers.len(), on.query.len())
}

impl Conditions {
    /// The conditions of `on`; `None` where there are none.
    pub(super) fn build(on: &Match, patterns: &Patterns) -> Result<Option<Arc<Self>>, BuildError> {
        if specificity(on) == (false, 0, 0) {
            return Ok(None);
        }
        let value = |field: &FieldMatch| match &field.value {
            ValuePattern::Exact(text) => Ok(Value::Exact(text.as_bytes().into())),
            ValuePattern::Regex(text) => patterns.find(text).map(Value::Regex),
        };
        let header = |field: &FieldMatch| {
            let name = HeaderName::try_from(&field.name)
                .map_err(|error| BuildError { pattern: field.name.clone(), reason: error.to_string() })?;
            Ok((name, value(field)?))
        };
        let headers = on.headers.iter().map(header).collect::<Result<_, _>>()?;
        let parameter = |field: &FieldMatch| Ok((field.name.as_str().into(), value(field)?));
        let query = on.query.iter().map(parameter).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Self { method: on.method.clone(), headers, query })))
    }

    /// [`specificity`] of what they were made of.
    pub(super) const fn specificity(&self) -> (bool, usize, usize) {
        (self.method.is_some(), self.headers.len(), self.query.len())
    }

    /// Whether all of them hold.
    pub(super) fn hold(&self, head: &Head<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == head.method)
            && self.headers.iter().all(|(name, value)| value.is_of_field(head.headers, name))
            && self.query.iter().all(|(name, value)| value.is_of_parameter(head.query, name))
    }
}

impl Value {
    fn is_of_field(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let lines = || headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let several = || lines().nth(1).is_some();
        match self {
            Self::Exact(text) => lines().any(|line| line == &**text) || several() && is_joined(lines(), text),
            Self::Regex(pattern) => {
                lines().any(|line| pattern.matches(line)) || several() && pattern.matches(&joined(lines()))
            }
        }
    }

    fn is_of_parameter(&self, query: &str, name: &str) -> bool {
        let mut parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let Some((_, raw)) = parameters.find(|(key, _)| decoded(key).eq(name.bytes())) else { return false };
        match self {
            Self::Exact(text) => decoded(raw).eq(text.iter().copied()),
            Self::Regex(pattern) => pattern.matches(&decoded(raw).collect::<SmallVec<[u8; 128]>>()),
        }
    }
}

fn is_joined<'a>(lines: impl Iterator<Item = &'a [u8]>, text: &[u8]) -> bool {
    let mut rest = Some(text);
    for (position, line) in lines.enumerate() {
        rest = rest.and_then(|rest| if position == 0 { Some(rest) } else { rest.strip_prefix(b",") });
        rest = rest.and_then(|rest| rest.strip_prefix(line));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn joined<'a>(lines: impl Iterator<Item = &'a [u8]>) -> SmallVec<[u8; 128]> {
    let mut all = SmallVec::new();
    for (position, line) in lines.enumerate() {
        if position > 0 {
            all.push(b',');
        }
        all.extend_from_slice(line);
    }
    all
}

// A `%` that two hexadecimal digits do not follow stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), after)
            }
            [b'+', after @ ..] => (b' ', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

const fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Value {
        Value::Exact(text.as_bytes().into())
    }

    fn regex(text: &str) -> Value {
        Value::Regex(Patterns::default().find(text).unwrap())
    }

    #[test]
    fn fields_match_by_line_or_as_a_whole() {
        let name = HeaderName::from_static("x-a");
        let cases: [(&[&str], Value, bool); 12] = [
            (&[], exact(""), false),
            (&[""], exact(""), true),
            (&["one"], exact("one"), true),
            (&["One"], exact("one"), false),
            (&["one", "two"], exact("two"), true),
            (&["one", "two"], exact("one,two"), true),
            (&["one", "two"], exact("one,"), false),
            (&["one", "two"], exact("one,two,"), false),
            (&["one"], regex("o.e"), true),
            (&["one"], regex("o"), false),
            (&["one", "two"], regex("one,t.*"), true),
            (&["one", "two"], regex("t.."), true),
        ];
        for (lines, value, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(value.is_of_field(&headers, &name), expected, "{lines:?} {value:?}");
        }
    }

    #[test]
    fn the_first_parameter_counts_decoded() {
        let cases = [
            ("", "a", exact(""), false),
            ("a", "a", exact(""), true),
            ("a=", "a", exact(""), true),
            ("a=1&a=2", "a", exact("1"), true),
            ("a=1&a=2", "a", exact("2"), false),
            ("b=1&a=2", "a", exact("2"), true),
            ("A=1", "a", exact("1"), false),
            ("a=x%20y+z", "a", exact("x y z"), true),
            ("%61=1", "a", exact("1"), true),
            ("a=%e2%82%AC", "a", exact("€"), true),
            ("a=%zz%4", "a", exact("%zz%4"), true),
            ("a=1=2", "a", exact("1=2"), true),
            ("a=%31%32", "a", regex("[0-9]+"), true),
            ("a=12x", "a", regex("[0-9]+"), false),
        ];
        for (query, name, value, expected) in cases {
            assert_eq!(value.is_of_parameter(query, name), expected, "{query} {name} {value:?}");
        }
    }
}
