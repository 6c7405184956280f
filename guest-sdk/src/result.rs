//! What can go wrong: errors of a phase, changes that are refused, and problems of a configuration.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::host::types;

/// A failure of the plugin. Any `std` error becomes one with `?`, as with `Box<dyn Error>`; its text goes to the
/// gateway's log and never to the client.
///
/// ```
/// # use tidegate_guest::{Error, Result};
/// fn port(text: &str) -> Result<u16> {
///     let port = text.parse()?;
///     if port == 0 { Err(Error::new("port 0 is none")) } else { Ok(port) }
/// }
/// assert_eq!(port("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(port("0").unwrap_err().to_string(), "port 0 is none");
/// ```
pub struct Error(String);

/// With [`Error`] where nothing else is said.
///
/// ```
/// fn on_end() -> tidegate_guest::Result<()> {
///     Ok(())
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a change was refused; nothing was changed then.
///
/// ```
/// # use tidegate_guest::{Refused, testing::{ClientRequest, Host}};
/// # Host::new().with_request(ClientRequest::get("/"), |request| {
/// assert_eq!(request.set_header("no name", "x"), Err(Refused::Malformed));
/// assert_eq!(request.set_header("connection", "close"), Err(Refused::Reserved));
/// assert_eq!(request.set_header("x-long", "x".repeat(1 << 20)), Err(Refused::TooLarge));
/// # });
/// ```
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
///
/// ```
/// # use tidegate_guest::Problem;
/// let problem = Problem::at("/limits/0", "must be above 0");
/// assert_eq!(problem.to_string(), "/limits/0: must be above 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into the configuration; empty for the whole of it.
    pub pointer: String,
    /// What, for the operator.
    pub message: String,
}

/// Everything that is wrong with a configuration.
///
/// ```
/// # use tidegate_guest::{Problem, Problems};
/// let mut problems = Problems::default();
/// assert_eq!(Problems::default().or(5).unwrap(), 5);
/// problems.push(Problem::at("/name", "must not be empty"));
/// problems.push(Problem::at("", "either `name` or `id` is needed"));
/// assert_eq!(problems.or(5).unwrap_err().into_iter().count(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Error {
    /// An error with this text.
    ///
    /// ```
    /// # use tidegate_guest::Error;
    /// assert_eq!(Error::new("the issuer sent no keys").to_string(), "the issuer sent no keys");
    /// ```
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
    ///
    /// ```
    /// # use tidegate_guest::Problem;
    /// assert_eq!(Problem::at("/limits/0", "must be above 0").pointer, "/limits/0");
    /// ```
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The name of a member as it stands in a pointer (RFC 6901 section 3).
    ///
    /// ```
    /// # use tidegate_guest::Problem;
    /// assert_eq!(format!("/{}", Problem::token("a/b~c")), "/a~1b~0c");
    /// ```
    #[must_use]
    pub fn token(member: &str) -> String {
        member.replace('~', "~0").replace('/', "~1")
    }
}

impl Problems {
    /// Adds one.
    ///
    /// ```
    /// # use tidegate_guest::{Problem, Problems};
    /// let mut problems = Problems::default();
    /// problems.push(Problem::at("/name", "must not be empty"));
    /// assert!(!problems.is_empty());
    /// ```
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether there is none.
    ///
    /// ```
    /// assert!(tidegate_guest::Problems::default().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value` if there is no problem.
    ///
    /// # Errors
    /// The problems, if there is one.
    ///
    /// ```
    /// # use tidegate_guest::{Problem, Problems};
    /// assert_eq!(Problems::default().or("made").unwrap(), "made");
    /// assert!(Problems::from(Problem::at("", "nothing is set")).or("made").is_err());
    /// ```
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(list: Vec<Problem>) -> Self {
        Self(list)
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
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
        Map { key } | Enum { variant: key } => Some(format!("/{}", Problem::token(key))),
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
