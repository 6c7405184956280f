//! A guest: one instance of a module with a store of its own, and the plugins configured in it. Knows no pool.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use rustix::time::ClockId;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline, component::ResourceAny};

use super::{
    Counters,
    budget::LogBudget,
    census::Counted,
    compile::Module,
    native::{Exports, Phase, types::Problem},
    plugin::{Calls, Plugin},
    slice,
};
use crate::{config::spec::PluginLimits, telemetry::PluginSeries};

/// What a store holds: nothing of any exchange.
pub(super) struct Data {
    limits: Limits,
    /// The plugin that is being created, if one is.
    pub(super) creating: Option<Arc<Plugin>>,
    /// Of what is logged while a plugin is created.
    pub(super) early: LogBudget,
    /// The time of the present call, if it holds its worker until it returns: it is ended when that is over, where
    /// others give way at each tick and go on.
    pub(super) at_once: Option<AtOnce>,
}

/// The time that a call may compute. Counted in processor time, because a call that cannot wait is late for no other
/// reason of its own: that the worker's thread was not run for a while is not the guest's fault.
pub(super) struct AtOnce {
    limit: Duration,
    // Of the thread at the first tick: most calls are over before it, and cost no look at this clock.
    since: Option<Duration>,
}

impl AtOnce {
    /// A call of this length at most, give or take a tick.
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    // To be asked at each tick.
    fn is_over(&mut self) -> bool {
        let now = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
        let now = Duration::try_from(now).unwrap_or(Duration::MAX);
        now.saturating_sub(*self.since.get_or_insert(now)) >= self.limit
    }
}

/// A running instance of a module.
pub(super) struct Guest {
    pub(super) store: Store<Data>,
    pub(super) exports: Exports,
    plugins: HashMap<u64, ResourceAny, foldhash::fast::RandomState>,
    counted: Counted,
}

/// When a guest is worn, so that a fresh one takes its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wear {
    /// Calls into it.
    pub(super) calls_max: u64,
    /// Linear memory; over it.
    pub(super) bytes_max: usize,
}

impl Wear {
    /// As a plugin's limits have it.
    pub(super) fn of(limits: &PluginLimits) -> Self {
        let calls_max = limits.guest_calls_max.unwrap_or(u64::MAX);
        Self { calls_max, bytes_max: limits.guest_bytes_max.unwrap_or(usize::MAX) }
    }
}

/// Why a plugin was not created in a guest.
#[derive(Debug)]
pub(super) enum CreateError {
    /// The plugin says what is wrong with its configuration.
    Problems(Vec<Problem>),
    /// The guest failed, and is not to be used again.
    Failed(wasmtime::Error),
    /// It declares a phase and does not export the method.
    Lacks(&'static str),
}

impl Guest {
    /// A fresh one.
    pub(super) async fn new(
        module: &Module,
        memory_bytes_max: usize,
        counters: &Arc<Counters>,
    ) -> wasmtime::Result<Box<Self>> {
        let module = module.native();
        let mut store = store(module.pre.engine(), memory_bytes_max);
        let instance = module.pre.instantiate_async(&mut store).await.map_err(|error| explained(&mut store, error))?;
        let exports = module.indices.bind(&mut store, &instance)?;
        Ok(Box::new(Self { store, exports, plugins: HashMap::default(), counted: Counted::new(counters) }))
    }

    /// Says that it lives on `worker` from now on. To be called there.
    pub(super) fn settle(&mut self, worker: usize, series: &Arc<PluginSeries>) {
        self.counted.settle(worker, series, self.store.data().limits.memory_bytes());
    }

    /// A call into it has returned. Answers whether it is worn.
    #[inline]
    pub(super) fn returned(&mut self, wear: Wear) -> bool {
        self.counted.returned(self.store.data().limits.memory_bytes(), wear)
    }

    /// The plugin's handle, if it is configured here.
    #[inline]
    pub(super) fn plugin(&self, id: u64) -> Option<ResourceAny> {
        self.plugins.get(&id).copied()
    }

    /// A method that a plugin declares, and the handle to call it with.
    ///
    /// # Panics
    /// Where the plugin is not configured here, or does not declare the method.
    #[inline]
    pub(super) fn method<P, R>(
        &self,
        plugin: u64,
        export: impl Fn(&Exports) -> Option<Phase<P, R>>,
    ) -> (Phase<P, R>, ResourceAny) {
        let method = export(&self.exports).expect("only what is exported is declared");
        (method, self.plugin(plugin).expect("a lease is of a guest that hosts the plugin"))
    }

    /// The plugins that are configured here.
    pub(super) fn plugins(&self) -> impl Iterator<Item = u64> {
        self.plugins.keys().copied()
    }

