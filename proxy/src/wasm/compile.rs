//! Modules: compiled once for each digest, on threads of low priority, found again as long as somebody holds them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread,
};

use tokio::sync::oneshot;
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};

use super::{
    Counters, LoadError, bulk,
    cache::Cache,
    guest::Data,
    http_wasm,
    load::{self, Loadable},
    native::{self, Indices},
    proxy_wasm::{self, Program},
    wasi_http,
};
use crate::{identity::Identity, source::Entry, telemetry::Metrics, urgency};

/// A compiled module.
pub struct Module {
    identity: Identity,
    pub(super) made: Made,
}

/// What is made of a file, by the ABI that it fits.
pub(super) enum Made {
    Native(Native),
    ProxyWasm(Program),
    HttpWasm(http_wasm::Program),
    WasiHttp(wasi_http::Program),
}

impl Made {
    /// Linear memory that a guest may have, where nobody says. Modules that were made for other hosts, which set none or
    /// gigabytes, begin with what their language's runtime wants: a firewall with its rules with 132 MiB.
    pub(super) const fn memory_bytes_max(&self) -> usize {
        match self {
            Self::Native(_) => 32 << 20,
            // One for each worker, not for each exchange.
            Self::ProxyWasm(_) => 256 << 20,
            Self::HttpWasm(_) | Self::WasiHttp(_) => 128 << 20,
        }
    }
}

/// A compiled module of the native ABI.
pub(super) struct Native {
    pub(super) pre: InstancePre<Data>,
    pub(super) indices: Indices,
    /// Whether its guests can wait on the host: they import a function that may.
    pub(super) waits: bool,
}

impl Module {
    /// The digest of its file.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// What it is as a module of the native ABI.
    ///
    /// # Panics
    /// Where it is of another one.
    pub(super) fn native(&self) -> &Native {
        match &self.made {
            Made::Native(native) => native,
            Made::ProxyWasm(_) | Made::HttpWasm(_) | Made::WasiHttp(_) => {
                unreachable!("a module of another ABI is given to that ABI's own plugins")
            }
        }
    }

    /// What it is as a module of Proxy-Wasm.
    ///
    /// # Panics
    /// Where it is of another ABI.
    pub(super) fn program(&self) -> &Program {
        match &self.made {
            Made::ProxyWasm(program) => program,
            Made::Native(_) | Made::HttpWasm(_) | Made::WasiHttp(_) => {
                unreachable!("a module of another ABI is given to that ABI's own plugins")
            }
        }
    }

    /// What it is as a module of http-wasm.
    ///
    /// # Panics
    /// Where it is of another ABI.
    pub(super) fn http_wasm(&self) -> &http_wasm::Program {
        match &self.made {
            Made::HttpWasm(program) => program,
            Made::Native(_) | Made::ProxyWasm(_) | Made::WasiHttp(_) => {
                unreachable!("only modules of http-wasm are asked for their program")
            }
        }
    }

    /// What it is as a component of `wasi:http`.
    ///
    /// # Panics
    /// Where it is of another ABI.
    pub(super) fn wasi_http(&self) -> &wasi_http::Program {
        match &self.made {
            Made::WasiHttp(program) => program,
            Made::Native(_) | Made::ProxyWasm(_) | Made::HttpWasm(_) => {
                unreachable!("a module of another ABI is given to that ABI's own plugins")
            }
        }
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({:?})", self.identity)
    }
}

/// How a file becomes something that guests are made of.
pub(super) trait Make: Send + Sync + 'static {
    /// What it becomes.
    type Made: Send + Sync + 'static;

    /// Makes it; computes for seconds, on a thread of its own.
    fn make(&self, entry: &Entry) -> Result<Self::Made, LoadError>;
}

/// All modules of one kind that somebody holds, and the threads that make them.
pub(super) struct Compiler<M> {
    jobs: mpsc::SyncSender<Job<M>>,
    modules: Mutex<HashMap<Identity, Slot<M>>>,
}

// One for each digest, so that two who ask for the same module wait for one compilation.
type Slot<M> = Arc<tokio::sync::Mutex<Weak<M>>>;

struct Job<M> {
    entry: Entry,
    answer: oneshot::Sender<Result<Arc<M>, LoadError>>,
}

/// Makes modules of plugins.
pub(super) struct Workshop {
    linker: Linker<Data>,
    proxy_wasm: wasmtime::Linker<proxy_wasm::Data>,
    http_wasm: wasmtime::Linker<http_wasm::Data>,
    wasi_http: wasi_http::Workshop,
    press: Press,
}

/// Makes components of files' bytes, and counts them.
#[derive(Clone)]
pub(super) struct Press {
    pub(super) engine: Engine,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) counters: Arc<Counters>,
    pub(super) metrics: Arc<Metrics>,
}

/// Modules that may wait to be compiled; whoever wants one more waits.
const JOBS_MAX: usize = 64;

