//! A request's course where a step changed what decides its route: it goes on along the route that it belongs to by now,
//! without the steps that it has been through. Knows neither routes nor tables; whoever does is asked.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use super::{Chain, Step};
use crate::{
    error::Error,
    exchange::{Call, Request},
};

/// Who chooses the route of a request anew.
pub trait Reroute {
    /// The way of the route that `request` belongs to by now; `None` where that is the one that it is on.
    ///
    /// # Errors
    /// Where that route does not take the request as it is.
    fn choose(&self, request: &Request) -> Result<Option<Way>, Error>;

    /// The request is past its last step, and nothing is chosen any more.
    fn arrived(&self);
}

/// What a route leads along, and to.
pub struct Way {
    /// Its steps.
    pub chain: Chain,
    /// What is behind them.
    pub end: Arc<dyn Call>,
}

/// One request's way through the steps of its route, and of those that were chosen after it.
pub(super) struct Course<'a> {
    router: &'a dyn Reroute,
    passed: RefCell<Vec<Arc<str>>>,
}

impl<'a> Course<'a> {
    pub(super) fn new(router: &'a dyn Reroute) -> Self {
        Self { router, passed: RefCell::default() }
    }

    /// The way on from behind the last of `passed`, where that is another one than theirs. Each step is met once, whichever
    /// routes have it: so who is let in by a route's steps has met all of them, and no two routes send a request to and fro.
    pub(super) fn turn(&self, request: &Request, passed: &[Step]) -> Result<Option<Way>, Error> {
        if !request.exchange.is_to_be_rerouted() {
            return Ok(None);
        }
        let Some(way) = self.router.choose(request)? else { return Ok(None) };
        let mut all = self.passed.borrow_mut();
        all.extend(passed.iter().map(|step| Arc::clone(&step.name)));
        Ok(Some(Way { chain: without(&way.chain, &all), end: way.end }))
    }

    pub(super) fn arrived(&self) {
        self.router.arrived();
    }
}

// A step that a chain has twice is met twice, as it would have been.
fn without(chain: &Chain, passed: &[Arc<str>]) -> Chain {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for name in passed {
        *left.entry(name).or_default() += 1;
    }
    let is_new = |step: &&Step| match left.get_mut(&*step.name) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    Chain::new(chain.steps().iter().filter(is_new).cloned())
}
