//! The end of the chain: a request goes to one endpoint of an upstream and its response comes back. Balance, health,
//! connections and an HTTP/1.1 codec of its own, made for forwarding: an exchange drives its connection itself, sends
//! with one system call and reads with one, and knows exactly what may be sent again. Must not name routes, plugins
//! or hyper.

mod admission;
mod attempt;
mod balance;
mod call;
mod connect;
mod course;
mod deadline;
mod decode;
mod dns;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod head;
mod health;
mod hedge;
mod http2;
mod incoming;
mod introduced;
mod keeper;
mod pool;
mod pump;
mod raw;
mod replay;
mod resolve;
mod roster;
mod routed;
mod share;
mod terms;
mod traced;
mod upload;
mod weighted;
mod wire;

use std::{fmt, sync::Arc};

use futures_util::future::LocalBoxFuture;

use self::admission::Admission;
pub use self::weighted::Weighted;
use self::{balance::Balancer, pool::Keep, roster::RosterSource, terms::Terms};
use crate::{
    config::spec::{Dns, Name, Part, RouteTerms, Upstream as Spec},
    error::Error,
    exchange::{Call, Duplex, Request, Response},
    identity::Identity,
    state::{Sequence, States, Traffic},
    telemetry::{Endpoints, UpstreamSeries},
    tls::Connector,
};

/// A compiled upstream: immutable, shared by all workers. What is learned and kept (health, load, connections) is
/// found through [`States`] and on the workers, by endpoint.
pub struct Upstream {
    name: Name,
    spec: Arc<Part<Spec>>,
    balancer: Balancer,
    keep: Keep,
    // Whether connections may carry many exchanges at a time.
    multiplexes: bool,
    terms: Terms,
    admission: Option<Admission>,
    series: Arc<UpstreamSeries>,
    states: Arc<States>,
    connector: Option<Arc<Connector>>,
}

/// An upstream as plugins, mirrors and other bystanders call it: their calls are not what the exchange's record tells
/// of.
#[derive(Clone, Debug)]
pub struct SideCall(pub Arc<Upstream>);

/// Equal where it is the same object.
impl PartialEq for Upstream {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Upstream {
    /// Compiles the upstream called `name`: finds the state of its endpoints, starts the health checks that do not run
    /// yet, and has names resolved, without waiting for any of it.
    pub fn build(
        name: &Name,
        spec: &Arc<Part<Spec>>,
        (connector, dns): (Option<Arc<Connector>>, &Dns),
        states: &Arc<States>,
        series: Arc<UpstreamSeries>,
    ) -> Arc<Self> {
        let sequence =
            states.sequences.find_or_make(&format!("upstream {name}").into(), || Sequence::new(states.workers));
        let terms = terms_of(name, spec, &RouteTerms::default(), states);
        let source = RosterSource::new(spec, connector.clone(), dns, states);
        let balancer = Balancer::new(source.now(), spec, source.moves(), sequence, Arc::clone(&series));
        let upstream = Arc::new(Self {
            name: Arc::clone(name),
            spec: Arc::clone(spec),
            balancer,
            keep: Keep::new(spec.pool_idle_max, spec.pool_idle_timeout, states.workers),
            multiplexes: http2::speaks_http2(spec),
            terms,
            admission: Admission::of((name, &series), spec, states, || traffic(name, states)),
            series,
            states: Arc::clone(states),
            connector,
        });
        keeper::start(&upstream, source);
        upstream
    }

    /// Has operators see the endpoints of this one, and no longer those of the one that it replaces.
    pub fn show(self: &Arc<Self>) {
        self.series.endpoints.show(&(Arc::clone(self) as Arc<dyn Endpoints>));
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The identity of what it was compiled from.
    pub fn identity(&self) -> Identity {
        self.spec.identity
    }
}

fn terms_of(name: &Name, spec: &Spec, route: &RouteTerms, states: &States) -> Terms {
    Terms::of(spec, route, || traffic(name, states))
}

fn traffic(name: &Name, states: &States) -> Arc<Traffic> {
    states.traffic.find_or_make(&format!("upstream {name}").into(), || Traffic::new(states.workers))
}

impl Call for Upstream {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(self.send(&self.terms, request, true))
    }

    // HTTP/2 has fields and no lines, and a choice by a field has to find it.
    fn takes_told(&self) -> bool {
        !self.multiplexes && !self.balancer.looks_at_fields()
    }
}

impl Call for SideCall {
    fn call(&self, request: Box<Request>) -> LocalBoxFuture<'_, Result<Response, Error>> {
        Box::pin(self.0.send(&self.0.terms, request, false))
    }

    fn open<'a>(&'a self, request: &'a Request) -> LocalBoxFuture<'a, Result<Box<dyn Duplex>, Error>> {
        Box::pin(self.0.open(request))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.name)
    }
}

#[cfg(test)]
mod tests;
