//! The seam between the gateway and its middleware: a chain of steps around the call to an upstream. Built-in steps
//! have one file each; plugins arrive here as [`Filter`]s and look like any other. Must not name wasmtime or hyper.
//!
//! An error becomes a response where it happens ([`Response::of_error`]), and the steps outside of that place see it
//! like any other response: security headers, CORS and logs of plugins hold for the gateway's own answers too. The
//! exchange's record keeps what failed, whatever the steps make of the response.

mod addresses;
mod aside;
mod basic_auth;
mod builtin;
mod cache;
mod compress;
mod concurrency;
mod cors;
mod decompress;
mod explain;
mod forward_auth;
mod grpc_web;
mod headers;
mod ip_access;
mod lists;
mod maintenance;
mod mirror;
mod own;
mod path;
mod redirect;
mod request_id;
mod respond;
mod rewrite;

use std::{ops::ControlFlow, rc::Rc, sync::Arc};

use futures_util::future::{self, Either, LocalBoxFuture};
use http::StatusCode;
use serde::Serialize;
use smallvec::SmallVec;

pub use self::{builtin::builtin, explain::Explained};
use crate::{
    error::Error,
    exchange::{Call, Exchange, Request, Response},
};

/// A step that may wait, and that may keep something of its own from the request to the response.
pub trait Filter: Send + Sync {
    /// Begins its part in one exchange.
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit>;

    /// Whether requests of the method `TRACE` are its to see, and so to be sent on where it is: elsewhere none is.
    fn takes_trace(&self) -> bool {
        false
    }

    /// What it does, in a few words, for `explain`.
    fn describe(&self) -> String;
}

/// The part of one step in one exchange: the request on its way in, and the response on its way out. It ends when it
/// is dropped; the exchange may be dropped at any time before.
pub trait Visit {
    /// Sees the request. To break off is to answer in the upstream's place: the steps before this one still see the
    /// answer.
    ///
    /// # Errors
    /// Ends the exchange; the steps before this one see the response that the error becomes.
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>>;

    /// Whether it has a say in the response. Asked when the response is there.
    fn sees_response(&self) -> bool {
        true
    }

    /// Sees the response, whether an upstream's, a later step's, or what an error became.
    ///
    /// # Errors
    /// Takes the place of the response; the steps before this one see the response that the error becomes.
    fn response(self: Rc<Self>, response: Response) -> Wait<Response>;

    /// Resolves when it answers before the rest of the chain has: what is under way there ends, and
    /// [`Visit::response`] is asked, with an empty response, for the answer. Asked once, after it let the request pass.
    fn early(&self) -> Option<LocalBoxFuture<'static, ()>> {
        None
    }

    /// What goes on along the rest of the chain though this visit has answered. Asked once, after it broke off.
    fn aside(&self) -> Option<Aside> {
        None
    }
}

/// A request that no client waits for, on an exchange of its own, and who sees the response.
pub struct Aside {
    /// Goes through the steps after the one that sends it aside.
    pub request: Box<Request>,
    /// Sees the response; what it makes of it is read to its end.
    pub visit: Rc<dyn Visit>,
}

