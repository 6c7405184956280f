//! The trait that a plugin implements, and what its methods answer.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{LocalResponse, Problems, Request, Response, Result, bindings::tidegate::plugin::types};

/// A plugin with one configuration. A guest may hold many of them, each made by [`Plugin::new`].
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Phases {
    request: bool,
    response: bool,
    end: bool,
    request_body: Option<Mode>,
    response_body: Option<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Chunks,
    Whole(u32),
}

impl Phases {
    /// Nothing.
    pub const fn none() -> Self {
        Self { request: false, response: false, end: false, request_body: None, response_body: None }
    }

    /// And [`Plugin::on_request`].
    pub const fn request(self) -> Self {
        Self { request: true, ..self }
    }

    /// And [`Plugin::on_response`].
    pub const fn response(self) -> Self {
        Self { response: true, ..self }
    }

    /// And [`Plugin::on_end`].
    pub const fn end(self) -> Self {
        Self { end: true, ..self }
    }

    /// And [`Plugin::on_request_chunk`].
    pub const fn request_chunks(self) -> Self {
        Self { request_body: Some(Mode::Chunks), ..self }
    }

    /// And [`Plugin::on_request_body`], for bodies up to `bytes_max` or the operator's `buffer-bytes-max`, whichever is
    /// less. The client of a larger one is answered 413.
    pub const fn whole_request_body(self, bytes_max: u32) -> Self {
        Self { request_body: Some(Mode::Whole(bytes_max)), ..self }
    }

    /// And [`Plugin::on_response_chunk`].
    pub const fn response_chunks(self) -> Self {
        Self { response_body: Some(Mode::Chunks), ..self }
    }

    /// And [`Plugin::on_response_body`], with a bound as for [`Phases::whole_request_body`]. A larger one is a failure of
    /// the plugin.
    pub const fn whole_response_body(self, bytes_max: u32) -> Self {
        Self { response_body: Some(Mode::Whole(bytes_max)), ..self }
    }
}

/// What happens after a head was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The exchange goes on.
    Proceed,
    /// This is the answer.
    Respond(LocalResponse),
}

/// What happens to a body, or to a chunk of one.
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

impl From<types::Outcome> for Outcome {
    fn from(outcome: types::Outcome) -> Self {
        Self {
            status: outcome.status,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            duration: Duration::from_nanos(outcome.duration_ns),
            error: outcome.error,
        }
    }
}

pub(crate) fn declared(phases: Phases) -> types::Declaration {
    let set = [
        (phases.request, types::Phases::REQUEST),
        (phases.response, types::Phases::RESPONSE),
        (phases.end, types::Phases::END),
    ];
    let mode = |mode| match mode {
        Mode::Chunks => types::BodyMode::Streamed,
        Mode::Whole(bytes_max) => types::BodyMode::Buffered(bytes_max),
    };
    types::Declaration {
        phases: set.into_iter().filter(|(wanted, _)| *wanted).map(|(_, phase)| phase).collect(),
        request_body: phases.request_body.map(mode),
        response_body: phases.response_body.map(mode),
    }
}

pub(crate) fn answer(verdict: Result<Verdict>) -> Result<types::Verdict, String> {
    match verdict {
        Ok(Verdict::Proceed) => Ok(types::Verdict::Proceed),
        Ok(Verdict::Respond(response)) => Ok(types::Verdict::Respond(response.into())),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn body_answer(verdict: Result<BodyVerdict>) -> Result<types::BodyVerdict, String> {
    match verdict {
        Ok(BodyVerdict::Pass) => Ok(types::BodyVerdict::Pass),
        Ok(BodyVerdict::Replace(bytes)) => Ok(types::BodyVerdict::Replace(bytes)),
        Ok(BodyVerdict::Respond(response)) => Ok(types::BodyVerdict::Respond(response.into())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_declared_as_they_were_asked_for() {
        let declared = declared(Phases::none().request().end().whole_response_body(7).request_chunks());
        assert_eq!(declared.phases, types::Phases::REQUEST | types::Phases::END);
        assert!(matches!(declared.request_body, Some(types::BodyMode::Streamed)));
        assert!(matches!(declared.response_body, Some(types::BodyMode::Buffered(7))));
    }
}
