//! The trait that a plugin implements, and what its methods answer.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{Chunks, LocalResponse, Problems, Request, Response, Result};

/// A plugin with one configuration. A guest may hold many of them, each made by [`Plugin::new`].
///
/// Only the phases that [`Plugin::phases`] asks for are called; each has a default that lets everything pass.
///
/// ```
/// use tidegate_guest::{LocalResponse, Phases, Plugin, Problem, Problems, Request, Result, Verdict};
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "kebab-case")]
/// struct Settings {
///     closed_paths: Vec<String>,
/// }
///
/// struct Doorman(Settings);
///
/// impl Plugin for Doorman {
///     type Settings = Settings;
///
///     fn new(settings: Settings) -> Result<Self, Problems> {
///         let mut problems = Problems::default();
///         for (index, path) in settings.closed_paths.iter().enumerate() {
///             if !path.starts_with('/') {
///                 problems.push(Problem::at(format!("/closed-paths/{index}"), "must begin with `/`"));
///             }
///         }
///         problems.or(Self(settings))
///     }
///
///     fn phases(&self) -> Phases {
///         Phases::none().request()
///     }
///
///     fn on_request(&self, request: Request) -> Result<Verdict> {
///         let closed = self.0.closed_paths.contains(&request.path());
///         Ok(if closed { Verdict::Respond(LocalResponse::new(403).text("closed")) } else { Verdict::Proceed })
///     }
/// }
///
/// use tidegate_guest::testing::{ClientRequest, Host, json};
///
/// let host = Host::new();
/// let doorman = host.load::<Doorman>(json!({ "closed-paths": ["/admin"] })).unwrap();
/// assert_eq!(doorman.send(ClientRequest::get("/admin")).status(), 403);
/// assert_eq!(doorman.send(ClientRequest::get("/")).status(), 200);
///
/// let problems = host.load::<Doorman>(json!({ "closed-paths": ["/a", "b"] })).unwrap_err();
/// assert_eq!(problems[0].pointer, "/closed-paths/1");
/// ```
pub trait Plugin: Sized + 'static {
    /// The configuration, as it stands under `config:` in the document. Where there is none, an empty object is read.
    /// With `#[serde(deny_unknown_fields)]`, a misspelt field is an error that points at its line.
    type Settings: DeserializeOwned;

    /// Makes a plugin of a configuration, when it is loaded: the time to check everything.
    ///
    /// # Errors
    /// What is wrong with the configuration; all of it, each with where. The gateway refuses the configuration then,
    /// and serves on with the one that it has.
    fn new(settings: Self::Settings) -> Result<Self, Problems>;

    /// What to be called for. Phases that are not declared cost nothing.
    fn phases(&self) -> Phases;

    /// The head of a request is there.
    ///
    /// # Errors
    /// A failure of the plugin: the operator's policy decides what becomes of the exchange (503, or it goes on without
    /// the plugin). To turn a request away, answer with [`Verdict::Respond`]. The same holds for all phases.
    fn on_request(&self, request: Request<'_>) -> Result<Verdict> {
        let _ = request;
        Ok(Verdict::Proceed)
    }

    /// The whole body of a request is there; its head can still be changed. See [`Phases::whole_request_body`].
    ///
    /// # Errors
    /// See [`Plugin::on_request`].
    fn on_request_body(&self, request: Request<'_>, body: Vec<u8>) -> Result<BodyVerdict> {
        let _ = (request, body);
        Ok(BodyVerdict::Pass)
    }

    /// A chunk of a request's body is there, at most 64 KiB; the last one may be empty, and requests without a body have
    /// none. See [`Phases::request_chunks`].
    ///
    /// # Errors
    /// See [`Plugin::on_request`].
    fn on_request_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<BodyVerdict> {
        let _ = (chunk, last);
        Ok(BodyVerdict::Pass)
    }

    /// A request's body begins, and is seen chunk by chunk in straight-line code; requests without a body have none. See
    /// [`Chunks`] and [`Phases::request_stream`].
    ///
    /// # Errors
    /// See [`Plugin::on_request`]. Where a body breaks off, its error may be passed on: that is no failure of the plugin.
    fn on_request_stream(&self, chunks: Chunks<'_>) -> Result<Verdict> {
        let _ = chunks;
        Ok(Verdict::Proceed)
    }

    /// The head of a response is there: the upstream's, that of a step further along, or the gateway's own for a failure
    /// there.
    ///
    /// # Errors
    /// See [`Plugin::on_request`].
    fn on_response(&self, response: Response<'_>) -> Result<Verdict> {
        let _ = response;
        Ok(Verdict::Proceed)
    }

    /// The whole body of a response is there; its head can still be changed. See [`Phases::whole_response_body`].
    ///
    /// # Errors
    /// See [`Plugin::on_request`].
    fn on_response_body(&self, response: Response<'_>, body: Vec<u8>) -> Result<BodyVerdict> {
        let _ = (response, body);
        Ok(BodyVerdict::Pass)
    }

    /// A chunk of a response's body is there. See [`Phases::response_chunks`].
    ///
    /// # Errors
    /// See [`Plugin::on_request`]; the response is broken off where the policy is `closed`.
    fn on_response_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<BodyVerdict> {
        let _ = (chunk, last);
        Ok(BodyVerdict::Pass)
    }

    /// A response's body begins, and is seen chunk by chunk in straight-line code. See [`Chunks`] and
    /// [`Phases::response_stream`]. It is too late to answer with anything else.
    ///
    /// # Errors
    /// See [`Plugin::on_response_chunk`] and [`Plugin::on_request_stream`].
    fn on_response_stream(&self, chunks: Chunks<'_>) -> Result<Verdict> {
        let _ = chunks;
        Ok(Verdict::Proceed)
    }

    /// The exchange is over, in whichever way.
    ///
    /// # Errors
    /// Logged and counted; changes nothing.
    fn on_end(&self, outcome: &Outcome) -> Result<()> {
        let _ = outcome;
        Ok(())
    }
}