impl<M: Send + Sync + 'static> Compiler<M> {
    /// Starts `threads` of them.
    pub(super) fn start(threads: usize, workshop: impl Make<Made = M>) -> Result<Self, LoadError> {
        let workshop = Arc::new(workshop);
        let (jobs, queue) = mpsc::sync_channel(JOBS_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let (queue, workshop) = (Arc::clone(&queue), Arc::clone(&workshop));
            let work = move || {
                urgency::lower(urgency::COMPILE);
                work(&queue, &*workshop);
            };
            let spawned = thread::Builder::new().name(format!("wasm-compile-{number}")).spawn(work);
            spawned.map_err(|error| LoadError::Engine(error.to_string()))?;
        }
        Ok(Self { jobs, modules: Mutex::default() })
    }

    /// The module of a file's bytes.
    pub(super) async fn module(&self, entry: &Entry) -> Result<Arc<M>, LoadError> {
        let slot = {
            let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
            // A slot that somebody waits for is held by more than this map.
            modules.retain(|_, slot| {
                Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|module| module.strong_count() > 0)
            });
            Arc::clone(modules.entry(entry.identity).or_default())
        };
        let mut module = slot.lock().await;
        if let Some(found) = module.upgrade() {
            return Ok(found);
        }
        let (answer, made) = oneshot::channel();
        let job = Job { entry: entry.clone(), answer };
        let gone = || LoadError::Engine("the compile threads are gone".into());
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(job)) => {
                let jobs = self.jobs.clone();
                let sent = tokio::task::spawn_blocking(move || jobs.send(job)).await;
                sent.map_err(|_| gone())?.map_err(|_| gone())?;
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return Err(gone()),
        }
        let made = made.await.map_err(|_| gone())??;
        *module = Arc::downgrade(&made);
        Ok(made)
    }
}

fn work<W: Make>(queue: &Mutex<mpsc::Receiver<Job<W::Made>>>, workshop: &W) {
    // What computes for seconds must not compete with requests. Threads of the code generator's own pool are started
    // from here, and take the priority over.
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "the compile threads run with normal priority");
    }
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { entry, answer }) = job else { return };
        // A panic in the code generator must refuse one module, and not end the thread.
        let make = std::panic::AssertUnwindSafe(|| workshop.make(&entry));
        let made = std::panic::catch_unwind(make)
            .unwrap_or_else(|_| Err(LoadError::Engine("the compiler panicked on this module".into())));
        // Nobody waits any more where this fails.
        drop(answer.send(made.map(Arc::new)));
    }
}

impl Workshop {
    /// Where plugins' modules are made.
    pub(super) fn open(press: Press, wasi_http: wasi_http::Workshop) -> Result<Self, LoadError> {
        let linker = native::linker(&press.engine).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let failed = |error: wasmtime::Error| LoadError::Engine(format!("{error:#}"));
        let proxy_wasm = proxy_wasm::linker(&press.engine).map_err(failed)?;
        let http_wasm = http_wasm::linker(&press.engine).map_err(failed)?;
        Ok(Self { linker, proxy_wasm, http_wasm, wasi_http, press })
    }

    fn native(&self, component: &Component) -> Result<Native, LoadError> {
        let refused = |error: wasmtime::Error| LoadError::Refused(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(component).map_err(refused)?;
        let indices = Indices::of(component).map_err(LoadError::Refused)?;
        let waits = native::waits(component, &self.press.engine);
        Ok(Native { pre, indices, waits })
    }
}

impl Make for Workshop {
    type Made = Module;

    fn make(&self, entry: &Entry) -> Result<Module, LoadError> {
        if wasi_http::is_meant(&entry.bytes) {
            let made = Made::WasiHttp(self.wasi_http.make(entry)?);
            return Ok(Module { identity: entry.identity, made });
        }
        let made = match self.press.code(entry, load::load)? {
            Code::Component(component) => Made::Native(self.native(&component)?),
            Code::Core(module) if module.get_export("handle_request").is_some() => {
                let binary = load::binary(&entry.bytes)?;
                Made::HttpWasm(http_wasm::Program::new(&module, &self.http_wasm, &binary)?)
            }
            Code::Core(module) => Made::ProxyWasm(Program::new(&module, &self.proxy_wasm)?),
        };
        Ok(Module { identity: entry.identity, made })
    }
}

/// Compiled code.
pub(super) enum Code {
    Component(Component),
    Core(wasmtime::Module),
}

impl Press {
    /// The code that `load` makes of a file: from the disk, or compiled. What is on disk was loaded once by this very
    /// version, so only what is not goes through all checks: making a component of a module takes as long as everything
    /// else of a start.
    pub(super) fn code(
        &self,
        entry: &Entry,
        load: impl FnOnce(&[u8]) -> Result<Loadable, LoadError>,
    ) -> Result<Code, LoadError> {
        let kept = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, entry.identity));
        let code = match kept {
            Some(found) => found,
            None => {
                let compiled = match load(&entry.bytes)? {
                    Loadable::Component(bytes) => {
                        Component::from_binary(&self.engine, &bulk::in_steps(bytes)).map(Code::Component)
                    }
                    Loadable::Core(bytes) => {
                        wasmtime::Module::from_binary(&self.engine, &bulk::in_steps(bytes)).map(Code::Core)
                    }
                };
                let compiled = compiled.map_err(|error| LoadError::Refused(format!("{error:#}")))?;
                if let Some(cache) = &self.cache {
                    cache.store(entry.identity, &compiled);
                }
                compiled
            }
        };
        self.counters.compiled();
        self.metrics.module_compiled();
        Ok(code)
    }
}

impl Code {
    /// For the disk.
    pub(super) fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Component(component) => component.serialize(),
            Self::Core(module) => module.serialize(),
        }
    }
}
