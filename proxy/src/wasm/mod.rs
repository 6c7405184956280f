//! Plugins: modules compiled once, guests kept warm on each worker, and every plugin a [`Filter`] like any other. The
//! only room that names wasmtime. Knows neither routes nor documents.
//!
//! A module becomes a component (`load`), is compiled (`compile`) and linked to what the gateway provides (`native`).
//! One of Proxy-Wasm or http-wasm stays a core module, and `proxy_wasm` or `http_wasm` has all of it; what both provide
//! is in `preview1`. `wasi_http` has all of components of `wasi:http`.
//! A plugin is a module with a configuration (`plugin`); a guest (`guest`) hosts many of them. Each worker keeps its
//! guests in pools (`pool`); a call (`call`) takes one out for as long as it is on its stack. `filter`, `body` and
//! `stream` are a plugin's phases, `pull` a call that asks for chunks, `policy` what failures mean. `docs/plugins.md` tells it to authors and operators.

mod body;
mod breaker;
mod budget;
mod bulk;
mod cache;
mod call;
mod census;
mod compile;
mod deadline;
mod engine;
mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guest;
mod http_wasm;
mod inspect;
mod journal;
mod load;
mod memory;
mod native;
mod plugin;
mod policy;
mod pool;
mod preview1;
mod problem;
mod provided;
mod proxy_wasm;
mod pull;
mod schema;
mod slice;
mod standing;
mod stream;
mod surface;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod trap;
mod wasi_http;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use compile::Module;
pub use engine::AddressSpace;
pub use inspect::{Report, inspect};
pub use load::{Abi, LoadError, MODULE_BYTES_MAX};
pub use standing::Standing;
pub use surface::Item;
pub use table::BuiltTable;

use self::{
    cache::Cache,
    compile::{Compiler, Made, Press, Workshop},
    engine::{Filters, PLUGINS},
    filter::WasmFilter,
    guest::{CreateError, Guest, Wear},
    plugin::{Defined, Plugin},
    pool::{Guests, InUse, Shared},
    proxy_wasm::{Queues, Unmade},
    standing::Standings,
};
use crate::{
    config::{diagnostic::Diagnostic, spec},
    exchange::{Adoption, Call, Worker},
    filter::Filter,
    identity::Identity,
    source::Entry,
    state::{States, kv::Space},
    telemetry::{Metrics, PluginSeries},
};

/// Everything about Wasm that a process has one of.
pub struct Wasm {
    filters: Filters,
    compiler: Compiler<Module>,
    tables: Compiler<table::Module>,
    states: Arc<States>,
    pools: Mutex<HashMap<Identity, Weak<Shared>>>,
    standings: Standings,
    vms: Mutex<HashMap<Identity, Weak<proxy_wasm::Shared>>>,
    queues: Arc<Queues>,
    counters: Arc<Counters>,
    metrics: Arc<Metrics>,
    workers: usize,
}

/// Settings of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Workers; each has guests of its own.
    pub workers: usize,
    /// Guests that the process has room for at a time, of all plugins on all workers. When all are taken, a
    /// configuration that needs more is refused, and exchanges follow their plugin's failure policy.
    pub guest_slots: u32,
    /// How memory for them is set aside.
    pub address_space: AddressSpace,
    /// Threads that compile modules.
    pub compile_threads: usize,
    /// Where compiled modules are kept; nowhere if `None`.
    pub cache: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores,
            guest_slots: 1024,
            address_space: AddressSpace::Full,
            compile_threads: (cores / 2).clamp(1, 4),
            cache: None,
        }
    }
}

/// A plugin that is ready to serve.
pub struct Built {
    /// The step of a chain. Kept for as long as any snapshot has the plugin.
    pub filter: Arc<dyn Filter>,
    /// One for each worker, in order: moves the worker's warm guest to it.
    pub adoptions: Vec<Adoption>,
}

/// What was done so far, and what there is.
#[derive(Debug, Default)]
pub struct Counters {
    compiled: AtomicU64,
    instantiated: AtomicU64,
    live: AtomicI64,
}

/// How long a plugin may take to check its configuration, for each worker.
const CREATE_DEADLINE: Duration = Duration::from_secs(5);

