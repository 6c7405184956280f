//! Scalars that people write in their own units: sizes, durations, counts, limits that may be `unlimited`, and text
//! that may look like a number. Knows no configuration.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Something written as text or as a whole number.
pub(crate) trait Scalar: Sized {
    /// What is expected, with examples.
    const EXPECTED: &'static str;
    /// Reads text; the error is a message and, after a line end, a hint.
    fn text(text: &str) -> Result<Self, String>;
    /// Reads a number; the error as of `text`.
    fn number(number: u64) -> Result<Self, String>;
}

/// Bytes: a number, or one with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A duration: `5s`, `100ms`, `1m30s`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

/// A share: `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u32);

/// A limit, or `unlimited`, which is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit<S>(pub(crate) Option<S>);

/// Text, also where it looks like a number or a boolean: it is taken as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename = "$text")]
pub(crate) struct Text(pub(crate) String);

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"], "format": "text" })
    }
}

impl Scalar for Size {
    const EXPECTED: &'static str = "a size such as `65536` or `64KiB`";

    fn text(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim_start());
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is not a size\nwrite a whole number of bytes, or one with a unit: `64KiB`, `1MiB`, `10MB`"
            )
        })
    }

    fn number(number: u64) -> Result<Self, String> {
        Ok(Self(number))
    }
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl Scalar for Period {
    const EXPECTED: &'static str = "a duration such as `5s` or `100ms`";

    fn text(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration\nwrite it as `100ms`, `5s`, `1m30s` or `1h`");
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let millis = PERIOD_UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?.1;
            let part = number.checked_mul(millis).ok_or_else(wrong)?;
            total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
            rest = &rest[letters..];
        }
        if text.is_empty() || total > PERIOD_MAX { Err(wrong()) } else { Ok(Self(total)) }
    }

    fn number(number: u64) -> Result<Self, String> {
        Err(format!("the duration {number} has no unit\nwrite `{number}s` for seconds, `{number}ms` for milliseconds"))
    }
}

/// A hundred years: sums of deadlines stay in range.
const PERIOD_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);
const PERIOD_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn text(_: &str) -> Result<Self, String> {
        Err("expected a whole number, 0 or more, found text".into())
    }

    fn number(number: u64) -> Result<Self, String> {
        Ok(Self(number))
    }
}

impl Scalar for Percent {
    const EXPECTED: &'static str = "a share such as `50%`";

    fn text(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let percent = number.and_then(|number| number.parse().ok()).map(Self);
        percent.ok_or_else(|| format!("`{text}` is not a share\nwrite it as whole percents, such as `50%`"))
    }

    fn number(number: u64) -> Result<Self, String> {
        Err(format!("the share {number} has no unit\nwrite `{number}%`"))
    }
}

impl<S: Scalar> Scalar for Limit<S> {
    const EXPECTED: &'static str = S::EXPECTED;

    fn text(text: &str) -> Result<Self, String> {
        if text == "unlimited" { Ok(Self(None)) } else { S::text(text).map(|value| Self(Some(value))) }
    }

    fn number(number: u64) -> Result<Self, String> {
        S::number(number).map(|value| Self(Some(value)))
    }
}

struct ScalarVisitor<S>(PhantomData<S>);

impl<S: Scalar> Visitor<'_> for ScalarVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S, E> {
        S::text(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<S, E> {
        S::number(number).map_err(E::custom)
    }
}

macro_rules! scalar {
    ($type:ty, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ScalarVisitor(PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

scalar!(Size, { "type": ["integer", "string"], "format": "size" });
scalar!(Period, { "type": "string", "format": "duration" });
scalar!(Count, { "type": "integer", "minimum": 0, "format": "count" });
scalar!(Percent, { "type": "string", "format": "percent" });
scalar!(Limit<Size>, { "type": ["integer", "string"], "format": "size, or `unlimited`" });
scalar!(Limit<Period>, { "type": "string", "format": "duration, or `unlimited`" });
scalar!(Limit<Count>, { "type": ["integer", "string"], "format": "count, or `unlimited`" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("64KiB", Some(65536)),
            ("10 MB", Some(10_000_000)),
            ("1GiB", Some(1 << 30)),
            ("1kb", None),
            ("-1", None),
            ("", None),
            ("KiB", None),
            ("99999999999999999999", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(Size::text(text).ok().map(|size| size.0), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("100ms", Some(100)),
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("5", None),
            ("", None),
            ("s", None),
            ("1.5s", None),
            ("5 s", None),
            ("99999999999d", None),
        ] {
            assert_eq!(Period::text(text).ok().map(|period| period.0.as_millis()), expected, "{text}");
        }
    }
}
