//! A Proxy-Wasm plugin as a step of a chain: heads, pauses, and the plugin's own answers, which its response callbacks
//! see like any other.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use http::{HeaderMap, Method, StatusCode, header};

use super::{
    body::Streamed,
    local::Residents,
    program::Shared,
    promise::declared,
    stream::{Direction, News, Shown, Stream},
};
use crate::{
    config::spec::FailurePolicy,
    error::Error,
    exchange::{Body, Exchange, Request, Response},
    filter::{Filter, Visit, Wait},
    wasm::{plugin::Plugin, pool::InUse},
};

/// See the module.
pub(super) struct ProxyWasmFilter {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shared: Arc<Shared>,
    pub(super) in_use: Arc<InUse>,
}

type Seen = ControlFlow<Box<Response>, Box<Request>>;

impl Filter for ProxyWasmFilter {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        let residents = exchange.worker.locals.of::<Residents>();
        let adopt = || residents.adopt(&exchange.worker, &self.plugin, &self.shared, &Arc::downgrade(&self.in_use));
        let local = residents.local(self.plugin.id).unwrap_or_else(adopt);
        if local.home.worn.get() {
            residents.renew(&local.home);
        }
        Stream::new(&local, exchange)
    }

    fn reroutes(&self) -> bool {
        !self.plugin.proxy_wasm.keep_route
    }

    fn describe(&self) -> String {
        format!("plugin {} (Proxy-Wasm module {:.12})", self.plugin.name, self.plugin.module.identity())
    }
}

impl Visit for Stream {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<Seen> {
        Wait::on(on_request(self, request))
    }

    fn sees_response(&self) -> bool {
        self.midway.borrow().is_some() || self.is_open() && !self.skipped.get() && self.local.home.program().sees_more()
    }

    fn response(self: Rc<Self>, response: Response) -> Wait<Response> {
        let response = match self.midway.take() {
            None => response,
            Some(midway) => {
                // What failed further along failed because the body was broken off.
                self.exchange.record.note(|recorded| recorded.error = None);
                match *midway {
                    Ok(answer) => answer,
                    Err(error) => return Wait::Ready(Err(error)),
                }
            }
        };
        if !self.is_open() || self.skipped.get() {
            Wait::Ready(Ok(response))
        } else {
            Wait::on(on_response(self, response))
        }
    }
}

// What few exchanges wait for is boxed, here and below: each has room for all that it may wait for.
async fn on_request(stream: Rc<Stream>, mut request: Box<Request>) -> Result<Seen, Error> {
    if !stream.local.breaker.allows() {
        return stream.left_alone().map(|()| Continue(request));
    }
    let open = stream.local.plugin.on_failure == FailurePolicy::Open;
    let before = open.then(|| (request.head.clone(), request.authority.clone()));
    let (fields, mut body) = (request.head.headers.len() + PSEUDO, request.body.take());
    stream.request.replace(Some(Shown::Here(request)));
    let mut news = see_request(&stream, fields, body.is_empty()).await?;
    let mut held = None;
    if let News::HoldsHead = news {
        let (streamed, then) = Box::pin(Streamed::begun(&stream, Direction::Request, body.take(), true)).await?;
        (held, news) = (Some(streamed), then);
    }
    if let News::Answers(answer) = news {
        let answer = Box::pin(on_response(stream, *answer)).await?;
        return Ok(Break(Box::new(answer)));
    }
    let shown = stream.request.take().and_then(Shown::into_here);
    let mut request = shown.expect("shown above, and taken only here");
    if let Some((head, authority)) = before.filter(|_| stream.skipped.get()) {
        (request.head, request.authority) = (head, authority);
    }
    let reroutes = stream.rerouted.get() && !stream.keeps_route.get() && !stream.skipped.get();
    if stream.local.home.program().sees_more() {
        stream.request.replace(Some(Shown::gone(&request)));
    }
    let fields = &mut request.head.headers;
    match see_body(&stream, Direction::Request, (body, held), fields).await? {
        Ok(body) => request.body = body,
        Err(answer) => {
            let answer = Box::pin(on_response(stream, *answer)).await?;
            return Ok(Break(Box::new(answer)));
        }
    }
    if reroutes {
        request.exchange.reroute();
    }
    Ok(Continue(request))
}

