//! A chain, and how a request goes along it and a response comes back. Knows what a step may ask for, and not what any does.

use std::{ops::ControlFlow, rc::Rc, sync::Arc};

use futures_util::future::{self, Either, LocalBoxFuture};
use http::StatusCode;
use smallvec::SmallVec;

use super::{Action, Flow, Reroute, Step, Visit, Wait, aside, course::Course};
use crate::{
    error::Error,
    exchange::{Call, Exchange, Request, Response},
};

/// An ordered list of steps.
#[derive(Clone)]
pub struct Chain {
    steps: Arc<[Step]>,
    // Asked of every request.
    reroutes: bool,
    takes_told: bool,
}

impl Chain {
    /// A chain of `steps`, the first is the outermost.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps: Arc<[Step]> = steps.into_iter().collect();
        let asks = |step: &Step| matches!(&step.action, Action::Around(filter) if filter.reroutes());
        let takes_told = |step: &Step| match &step.action {
            Action::Edit(edit) => edit.takes_told(),
            Action::Around(filter) => filter.takes_told(),
        };
        let (reroutes, takes_told) = (steps.iter().any(asks), steps.iter().all(takes_told));
        // Where it leads is not known.
        Self { steps, reroutes, takes_told: takes_told && !reroutes }
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step asks for requests of the method `TRACE`.
    pub fn takes_trace(&self) -> bool {
        self.steps.iter().any(|step| matches!(&step.action, Action::Around(filter) if filter.takes_trace()))
    }

    /// Whether a step may ask for the route to be chosen anew.
    pub const fn reroutes(&self) -> bool {
        self.reroutes
    }

    /// Whether every step [does](super::Filter::takes_told).
    pub const fn takes_told(&self) -> bool {
        self.takes_told
    }

    /// Runs `request` through the chain to `end` and back. What failed is in the exchange's record. `end` is shared, as
    /// what is sent aside outlives this. The route stays, whichever step asks for another.
    pub async fn run(&self, request: Box<Request>, end: &Arc<dyn Call>) -> Response {
        self.run_from(0, request, end, None).await
    }

    /// As [`Chain::run`]; where a step asks for another route, `router` chooses it.
    pub async fn run_rerouted(&self, request: Box<Request>, end: &Arc<dyn Call>, router: &dyn Reroute) -> Response {
        self.run_from(0, request, end, Some(&Course::new(router))).await
    }

    pub(super) async fn run_from(
        &self,
        start: usize,
        mut request: Box<Request>,
        end: &Arc<dyn Call>,
        course: Option<&Course<'_>>,
    ) -> Response {
        let exchange = Rc::clone(&request.exchange);
        let mut visits = Visits::new();
        let mut steps = self.steps.iter().enumerate().skip(start);
        let (reached, outcome) = loop {
            let Some((position, step)) = steps.next() else {
                course.inspect(|course| course.arrived());
                break (self.steps.len(), end.call(request).await);
            };
            match &step.action {
                Action::Edit(edit) => match edit.request(&mut request) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Answer(response)) => break (position, Ok(*response)),
                    Err(error) => break (position, Err(error)),
                },
                Action::Around(filter) => {
                    let visit = filter.begin(&exchange);
                    let seen = match Rc::clone(&visit).request(request) {
                        Wait::Ready(seen) => seen,
                        Wait::Pending(later) => later.await,
                    };
                    match seen {
                        Ok(ControlFlow::Continue(seen)) => {
                            let turned = course.map_or(Ok(None), |course| course.turn(&seen, &self.steps[..=position]));
                            match (turned, visit.early()) {
                                (Ok(None), None) => request = seen,
                                (Ok(turned), early) => {
                                    visits.push(visit);
                                    let rest: LocalBoxFuture<'_, Response> = match turned {
                                        None => Box::pin(self.run_from(position + 1, seen, end, course)),
                                        Some(way) => {
                                            Box::pin(async move { way.chain.run_from(0, seen, &way.end, course).await })
                                        }
                                    };
                                    break (position + 1, Ok(unless(early, rest).await));
                                }
                                (Err(error), _) => {
                                    visits.push(visit);
                                    break (position + 1, Err(error));
                                }
                            }
                        }
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
        for step in self.steps[start..reached].iter().rev() {
            match &step.action {
                Action::Edit(edit) => edit.response(&exchange, &mut response),
                Action::Around(_) => {
                    let visit = visits.pop().expect("every step before the one reached has begun its visit");
                    if visit.sees_response() {
                        // Not by a future of its own, into which and out of which a whole response would be moved.
                        let seen = match visit.response(response) {
                            Wait::Ready(seen) => seen,
                            Wait::Pending(later) => later.await,
                        };
                        response = seen.unwrap_or_else(|error| rescue(&exchange, &error));
                    }
                }
            }
        }
        response
    }
}

// The response of the rest of a chain, unless a step before it answers first: then what is under way there ends.
async fn unless(early: Option<LocalBoxFuture<'static, ()>>, rest: LocalBoxFuture<'_, Response>) -> Response {
    let Some(early) = early else { return rest.await };
    match future::select(rest, early).await {
        Either::Left((response, _)) => response,
        Either::Right(_) => Response::empty(StatusCode::OK),
    }
}

// Of the steps that may wait, in the order of the chain.
type Visits = SmallVec<[Rc<dyn Visit>; 4]>;

#[cold]
fn rescue(exchange: &Exchange, error: &Error) -> Response {
    exchange.record.fail(error);
    Response::of_error(error)
}

impl Default for Chain {
    fn default() -> Self {
        Self::new([])
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::{
        error::Kind,
        exchange::testing,
        filter::{Edit, Filter, Origin, Wait},
    };

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
