//! What can go wrong: errors of a phase, changes that are refused, and problems of a configuration.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::bindings::tidegate::plugin::types;

/// A failure of the plugin. Any `std` error becomes one with `?`, as with `Box<dyn Error>`; its text goes to the
/// gateway's log and never to the client.
pub struct Error(String);

/// With [`Error`] where nothing else is said.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a change was refused; nothing was changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Not valid HTTP.
    Malformed,
    /// Not a plugin's to change: `content-length`, `transfer-encoding`, `connection`, `host` and their kind.
    Reserved,
    /// Over a limit of the gateway.
    TooLarge,
}

/// Something wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into the configuration; empty for the whole of it.
    pub pointer: String,
    /// What, for the operator.
    pub message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(pub(crate) Vec<types::Problem>);

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// As with `anyhow`: not an `std` error itself, so that every one of those can become one of these.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        Self(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the gateway refused a change: it is not valid HTTP",
            Self::Reserved => "the gateway refused a change: the field is not a plugin's to change",
            Self::TooLarge => "the gateway refused a change: it is over a limit",
        })
    }
}

impl std::error::Error for Refused {}

impl From<types::Refusal> for Refused {
    fn from(refusal: types::Refusal) -> Self {
        match refusal {
            types::Refusal::Malformed => Self::Malformed,
            types::Refusal::Reserved => Self::Reserved,
            types::Refusal::TooLarge => Self::TooLarge,
        }
    }
}

impl Problem {
    /// `message` about the value that `pointer` leads to (`/limits/0`).
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(types::Problem { pointer: problem.pointer, message: problem.message });
    }

    /// `value` if there is no problem.
    ///
    /// # Errors
    /// The problems, if there is one.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        let mut problems = Self::default();
        problems.push(problem);
        problems
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(list: Vec<Problem>) -> Self {
        let mut problems = Self::default();
        list.into_iter().for_each(|problem| problems.push(problem));
        problems
    }
}

/// The settings in a configuration, or the one problem that reading them met.
pub(crate) fn settings<T: DeserializeOwned>(config: &str) -> Result<T, Problems> {
    let mut json = serde_json::Deserializer::from_str(config);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = error.path().iter().filter_map(token).collect::<String>();
        Problem::at(pointer, without_position(&error.into_inner().to_string())).into()
    })
}

fn token(segment: &serde_path_to_error::Segment) -> Option<String> {
    use serde_path_to_error::Segment::{Enum, Map, Seq, Unknown};
    match segment {
        Seq { index } => Some(format!("/{index}")),
        Map { key } | Enum { variant: key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Unknown => None,
    }
}

// The position is in the JSON that the gateway made, which nobody has seen; the pointer says where.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        limits: Vec<u32>,
    }

    #[test]
    fn a_problem_says_where_it_is() {
        let cases = [
            (r#"{"limits": [1, "x"]}"#, "/limits/1", "invalid type: string \"x\", expected u32"),
            (r#"{"limit": 1}"#, "/limit", "unknown field `limit`, expected `limits`"),
            ("5", "", "invalid type"),
        ];
        for (config, pointer, message) in cases {
            let problems = settings::<Settings>(config).unwrap_err().0;
            assert_eq!(problems[0].pointer, pointer, "{config}");
            assert!(problems[0].message.starts_with(message), "{}", problems[0].message);
        }
        assert!(settings::<Settings>("{}").unwrap().limits.is_empty());
    }

    #[test]
    fn an_error_says_its_causes() {
        let error = Error::from("x".parse::<u8>().unwrap_err());
        assert_eq!(error.to_string(), "invalid digit found in string");
        assert_eq!(Error::from(Refused::Reserved).to_string(), Refused::Reserved.to_string());
    }
}
