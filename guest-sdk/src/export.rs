//! Between the generated bindings and the [`Plugin`] trait: one adapter, the same for every plugin. Only where the
//! plugin is a guest.

use crate::{
    BodyVerdict, LocalResponse, Outcome, Phases, Plugin, Request, Response, Verdict,
    bindings::{
        exports::tidegate::plugin::handler::{GuestPlugin, Plugin as Handle},
        tidegate::plugin::{http, types},
    },
    chunks,
    plugin::Mode,
    result::settings,
};

/// One configured plugin, as the gateway holds it.
#[derive(Debug)]
pub struct Configured<P>(P, Phases);

impl<P: Plugin> GuestPlugin for Configured<P> {
    fn create(config: String) -> Result<Handle, Vec<types::Problem>> {
        let made = settings(&config).and_then(P::new);
        let problem = |problem: crate::Problem| types::Problem { pointer: problem.pointer, message: problem.message };
        let configured = |plugin: P| {
            let phases = plugin.phases();
            Handle::new(Self(plugin, phases))
        };
        made.map(configured).map_err(|problems| problems.into_iter().map(problem).collect())
    }

    fn declare(&self) -> types::Declaration {
        declared(self.1)
    }

    fn on_request(&self, request: &http::Request) -> Result<types::Verdict, String> {
        answer(self.0.on_request(Request(request)))
    }

    fn on_request_body(&self, request: &http::Request, body: Vec<u8>) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_request_body(Request(request), body))
    }

    fn on_request_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<types::BodyVerdict, String> {
        body_answer(match self.1.request_body {
            Some(Mode::Stream) => chunks::show(chunk, last, |chunks| self.0.on_request_stream(chunks)),
            _ => self.0.on_request_chunk(chunk, last),
        })
    }

    fn on_response(&self, response: &http::Response) -> Result<types::Verdict, String> {
        answer(self.0.on_response(Response(response)))
    }

    fn on_response_body(&self, response: &http::Response, body: Vec<u8>) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_response_body(Response(response), body))
    }

    fn on_response_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<types::BodyVerdict, String> {
        body_answer(match self.1.response_body {
            Some(Mode::Stream) => chunks::show(chunk, last, |chunks| self.0.on_response_stream(chunks)),
            _ => self.0.on_response_chunk(chunk, last),
        })
    }

    fn on_end(&self, outcome: types::Outcome) -> Result<(), String> {
        self.0.on_end(&outcome.into()).map_err(|error| error.to_string())
    }
}

impl From<LocalResponse> for types::LocalResponse {
    fn from(response: LocalResponse) -> Self {
        let field = |(name, value)| types::Field { name, value };
        Self { status: response.status, fields: response.fields.into_iter().map(field).collect(), body: response.body }
    }
}

impl From<types::Outcome> for Outcome {
    fn from(outcome: types::Outcome) -> Self {
        Self {
            status: outcome.status,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            duration: std::time::Duration::from_nanos(outcome.duration_ns),
            error: outcome.error,
        }
    }
}

fn declared(phases: Phases) -> types::Declaration {
    let set = [
        (phases.request, types::Phases::REQUEST),
        (phases.response, types::Phases::RESPONSE),
        (phases.end, types::Phases::END),
    ];
    let mode = |mode| match mode {
        Mode::Chunks | Mode::Stream => types::BodyMode::Streamed,
        Mode::Whole(bytes_max) => types::BodyMode::Buffered(bytes_max),
    };
    types::Declaration {
        phases: set.into_iter().filter(|(wanted, _)| *wanted).map(|(_, phase)| phase).collect(),
        request_body: phases.request_body.map(mode),
        response_body: phases.response_body.map(mode),
    }
}

fn answer(verdict: crate::Result<Verdict>) -> Result<types::Verdict, String> {
    match verdict {
        Ok(Verdict::Proceed) => Ok(types::Verdict::Proceed),
        Ok(Verdict::Respond(response)) => Ok(types::Verdict::Respond(response.into())),
        Err(error) => Err(error.to_string()),
    }
}

fn body_answer(verdict: crate::Result<BodyVerdict>) -> Result<types::BodyVerdict, String> {
    match verdict {
        Ok(BodyVerdict::Pass) => Ok(types::BodyVerdict::Pass),
        Ok(BodyVerdict::Replace(bytes)) => Ok(types::BodyVerdict::Replace(bytes)),
        Ok(BodyVerdict::Respond(response)) => Ok(types::BodyVerdict::Respond(response.into())),
        Err(error) => Err(error.to_string()),
    }
}
