//! One plugin's part in one exchange: what host functions show and change of it, and the guest that is leased for it.
//! Knows neither the calls nor their functions.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use http::{StatusCode, request, response};

use super::{
    body::Side,
    edits::Edits,
    pool::{Lease, Local},
};
use crate::{
    error::{Error, Kind},
    exchange::{Authority, Exchange},
};

/// See the module.
pub(super) struct Visit {
    pub(super) local: Rc<Local>,
    pub(super) exchange: Rc<Exchange>,
    /// What the guest enabled, for this exchange.
    pub(super) features: Cell<u32>,
    /// Whether the request has gone on.
    pub(super) after_next: Cell<bool>,
    /// The request's head; when the response is there, a copy of what went on.
    pub(super) request: RefCell<Option<(request::Parts, Authority)>>,
    pub(super) request_body: RefCell<Side>,
    pub(super) response: RefCell<Answer>,
    pub(super) response_body: RefCell<Side>,
    /// What was read of the guest's own answer.
    pub(super) reread: Cell<usize>,
    /// The guest waits for a body: its time does not run.
    pub(super) waits: Cell<bool>,
    /// What ended the present call, if it is not the guest's own fault.
    pub(super) cause: RefCell<Option<Cause>>,
    /// What the guest knows the exchange by.
    pub(super) context: Cell<u32>,
    /// The guest, between its calls.
    pub(super) lease: RefCell<Option<Lease>>,
    /// The plugin failed and the policy is to go on without it.
    pub(super) skipped: Cell<bool>,
    pub(super) failed: Cell<Option<Kind>>,
    pub(super) spent: Cell<Duration>,
    /// Its place in the exchange's record.
    pub(super) step: Cell<Option<usize>>,
}

/// The response: before there is one, what the guest would answer or have changed; then its head.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: Option<StatusCode>,
    pub(super) edits: Edits,
    pub(super) head: Option<response::Parts>,
    /// It agrees to change protocols: it has neither another status nor a body.
    pub(super) switches: bool,
}

/// What ends a call other than the guest's own fault.
pub(super) enum Cause {
    /// A body broke off, or a request's is too large.
    Broken(Error),
    /// A response's body is over what is kept of it.
    TooLarge,
}

/// Bits of `enable_features`.
pub(super) mod feature {
    /// The next handler reads the request's body from its beginning, whatever the guest read of it.
    pub(in super::super) const BUFFER_REQUEST: u32 = 1;
    /// The guest may change the response that comes.
    pub(in super::super) const BUFFER_RESPONSE: u32 = 2;
    /// The guest may read and set trailers.
    pub(in super::super) const TRAILERS: u32 = 4;
    /// What there is.
    pub(in super::super) const ALL: u32 = BUFFER_REQUEST | BUFFER_RESPONSE | TRAILERS;
}

impl Visit {
    /// The beginning of a plugin's part in an exchange.
    pub(super) fn new(local: Rc<Local>, exchange: &Rc<Exchange>) -> Rc<Self> {
        Rc::new(Self {
            local,
            exchange: Rc::clone(exchange),
            features: Cell::new(0),
            after_next: Cell::new(false),
            request: RefCell::default(),
            request_body: RefCell::default(),
            response: RefCell::default(),
            response_body: RefCell::default(),
            reread: Cell::new(0),
            waits: Cell::new(false),
            cause: RefCell::default(),
            context: Cell::new(0),
            lease: RefCell::default(),
            skipped: Cell::new(false),
            failed: Cell::new(None),
            spent: Cell::new(Duration::ZERO),
            step: Cell::new(None),
        })
    }

    /// Whether a feature is enabled.
    pub(super) const fn has(&self, feature: u32) -> bool {
        self.features.get() & feature != 0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let result = self.failed.get().map_or(Ok(()), Err);
        self.local.plugin().series.finish(self.local.worker, result, self.spent.get());
    }
}
