//! Where chains end: an upstream, several by weight, or nowhere; and the steps on the way to one target.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::plans::Planner;
use crate::{
    config::spec::{Destination, Part, Route, Target},
    error::{Error, Kind},
    exchange::{Call, Request, Response},
    filter::{Chain, Origin},
    identity::Identity,
    upstream::Weighted,
};

impl Planner<'_> {
    /// Where a route's chain ends.
    pub(super) fn end(&self, route: &Part<Route>) -> Arc<dyn Call> {
        match &route.targets[..] {
            [] => {
                Arc::new(Nowhere(Kind::Internal, "no step of this route answered, and it has no upstream".to_owned()))
            }
            [only] if only.weight > 0 => self.target(route, only),
            targets => {
                let targets = targets.iter().map(|target| (self.target(route, target), target.weight));
                Arc::new(Weighted::new(&route.id, targets, self.states))
            }
        }
    }

    fn target(&self, route: &Route, target: &Target) -> Arc<dyn Call> {
        let end: Arc<dyn Call> = match &target.to {
            Destination::Upstream(name) => self.upstreams[name].routed(&route.terms),
            Destination::Nowhere { status: 503, because } => Arc::new(Nowhere(Kind::NoEndpoint, because.clone())),
            Destination::Nowhere { because, .. } => Arc::new(Nowhere(Kind::NoTarget, because.clone())),
        };
        let steps = self.steps.of(&target.middleware, Origin::Route);
        if steps.is_empty() {
            return end;
        }
        Arc::new(Through { chain: Chain::new(steps.into_iter().map(|(_, step)| step)), end })
    }

    /// What a target is besides its definition.
    pub(super) fn target_identity(&self, target: &Target) -> impl Iterator<Item = Identity> {
        let upstream = target.upstream().map(|name| self.upstreams[name].identity());
        let steps = self.steps.of(&target.middleware, Origin::Route);
        upstream.into_iter().chain(steps.into_iter().map(|(identity, _)| identity))
    }
}

// The steps of one target, and where it leads. What fails behind them is a response before it comes back.
struct Through {
    chain: Chain,
    end: Arc<dyn Call>,
}

impl Call for Through {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async { Ok(self.chain.run(request, &self.end).await) })
    }
}

/// The end of a chain that leads to no upstream.
pub(super) struct Nowhere(pub(super) Kind, pub(super) String);

impl Call for Nowhere {
    fn call(&self, _request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(async { Err(Error::new(self.0, self.1.clone())) })
    }
}
