//! The route of a request whose head a step changed: chosen anew among the routes that its first one was chosen among,
//! those of its listener's section in its generation, and never of what arrived since.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use http::Method;

use super::{authority::Known, call, exchange::route_head, life::Life};
use crate::{
    error::Error,
    exchange::Request,
    filter::{Reroute, Way},
    snapshot::{WorkerPlan, WorkerSnapshot},
};

/// What a route was chosen among, and which it was.
#[derive(Debug)]
pub(super) struct Among {
    pub(super) snapshot: Rc<WorkerSnapshot>,
    /// The host that the client asked for, and whether it did.
    pub(super) known: Rc<Known>,
    pub(super) named: bool,
    pub(super) plan: Rc<WorkerPlan>,
    /// The listener's limit of request bodies.
    pub(super) bytes_max: Option<u64>,
}

/// See the module. Holds the snapshot until the request is past its last step.
#[derive(Debug)]
pub(super) struct Rerouting<'a> {
    life: &'a Life,
    among: RefCell<Option<Box<Among>>>,
}

impl<'a> Rerouting<'a> {
    pub(super) const fn new(life: &'a Life, among: Box<Among>) -> Self {
        Self { life, among: RefCell::new(Some(among)) }
    }

    fn put_on(&self, plan: &Rc<WorkerPlan>, bytes_max: Option<u64>, request: &Request) -> Result<(), Error> {
        self.life.reroute(plan);
        self.life.exchange.put_on(plan.facts());
        call::set_deadline(&self.life.exchange, plan.plan().timeout, &request.head.headers);
        let Some(received) = &self.life.received else { return Ok(()) };
        received.limit(plan.plan().body_bytes_max.or(bytes_max)).inspect_err(|_| self.life.session.spoil())
    }
}

impl Reroute for Rerouting<'_> {
    /// Where no route matches any more, the one that it is on serves: what it took before, it takes as it is now.
    fn choose(&self, request: &Request) -> Result<Option<Way>, Error> {
        let mut among = self.among.borrow_mut();
        let Some(among) = &mut *among else { return Ok(None) };
        let next = among.find(request);
        let Some(next) = next.filter(|next| !Rc::ptr_eq(next, &among.plan)) else { return Ok(None) };
        self.put_on(&next, among.bytes_max, request)?;
        let way = Way { chain: next.plan().chain.clone(), end: next.plan().end.clone() };
        among.plan = next;
        Ok(Some(way))
    }

    fn arrived(&self) {
        self.among.take();
    }
}

impl Among {
    // Which section it belongs to goes by the connection and what the client asked for, as what it was let in by does.
    fn find(&self, request: &Request) -> Option<Rc<WorkerPlan>> {
        let asked = if self.named { &*self.known.host } else { "" };
        let listener = self.snapshot.shared().listeners.get(&request.exchange.connection.listener)?;
        let host = if request.authority == self.known.authority {
            Cow::Borrowed(asked)
        } else {
            Cow::Owned(request.authority.host().to_ascii_lowercase())
        };
        let plan = listener.section(asked).table.find(&route_head(&request.head, &host))?;
        // Only a route whose steps ask for it is sent this method.
        (request.head.method != Method::TRACE || plan.chain.takes_trace()).then(|| self.snapshot.plan(plan))
    }
}