/// What a plugin wants to be called for; built up from [`Phases::none`].
///
/// ```
/// # use tidegate_guest::Phases;
/// let phases = Phases::none().request().response().whole_response_body(64 << 10).end();
/// assert_ne!(phases, Phases::none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Phases {
    pub(crate) request: bool,
    pub(crate) response: bool,
    pub(crate) end: bool,
    pub(crate) request_body: Option<Mode>,
    pub(crate) response_body: Option<Mode>,
}

/// How a plugin sees a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Chunks,
    Stream,
    Whole(u32),
}

impl Phases {
    /// Nothing.
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// assert_eq!(Phases::none(), Phases::default());
    /// ```
    pub const fn none() -> Self {
        Self { request: false, response: false, end: false, request_body: None, response_body: None }
    }

    /// And [`Plugin::on_request`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().request();
    /// ```
    pub const fn request(self) -> Self {
        Self { request: true, ..self }
    }

    /// And [`Plugin::on_response`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().response();
    /// ```
    pub const fn response(self) -> Self {
        Self { response: true, ..self }
    }

    /// And [`Plugin::on_end`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().end();
    /// ```
    pub const fn end(self) -> Self {
        Self { end: true, ..self }
    }

    /// And [`Plugin::on_request_chunk`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().request_chunks();
    /// ```
    pub const fn request_chunks(self) -> Self {
        Self { request_body: Some(Mode::Chunks), ..self }
    }

    /// And [`Plugin::on_request_stream`]. Of the ways to see a request's body, the last one that is asked for holds.
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().request_stream();
    /// ```
    pub const fn request_stream(self) -> Self {
        Self { request_body: Some(Mode::Stream), ..self }
    }

    /// And [`Plugin::on_request_body`], for bodies up to `bytes_max` or the operator's `buffer-bytes-max`, whichever is
    /// less. The client of a larger one is answered 413, unless [`Request::pass_large_body`] was called.
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().whole_request_body(1 << 20);
    /// ```
    pub const fn whole_request_body(self, bytes_max: u32) -> Self {
        Self { request_body: Some(Mode::Whole(bytes_max)), ..self }
    }

    /// And [`Plugin::on_response_chunk`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().response_chunks();
    /// ```
    pub const fn response_chunks(self) -> Self {
        Self { response_body: Some(Mode::Chunks), ..self }
    }

    /// And [`Plugin::on_response_stream`].
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().response_stream();
    /// ```
    pub const fn response_stream(self) -> Self {
        Self { response_body: Some(Mode::Stream), ..self }
    }

    /// And [`Plugin::on_response_body`], with a bound as for [`Phases::whole_request_body`]. A larger one is a failure of
    /// the plugin, unless [`Response::pass_large_body`] was called.
    ///
    /// ```
    /// # use tidegate_guest::Phases;
    /// let phases = Phases::none().whole_response_body(1 << 20);
    /// ```
    pub const fn whole_response_body(self, bytes_max: u32) -> Self {
        Self { response_body: Some(Mode::Whole(bytes_max)), ..self }
    }
}

/// What happens after a head was seen.
///
/// ```
/// # use tidegate_guest::{LocalResponse, Verdict};
/// let turned_away = Verdict::Respond(LocalResponse::new(403));
/// assert_ne!(turned_away, Verdict::Proceed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The exchange goes on.
    Proceed,
    /// This is the answer.
    Respond(LocalResponse),
}

/// What happens to a body, or to a chunk of one.
///
/// ```
/// # use tidegate_guest::BodyVerdict;
/// let body = b"hello".to_vec();
/// let verdict = BodyVerdict::Replace(body.to_ascii_uppercase());
/// assert_eq!(verdict, BodyVerdict::Replace(b"HELLO".to_vec()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyVerdict {
    /// It passes as it is.
    Pass,
    /// These bytes take its place; none remove it.
    Replace(Vec<u8>),
    /// This is the answer; in the phases of a request, and for a whole response body.
    Respond(LocalResponse),
}

/// How an exchange ended.
///
/// ```
/// # use tidegate_guest::{Outcome, Result, log};
/// fn on_end(outcome: &Outcome) -> Result<()> {
///     if let Some(error) = &outcome.error {
///         log::warn(&format!("{} after {} ms: {error}", outcome.status, outcome.duration.as_millis()));
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status that was sent, or would have been.
    pub status: u16,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration: Duration,
    /// What failed, if anything (`upstream_timeout`, `client_gone`, ...).
    pub error: Option<String>,
}
