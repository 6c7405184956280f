//! A compiled Proxy-Wasm module, and what the VMs of one identity have in common.

use std::sync::{Arc, Weak};

use wasmtime::{InstancePre, Linker, Module};

use super::{
    data::Data,
    provided::VERSIONS,
    queues::{Group, Queues},
    stream::Direction,
    vm::Vm,
};
use crate::{
    state::kv::Space,
    wasm::{
        Counters, LoadError, compile,
        engine::Filters,
        guest::{CreateError, Wear},
        plugin::Plugin,
        pool::InUse,
    },
};

/// A module.
pub(in crate::wasm) struct Program {
    pub(super) pre: InstancePre<Data>,
    /// Whether it was made for 0.1.0, which answers some things in its own way.
    first: bool,
    /// Whether it was made for Higress, whose plugins hold a head back alone.
    holds_head: bool,
    sees_end: bool,
    sees_request_body: bool,
    sees_response_body: bool,
}

impl Program {
    /// Links what was compiled.
    ///
    /// # Errors
    /// Where a type does not fit.
    pub(in crate::wasm) fn new(module: &Module, linker: &Linker<Data>) -> Result<Self, LoadError> {
        let refused = |error: wasmtime::Error| LoadError::Refused(format!("{error:#}"));
        let pre = linker.instantiate_pre(module).map_err(refused)?;
        let exports = |name: &str| module.get_export(name).is_some();
        let first = exports(VERSIONS[0].1) && !VERSIONS[1..].iter().any(|(_, export)| exports(export));
        let any = |names: &[&str]| names.iter().any(|name| exports(name));
        Ok(Self {
            pre,
            first,
            holds_head: exports(VERSIONS[3].1),
            sees_end: any(&["proxy_on_done", "proxy_on_log", "proxy_on_delete"]),
            sees_request_body: any(&["proxy_on_request_body", "proxy_on_request_trailers"]),
            sees_response_body: any(&["proxy_on_response_body", "proxy_on_response_trailers"]),
        })
    }

    /// See the field.
    pub(in crate::wasm) const fn is_first(&self) -> bool {
        self.first
    }

    /// See the field.
    pub(super) const fn holds_head(&self) -> bool {
        self.holds_head
    }

    /// Whether it is called when an exchange is over.
    pub(super) const fn sees_end(&self) -> bool {
        self.sees_end
    }

    /// Whether it is called for a body, or for what follows it.
    pub(super) const fn sees_body(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.sees_request_body,
            Direction::Response => self.sees_response_body,
        }
    }
}

/// What is the same for all VMs of one identity, on every worker.
pub(in crate::wasm) struct Settings {
    pub(in crate::wasm) first: bool,
    /// What the VM is called: what it shares data and queues by.
    pub(in crate::wasm) vm_id: String,
    pub(in crate::wasm) vm_config: Vec<u8>,
    pub(in crate::wasm) environment: Vec<(String, String)>,
    pub(in crate::wasm) space: Arc<Space>,
    pub(in crate::wasm) queues: Arc<Queues>,
    /// Those of its own name.
    pub(in crate::wasm) own_queues: Arc<Group>,
}

/// The VMs of one identity: module, settings and memory.
pub(in crate::wasm) struct Shared {
    pub(super) module: Arc<compile::Module>,
    pub(super) settings: Arc<Settings>,
    pub(super) filters: Filters,
    pub(super) counters: Arc<Counters>,
    pub(super) memory_bytes_max: usize,
    pub(super) wear: Wear,
    /// One for each worker, made on the control plane and not adopted yet.
    nursery: Vec<tokio::sync::Mutex<Option<Box<Vm>>>>,
}

impl Shared {
    /// What they have in common.
    pub(in crate::wasm) fn new(
        module: Arc<compile::Module>,
        settings: Settings,
        (filters, counters): (Filters, Arc<Counters>),
        (memory_bytes_max, wear, workers): (usize, Wear, usize),
    ) -> Self {
        let nursery = (0..workers).map(|_| tokio::sync::Mutex::default()).collect();
        Self { module, settings: Arc::new(settings), filters, counters, memory_bytes_max, wear, nursery }
    }

    /// Configures a plugin in the VM that waits for `worker`, which is made if there is none.
    pub(super) async fn warm(
        &self,
        worker: usize,
        plugin: &Arc<Plugin>,
        in_use: &Weak<InUse>,
    ) -> Result<(), CreateError> {
        let _running = self.filters.ticker.run_beside();
        let Some(place) = self.nursery.get(worker) else { return Ok(()) };
        let mut place = place.lock().await;
        // Those of a tree that was refused are not to be met again.
        let mut vm = match place.take().filter(|vm| vm.is_fresh()) {
            Some(vm) => vm,
            None => Vm::new(self).await.map_err(CreateError::Failed)?,
        };
        vm.add(plugin, in_use).await?;
        *place = Some(vm);
        Ok(())
    }

    /// Takes the VM that waits for `worker`, if one does.
    pub(super) fn take(&self, worker: usize) -> Option<Box<Vm>> {
        self.nursery.get(worker).and_then(|place| place.try_lock().ok()?.take()).filter(|vm| vm.is_fresh())
    }
}
