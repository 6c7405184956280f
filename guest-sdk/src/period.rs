//! Durations in settings, written as the gateway's own are: `500ms`, `30s`, `1m30s`, `1h`, `7d`.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A duration in a plugin's settings: whole numbers with a unit (`ms`, `s`, `m`, `h`, `d`), one after the other; a
/// hundred years at most.
///
/// ```
/// use std::time::Duration;
/// use tidegate_guest::Period;
///
/// let period: Period = serde_json::from_str(r#""1m30s""#)?;
/// assert_eq!(period.0, Duration::from_secs(90));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// So many milliseconds: for defaults.
    ///
    /// ```
    /// # use tidegate_guest::Period;
    /// const TIMEOUT: Period = Period::from_millis(1500);
    /// assert_eq!(TIMEOUT.0.as_secs_f64(), 1.5);
    /// ```
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many seconds: for defaults.
    ///
    /// ```
    /// # use tidegate_guest::Period;
    /// const LEEWAY: Period = Period::from_secs(30);
    /// assert_eq!(LEEWAY.0.as_secs(), 30);
    /// ```
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    fn read(text: &str) -> Option<Self> {
        let (mut rest, mut total) = (text, Duration::ZERO);
        while !rest.is_empty() {
            let (number, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
            let millis = UNITS.iter().find(|(name, _)| *name == &unit[..end])?.1;
            let part = number.parse::<u64>().ok()?.checked_mul(millis)?;
            total = total.checked_add(Duration::from_millis(part))?;
            rest = &unit[end..];
        }
        (!text.is_empty() && total <= MAX).then_some(Self(total))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" })
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Period;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `5s` or `100ms`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
        Period::read(text).ok_or_else(|| {
            E::custom(format_args!("`{text}` is not a duration: write it as `100ms`, `5s`, `1m30s` or `1h`"))
        })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Period, E> {
        Err(E::custom(format_args!(
            "the duration {number} has no unit: write `{number}s` for seconds, `{number}ms` for milliseconds"
        )))
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// A hundred years: sums of deadlines stay in range.
const MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_gateway_reads_its_own() {
        let cases = [
            ("\"100ms\"", Ok(100)),
            ("\"1m30s\"", Ok(90_000)),
            ("\"0s\"", Ok(0)),
            ("\"2d\"", Ok(172_800_000)),
            ("\"\"", Err("`` is not a duration")),
            ("\"5\"", Err("`5` is not a duration")),
            ("\"5 s\"", Err("`5 s` is not a duration")),
            ("\"s\"", Err("`s` is not a duration")),
            ("\"-1s\"", Err("`-1s` is not a duration")),
            ("\"99999999999999999999s\"", Err("`99999999999999999999s` is not a duration")),
            ("\"36601d\"", Err("`36601d` is not a duration")),
            ("5", Err("the duration 5 has no unit: write `5s`")),
            ("null", Err("invalid type: null, expected a duration such as `5s`")),
        ];
        for (text, expected) in cases {
            let read = serde_json::from_str::<Period>(text);
            match expected {
                Ok(millis) => assert_eq!(read.unwrap(), Period::from_millis(millis), "{text}"),
                Err(message) => assert!(read.unwrap_err().to_string().starts_with(message), "{text}"),
            }
        }
    }
}
