//! Between the generated bindings and the [`Plugin`] trait: one adapter, the same for every plugin.

use std::marker::PhantomData;

use crate::{
    Plugin, Request, Response,
    bindings::{
        exports::tidegate::plugin::handler::{Guest, GuestPlugin, Plugin as Handle},
        tidegate::plugin::{http, types},
    },
    plugin::{answer, body_answer, declared},
    result::settings,
};

/// Exports a [`Plugin`]: the one thing that a plugin's crate has to call, once.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[doc(hidden)]
        type TidegateExported = $crate::Exported<$plugin>;
        $crate::bindings::export_plugin!(TidegateExported with_types_in $crate::bindings);
    };
}

/// Stands for a plugin where the bindings want a type of the whole component.
pub struct Exported<P>(PhantomData<P>);

/// One configured plugin, as the gateway holds it.
pub struct Configured<P>(P);

impl<P: Plugin> Guest for Exported<P> {
    type Plugin = Configured<P>;
}

impl<P: Plugin> GuestPlugin for Configured<P> {
    fn create(config: String) -> Result<Handle, Vec<types::Problem>> {
        let made = settings(&config).and_then(P::new);
        made.map(|plugin| Handle::new(Self(plugin))).map_err(|problems| problems.0)
    }

    fn declare(&self) -> types::Declaration {
        declared(self.0.phases())
    }

    fn on_request(&self, request: &http::Request) -> Result<types::Verdict, String> {
        answer(self.0.on_request(Request(request)))
    }

    fn on_request_body(&self, request: &http::Request, body: Vec<u8>) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_request_body(Request(request), body))
    }

    fn on_request_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_request_chunk(chunk, last))
    }

    fn on_response(&self, response: &http::Response) -> Result<types::Verdict, String> {
        answer(self.0.on_response(Response(response)))
    }

    fn on_response_body(&self, response: &http::Response, body: Vec<u8>) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_response_body(Response(response), body))
    }

    fn on_response_chunk(&self, chunk: Vec<u8>, last: bool) -> Result<types::BodyVerdict, String> {
        body_answer(self.0.on_response_chunk(chunk, last))
    }

    fn on_end(&self, outcome: types::Outcome) -> Result<(), String> {
        self.0.on_end(&outcome.into()).map_err(|error| error.to_string())
    }
}
