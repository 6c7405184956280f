//! Calls to upstreams that the operator grants (`grants: {upstreams: [...]}`). The call is straight-line code; only this
//! exchange waits.

use std::{fmt, time::Duration};

use crate::{
    Result,
    host::{types::Field, upstream as host},
};

/// A request to an upstream.
///
/// ```
/// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
/// # let host = Host::new();
/// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
/// # host.run(|| {
/// let answer = Call::get("/users/7").field("accept", "text/plain").send("directory")?;
/// assert_eq!((answer.status, answer.body.as_slice()), (200, &b"jane"[..]));
/// # Ok::<(), upstream::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Call(host::CallRequest);

/// What the upstream answered.
///
/// ```
/// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
/// # let host = Host::new();
/// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
/// # host.run(|| {
/// let answer = Call::get("/users/7").send("directory")?;
/// assert_eq!(answer.status, 200);
/// # Ok::<(), upstream::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
///
/// ```
/// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
/// # let host = Host::new();
/// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
/// # host.run(|| {
/// assert_eq!(Call::get("/").send("elsewhere"), Err(upstream::Error::NotGranted));
/// # Ok::<(), upstream::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The operator granted no upstream of this name.
    NotGranted,
    /// As many calls as one exchange may make (`calls-max`) have been made.
    TooMany,
    /// The request is not valid HTTP.
    Malformed,
    /// The answer is over the operator's `call-bytes-max`.
    TooLarge,
    /// The upstream failed (`upstream_connect`, `upstream_timeout`, ...).
    Failed(String),
}

impl Call {
    /// A request with this method and target (path and query).
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// Call::new("POST", "/introspect").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        let (fields, body) = (Vec::new(), Vec::new());
        Self(host::CallRequest { method, target, authority: None, fields, body, timeout_ms: None })
    }

    /// A `GET`.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// Call::get("/users/7?full").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// The same with one more field.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// Call::get("/users/7").field("accept", "application/json").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn field(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.fields.push(Field { name: name.to_owned(), value: value.into() });
        self
    }

    /// The same with a body.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// Call::new("POST", "/introspect").body("token=abc").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// The same for this host; without one, for the upstream's name.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// Call::get("/users/7").authority("directory.internal").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn authority(mut self, authority: &str) -> Self {
        self.0.authority = Some(authority.to_owned());
        self
    }

    /// The same with a limit for the whole answer: when it is over, the call has failed with `upstream_timeout` and the
    /// plugin goes on. Without one, the call can last as long as the operator lets the plugin run, which then fails.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # let clock = host.clone();
    /// # host.upstream("directory", move |_| {
    /// #     clock.advance(Duration::from_secs(1));
    /// #     Ok(LocalResponse::new(200))
    /// # });
    /// # host.run(|| {
    /// let answer = Call::get("/users/7").timeout(Duration::from_millis(200)).send("directory");
    /// assert_eq!(answer, Err(upstream::Error::Failed("upstream_timeout".into())));
    /// # });
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Errors
    /// [`Error`]; a status that the upstream sent is none.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// let answer = Call::get("/users/7").send("directory")?;
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn send(self, upstream: &str) -> Result<Answer, Error> {
        let answer = host::call(upstream, &self.0)?;
        let fields = answer.fields.into_iter().map(|field| (field.name, field.value)).collect();
        Ok(Answer { status: answer.status, fields, body: answer.body })
    }
}

impl Answer {
    /// The first value of a field, if it is UTF-8. `name` in lower case.
    ///
    /// ```
    /// # use tidegate_guest::{LocalResponse, testing::Host, upstream::{self, Call}};
    /// # let host = Host::new();
    /// # host.upstream("directory", |_| Ok(LocalResponse::new(200).text("jane")));
    /// # host.run(|| {
    /// let answer = Call::get("/users/7").send("directory")?;
    /// assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    /// # Ok::<(), upstream::Error>(()) }).unwrap();
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

impl From<host::CallError> for Error {
    fn from(error: host::CallError) -> Self {
        match error {
            host::CallError::NotGranted => Self::NotGranted,
            host::CallError::TooMany => Self::TooMany,
            host::CallError::Malformed => Self::Malformed,
            host::CallError::TooLarge => Self::TooLarge,
            host::CallError::Failed(kind) => Self::Failed(kind),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the upstream is not granted to this plugin"),
            Self::TooMany => f.write_str("this exchange has made as many calls as it may"),
            Self::Malformed => f.write_str("the request to the upstream is malformed"),
            Self::TooLarge => f.write_str("the upstream's answer is too large"),
            Self::Failed(kind) => write!(f, "the upstream failed: {kind}"),
        }
    }
}

impl std::error::Error for Error {}
