//! A compiled Proxy-Wasm module, and what the VMs of one identity have in common.

use std::sync::{Arc, Weak};

use wasmtime::{ExternType, InstancePre, Linker, Module};

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
    request: Sees,
    response: Sees,
    sees_end: bool,
    sees_calls: bool,
}

/// What it is called for of one direction.
struct Sees {
    head: Head,
    body: bool,
    /// It is called for the body itself, and can change it.
    changes: bool,
}

/// With how many numbers it is called for a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It is not.
    Unseen,
    /// As 0.1.0 has it.
    Two,
    /// As later versions have it.
    Three,
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
            request: Sees::of(module, "request"),
            response: Sees::of(module, "response"),
            sees_end: any(&["proxy_on_done", "proxy_on_log", "proxy_on_delete"]),
            sees_calls: module.exports().any(|export| AT_ANY_TIME.contains(&export.name())),
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

    /// How it is called for a head.
    pub(super) const fn head(&self, direction: Direction) -> Head {
        self.sees(direction).head
    }

    /// Whether it is called for a body, or for what follows it.
    pub(super) const fn sees_body(&self, direction: Direction) -> bool {
        self.sees(direction).body
    }

    /// Whether it may change a body.
    pub(super) const fn changes_body(&self, direction: Direction) -> bool {
        self.sees(direction).changes
    }

    /// Whether it can be called in a stream's context when the head of its request has been shown: only then must
    /// there be something that shows what went on, and what came back.
    pub(super) fn sees_more(&self) -> bool {
        let response = self.response.body || self.response.head != Head::Unseen;
        response || self.request.body || self.sees_end || self.sees_calls
    }

    const fn sees(&self, direction: Direction) -> &Sees {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

// Callbacks that may act on a stream whenever they like.
const AT_ANY_TIME: [&str; 7] = [
    "proxy_on_tick",
    "proxy_on_queue_ready",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
];

impl Sees {
    fn of(module: &Module, side: &str) -> Self {
        let export = |part: &str| module.get_export(&format!("proxy_on_{side}_{part}"));
        let head = match export("headers") {
            Some(ExternType::Func(func)) if func.params().len() == 3 => Head::Three,
            Some(_) => Head::Two,
            None => Head::Unseen,
        };
        let body = export("body").is_some();
        let changes = body && module.imports().any(|import| import.name() == "proxy_set_buffer_bytes");
        Self { head, body: body || export("trailers").is_some(), changes }
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
