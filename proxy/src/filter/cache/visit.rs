//! The part of a cache in one exchange: whether a request is answered from what is kept or goes on, and what its answer
//! does to what is kept.

use std::{
    cell::RefCell,
    ops::ControlFlow,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, Method, StatusCode, header};

use super::{
    ask::{self, Ask, Asked, Use},
    desk::{Desk, Told, Why},
    fill::{Fill, Filling},
    stored::{Found, Stored},
    terms::{Times, terms},
};
use crate::{
    error::{Error, Kind},
    exchange::{Body, Exchange, Request, Response, Timers},
    filter::{Aside, Visit, Wait},
    state::{Boarding, Follow, Lead},
    telemetry::CacheOutcome,
};

/// Of one exchange, or of what is fetched aside.
pub(super) struct Visiting {
    desk: Arc<Desk>,
    exchange: Rc<Exchange>,
    part: RefCell<Part>,
    aside: RefCell<Option<Aside>>,
    // What is fetched aside is no request of a client.
    counts: bool,
}

/// What is to be done with the response.
enum Part {
    /// Nothing.
    Done,
    /// To say that it was not for the cache.
    Pass(Why),
    /// To forget what is kept of a URI, if it went well.
    Change(String),
    /// To keep it, or what it says of what is kept.
    Fetch(Box<Fetch>),
}

/// A request that went on.
struct Fetch {
    key: String,
    route: Arc<str>,
    ask: Ask,
    // Of the client's request.
    headers: HeaderMap,
    // What is kept, and whether the upstream was asked about it.
    known: Option<Arc<Stored>>,
    conditional: bool,
    why: Why,
    asked: Instant,
    // Changes of URIs that were noted until then.
    then: u64,
    lead: Option<Lead>,
}

/// What is to be done with a request.
enum Decision {
    Answer(Arc<Stored>, Use),
    Fetch { known: Option<Arc<Stored>>, why: Why, alone: bool },
}

type Next = ControlFlow<Box<Response>, Box<Request>>;

impl Visit for Visiting {
    fn request(self: Rc<Self>, request: Box<Request>) -> Wait<Next> {
        let ask = match Asked::of(&request) {
            Asked::Get(ask) => *ask,
            Asked::Part(ask) => return self.part_of(request, &ask),
            Asked::Change => {
                let key = ask::key(&request);
                return self.go(request, Part::Change(key));
            }
            Asked::Else => return self.go(request, Part::Pass(Why::Bypass)),
        };
        let now = Instant::now();
        let (known, why, alone) = match self.decide(&request, &ask, now) {
            Decision::Answer(stored, how) => return Wait::Ready(Ok(self.answer(&request, &ask, &stored, how, now))),
            Decision::Fetch { known, why, alone } => (known, why, alone),
        };
        if ask.control.only_if_cached {
            return Wait::Ready(Ok(ControlFlow::Break(self.not_cached())));
        }
        if ask.only_head {
            return self.go(request, Part::Pass(why));
        }
        let boarding = if alone { Boarding::Full } else { self.desk.board(&ask.key, &self.route()) };
        match boarding {
            Boarding::Lead(lead) => Wait::Ready(Ok(self.fetch(request, ask, (known, why), Some(lead)))),
            Boarding::Full => Wait::Ready(Ok(self.fetch(request, ask, (known, why), None))),
            Boarding::Follow(follow) => Wait::on(self.follow(request, ask, follow)),
        }
    }

    fn sees_response(&self) -> bool {
        !matches!(*self.part.borrow(), Part::Done)
    }

    fn response(self: Rc<Self>, mut response: Response) -> Wait<Response> {
        match self.part.replace(Part::Done) {
            Part::Done => {}
            Part::Pass(why) => {
                self.count(CacheOutcome::Bypass);
                self.desk.tell(&mut response.head.headers, Told::Forwarded { why, status: None, stored: false });
            }
            Part::Change(key) => self.invalidate(&key, &mut response),
            Part::Fetch(fetch) => return Wait::Ready(self.settle(*fetch, response)),
        }
        Wait::Ready(Ok(response))
    }

    fn aside(&self) -> Option<Aside> {
        self.aside.take()
    }
}

static CONDITIONS: [header::HeaderName; 4] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

impl Visiting {
    /// The part in an exchange that has just come.
    pub(super) fn new(desk: Arc<Desk>, exchange: &Rc<Exchange>) -> Self {
        Self {
            desk,
            exchange: Rc::clone(exchange),
            part: RefCell::new(Part::Done),
            aside: RefCell::default(),
            counts: true,
        }
    }

    fn count(&self, outcome: CacheOutcome) {
        if self.counts {
            self.desk.count(self.exchange.worker.index, outcome);
        }
    }

    fn route(&self) -> Arc<str> {
        self.exchange.route().map_or_else(|| "".into(), |route| Arc::clone(&route.id))
    }

