//! Proxy-Wasm, versions 0.1.0, 0.2.0 and 0.2.1: modules that were made for Envoy and its kin, as they are. Resident: a
//! VM for each worker and identity hosts the contexts of many exchanges and takes one callback at a time.
//!
//! `provided` and `program` are what a module is, `vm` an instance with its plugins, `home` the place of a VM on a
//! worker, `local` a plugin there, `stream` one exchange; `filter` and `body` lead an exchange through its callbacks,
//! `promise` says how long a body will be, `calls` holds a plugin's own requests. `host` holds what modules import;
//! `docs/proxy-wasm.md` tells it to operators.

mod body;
mod calls;
mod data;
mod exports;
mod fields;
mod filter;
mod grpc;
mod guest;
mod home;
mod host;
mod local;
mod messages;
mod outbox;
mod pairs;
mod program;
mod promise;
mod provided;
mod queues;
mod redis;
mod sight;
mod status;
mod stream;
#[cfg(any(test, fuzzing))]
pub(super) mod testing;
mod turn;
mod vm;

use std::sync::Arc;

use self::filter::ProxyWasmFilter;
pub(super) use self::{
    data::Data,
    host::linker,
    local::Residents,
    program::{Program, Settings, Shared},
    promise::Habits,
    provided::{check, hint, provides, version},
    queues::Queues,
};
use super::{Built, CREATE_DEADLINE, guest::CreateError, plugin::Plugin, pool::InUse, problem};
use crate::{
    config::{diagnostic::Diagnostic, spec},
    exchange::{Adoption, Worker},
};

/// What keeps a plugin from being made.
pub(super) enum Unmade {
    Refused(CreateError),
    TooSlow,
}

impl Unmade {
    /// For the operator.
    pub(super) fn diagnostics(self, name: &str, spec: &spec::Plugin) -> Vec<Diagnostic> {
        match self {
            Self::Refused(error) => problem::diagnostics(name, spec, error),
            Self::TooSlow => vec![problem::too_slow(name, spec, CREATE_DEADLINE)],
        }
    }
}

/// Makes a plugin ready: configures it in a VM for each worker.
///
/// # Errors
/// Where it refuses its configuration, fails, or takes longer than [`CREATE_DEADLINE`].
pub(super) async fn build(shared: Arc<Shared>, plugin: Arc<Plugin>, workers: usize) -> Result<Built, Unmade> {
    let in_use = Arc::new(InUse);
    for worker in 0..workers {
        let in_use = Arc::downgrade(&in_use);
        let warmed = tokio::time::timeout(CREATE_DEADLINE, shared.warm(worker, &plugin, &in_use)).await;
        warmed.map_err(|_| Unmade::TooSlow)?.map_err(Unmade::Refused)?;
    }
    let adoption = |_| {
        let (plugin, shared, in_use) = (Arc::clone(&plugin), Arc::clone(&shared), Arc::downgrade(&in_use));
        Box::new(move |worker: &std::rc::Rc<Worker>| {
            drop(worker.locals.of::<Residents>().adopt(worker, &plugin, &shared, &in_use));
            Ok(())
        }) as Adoption
    };
    let adoptions = (0..workers).map(adoption).collect();
    Ok(Built { filter: Arc::new(ProxyWasmFilter { plugin, shared, in_use }), adoptions })
}
