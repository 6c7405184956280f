//! Steps that shape what passes, configured. Knows nothing of what they do.

use std::{fmt, str::FromStr, time::Duration};

use http::{HeaderName, StatusCode};
use serde::{Serialize, Serializer};

use super::status;

/// An id for every exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestId {
    /// The field that carries it.
    #[serde(serialize_with = "name")]
    pub header: HeaderName,
    /// Whether one that the client sends is kept.
    pub accept: bool,
    /// Whether the response carries it.
    pub respond: bool,
}

/// Compression of responses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compress {
    /// The dearest first.
    pub codings: Vec<Coding>,
    /// What is compressed.
    #[serde(serialize_with = "displayed")]
    pub types: Vec<TypePattern>,
    /// A body that is known to be shorter is left alone.
    pub body_bytes_min: u64,
    /// How much effort is made.
    pub levels: CompressLevels,
}

/// Decompression of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decompress {
    /// What is read; anything else is refused.
    pub codings: Vec<Coding>,
    /// What may come of a body.
    pub body_bytes_max: u64,
    /// How many times what was sent may come of it.
    pub ratio_max: u32,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them, each at the position that `coding as usize` gives.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// The name that is sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The names that are understood (RFC 9110 section 8.4.1.3 has `x-gzip`).
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Gzip => &["gzip", "x-gzip"],
            Self::Brotli => &["br"],
            Self::Zstd => &["zstd"],
        }
    }
}

/// The effort of each coding, in its own measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CompressLevels {
    /// 1 to 9.
    pub gzip: u32,
    /// 0 to 9.
    pub brotli: u32,
    /// 1 to 15.
    pub zstd: u32,
}

impl Default for CompressLevels {
    fn default() -> Self {
        Self { gzip: 5, brotli: 4, zstd: 3 }
    }
}

/// A content type in which one `*` may stand for anything: `text/html`, `text/*`, `application/*+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern {
    before: String,
    // Where there is no `*`, nothing.
    after: Option<String>,
}

impl TypePattern {
    /// Whether it covers a type, given without parameters.
    pub fn covers(&self, kind: &str) -> bool {
        let Some(after) = &self.after else { return kind.eq_ignore_ascii_case(&self.before) };
        let (kind, before, after) = (kind.as_bytes(), self.before.as_bytes(), after.as_bytes());
        kind.len() > before.len() + after.len()
            && kind[..before.len()].eq_ignore_ascii_case(before)
            && kind[kind.len() - after.len()..].eq_ignore_ascii_case(after)
    }
}

impl FromStr for TypePattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.to_ascii_lowercase();
        let (main, sub) = text.split_once('/').ok_or(())?;
        let valid = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte))
        };
        if !valid(main) || !valid(sub) || main.contains('*') || sub.matches('*').count() > 1 {
            return Err(());
        }
        Ok(match text.split_once('*') {
            Some((before, after)) => Self { before: before.into(), after: Some(after.into()) },
            None => Self { before: text, after: None },
        })
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.after.iter().try_for_each(|after| write!(f, "*{after}"))
    }
}

/// How many exchanges may be under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// For each value of the key, at least 1.
    pub exchanges_max: usize,
    /// What is counted apart.
    pub key: ConcurrencyKey,
    /// How many may wait, for each value of the key.
    pub queue_max: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// The answer to who is turned away: 503 or 429.
    #[serde(serialize_with = "status")]
    pub status: StatusCode,
    /// When they should try again.
    pub retry_after: Duration,
}

/// What a limit counts apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ConcurrencyKey {
    /// Nothing: all together.
    All,
    /// Routes.
    Route,
    /// Clients by address.
    ClientIp,
    /// The values of a request field.
    #[serde(serialize_with = "name")]
    Header(HeaderName),
}

fn displayed<T: fmt::Display, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

fn name<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_says() {
        let cases = [
            ("text/html", "Text/HTML", true),
            ("text/html", "text/htm", false),
            ("text/*", "text/event-stream", true),
            ("text/*", "textual/html", false),
            ("text/*", "text/", false),
            ("application/*+json", "application/problem+json", true),
            ("application/*+json", "application/json", false),
            ("application/*+json", "application/+json", false),
        ];
        for (pattern, kind, covered) in cases {
            let parsed: TypePattern = pattern.parse().unwrap();
            assert_eq!((parsed.covers(kind), parsed.to_string().as_str()), (covered, pattern), "{pattern} {kind}");
        }
        for wrong in ["", "text", "text/", "/html", "*/*", "text/*x*", "text/html; charset=utf-8", "a b/c"] {
            assert!(wrong.parse::<TypePattern>().is_err(), "{wrong}");
        }
    }
}
