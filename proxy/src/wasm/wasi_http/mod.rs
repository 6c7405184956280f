//! Components of `wasi:http` 0.2, as Spin, wasmCloud and `wasmtime serve` run them: an exchange is handed to
//! `incoming-handler`, and a request that the component sends goes on along the chain (`next`), or to what is granted.
//! Leased for the exchange: each gets a guest of its own, which ends with it.
//!
//! `provided` says which components fit, `program` is one compiled, `data` what a guest's store holds; `handling` is one
//! exchange inside a guest and `guest` the call itself, `filter` the exchange outside of it, `answer` what the guest
//! sends back, `outgoing` where its requests go, `lodge` how bodies of this worker pass through a store, `output` and
//! `settings` its log and its configuration, `keyvalue` what it keeps, `inform` its interim responses. `docs/wasi-http.md` tells it to operators.

mod answer;
mod data;
mod errors;
mod filter;
mod guest;
mod handling;
mod inform;
mod keyvalue;
mod linker;
mod local;
mod lodge;
mod outgoing;
mod output;
mod program;
mod provided;
mod settings;

use std::{rc::Rc, sync::Arc};

use self::{filter::WasiHttpFilter, settings::Settings};
pub(super) use self::{
    local::Handlers,
    program::{Program, Workshop},
    provided::{check, hint, is_meant, provides},
};
use super::{Built, CREATE_DEADLINE, Counters, Unmade, guest::CreateError, plugin::Plugin, pool::InUse};
use crate::{
    config::spec,
    exchange::{Adoption, Worker},
};

/// What the handlings of one plugin have in common on all workers.
pub(super) struct Shared {
    plugin: Arc<Plugin>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Guests that may be at work at a time on one worker.
    busy_max: usize,
}

/// Makes a plugin ready: makes one guest, so that a component that cannot start is refused, and drops it again.
///
/// # Errors
/// Where the guest fails, or takes longer than [`CREATE_DEADLINE`].
pub(super) async fn build(
    plugin: Arc<Plugin>,
    spec: &spec::Plugin,
    counters: &Arc<Counters>,
    workers: usize,
) -> Result<Built, Unmade> {
    let settings = Settings::of(spec);
    let busy_max = plugin.limits.guests_max.div_ceil(workers.max(1)).max(1);
    let shared = Arc::new(Shared { plugin, settings, counters: Arc::clone(counters), busy_max });
    let tried = tokio::time::timeout(CREATE_DEADLINE, guest::try_out(&shared)).await;
    tried.map_err(|_| Unmade::TooSlow)?.map_err(|error| Unmade::Refused(CreateError::Failed(error)))?;
    let in_use = Arc::new(InUse);
    let adoption = |_| {
        let (shared, in_use) = (Arc::clone(&shared), Arc::downgrade(&in_use));
        Box::new(move |worker: &Rc<Worker>| {
            drop(worker.locals.of::<Handlers>().adopt(worker, &shared, &in_use));
            Ok(())
        }) as Adoption
    };
    let adoptions = (0..workers).map(adoption).collect();
    Ok(Built { filter: Arc::new(WasiHttpFilter { shared, in_use }), adoptions })
}