    fn decide(&self, request: &Request, ask: &Ask, now: Instant) -> Decision {
        // One whose answer is not likely to be kept is waited for by nobody.
        let own = ask.authorized || ask.control.no_cache || ask.control.no_store;
        let fetch = |known, why, alone| Decision::Fetch { known, why, alone: alone || own };
        match self.desk.find(&ask.key, &self.route(), &request.head.headers, now) {
            Err(why) => fetch(None, why, false),
            Ok((Found::Other, alone)) => fetch(None, Why::VaryMiss, alone),
            Ok((Found::Stored(stored), alone)) => match ask.uses(&stored, now) {
                // Of what is never fresh, one answer is of no use to the others.
                Use::Old => {
                    let alone = alone || stored.terms.lifetime.is_zero() || stored.terms.validate;
                    fetch(Some(stored), Why::Stale, alone)
                }
                Use::Unwanted => fetch(Some(stored), Why::Request, true),
                how => Decision::Answer(stored, how),
            },
        }
    }

    // A part is answered of what is kept. What is not is the upstream's to answer, and is not kept in parts.
    fn part_of(&self, request: Box<Request>, ask: &Ask) -> Wait<Next> {
        let now = Instant::now();
        match self.decide(&request, ask, now) {
            Decision::Answer(stored, how) => Wait::Ready(Ok(self.answer(&request, ask, &stored, how, now))),
            Decision::Fetch { .. } if ask.control.only_if_cached => {
                Wait::Ready(Ok(ControlFlow::Break(self.not_cached())))
            }
            Decision::Fetch { .. } => self.go(request, Part::Pass(Why::Bypass)),
        }
    }

    fn go(&self, request: Box<Request>, part: Part) -> Wait<Next> {
        *self.part.borrow_mut() = part;
        Wait::Ready(Ok(ControlFlow::Continue(request)))
    }

    fn answer(&self, request: &Request, ask: &Ask, stored: &Arc<Stored>, how: Use, now: Instant) -> Next {
        let outcome = if how == Use::Fresh { CacheOutcome::Hit } else { CacheOutcome::Stale };
        self.count(outcome);
        let mut response = stored.answer(&request.head.headers, ask.only_head, now);
        self.desk.tell(&mut response.head.headers, Told::Hit(stored.seconds_left(now)));
        if how == Use::Meanwhile {
            self.fetch_aside(request, ask, stored);
        }
        ControlFlow::Break(Box::new(response))
    }

    // One at a time; it is of no client, and nobody waits for it.
    fn fetch_aside(&self, request: &Request, ask: &Ask, stored: &Arc<Stored>) {
        let Boarding::Lead(lead) = self.desk.board(&ask.key, &self.route()) else { return };
        let exchange = Rc::new(self.exchange.aside());
        let mut head = request.head.clone();
        head.method = Method::GET;
        // The client's own conditions are met already.
        CONDITIONS.iter().for_each(|name| drop(head.headers.remove(name)));
        let (authority, own) = (request.authority.clone(), Rc::clone(&exchange));
        let sent = Box::new(Request { head, authority, body: Body::empty(), upgrade: None, exchange: own });
        let visit = Rc::new(Self { counts: false, ..Self::new(Arc::clone(&self.desk), &exchange) });
        let ask = Ask { only_head: false, ..ask.clone() };
        if let ControlFlow::Continue(request) =
            visit.fetch(sent, ask, (Some(Arc::clone(stored)), Why::Stale), Some(lead))
        {
            *self.aside.borrow_mut() = Some(Aside { request, visit });
        }
    }

    // The answer to a client that wanted nothing from further on (RFC 9111 section 5.2.1.7).
    fn not_cached(&self) -> Box<Response> {
        self.count(CacheOutcome::Bypass);
        let mut response = Response::text(StatusCode::GATEWAY_TIMEOUT, "nothing is kept of this");
        self.desk.tell(&mut response.head.headers, Told::NotCached);
        Box::new(response)
    }

    fn fetch(
        &self,
        mut request: Box<Request>,
        ask: Ask,
        (known, why): (Option<Arc<Stored>>, Why),
        lead: Option<Lead>,
    ) -> Next {
        let headers = request.head.headers.clone();
        let conditional = known.as_ref().filter(|known| known.has_validators() && !ask.control.no_store);
        if let Some(known) = conditional {
            known.condition(&mut request.head.headers);
        }
        let conditional = conditional.is_some();
        let (key, route, asked, then) = (ask.key.clone(), self.route(), Instant::now(), self.desk.changes());
        let fetch = Fetch { key, route, ask, headers, known, conditional, why, asked, then, lead };
        *self.part.borrow_mut() = Part::Fetch(Box::new(fetch));
        ControlFlow::Continue(request)
    }

