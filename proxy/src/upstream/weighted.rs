//! The end of a plan with several targets: each exchange goes to one of them, by weight.

use std::{fmt, sync::Arc};

use futures_util::future::{LocalBoxFuture, ready};

use super::share::Share;
use crate::{
    error::{Error, Kind},
    exchange::{Call, Request, Response},
    state::{Sequence, States},
};

/// Several ends by weight. Every run of as many exchanges as the weights add up to (divided by their greatest
/// common divisor) on one worker is shared exactly.
pub struct Weighted {
    route: Arc<str>,
    targets: Box<[Arc<dyn Call>]>,
    share: Option<Share>,
    sequence: Arc<Sequence>,
}

impl Weighted {
    /// The targets of the route called `route`, with their weights.
    pub fn new(route: &str, targets: impl IntoIterator<Item = (Arc<dyn Call>, u32)>, states: &States) -> Self {
        let (targets, weights): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
        let sequence =
            states.sequences.find_or_make(&format!("route {route}").into(), || Sequence::new(states.workers));
        Self { route: route.into(), targets: targets.into(), share: Share::new(weights), sequence }
    }
}

impl Call for Weighted {
    /// # Errors
    /// Besides those of the target: `NoTarget` (500) where no target has a weight, as the Gateway API has it
    /// (`HTTPRouteRule.backendRefs`).
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        let Some(share) = &self.share else {
            let text = format!("route {}: every target has the weight 0", self.route);
            return Box::pin(ready(Err(Error::new(Kind::NoTarget, text))));
        };
        let target =
            if self.targets.len() == 1 { 0 } else { share.at(self.sequence.next(request.exchange.worker.index)) };
        self.targets[target].call(request)
    }

    fn takes_told(&self) -> bool {
        self.targets.iter().all(|target| target.takes_told())
    }
}

impl fmt::Debug for Weighted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weighted({}, {} targets)", self.route, self.targets.len())
    }
}
