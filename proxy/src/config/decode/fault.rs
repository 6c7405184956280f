//! What does not read, in words. Knows the names that serde has for types, and no configuration.

use std::fmt;

use serde::de::{self, Unexpected};

use crate::config::{node::Pos, suggest};

/// One thing that does not read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) pos: Option<Pos>,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: String) -> Self {
        Self { code, message, hint: None, pos: None }
    }

    /// The same at `pos`, unless it has its place already.
    pub(super) fn or_at(mut self, pos: Pos) -> Self {
        self.pos.get_or_insert(pos);
        self
    }

    /// The same with a next step, unless it has one already.
    pub(super) fn or_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once('\n') {
            Some((message, hint)) => Self { hint: Some(hint.into()), ..Self::new("invalid-value", message.into()) },
            None => Self::new("invalid-value", text),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("wrong-type", format!("expected {}, found {}", plain(expected), named(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new("invalid-value", format!("expected {}, found {}", plain(expected), named(found)))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let listed = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Self {
            hint: suggest::nearest(found, expected.iter().copied()).map(|name| format!("did you mean `{name}`?")),
            ..Self::new("unknown-value", format!("unknown value `{found}`, expected one of {listed}"))
        }
    }
}

/// The names that serde has for primitive types, in words.
fn plain(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "a string" => "text".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        "u8" => "a number from 0 to 255".into(),
        "u16" => "a number from 0 to 65535".into(),
        "u32" => "a number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number, 0 or more".into(),
        "f64" => "a number".into(),
        other => other.strip_prefix("struct ").map_or_else(|| other.into(), |_| "a map".into()),
    }
}

fn named(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("the boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(_) => "text".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}
