//! http-wasm (`http_handler`): modules that were made for Traefik, Dapr and their kin, as they are. Leased: a guest serves
//! one exchange at a time, from its request to its response, because it may keep in its memory what it knows of it.
//!
//! `provided` and `program` are what a module is, `guest` an instance, `pool` a worker's guests of one plugin; `visit` is
//! a plugin's part in one exchange, `filter` leads the exchange through it, `call` runs a call in its time. `message`,
//! `body` and `edits` are what guests see and change of it, `host` the functions that do so. `docs/http-wasm.md` tells it to
//! operators.

mod body;
mod call;
mod data;
mod edits;
mod filter;
mod guest;
mod host;
mod message;
mod policy;
mod pool;
mod program;
mod provided;
mod sight;
mod visit;

use std::{rc::Rc, sync::Arc};

pub(super) use self::{
    data::Data,
    host::linker,
    pool::Leased,
    program::Program,
    provided::{HANDLER, check, hint, provides},
};
use self::{filter::HttpWasmFilter, pool::Shared};
use super::{Built, CREATE_DEADLINE, Counters, Unmade, engine::Filters, plugin::Plugin, pool::InUse};
use crate::exchange::{Adoption, Worker};

/// Makes a plugin ready: a guest for each worker.
///
/// # Errors
/// Where one fails while it starts, or takes longer than [`CREATE_DEADLINE`].
pub(super) async fn build(
    plugin: Arc<Plugin>,
    (filters, counters): (Filters, Arc<Counters>),
    workers: usize,
) -> Result<Built, Unmade> {
    let in_use = Arc::new(InUse);
    let shared = Arc::new(Shared::new(plugin, filters, counters, workers));
    for worker in 0..workers {
        let warmed = tokio::time::timeout(CREATE_DEADLINE, shared.warm(worker)).await;
        warmed.map_err(|_| Unmade::TooSlow)?.map_err(Unmade::Refused)?;
    }
    let adoption = |_| {
        let (shared, in_use) = (Arc::clone(&shared), Arc::downgrade(&in_use));
        Box::new(move |worker: &Rc<Worker>| {
            drop(worker.locals.of::<Leased>().adopt(worker, &shared, &in_use));
            Ok(())
        }) as Adoption
    };
    let adoptions = (0..workers).map(adoption).collect();
    Ok(Built { filter: Arc::new(HttpWasmFilter { shared, in_use }), adoptions })
}
