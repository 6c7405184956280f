//! The seam between the gateway and its middleware: a chain of steps around the call to an upstream. Built-in steps
//! have one file each; plugins arrive here as [`Filter`]s and look like any other. Must not name wasmtime or hyper.
//!
//! An error becomes a response where it happens ([`Response::of_error`]), and the steps outside of that place see it
//! like any other response: security headers, CORS and logs of plugins hold for the gateway's own answers too. The
//! exchange's record keeps what failed, whatever the steps make of the response.

mod builtin;
mod explain;
mod headers;
mod mirror;
mod own;
mod path;
mod redirect;
mod respond;
mod rewrite;

use std::{rc::Rc, sync::Arc};

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

pub use self::{builtin::builtin, explain::Explained};
use crate::{
    error::Error,
    exchange::{Call, Exchange, Request, Response},
};

/// A step that may wait: it sees the request, decides whether and how the rest of the chain runs, and sees the
/// response.
pub trait Filter: Send + Sync {
    /// Handles one exchange. Not calling `next` answers in the upstream's place.
    ///
    /// # Errors
    /// Its own. What fails further along the chain comes back from `next` as a response.
    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> LocalBoxFuture<'a, Result<Response, Error>>;

    /// What it does, in a few words, for `explain`.
    fn describe(&self) -> String;
}

/// A step that never waits: edits heads in place and costs no allocation.
pub trait Edit: Send + Sync {
    /// Sees the request on its way in. `Answer` answers in the upstream's place; the steps before this one still see
    /// the answer.
    ///
    /// # Errors
    /// Ends the exchange; the steps before this one see the response that the error becomes.
    fn request(&self, _request: &mut Request) -> Result<Flow, Error> {
        Ok(Flow::Continue)
    }

    /// Sees the response on its way out.
    fn response(&self, _exchange: &Rc<Exchange>, _response: &mut Response) {}

    /// What it does, in a few words, for `explain`.
    fn describe(&self) -> String;
}

/// What an [`Edit`] wants to happen next.
#[derive(Debug)]
pub enum Flow {
    /// Go on along the chain.
    Continue,
    /// Answer with this.
    Answer(Box<Response>),
}

/// One step of a chain: a middleware's name, where it was asked for, and what it does.
#[derive(Clone)]
pub struct Step {
    /// The middleware's name; for an inline definition, `<route id>/<position>`.
    pub name: Arc<str>,
    /// Whose list of middleware it comes from.
    pub origin: Origin,
    /// What it does.
    pub action: Action,
}

/// Whose list of middleware a step comes from, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The gateway's.
    Gateway,
    /// A listener's.
    Listener,
    /// A route's.
    Route,
}

/// The two shapes of a step.
#[derive(Clone)]
pub enum Action {
    /// Never waits.
    Edit(Arc<dyn Edit>),
    /// May wait.
    Around(Arc<dyn Filter>),
}

/// An ordered list of steps.
#[derive(Clone, Default)]
pub struct Chain(Arc<[Step]>);

impl Chain {
    /// A chain of `steps`, the first is the outermost.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Runs `request` through the chain to `end` and back. What failed is in the exchange's record.
    pub async fn run(&self, request: Request, end: &dyn Call) -> Response {
        Next { steps: &self.0, end }.run(request).await
    }
}

/// The rest of a chain.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    steps: &'a [Step],
    end: &'a dyn Call,
}

impl Next<'_> {
    /// Runs the rest of the chain. What failed there is in the exchange's record.
    pub async fn run(self, mut request: Request) -> Response {
        let exchange = Rc::clone(&request.exchange);
        for (position, step) in self.steps.iter().enumerate() {
            let outcome = match &step.action {
                Action::Edit(edit) => match edit.request(&mut request) {
                    Ok(Flow::Continue) => continue,
                    Ok(Flow::Answer(response)) => Ok(*response),
                    Err(error) => Err(error),
                },
                Action::Around(filter) => {
                    let next = Self { steps: &self.steps[position + 1..], end: self.end };
                    filter.handle(request, next).await
                }
            };
            return self.respond(position, &exchange, outcome);
        }
        let outcome = self.end.call(request).await;
        self.respond(self.steps.len(), &exchange, outcome)
    }

    // Every step before `reached` is an `Edit`: an `Around` would have taken over.
    fn respond(self, reached: usize, exchange: &Rc<Exchange>, outcome: Result<Response, Error>) -> Response {
        let mut response = outcome.unwrap_or_else(|error| rescue(exchange, &error));
        for step in self.steps[..reached].iter().rev() {
            if let Action::Edit(edit) = &step.action {
                edit.response(exchange, &mut response);
            }
        }
        response
    }
}

