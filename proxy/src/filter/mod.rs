//! The seam between the gateway and its middleware: a chain of steps around the call to an upstream. Built-in steps
//! have one file each; plugins arrive here as [`Filter`]s and look like any other. Must not name a configuration,
//! wasmtime or hyper.

use std::{rc::Rc, sync::Arc};

use futures_util::future::LocalBoxFuture;

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
    /// Its own, or the ones of `next` passed on.
    fn handle<'a>(&'a self, request: Request, next: Next<'a>) -> LocalBoxFuture<'a, Result<Response, Error>>;
}

/// A step that never waits: edits heads in place and costs no allocation.
pub trait Edit: Send + Sync {
    /// Sees the request on its way in. `Break` answers in the upstream's place; the steps before this one still see
    /// the answer.
    ///
    /// # Errors
    /// Ends the exchange.
    fn request(&self, _request: &mut Request) -> Result<Flow, Error> {
        Ok(Flow::Continue)
    }

    /// Sees the response on its way out.
    fn response(&self, _exchange: &Rc<Exchange>, _response: &mut Response) {}
}

/// What an [`Edit`] wants to happen next.
#[derive(Debug)]
pub enum Flow {
    /// Go on along the chain.
    Continue,
    /// Answer with this.
    Answer(Box<Response>),
}

/// One step of a chain: a middleware's name and what it does.
#[derive(Clone)]
pub struct Step {
    /// The middleware's name; for an inline definition, `<route id>/<position>`.
    pub name: Arc<str>,
    /// What it does.
    pub action: Action,
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

    /// Runs `request` through the chain to `end` and back.
    ///
    /// # Errors
    /// Of the step or the end that failed; no step turns an error into a response but the server.
    pub async fn run(&self, request: Request, end: &dyn Call) -> Result<Response, Error> {
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
    /// Runs the rest of the chain.
    ///
    /// # Errors
    /// See [`Chain::run`].
    pub async fn run(self, mut request: Request) -> Result<Response, Error> {
        let exchange = Rc::clone(&request.exchange);
        let mut reached = self.steps.len();
        let mut outcome = None;
        for (position, step) in self.steps.iter().enumerate() {
            match &step.action {
                Action::Edit(edit) => {
                    if let Flow::Answer(response) = edit.request(&mut request)? {
                        (reached, outcome) = (position, Some(*response));
                        break;
                    }
                }
                Action::Around(filter) => {
                    let next = Self { steps: &self.steps[position + 1..], end: self.end };
                    let response = filter.handle(request, next).await?;
                    return Ok(self.respond(position, &exchange, response));
                }
            }
        }
        let response = match outcome {
            Some(response) => response,
            None => self.end.call(request).await?,
        };
        Ok(self.respond(reached, &exchange, response))
    }

    // Every step before `reached` is an `Edit`: an `Around` would have taken over.
    fn respond(self, reached: usize, exchange: &Rc<Exchange>, mut response: Response) -> Response {
        for step in self.steps[..reached].iter().rev() {
            if let Action::Edit(edit) = &step.action {
                edit.response(exchange, &mut response);
            }
        }
        response
    }
}
