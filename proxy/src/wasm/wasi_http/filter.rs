//! A component as a step of a chain: a request goes into a guest, and what comes out is the answer, or a request for the
//! rest of the chain, whose response goes into the guest again.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use http::{HeaderValue, Method, StatusCode, request, response};
use tokio::sync::mpsc;

use super::{
    Shared, answer,
    guest::{self, Guard},
    handling::{Handling, News},
    local::{Handlers, Local},
    lodge::Lodging,
    outgoing::received,
};
use crate::{
    config::spec::FailurePolicy,
    error::{Error, Kind},
    exchange::{Authority, Exchange, Request, Response, Timers},
    filter::{self, Filter, Wait},
    wasm::{call::Fail, pool::InUse},
};

/// See the module.
pub(super) struct WasiHttpFilter {
    pub(super) shared: Arc<Shared>,
    pub(super) in_use: Arc<InUse>,
}

/// One plugin's part in one exchange, outside of its guest.
struct Visit {
    local: Rc<Local>,
    exchange: Rc<Exchange>,
    talk: Rc<Talk>,
    /// What the client asked to switch to, which goes with the guest's request for the rest of the chain.
    upgrade: RefCell<Option<HeaderValue>>,
    /// Whether no body is sent, whatever the answer's is.
    without_body: Cell<bool>,
    /// The guest asked for the rest of the chain and has not answered.
    waits: Cell<bool>,
}

/// With a guest that asked for the rest of the chain.
#[derive(Default)]
struct Talk {
    begun: RefCell<Option<Begun>>,
    /// What it said before that came back.
    early: RefCell<Option<News>>,
}

// A guest at work. Dropped, it ends.
struct Begun {
    handling: Rc<Handling>,
    news: mpsc::UnboundedReceiver<News>,
    guard: Option<Guard>,
}

type Seen = ControlFlow<Box<Response>, Box<Request>>;

impl Filter for WasiHttpFilter {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn filter::Visit> {
        let handlers = exchange.worker.locals.of::<Handlers>();
        let adopt = || handlers.adopt(&exchange.worker, &self.shared, &Arc::downgrade(&self.in_use));
        Rc::new(Visit {
            local: handlers.local(self.shared.plugin.id).unwrap_or_else(adopt),
            exchange: Rc::clone(exchange),
            talk: Rc::default(),
            upgrade: RefCell::default(),
            without_body: Cell::new(false),
            waits: Cell::new(false),
        })
    }

    fn describe(&self) -> String {
        let plugin = &self.shared.plugin;
        format!("plugin {} (wasi:http component {:.12})", plugin.name, plugin.module.identity())
    }
}

impl filter::Visit for Visit {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<Seen> {
        Wait::on(on_request(self, request))
    }

    fn early(&self) -> Option<LocalBoxFuture<'static, ()>> {
        let (talk, open) = (Rc::clone(&self.talk), self.is_open());
        self.waits.get().then(|| poll_fn(move |cx| talk.poll_early(open, cx)).boxed_local())
    }

    fn sees_response(&self) -> bool {
        self.waits.get()
    }

    fn response(self: Rc<Self>, response: Response) -> Wait<Response> {
        Wait::on(on_response(self, response))
    }
}

async fn on_request(visit: Rc<Visit>, request: Box<Request>) -> Result<Seen, Error> {
    if !visit.local.breaker.allows() {
        let left_alone = Error::new(Kind::PluginFailed, format!("plugin {}: it failed too often", visit.local.name));
        return visit.skip(left_alone).map(|()| Continue(request));
    }
    let lease = match visit.local.lease() {
        Ok(lease) => lease,
        Err(fail) => return visit.judge(&fail).map(|()| Continue(request)),
    };
    visit.without_body.set(request.head.method == Method::HEAD);
    let Request { head, authority, body, upgrade, exchange } = *request;
    let before =
        visit.is_open().then(|| Before { head: head.clone(), authority: authority.clone(), upgrade: upgrade.clone() });
    let lodging = Lodging::new(body);
    let (handling, news) = Handling::new((Rc::clone(&visit.local), lease), Rc::clone(&exchange), authority.clone());
    visit.upgrade.replace(upgrade);
    let head = addressed(head, &authority, exchange.secure)?;
    let guard = Some(guest::start(&handling, head, lodging.lodge()));
    let mut begun = Begun { handling, news, guard };
    match begun.news().await {
        News::Next(mut request, body) => {
            request.body = body.settled().await;
            request.upgrade = visit.upgrade.take();
            visit.waits.set(true);
            visit.talk.begun.replace(Some(begun));
            Ok(Continue(request))
        }
        News::Answer(response) => match visit.answered(*response, begun) {
            Ok(response) => Ok(Break(Box::new(response))),
            Err(fail) => {
                visit.judge(&fail)?;
                visit.go_on(before, &lodging).map(Continue)
            }
        },
        News::Failed(fail) => {
            // A body that came broken is no fault of the plugin's.
            if let Some(error) = lodging.failure() {
                return Err(error);
            }
            visit.judge(&fail)?;
            visit.go_on(before, &lodging).map(Continue)
        }
        News::Interim(_) => unreachable!("they are passed on where news are awaited"),
    }
}