#[cold]
fn rescue(exchange: &Exchange, error: &Error) -> Response {
    exchange.record.fail(error);
    Response::of_error(error)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::{error::Kind, exchange::testing};

    /// Notes that it saw a request (`>name`) and a response (`<name status`).
    struct Note(&'static str, fn() -> Result<Flow, Error>);

    fn note(exchange: &Exchange, text: String) {
        exchange.attributes.borrow_mut().push((text, String::new()));
    }

    impl Edit for Note {
        fn request(&self, request: &mut Request) -> Result<Flow, Error> {
            note(&request.exchange, format!(">{}", self.0));
            self.1()
        }

        fn response(&self, exchange: &Rc<Exchange>, response: &mut Response) {
            note(exchange, format!("<{} {}", self.0, response.head.status.as_u16()));
        }

        fn describe(&self) -> String {
            self.0.into()
        }
    }

    impl Filter for Note {
        fn handle<'a>(&'a self, mut request: Request, next: Next<'a>) -> LocalBoxFuture<'a, Result<Response, Error>> {
            Box::pin(async move {
                let exchange = Rc::clone(&request.exchange);
                if let Flow::Answer(response) = self.request(&mut request)? {
                    return Ok(*response);
                }
                let mut response = next.run(request).await;
                self.response(&exchange, &mut response);
                Ok(response)
            })
        }

        fn describe(&self) -> String {
            self.0.into()
        }
    }

    struct End(Result<StatusCode, Kind>);

    impl Call for End {
        fn call(&self, request: Request) -> LocalBoxFuture<'_, Result<Response, Error>> {
            note(&request.exchange, "end".into());
            Box::pin(std::future::ready(self.0.map(Response::empty).map_err(|kind| Error::new(kind, "end"))))
        }
    }

    fn go() -> Result<Flow, Error> {
        Ok(Flow::Continue)
    }

    fn answer() -> Result<Flow, Error> {
        Ok(Flow::Answer(Box::new(Response::empty(StatusCode::ACCEPTED))))
    }

    fn fail() -> Result<Flow, Error> {
        Err(Error::new(Kind::PluginFailed, "step"))
    }

    fn edit(name: &'static str, does: fn() -> Result<Flow, Error>) -> Action {
        Action::Edit(Arc::new(Note(name, does)))
    }

    fn around(name: &'static str, does: fn() -> Result<Flow, Error>) -> Action {
        Action::Around(Arc::new(Note(name, does)))
    }

    #[test]
    fn steps_see_what_comes_from_further_along_whatever_it_is() {
        let (ok, broken) = (Ok(StatusCode::OK), Err(Kind::UpstreamReset));
        let cases: Vec<(Vec<Action>, _, &str, Option<Kind>)> = vec![
            (vec![], ok, "end", None),
            (vec![edit("a", go), around("b", go), edit("c", go)], ok, ">a >b >c end <c 200 <b 200 <a 200", None),
            (vec![edit("a", go), edit("b", answer), edit("c", go)], ok, ">a >b <a 202", None),
            (vec![edit("a", go), around("b", answer), edit("c", go)], ok, ">a >b <a 202", None),
            (vec![edit("a", go), edit("b", fail), edit("c", go)], ok, ">a >b <a 503", Some(Kind::PluginFailed)),
            (vec![around("a", go), around("b", fail)], ok, ">a >b <a 503", Some(Kind::PluginFailed)),
            (vec![edit("a", go), around("b", go)], broken, ">a >b end <b 502 <a 502", Some(Kind::UpstreamReset)),
            (vec![around("a", fail)], ok, ">a", Some(Kind::PluginFailed)),
        ];
        for (actions, end, expected, failed) in cases {
            let step = |action| Step { name: "step".into(), origin: Origin::Route, action };
            let request = testing::request(Method::GET, "/");
            let exchange = Rc::clone(&request.exchange);
            let chain = Chain::new(actions.into_iter().map(step));
            let response = futures_util::FutureExt::now_or_never(chain.run(request, &End(end))).unwrap();
            let seen: Vec<_> = exchange.attributes.borrow().iter().map(|(text, _)| text.clone()).collect();
            assert_eq!(seen.join(" "), expected);
            assert_eq!(exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind)), failed);
            assert_eq!(failed.is_some(), response.head.status.is_server_error());
        }
    }
}