// The body as it goes on, where it is one that the plugin sees, with what its head promises of its length; or the plugin's
// answer in its place. A length that the plugin may change is promised when its first piece has been seen: where none is,
// nothing waits.
async fn see_body(
    stream: &Rc<Stream>,
    direction: Direction,
    (body, held): (Body, Option<Streamed>),
    fields: &mut HeaderMap,
) -> Result<Result<Body, Box<Response>>, Error> {
    let program = stream.local.home.program();
    let length = declared(fields);
    let mut streamed = match held {
        Some(held) => held,
        None if stream.skipped.get() || body.is_empty() || !program.sees_body(direction) => return Ok(Ok(body)),
        None if length.is_some() && stream.may_change_length(direction) => {
            match Box::pin(Streamed::begun(stream, direction, body, false)).await? {
                (_, News::Answers(answer)) => return Ok(Err(answer)),
                (streamed, _) => streamed,
            }
        }
        None => return Ok(Ok(Body::stream(Streamed::new(stream, direction, body, length)))),
    };
    streamed.promise(fields);
    Ok(Ok(Body::stream(streamed)))
}

// `:method`, `:path`, `:authority` and `:scheme`.
const PSEUDO: usize = 4;

async fn see_request(stream: &Rc<Stream>, fields: usize, end: bool) -> Result<News, Error> {
    let opened = stream.open().await?;
    if !stream.is_open() {
        return Ok(News::GoesOn);
    }
    if stream.local.home.program().sees_end() {
        ask_for_end(stream);
    } else {
        forget_at_end(stream);
    }
    see(stream, Direction::Request, opened, (fields, end)).await
}

// Shows a head and waits for the end of the pause that may follow.
async fn see(stream: &Stream, direction: Direction, since: Instant, head: (usize, bool)) -> Result<News, Error> {
    match stream.headers(direction, since, head).await? {
        News::Pauses => Box::pin(stream.paused(direction, since)).await,
        news => Ok(news),
    }
}

async fn on_response(stream: Rc<Stream>, response: Response) -> Result<Response, Error> {
    let Response { head, mut body, tunnel } = response;
    let head_request = stream.request.borrow().as_ref().is_some_and(|shown| shown.head().0.method == Method::HEAD);
    let status = head.status;
    let bodyless = tunnel.is_some()
        || head_request
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let before = (stream.local.plugin.on_failure == FailurePolicy::Open).then(|| head.clone());
    let fields = head.headers.len() + 1;
    stream.response.replace(Some(head));
    let mut news = see(&stream, Direction::Response, Instant::now(), (fields, bodyless || body.is_empty())).await?;
    let mut held = None;
    if let News::HoldsHead = news {
        let (streamed, then) = Box::pin(Streamed::begun(&stream, Direction::Response, body.take(), true)).await?;
        (held, news) = (Some(streamed), then);
    }
    let shown = stream.response.take();
    let mut head = before.filter(|_| stream.skipped.get()).or(shown).expect("shown above, and taken once");
    stream.answered.set(true);
    if let (News::Answers(answer), None) = (news, &tunnel) {
        stream.response.replace(Some(answer.head.clone()));
        return Ok(*answer);
    }
    stream.response.replace(Some(head.clone()));
    if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !body.is_empty() {
        head.headers.remove(header::CONTENT_LENGTH);
        body = Body::empty();
    }
    if bodyless && held.is_none() {
        if head_request || status == StatusCode::NOT_MODIFIED {
            stream.local.plugin.habits.of(Direction::Response).settle_alone(&mut head.headers);
        }
        return Ok(Response { head, body, tunnel });
    }
    Ok(match see_body(&stream, Direction::Response, (body, held), &mut head.headers).await? {
        Ok(body) => Response { head, body, tunnel },
        Err(answer) => *answer,
    })
}

fn ask_for_end(stream: &Rc<Stream>) {
    let asked = Rc::clone(stream);
    stream.exchange.at_end(move |_, _| drop(tokio::task::spawn_local(asked.end())));
}

fn forget_at_end(stream: &Rc<Stream>) {
    let over = Rc::clone(stream);
    stream.exchange.at_end(move |_, _| over.forget());
}