async fn on_response(visit: Rc<Visit>, response: Response) -> Result<Response, Error> {
    let Some(mut begun) = visit.talk.begun.take() else { return Ok(response) };
    let handling = Rc::clone(&begun.handling);
    let Response { head, body, tunnel } = response;
    let mut before = visit.is_open().then(|| copy(&head));
    let (news, lodging) = match visit.talk.early.take() {
        Some(news) => {
            // Its answer came first: there is no response but an empty one.
            before.take_if(|_| matches!(news, News::Answer(_)));
            (news, Lodging::new(body))
        }
        None => {
            let timers = visit.exchange.worker.locals.of::<Timers>();
            let (lodging, given) = received(Response { head, body, tunnel: None }, timers, None);
            handling.deliver(given);
            (begun.news().await, lodging)
        }
    };
    let fail = match news {
        News::Answer(response) => match visit.answered(*response, begun) {
            Ok(answer) if answer.head.status != StatusCode::SWITCHING_PROTOCOLS => return Ok(answer),
            Ok(answer) if tunnel.is_some() => return Ok(Response { tunnel, ..answer }),
            Ok(_) => Fail::Contract("it answers with a switch of protocols that there is not"),
            Err(fail) => fail,
        },
        News::Failed(fail) => fail,
        News::Next(..) => unreachable!("the rest of the chain is asked for once"),
        News::Interim(_) => unreachable!("they are passed on where news are awaited"),
    };
    // What failed further along failed because a body of the guest's was broken off.
    visit.exchange.record.note(|recorded| drop(recorded.error.take_if(|(kind, _)| *kind == Kind::PluginFailed)));
    visit.judge(&fail)?;
    let (head, body) = before.zip(lodging.take_back()).ok_or_else(|| visit.too_late())?;
    Ok(Response { head, body, tunnel })
}

// A request as it came, for a plugin that is skipped when it fails.
struct Before {
    head: request::Parts,
    authority: Authority,
    upgrade: Option<HeaderValue>,
}

impl Visit {
    fn is_open(&self) -> bool {
        self.local.shared.plugin.on_failure == FailurePolicy::Open
    }

    // Logs and counts a failure. `Ok`: the plugin is skipped.
    fn judge(&self, fail: &Fail) -> Result<(), Error> {
        self.skip(self.local.report(fail, self.exchange.generation()))
    }

    fn skip(&self, error: Error) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(error) }
    }

    fn answered(
        &self,
        answer: http::Response<wasmtime_wasi_http::WasiBody>,
        mut begun: Begun,
    ) -> Result<Response, Fail> {
        let response = answer::answer(answer, &begun.handling, (begun.guard.take(), self.without_body.get()))?;
        self.waits.set(false);
        Ok(response)
    }

    // The request as it came, without the plugin.
    fn go_on(&self, before: Option<Before>, lodging: &Lodging) -> Result<Box<Request>, Error> {
        let (Before { head, authority, upgrade }, body) =
            before.zip(lodging.take_back()).ok_or_else(|| self.too_late())?;
        Ok(Box::new(Request { head, authority, body, upgrade, exchange: Rc::clone(&self.exchange) }))
    }

    fn too_late(&self) -> Error {
        let detail =
            format!("plugin {}: it failed when it had read of the body: it cannot be skipped", self.local.name);
        Error::new(Kind::PluginFailed, detail)
    }
}

impl Talk {
    // Whether the guest said something that ends what is under way: where the plugin is skipped when it fails, that
    // goes on without it.
    fn poll_early(&self, open: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut begun = self.begun.borrow_mut();
        let Some(begun) = begun.as_mut().filter(|_| self.early.borrow().is_none()) else { return Poll::Pending };
        let news = ready!(begun.poll_news(cx));
        let goes_on = open && matches!(news, News::Failed(_));
        self.early.replace(Some(news));
        if goes_on { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Begun {
    async fn news(&mut self) -> News {
        poll_fn(|cx| self.poll_news(cx)).await
    }

    // Interim responses are put where the server looks when the chain was polled.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        loop {
            match ready!(self.news.poll_recv(cx)) {
                Some(News::Interim(head)) => self.handling.exchange.interims.borrow_mut().push(*head),
                Some(news) => return Poll::Ready(news),
                // The guest's task says something before it ends, or is ended by us.
                None => return Poll::Ready(News::Failed(Fail::Lost)),
            }
        }
    }
}

// Components see whole addresses.
fn addressed(mut head: request::Parts, authority: &Authority, secure: bool) -> Result<request::Parts, Error> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let scheme = if secure { "https" } else { "http" };
    let uri = http::Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query(target).build();
    head.uri = uri.map_err(|error| Error::because(Kind::MalformedRequest, "the request's target", error))?;
    Ok(head)
}

fn copy(head: &response::Parts) -> response::Parts {
    let (mut copy, ()) = http::Response::new(()).into_parts();
    (copy.status, copy.headers) = (head.status, head.headers.clone());
    copy
}
