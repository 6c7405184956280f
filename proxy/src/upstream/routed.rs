//! The end of a plan whose route sets terms of its own. Knows nothing of routes beyond them.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{Upstream, terms::Terms, terms_of};
use crate::{
    config::spec::RouteTerms,
    error::Error,
    exchange::{Call, Request, Response},
};

// An upstream on a route's terms.
struct Routed {
    upstream: Arc<Upstream>,
    terms: Terms,
}

impl Upstream {
    /// The upstream as a route calls it: on its own terms, or with what the route says in their place.
    pub fn routed(self: &Arc<Self>, route: &RouteTerms) -> Arc<dyn Call> {
        if *route == RouteTerms::default() {
            return Arc::clone(self) as Arc<dyn Call>;
        }
        let terms = terms_of(&self.name, &self.spec, route, &self.states);
        Arc::new(Routed { upstream: Arc::clone(self), terms })
    }
}

impl Call for Routed {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(self.upstream.send(&self.terms, request, true))
    }

    fn takes_told(&self) -> bool {
        self.upstream.takes_told()
    }
}