impl Wasm {
    /// Starts the engine, its ticks and its compile threads.
    ///
    /// # Errors
    /// Where the machine has no room for it, or the cache's directory is not this user's alone.
    pub fn new(settings: Settings, metrics: Arc<Metrics>, states: Arc<States>) -> Result<Arc<Self>, LoadError> {
        let filters = Filters::new(settings.guest_slots, PLUGINS, settings.address_space)?;
        let counters = Arc::new(Counters::default());
        let cache = settings.cache.as_deref().map(|path| Cache::open(path, &filters.engine)).transpose()?;
        let engine = filters.engine.clone();
        let (cache, counted) = (cache.map(Arc::new), (Arc::clone(&counters), Arc::clone(&metrics)));
        let press = Press { engine, cache, counters: counted.0, metrics: counted.1 };
        // There are few tables: one thread of their own is enough, and starts nothing until there is one.
        let tables = Compiler::start(1, table::Workshop::open(press.clone())?)?;
        let counted = (Arc::clone(&press.counters), Arc::clone(&press.metrics));
        let wasi_http = wasi_http::Workshop::new(settings.guest_slots, settings.address_space, settings.cache, counted);
        let compiler = Compiler::start(settings.compile_threads, Workshop::open(press, wasi_http)?)?;
        Ok(Arc::new(Self {
            filters,
            compiler,
            tables,
            states,
            pools: Mutex::default(),
            standings: Standings::default(),
            vms: Mutex::default(),
            queues: Arc::default(),
            counters,
            metrics,
            workers: settings.workers,
        }))
    }

    /// The module of a file: the same object for equal bytes, as long as somebody holds it.
    ///
    /// # Errors
    /// Where it is no plugin that this gateway can run; says why, and what to do.
    pub async fn module(&self, file: &Entry) -> Result<Arc<Module>, LoadError> {
        self.compiler.module(file).await
    }

    /// Makes a plugin ready: creates it in a warm guest for each worker, which checks its configuration.
    ///
    /// # Errors
    /// Everything that the plugin says is wrong with its configuration, each at its place; or that it failed.
    pub async fn plugin(
        &self,
        name: &spec::Name,
        spec: &spec::Plugin,
        module: Arc<Module>,
        grants: BTreeMap<spec::Name, Arc<dyn Call>>,
        series: Arc<PluginSeries>,
    ) -> Result<Built, Vec<Diagnostic>> {
        if let Some(misplaced) = problem::misplaced(name, spec, &module.made) {
            return Err(vec![misplaced]);
        }
        let config = match module.made {
            Made::Native(_) | Made::WasiHttp(_) => problem::config_text(&spec.config),
            Made::ProxyWasm(_) | Made::HttpWasm(_) => problem::plain_text(&spec.config),
        };
        let plugin = Arc::new(Plugin {
            id: Plugin::next_id(),
            name: Arc::clone(name),
            config,
            module: Arc::clone(&module),
            limits: spec.limits.clone(),
            memory_bytes_max: spec.limits.memory_bytes_max.unwrap_or_else(|| module.made.memory_bytes_max()),
            on_failure: spec.on_failure,
            standing: spec.fall_back.then(|| self.standings.of(spec.version(name, module.identity()))),
            isolation: spec.isolation,
            proxy_wasm: spec.proxy_wasm.clone(),
            habits: proxy_wasm::Habits::default(),
            environment: spec.environment.clone(),
            grants,
            kv: self.space(name, spec.limits.kv_bytes_max),
            series,
            metrics: Defined::new(Arc::clone(&self.metrics)),
            calls: OnceLock::new(),
        });
        let built = match module.made {
            Made::Native(_) => return self.native(name, spec, &module, plugin).await,
            Made::ProxyWasm(_) => proxy_wasm::build(self.shared_vms(spec, &plugin), plugin, self.workers).await,
            Made::HttpWasm(_) => http_wasm::build(plugin, self.engine(), self.workers).await,
            Made::WasiHttp(_) => wasi_http::build(plugin, spec, &self.counters, self.workers).await,
        };
        built.map_err(|unmade| unmade.diagnostics(name, spec))
    }

    async fn native(
        &self,
        name: &str,
        spec: &spec::Plugin,
        module: &Arc<Module>,
        plugin: Arc<Plugin>,
    ) -> Result<Built, Vec<Diagnostic>> {
        let shared = self.shared(spec, module, plugin.memory_bytes_max);
        for worker in 0..self.workers {
            let warmed = tokio::time::timeout(CREATE_DEADLINE, self.warm(&shared, &plugin, worker)).await;
            let warmed = warmed.map_err(|_| Unmade::TooSlow).and_then(|made| made.map_err(Unmade::Refused));
            shared.leave(worker, warmed.map_err(|unmade| unmade.diagnostics(name, spec))?);
        }
        let in_use = Arc::new(InUse);
        let adoption = |_| {
            let (plugin, shared, in_use) = (Arc::clone(&plugin), Arc::clone(&shared), Arc::downgrade(&in_use));
            Box::new(move |worker: &Rc<Worker>| {
                drop(worker.locals.of::<Guests>().adopt(worker, &plugin, &shared, &in_use));
                Ok(())
            }) as Adoption
        };
        let adoptions = (0..self.workers).map(adoption).collect();
        Ok(Built { filter: Arc::new(WasmFilter { plugin, shared, in_use }), adoptions })
    }

    /// How a version of a plugin does ([`spec::Plugin::version`]).
    pub fn standing(&self, version: Identity) -> Arc<Standing> {
        self.standings.of(version)
    }