    /// Creates the plugin here, and asks what it wants to be called for if nobody did yet.
    pub(super) async fn create(&mut self, plugin: &Arc<Plugin>) -> Result<ResourceAny, CreateError> {
        self.store.data_mut().creating = Some(Arc::clone(plugin));
        self.store.set_epoch_deadline(slice::FIRST);
        let created = self.create_in(plugin).await;
        self.store.data_mut().creating = None;
        created.map_err(|error| match error {
            CreateError::Failed(error) => CreateError::Failed(explained(&mut self.store, error)),
            other => other,
        })
    }

    async fn create_in(&mut self, plugin: &Arc<Plugin>) -> Result<ResourceAny, CreateError> {
        let create = self.exports.create;
        let (created,) =
            create.call_async(&mut self.store, (plugin.config.clone(),)).await.map_err(CreateError::Failed)?;
        let handle = created.map_err(CreateError::Problems)?;
        if plugin.calls.get().is_none() {
            let indices = &plugin.module.native().indices;
            let declared = match self.exports.declare {
                Some(declare) => declare.call_async(&mut self.store, (handle,)).await.map_err(CreateError::Failed)?.0,
                None => indices.declaration(),
            };
            if let Some(method) = indices.lacks(&declared) {
                return Err(CreateError::Lacks(method));
            }
            plugin.calls.get_or_init(|| Calls::of(&declared, &plugin.limits));
        }
        self.plugins.insert(plugin.id, handle);
        Ok(handle)
    }

    /// Drops the plugins that `gone` picks; an error leaves a guest that is not to be used again.
    pub(super) async fn forget(&mut self, gone: impl Fn(u64) -> bool) -> wasmtime::Result<()> {
        let ids: Vec<_> = self.plugins.keys().copied().filter(|id| gone(*id)).collect();
        for id in ids {
            if let Some(handle) = self.plugins.remove(&id) {
                self.store.set_epoch_deadline(slice::FIRST);
                handle.resource_drop_async(&mut self.store).await?;
            }
        }
        Ok(())
    }

    /// What the guest asked for beyond its limits, if that is why it failed.
    pub(super) fn denied(&self) -> Option<String> {
        self.store.data().limits.denied()
    }
}

/// A store for one guest: bounded in memory, and in time by whoever drops the call.
pub(super) fn store(engine: &Engine, memory_bytes_max: usize) -> Store<Data> {
    let data =
        Data { limits: Limits::new(memory_bytes_max), creating: None, early: LogBudget::default(), at_once: None };
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.limits);
    store.set_epoch_deadline(slice::FIRST);
    store.epoch_deadline_callback(|mut store| {
        Ok(match store.data_mut().at_once.as_mut().map(AtOnce::is_over) {
            None => slice::give_way(),
            Some(true) => UpdateDeadline::Interrupt,
            Some(false) => UpdateDeadline::Continue(1),
        })
    });
    store
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
                write!(f, "it refuses its configuration: {}", messages.join("; "))
            }
            Self::Failed(error) => f.write_str(&told(error)),
            Self::Lacks(method) => write!(f, "it declares a phase for which it does not export {method}"),
        }
    }
}

/// What went wrong in a guest, for the log: the cause first, then where. Without our own stack, which says nothing of
/// the guest.
pub(super) fn told(error: &wasmtime::Error) -> String {
    let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
    chain.iter().rev().map(|text| text.trim_end()).collect::<Vec<_>>().join("\n")
}

fn explained(store: &mut Store<Data>, error: wasmtime::Error) -> wasmtime::Error {
    match store.data().limits.denied() {
        Some(denied) => error.context(denied),
        None => error,
    }
}

/// How it is said that a guest wanted more than it may have.
pub(super) const DENIED: &str = "it was refused";

#[derive(Clone, Copy)]
struct Denied {
    asked_bytes: usize,
    memory_bytes_max: usize,
}

impl Denied {
    fn text(self) -> String {
        format!("{DENIED} {} bytes of memory: its limit is {}", self.asked_bytes, self.memory_bytes_max)
    }
}

/// The bounds of one store.
pub(super) struct Limits {
    memory_bytes_max: usize,
    /// What it has.
    memory_bytes: usize,
    denied: Option<Denied>,
}

impl Limits {
    /// With this much linear memory.
    pub(super) const fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, denied: None }
    }

    /// Linear memory that the guest has, in bytes.
    #[inline]
    pub(super) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What the guest asked for beyond them, if it did.
    pub(super) fn denied(&self) -> Option<String> {
        self.denied.map(Denied::text)
    }
}

const TABLE_ELEMENTS_MAX: usize = super::engine::PLUGINS.table_elements;
const INSTANCES_MAX: usize = 64;

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes_max;
        if granted {
            self.memory_bytes = desired;
        } else {
            self.denied = Some(Denied { asked_bytes: desired, memory_bytes_max: self.memory_bytes_max });
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        1
    }
}
