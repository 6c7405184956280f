//! Keeps responses and answers with them: a shared cache by RFC 9111, with what RFC 5861 says of stale ones and what RFC
//! 9211 says of saying so. What is kept belongs to the step's name, is shared by all workers and outlives reloads; it has
//! bounds, and what was not asked for lately makes room.
//!
//! Of several requests for what is not there one goes on, and the others wait for its answer for a while. What is served
//! stale while it is fetched anew is fetched aside, by the rest of the chain.

mod ask;
mod changes;
mod control;
mod desk;
mod fill;
mod range;
mod stored;
mod terms;
mod visit;

use std::{any::Any, rc::Rc, sync::Arc};

use self::{
    desk::{Desk, Kept, Opaque},
    visit::Visiting,
};
use super::{Filter, Visit, own::PerWorker};
use crate::{config::spec, exchange::Exchange, telemetry::CacheSeries};

/// The step.
pub(super) struct Cache {
    desk: PerWorker<Arc<Desk>, Box<dyn Fn() -> Arc<Desk> + Send + Sync>>,
    does: String,
}

impl Cache {
    /// A step that keeps what it keeps in `kept`, which [`Cache::state`] made.
    pub(super) fn new(spec: &spec::Cache, kept: Opaque, series: Arc<CacheSeries>) -> Self {
        let does = format!("cache up to {} bytes", spec.bytes_max);
        let spec = spec.clone();
        let make = move || Arc::new(Desk::new(spec.clone(), Arc::clone(&kept), Arc::clone(&series)));
        Self { desk: PerWorker::new(Box::new(make)), does }
    }

    /// What one name keeps, empty.
    pub(super) fn state() -> Box<dyn Any + Send + Sync> {
        Box::new(Arc::<Kept>::default())
    }
}

impl Filter for Cache {
    fn begin(&self, exchange: &Rc<Exchange>) -> Rc<dyn Visit> {
        Rc::new(Visiting::new(Arc::clone(self.desk.of(exchange)), exchange))
    }

    fn describe(&self) -> String {
        self.does.clone()
    }
}

#[cfg(test)]
mod tests;
