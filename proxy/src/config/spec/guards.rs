//! Steps that decide who may pass, configured. Knows nothing of what they do.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{Name, strings};

/// Cross-origin resource sharing (Fetch standard, Gateway API `HTTPCORSFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Whose pages may read responses.
    pub origins: Vec<OriginPattern>,
    /// Methods that pages may use beside the safelisted ones.
    #[serde(serialize_with = "listed")]
    pub methods: AllOr<Method>,
    /// Request fields that pages may set beside the safelisted ones.
    #[serde(serialize_with = "listed")]
    pub headers: AllOr<HeaderName>,
    /// Response fields that pages may read beside the safelisted ones.
    #[serde(serialize_with = "listed")]
    pub expose: AllOr<HeaderName>,
    /// Whether pages may send credentials.
    pub credentials: bool,
    /// How long a browser may keep the answer to a preflight.
    pub max_age: Duration,
}

/// Which origins (`scheme://host[:port]`, lower case, the scheme's own port left out).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OriginPattern {
    /// Every one.
    Any,
    /// This one.
    Exact(String),
    /// Those that begin and end so, with a host or the beginning of one between.
    Wildcard(String, String),
}

/// Some, and perhaps all (`*`, in words that the Fetch standard reads with exceptions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllOr<T> {
    /// Whether `*` is among them.
    pub all: bool,
    /// Those that are named.
    pub named: Vec<T>,
}

impl<T: AsRef<str>> AllOr<T> {
    /// As they are written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.all.then_some("*").into_iter().chain(self.named.iter().map(AsRef::as_ref))
    }
}

impl std::fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Wildcard(before, after) => write!(f, "{before}*{after}"),
        }
    }
}

/// Who may pass, by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IpAccess {
    /// Who may; `None` is everyone.
    pub allow: Option<Vec<IpNet>>,
    /// Who may not, in any case.
    pub deny: Vec<IpNet>,
}

/// HTTP basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BasicAuth {
    /// Visible ASCII and spaces, without quotes and backslashes.
    pub realm: String,
    /// Who may pass; no name stands there twice.
    pub users: Vec<User>,
    /// The field in which the upstream is told the user's name.
    #[serde(serialize_with = "maybe_name")]
    pub header: Option<HeaderName>,
    /// Whether the upstream sees the password, too.
    pub pass_credentials: bool,
}

/// Somebody with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Not empty, without a colon and control characters.
    pub name: String,
    /// Of the password.
    pub hash: PasswordHash,
}

/// The hash of a password. Printed as `***`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum PasswordHash {
    /// As it is written (`$2y$…`), well-formed.
    Bcrypt(String),
    /// In its parts (RFC 9106).
    Argon2(Argon2Hash),
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A hash of argon2, with what it was made with.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Argon2Hash {
    /// Which of the three.
    pub variant: Argon2Variant,
    /// 0x10 or 0x13.
    pub version: u32,
    /// Memory.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Degree of parallelism.
    pub lanes: u32,
    /// Beside the password.
    pub salt: Vec<u8>,
    /// What comes of it.
    pub digest: Vec<u8>,
}

/// The variants of argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Argon2Variant {
    /// Argon2d.
    D,
    /// Argon2i.
    I,
    /// Argon2id.
    Id,
}

/// A sub-request that decides who may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForwardAuth {
    /// Who is asked.
    pub upstream: Name,
    /// What it is asked.
    pub asks: AuthQuestion,
    /// How much of the request's body it is sent; none, with 0.
    pub body_bytes_max: usize,
    /// Until the head of its answer is there.
    pub timeout: Duration,
    /// Fields of the request that it is sent; `None` is all.
    #[serde(serialize_with = "maybe_names")]
    pub request_headers: Option<Vec<HeaderName>>,
    /// Fields of its answer that the upstream is sent.
    #[serde(serialize_with = "listed")]
    pub upstream_headers: AllOr<HeaderName>,
    /// Fields of its answer that the client is sent.
    #[serde(serialize_with = "strings")]
    pub client_headers: Vec<HeaderName>,
}

/// What a sub-request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AuthQuestion {
    /// This path and query, with `GET`.
    Path(String),
    /// The request's own target behind this, with its method. Ends in no slash.
    Own(String),
    /// Envoy's `Check`, by gRPC.
    Check,
}

/// A page in place of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Maintenance {
    /// Whether it is shown.
    pub enabled: bool,
    /// When clients should try again.
    pub retry_after: Option<Duration>,
    /// Who passes all the same.
    pub allow: Vec<IpNet>,
    /// Of the page.
    #[serde(serialize_with = "value")]
    pub content_type: HeaderValue,
    /// The page.
    pub body: String,
}

fn value<S: Serializer>(value: &HeaderValue, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(value.as_bytes())
}

fn maybe_name<S: Serializer>(name: &Option<HeaderName>, serializer: S) -> Result<S::Ok, S::Error> {
    name.as_ref().map(HeaderName::as_str).serialize(serializer)
}

fn maybe_names<S: Serializer>(names: &Option<Vec<HeaderName>>, serializer: S) -> Result<S::Ok, S::Error> {
    let names = names.as_ref().map(|names| names.iter().map(HeaderName::as_str).collect::<Vec<_>>());
    names.serialize(serializer)
}

fn listed<T: AsRef<str>, S: Serializer>(list: &AllOr<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.texts())
}
