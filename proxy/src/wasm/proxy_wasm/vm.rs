//! A VM: one instance of a module with a store of its own, and the root contexts of the plugins in it. Knows no worker.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use wasmtime::{Instance, Store};

use super::{
    data::{Asked, Configuration, Data, Root},
    exports::{Exports, find},
    program::Shared,
};
use crate::{
    telemetry::PluginSeries,
    wasm::{
        census::Counted,
        guest::{CreateError, Wear, told},
        native::types::Problem,
        plugin::Plugin,
        pool::InUse,
        preview1::Exit,
        slice,
    },
};

/// See the module.
pub(super) struct Vm {
    pub(super) store: Store<Data>,
    pub(super) exports: Exports,
    counted: Counted,
}

impl Vm {
    /// A fresh one, started, without any root context.
    pub(super) async fn new(shared: &Shared) -> wasmtime::Result<Box<Self>> {
        let program = shared.module.program();
        let mut store = Store::new(program.pre.module().engine(), Data::new(&shared.settings, shared.memory_bytes_max));
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(slice::FIRST);
        store.epoch_deadline_callback(|_| Ok(slice::give_way()));
        let started = match program.pre.instantiate_async(&mut store).await {
            Ok(instance) => start(&mut store, &instance).await,
            Err(error) => Err(error),
        };
        let exports = started.map_err(|error| explained(&store, error))?;
        Ok(Box::new(Self { store, exports, counted: Counted::new(&shared.counters) }))
    }

    /// Says that it lives on `worker` from now on. To be called there.
    pub(super) fn settle(&mut self, worker: usize, series: &Arc<PluginSeries>) {
        self.counted.settle(worker, series, self.store.data().limits.memory_bytes());
    }

    /// A callback has returned. Answers whether the VM is worn.
    #[inline]
    pub(super) fn returned(&mut self, wear: Wear) -> bool {
        self.counted.returned(self.store.data().limits.memory_bytes(), wear)
    }

    /// Whether somebody counts it.
    pub(super) const fn is_settled(&self) -> bool {
        self.counted.is_settled()
    }

    /// Whether all its plugins are ones that somebody has, and nobody was given it.
    pub(super) fn is_fresh(&self) -> bool {
        self.store.data().roots.values().all(|root| root.in_use.strong_count() > 0)
    }

    /// Makes a root context for a plugin, and configures it. On an error the VM is not to be used again.
    pub(super) async fn add(&mut self, plugin: &Arc<Plugin>, in_use: &Weak<InUse>) -> Result<u32, CreateError> {
        let data = self.store.data_mut();
        let root = data.next_root();
        let made = Root {
            plugin: Arc::clone(plugin),
            in_use: Weak::clone(in_use),
            said: Vec::new(),
            declared: HashMap::new(),
            redis: HashMap::new(),
        };
        data.roots.insert(root, made);
        let configured = self.configure(root).await;
        let data = self.store.data_mut();
        data.configuration = Configuration::None;
        let said = data.roots.get_mut(&root).map(|root| std::mem::take(&mut root.said)).unwrap_or_default();
        match configured {
            Ok(None) => Ok(root),
            Ok(Some(callback)) => {
                let why = if said.is_empty() { "and logs no reason".to_owned() } else { said.join("; ") };
                let message = format!("{callback} returns false: {why}");
                Err(CreateError::Problems(vec![Problem { pointer: String::new(), message }]))
            }
            Err(error) => Err(CreateError::Failed(explained(&self.store, error))),
        }
    }

    // Answers with the callback that says no.
    async fn configure(&mut self, root: u32) -> wasmtime::Result<Option<&'static str>> {
        let Self { store, exports, .. } = self;
        store.data_mut().effective = root;
        if let Some(create) = &exports.on_context_create {
            create.call_async(&mut *store, (root, 0)).await?;
        }
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let data = store.data_mut();
        let vm = size(data.settings.vm_config.len());
        let plugin = size(data.roots.get(&root).map_or(0, |root| root.plugin.config.len()));
        if let Some(on_vm_start) = &exports.on_vm_start {
            (store.data_mut().configuration, store.data_mut().effective) = (Configuration::Vm, root);
            if on_vm_start.call_async(&mut *store, (root, vm)).await? == 0 {
                return Ok(Some("proxy_on_vm_start"));
            }
        }
        if let Some(on_configure) = &exports.on_configure {
            (store.data_mut().configuration, store.data_mut().effective) = (Configuration::Plugin, root);
            if on_configure.call_async(&mut *store, (root, plugin)).await? == 0 {
                return Ok(Some("proxy_on_configure"));
            }
        }
        Ok(None)
    }

    /// Drops a root context that its module took leave of.
    pub(super) fn forget(&mut self, root: u32) {
        self.store.data_mut().roots.remove(&root);
    }

    /// What callbacks asked for since the last time.
    pub(super) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.store.data_mut().asked)
    }
}

// What a module wants to run first, in the order of the specification.
async fn start(store: &mut Store<Data>, instance: &Instance) -> wasmtime::Result<Exports> {
    store.data_mut().memory = instance.get_memory(&mut *store, "memory");
    let allocate = match find(store, instance, "proxy_on_memory_allocate")? {
        Some(allocate) => Some(allocate),
        None => find(store, instance, "malloc")?,
    };
    store.data_mut().allocate = allocate;
    let mut first = None;
    for name in ["_initialize", "_start", "__wasm_call_ctors"] {
        first = find::<(), ()>(store, instance, name)?.map(|func| (name, func));
        if first.is_some() {
            break;
        }
    }
    if let Some((name, func)) = first {
        match func.call_async(&mut *store, ()).await {
            // A program that ends in good order leaves its callbacks.
            Err(error) if error.downcast_ref() == Some(&Exit(0)) => {}
            outcome => outcome?,
        }
        if name == "_initialize"
            && let Some(main) = instance.get_func(&mut *store, "main")
            && let Ok(main) = main.typed::<(u32, u32), u32>(&*store)
        {
            main.call_async(&mut *store, (0, 0)).await?;
        }
    }
    Exports::of(store, instance)
}

/// What went wrong in a VM, with what it asked for beyond its limits, if that is why.
pub(super) fn explained(store: &Store<Data>, error: wasmtime::Error) -> wasmtime::Error {
    match store.data().limits.denied() {
        Some(denied) => error.context(denied),
        None => error,
    }
}

/// The same as text.
pub(super) fn failure(store: &Store<Data>, error: &wasmtime::Error) -> String {
    let denied = store.data().limits.denied().map(|text| format!(" ({text})")).unwrap_or_default();
    told(error) + &denied
}