    // Waits for the answer that another one has asked for. Where that is of no use, goes on by itself.
    async fn follow(self: Rc<Self>, request: Box<Request>, ask: Ask, follow: Follow) -> Result<Next, Error> {
        let timers = self.exchange.worker.locals.of::<Timers>();
        let until = Instant::now() + self.desk.rules.wait_timeout;
        let late = timers.within(until, follow.landed()).await.is_err();
        let now = Instant::now();
        if late {
            // Its answer takes long: those who come next need not wait, either.
            self.desk.leave_alone(&ask.key, now);
        }
        Ok(match self.decide(&request, &ask, now) {
            Decision::Answer(stored, how) => self.answer(&request, &ask, &stored, how, now),
            Decision::Fetch { known, why, .. } => self.fetch(request, ask, (known, why), None),
        })
    }

    // RFC 9111 section 4.4.
    fn invalidate(&self, key: &str, response: &mut Response) {
        self.count(CacheOutcome::Bypass);
        let headers = &mut response.head.headers;
        if response.head.status.is_success() || response.head.status.is_redirection() {
            self.desk.invalidate(key);
            let named = [header::LOCATION, header::CONTENT_LOCATION].map(|name| headers.get(name));
            let named = named.into_iter().flatten().filter_map(|value| ask::referred(key, value.to_str().ok()?));
            named.for_each(|other| self.desk.invalidate(&other));
        }
        self.desk.tell(headers, Told::Forwarded { why: Why::Method, status: None, stored: false });
    }

    fn settle(&self, fetch: Fetch, response: Response) -> Result<Response, Error> {
        let times = Times { asked: fetch.asked, received: Instant::now(), wall: SystemTime::now() };
        let status = response.head.status;
        if let Some(known) = &fetch.known {
            if fetch.conditional && status == StatusCode::NOT_MODIFIED {
                let known = Arc::clone(known);
                return self.confirm(fetch, &known, &response.head.headers, times);
            }
            let failed = matches!(status.as_u16(), 500 | 502 | 503 | 504);
            if failed && ask::stands_in(known, &fetch.headers, times.received) {
                self.count(CacheOutcome::Stale);
                return Ok(self.serve(known, &fetch, (status, false), times.received));
            }
        }
        Ok(self.keep(fetch, response, times))
    }

    // The upstream says that what is kept is still so.
    fn confirm(&self, fetch: Fetch, known: &Arc<Stored>, headers: &HeaderMap, times: Times) -> Result<Response, Error> {
        if !known.is_meant_by(headers) {
            self.desk.forget(&fetch.key, known);
            return Err(Error::new(
                Kind::UpstreamMalformed,
                "cache: a 304 about another response than was asked about",
            ));
        }
        self.count(CacheOutcome::Revalidated);
        let (head, key) = ((known.status(), &known.updated(headers)), &fetch.key);
        let terms = terms(head, (&fetch.ask.control, fetch.ask.authorized), &self.desk.rules, times.wall);
        let fresh = terms.and_then(|terms| Stored::new((Arc::clone(&fetch.route), &fetch.headers), head, terms, times));
        let Some(fresh) = fresh else {
            self.desk.forget(key, known);
            return Ok(self.serve(known, &fetch, (StatusCode::NOT_MODIFIED, false), times.received));
        };
        let fresh = Arc::new(fresh.with(known.body()));
        self.desk.forget(key, known);
        self.desk.put(key, Arc::clone(&fresh), fetch.then);
        Ok(self.serve(&fresh, &fetch, (StatusCode::NOT_MODIFIED, true), times.received))
    }

    // What is kept, where the upstream answered with another status.
    fn serve(&self, stored: &Stored, fetch: &Fetch, (status, kept): (StatusCode, bool), now: Instant) -> Response {
        let mut response = stored.answer(&fetch.headers, false, now);
        let told = Told::Forwarded { why: fetch.why, status: Some(status.as_u16()), stored: kept };
        self.desk.tell(&mut response.head.headers, told);
        response
    }

    // The upstream's answer is the client's. Where it may be kept, it is.
    fn keep(&self, fetch: Fetch, mut response: Response, times: Times) -> Response {
        let Fetch { key, route, ask, headers, known, why, then, lead, .. } = fetch;
        self.count(CacheOutcome::Miss);
        let head = (response.head.status, &response.head.headers);
        let rules = &self.desk.rules;
        let fits = http_body::Body::size_hint(&response.body).lower() <= rules.entry_bytes_max as u64;
        let terms = terms(head, (&ask.control, ask.authorized), rules, times.wall);
        let terms = terms.filter(|_| fits && response.tunnel.is_none());
        let stored = terms.and_then(|terms| Stored::new((route, &headers), head, terms, times));
        let filling = stored.zip(self.desk.reserve(0));
        let told = Told::Forwarded { why, status: None, stored: filling.is_some() };
        self.desk.tell(&mut response.head.headers, told);
        match filling {
            Some((stored, reserved)) => {
                let filling = Filling { desk: Arc::clone(&self.desk), key, stored, reserved, then, lead };
                response.body = Fill::store(response.body.take(), filling);
            }
            None => {
                // It has taken the place of what is kept.
                if let Some(known) = known.filter(|_| why == Why::Stale && response.head.status.is_success()) {
                    self.desk.forget(&key, &known);
                }
                self.desk.let_go(&key, lead, times.received);
            }
        }
        response
    }
}