/// What comes of a phase: it is there, or it is waited for. Only what may have to wait is allocated.
pub enum Wait<T> {
    /// It is there.
    Ready(Result<T, Error>),
    /// It may come later.
    Pending(LocalBoxFuture<'static, Result<T, Error>>),
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

    /// Whether a step asks for requests of the method `TRACE`.
    pub fn takes_trace(&self) -> bool {
        self.0.iter().any(|step| matches!(&step.action, Action::Around(filter) if filter.takes_trace()))
    }

    /// Runs `request` through the chain to `end` and back. What failed is in the exchange's record. `end` is shared, as
    /// what is sent aside outlives this.
    pub async fn run(&self, request: Box<Request>, end: &Arc<dyn Call>) -> Response {
        self.run_from(0, request, end).await
    }

    async fn run_from(&self, start: usize, mut request: Box<Request>, end: &Arc<dyn Call>) -> Response {
        let exchange = Rc::clone(&request.exchange);
        let mut visits = Visits::new();
        let mut steps = self.0.iter().enumerate().skip(start);
        let (reached, outcome) = loop {
            let Some((position, step)) = steps.next() else { break (self.0.len(), end.call(request).await) };
            match &step.action {
                Action::Edit(edit) => match edit.request(&mut request) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Answer(response)) => break (position, Ok(*response)),
                    Err(error) => break (position, Err(error)),
                },
                Action::Around(filter) => {
                    let visit = filter.begin(&exchange);
                    match Rc::clone(&visit).request(request).settle().await {
                        Ok(ControlFlow::Continue(seen)) => match visit.early() {
                            None => request = seen,
                            Some(early) => {
                                visits.push(visit);
                                let rest = Box::pin(self.run_from(position + 1, seen, end));
                                let response = match future::select(rest, early).await {
                                    Either::Left((response, _)) => response,
                                    Either::Right(_) => Response::empty(StatusCode::OK),
                                };
                                break (position + 1, Ok(response));
                            }
                        },
                        Ok(ControlFlow::Break(response)) => {
                            visit.aside().into_iter().for_each(|sent| aside::send(self, position + 1, sent, end));
                            break (position, Ok(*response));
                        }
                        Err(error) => break (position, Err(error)),
                    }
                    visits.push(visit);
                }
            }
        };
        let mut response = outcome.unwrap_or_else(|error| rescue(&exchange, &error));
        for step in self.0[start..reached].iter().rev() {
            match &step.action {
                Action::Edit(edit) => edit.response(&exchange, &mut response),
                Action::Around(_) => {
                    let visit = visits.pop().expect("every step before the one reached has begun its visit");
                    if visit.sees_response() {
                        let seen = visit.response(response).settle().await;
                        response = seen.unwrap_or_else(|error| rescue(&exchange, &error));
                    }
                }
            }
        }
        response
    }
}

// Of the steps that may wait, in the order of the chain.
type Visits = SmallVec<[Rc<dyn Visit>; 4]>;

impl<T> Wait<T> {
    /// Waits for `later`.
    pub fn on(later: impl Future<Output = Result<T, Error>> + 'static) -> Self {
        Self::Pending(Box::pin(later))
    }

    async fn settle(self) -> Result<T, Error> {
        match self {
            Self::Ready(outcome) => outcome,
            Self::Pending(later) => later.await,
        }
    }
}

#[cold]
fn rescue(exchange: &Exchange, error: &Error) -> Response {
    exchange.record.fail(error);
    Response::of_error(error)
}

#[cfg(test)]
mod tests {
    use http::Method;

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

    struct Visiting(Rc<Exchange>, &'static str, fn() -> Result<Flow, Error>);

    impl Filter for Note {
        fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
            Rc::new(Visiting(Rc::clone(exchange), self.0, self.1))
        }

        fn describe(&self) -> String {
            self.0.into()
        }
    }

    impl Visit for Visiting {
        fn request(self: Rc<Self>, mut request: Box<Request>) -> Wait<ControlFlow<Box<Response>, Box<Request>>> {
            Wait::on(async move {
                Ok(match Note(self.1, self.2).request(&mut request)? {
                    Flow::Continue => ControlFlow::Continue(request),
                    Flow::Answer(response) => ControlFlow::Break(response),
                })
            })
        }

        fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
            Note(self.1, self.2).response(&self.0, &mut response);
            Wait::Ready(Ok(response))
        }
    }

    struct End(Result<StatusCode, Kind>);

    impl Call for End {
        fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
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
            let response =
                futures_util::FutureExt::now_or_never(chain.run(request, &(Arc::new(End(end)) as Arc<dyn Call>)))
                    .unwrap();
            let seen: Vec<_> = exchange.attributes.borrow().iter().map(|(text, _)| text.clone()).collect();
            assert_eq!(seen.join(" "), expected);
            assert_eq!(exchange.record.read(|recorded| recorded.error.as_ref().map(|(kind, _)| *kind)), failed);
            assert_eq!(failed.is_some(), response.head.status.is_server_error());
        }
    }
}