    /// Told when a version with the policy `previous` is left alone for failing.
    pub fn distress(&self) -> Arc<tokio::sync::Notify> {
        self.standings.distress()
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Starts to drop, on `worker`, what no snapshot uses any more, a little at a time. To be called within the
    /// worker's `LocalSet`, after each swap and now and then.
    pub fn sweep(worker: &Worker) {
        sweep::sweep(worker);
    }

    fn engine(&self) -> (Filters, Arc<Counters>) {
        (self.filters.clone(), Arc::clone(&self.counters))
    }

    // The plugin's key-value space, the same for every version of it; a new bound holds for what is written from now on.
    fn space(&self, name: &spec::Name, bytes_max: usize) -> Arc<Space> {
        let space = self.states.spaces.find_or_make(name, || Space::new(bytes_max));
        space.limit(bytes_max);
        space
    }

    // The plugins of equal module, memory and grants share guests.
    fn shared(&self, spec: &spec::Plugin, module: &Arc<Module>, memory_bytes_max: usize) -> Arc<Shared> {
        let key = Identity::of_all([
            module.identity(),
            Identity::of(&(memory_bytes_max, spec.limits.guests_max, &spec.grants)),
            Identity::of(&(spec.limits.guest_calls_max, spec.limits.guest_bytes_max)),
        ]);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, shared| shared.strong_count() > 0);
        if let Some(found) = pools.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        let limits = (memory_bytes_max, spec.limits.guests_max, self.workers);
        let shared = Arc::new(Shared::new((key, Arc::clone(module)), self.engine(), limits, Wear::of(&spec.limits)));
        pools.insert(key, Arc::downgrade(&shared));
        shared
    }

    // The plugins of equal VM name, module and settings share VMs.
    fn shared_vms(&self, spec: &spec::Plugin, plugin: &Plugin) -> Arc<proxy_wasm::Shared> {
        let (settings, module) = (&spec.proxy_wasm, &plugin.module);
        let vm_id = settings.vm_id.as_deref().unwrap_or(&plugin.name);
        let vm_config = problem::plain_text(&settings.vm_config);
        let limits @ (memory_bytes_max, wear, _) = (plugin.memory_bytes_max, Wear::of(&spec.limits), self.workers);
        let environment: Vec<_> = spec.environment.iter().chain(&settings.environment).cloned().collect();
        let key = Identity::of_all([
            module.identity(),
            Identity::of(&(vm_id, &vm_config, &environment, memory_bytes_max)),
            Identity::of(&(wear.calls_max, wear.bytes_max)),
        ]);
        let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
        vms.retain(|_, shared| shared.strong_count() > 0);
        if let Some(found) = vms.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        let settings = proxy_wasm::Settings {
            first: module.program().is_first(),
            vm_id: vm_id.to_owned(),
            vm_config: vm_config.into_bytes(),
            environment,
            space: self.space(&format!("proxy-wasm:{vm_id}").into(), spec.limits.kv_bytes_max),
            own_queues: self.queues.group(vm_id),
            queues: Arc::clone(&self.queues),
        };
        let shared = Arc::new(proxy_wasm::Shared::new(Arc::clone(module), settings, self.engine(), limits));
        vms.insert(key, Arc::downgrade(&shared));
        shared
    }

    // The guest that waits for `worker`, or a fresh one, with the plugin created in it.
    async fn warm(&self, shared: &Shared, plugin: &Arc<Plugin>, worker: usize) -> Result<Box<Guest>, CreateError> {
        let _running = self.filters.ticker.run_beside();
        let mut guest = match shared.take(worker) {
            Some(guest) => guest,
            None => shared.guest().await.map_err(CreateError::Failed)?,
        };
        match guest.create(plugin).await {
            // It returned in good order: the other plugins in it are as they were.
            Err(error @ (CreateError::Problems(_) | CreateError::Lacks(_))) => {
                shared.leave(worker, guest);
                Err(error)
            }
            created => created.map(|_| guest),
        }
    }
}

impl std::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wasm({:?})", self.counters)
    }
}

impl Counters {
    /// Modules that were compiled, or loaded from the cache of compiled ones.
    pub fn modules_compiled(&self) -> u64 {
        self.compiled.load(Relaxed)
    }

    /// Guests that were ever instantiated.
    pub fn guests_instantiated(&self) -> u64 {
        self.instantiated.load(Relaxed)
    }

    /// Guests that there are.
    pub fn guests_live(&self) -> u64 {
        u64::try_from(self.live.load(Relaxed)).unwrap_or(0)
    }

    fn compiled(&self) {
        self.compiled.fetch_add(1, Relaxed);
    }

    fn instantiated(&self) {
        self.instantiated.fetch_add(1, Relaxed);
        self.live.fetch_add(1, Relaxed);
    }

    fn dropped(&self) {
        self.live.fetch_sub(1, Relaxed);
    }
}
