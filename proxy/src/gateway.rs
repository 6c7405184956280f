//! The gateway as a whole: sources, workers, reload loop and admin endpoint, put together and taken apart again.
//! The only place that knows all rooms; holds no logic of theirs.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Handle, Runtime},
    sync::mpsc,
};

use crate::{
    admin::{self, Admin, Control as _},
    compile::Compiler,
    config::{diagnostic::Diagnostic, report, spec::Name},
    control::Switchboard,
    drain::{Drain, Tunnels},
    fetch::Fetcher,
    fleet::{self, Reporter, Says},
    last_good::{Keeper, LastGood},
    reload::{
        self, Board, First, Hands, Reloader, Remembered, Sockets,
        status::{Attempt, Status, Trigger},
    },
    snapshot::{Graveyard, Remains},
    source::{
        Entry, Source, Tree,
        file::{FileSource, WatchOptions},
    },
    state::States,
    state_dir::StateDir,
    telemetry::{Metrics, access, trace::Tracing},
    urgency,
    wasm::{self, Wasm},
    worker::{Equipment, Workers},
};

// Commands come from people and scripts; more at a time than this wait their turn at the sender.
const COMMANDS_WAITING_MAX: usize = 64;

// What is queued when the last worker has ended is a few thousand lines.
const LOG_DEADLINE: Duration = Duration::from_secs(2);

// For the last batch of spans, where exchanges took all of the time there was.
const TRACE_DEADLINE: Duration = Duration::from_secs(1);

// What was applied a moment ago is a few files; a disk that hangs must not keep a process from ending.
const KEEP_DEADLINE: Duration = Duration::from_secs(2);

// Its lease ends by itself where etcd does not answer.
const WORD_DEADLINE: Duration = Duration::from_millis(500);

/// What to run, and how.
#[derive(Default)]
pub struct Options {
    /// Files and directories, each a layer; the later wins.
    pub config: Vec<PathBuf>,
    /// Further layers, above those.
    pub sources: Vec<Box<dyn Source>>,
    /// How files are watched.
    pub watch: WatchOptions,
    /// How many workers; the configuration's setting, else one a core, where `None`.
    pub workers: Option<usize>,
    /// The zone that this process is in, for upstreams whose endpoints have zones.
    pub zone: Option<String>,
    /// The admin endpoint.
    pub admin: AdminChoice,
    /// The Wasm engine.
    pub wasm: wasm::Settings,
    /// Where compiled modules and the last good tree are kept; nowhere if `None`.
    pub state_dir: Option<StateDir>,
    /// How the gateway says in etcd what it serves, if it does.
    pub fleet: Option<fleet::Settings>,
    /// Makes the calling thread's allocator give memory that nothing uses back to the system, if it can be asked to.
    pub give_back: Option<fn()>,
    /// Whether workers read and write over an io_uring where the kernel permits one: an experiment.
    pub io_uring: bool,
}

/// Whether there is an admin endpoint.
#[derive(Clone, Debug, Default)]
pub enum AdminChoice {
    /// There is none.
    #[default]
    Off,
    /// There is this one, whatever the documents say.
    Fixed(admin::Settings),
    /// By the settings of the process.
    Configured {
        /// What the command line says; goes before the documents.
        flag: Option<admin::Address>,
        /// Whether this is a process without a configuration.
        quickstart: bool,
    },
}

/// A running gateway. Dropping it ends it at once; [`Gateway::shutdown`] lets what is under way end first.
pub struct Gateway {
    switchboard: Arc<Switchboard>,
    workers: Arc<Workers>,
    drain: Arc<Drain>,
    tunnels: Arc<Tunnels>,
    log: Arc<access::Log>,
    tracing: Arc<Tracing>,
    admin: Option<Admin>,
    keeper: Option<Arc<Keeper>>,
    reporter: Option<Reporter>,
    control: Option<Runtime>,
}

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration was refused; the text says why, for a terminal.
    Refused(String),
    /// The system did not give what is needed; the text names it.
    System(String, io::Error),
}

impl Gateway {
    /// Starts a gateway and returns when its first generation serves.
    ///
    /// # Errors
    /// When the configuration is refused, an address is taken, or the engine cannot be made.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let control = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            // Workers and clocks are not started by one of them, and so do not inherit it.
            .on_thread_start(|| urgency::lower(urgency::CONTROL))
            .enable_all()
            .build()
            .map_err(|error| StartError::System("the control runtime cannot be made".to_owned(), error))?;
        let mut gateway = control.block_on(assemble(options))?;
        gateway.control = Some(control);
        Ok(gateway)
    }

    /// Where the listener called `name` listens.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.listeners().get(name).copied()
    }

    /// Where each listener listens, by name.
    pub fn listeners(&self) -> BTreeMap<Name, SocketAddr> {
        self.switchboard.board.addresses()
    }

    /// Where the admin endpoint listens, if it does over TCP.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(Admin::address)
    }

    /// What serves, and what the last attempt to change it came to.
    pub fn status(&self) -> Status {
        self.switchboard.board.status()
    }

    /// The metrics, in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.switchboard.metrics()
    }

    /// Loads what the sources hold now.
    pub async fn reload(&self, trigger: Trigger) -> Option<Attempt> {
        self.switchboard.load(trigger, false).await
    }

    /// Asks for [`Gateway::reload`] and does not wait for it: the outcome is on the board, in the log and the metrics.
    pub fn reload_soon(&self, trigger: Trigger) {
        let switchboard = Arc::clone(&self.switchboard);
        if let Some(control) = &self.control {
            control.spawn(async move { switchboard.load(trigger, false).await });
        }
    }

    /// Opens the access log anew, after it was moved away.
    pub fn reopen_logs(&self) {
        self.log.reopen();
    }

    /// Stops accepting, lets exchanges and tunnels end until `deadline`, and ends. Answers whether all had ended.
    pub fn shutdown(mut self, deadline: Duration) -> bool {
        let Some(control) = self.control.take() else { return true };
        let reporter = self.reporter.take();
        let began = Instant::now();
        let quiet = control.block_on(async {
            self.switchboard.end().await;
            // It takes nothing new any more, so nobody is to wait for it.
            if let Some(reporter) = reporter {
                reporter.end(WORD_DEADLINE).await;
            }
            self.workers.shut().await;
            let began = Instant::now();
            let quiet = self.drain.quiet(deadline).await;
            quiet && self.tunnels.quiet(deadline.saturating_sub(began.elapsed())).await
        });
        self.workers.end();
        let left = deadline.saturating_sub(began.elapsed()).max(TRACE_DEADLINE);
        if !control.block_on(self.tracing.flush(left)) {
            tracing::warn!("the collector of traces did not take all spans in time");
        }
        self.log.close(LOG_DEADLINE);
        if let Some(keeper) = &self.keeper {
            keeper.flush(KEEP_DEADLINE);
        }
        control.shutdown_timeout(Duration::from_secs(1));
        quiet
    }

    /// How long a shutdown may take, by the configuration that serves.
    pub fn shutdown_deadline(&self) -> Duration {
        self.switchboard.snapshot().map_or(Duration::ZERO, |snapshot| snapshot.spec.gateway.shutdown_deadline)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.workers.end();
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

/// Checks what `options` name as [`Gateway::start`] would, modules included, and serves nothing. Answers with all
/// findings and with their text for a terminal.
///
/// # Errors
/// When the engine cannot be made or a source cannot be opened.
pub fn check(options: Options) -> Result<(Vec<Diagnostic>, String), StartError> {
    check_tree(options).map(|(diagnostics, text, _)| (diagnostics, text))
}

/// [`check`], which answers with the tree that it is about as well.
///
/// # Errors
/// As [`check`].
pub fn check_tree(options: Options) -> Result<(Vec<Diagnostic>, String, Tree), StartError> {
    let control = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let control = control.map_err(|error| StartError::System("the runtime cannot be made".to_owned(), error))?;
    control.block_on(async {
        let sources = open(options.config, options.sources, &options.watch)?;
        let compiler = compiler(options.wasm, &Metrics::new(1), (1, None))?.0;
        let fetcher = Fetcher::new(options.state_dir.as_ref()).map_err(StartError::Refused)?;
        let (diagnostics, tree) = reload::check(sources, compiler, &fetcher).await;
        let text = report::text(&diagnostics, &tree, false);
        Ok((diagnostics, text, tree))
    })
}

/// The modules that the documents of these layers name, by path.
///
/// # Errors
/// When a source cannot be opened.
pub fn modules(options: Options) -> Result<Vec<(Arc<str>, Entry)>, StartError> {
    let control = runtime::Builder::new_current_thread().enable_all().build();
    let control = control.map_err(|error| StartError::System("the runtime cannot be made".to_owned(), error))?;
    control.block_on(async { Ok(reload::modules(open(options.config, options.sources, &options.watch)?).await) })
}

async fn assemble(options: Options) -> Result<Gateway, StartError> {
    let sources = open(options.config, options.sources, &options.watch)?;
    let origins: Vec<_> = sources.iter().map(|source| source.origin()).collect();
    // What is on this machine is read from where it is.
    let remote = sources.iter().any(|source| source.is_remote());
    let state_dir = options.state_dir.as_ref();
    let last_good = state_dir.filter(|_| remote).map(|state| LastGood::new(&state.last_good(), &origins));
    let fetcher = Arc::new(Fetcher::new(state_dir).map_err(StartError::Refused)?);
    let first = First::read(sources, last_good.clone(), &fetcher).await.map_err(StartError::Refused)?;
    let process = first.process().clone();
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let count = options.workers.or(process.workers).unwrap_or_else(cores).max(1);
    let (metrics, drain) = (Metrics::new(count), Arc::new(Drain::default()));
    metrics.show_fetches(fetcher.counts());
    let (graveyard, remains) = Graveyard::new();
    let workers = Workers::start(count, &graveyard, Equipment { give_back: options.give_back, ring: options.io_uring })
        .map_err(|error| StartError::System("the workers cannot be started".to_owned(), error))?;
    metrics.show_rings(workers.rings());
    let workers = Arc::new(workers);
    tokio::spawn(bury(remains, Arc::downgrade(&workers)));
    let guest_slots = process.guest_slots.unwrap_or(options.wasm.guest_slots);
    let cache = options.wasm.cache.or_else(|| state_dir.map(StateDir::modules));
    let zone = options.zone.as_deref().filter(|zone| !zone.is_empty()).map(Arc::from);
    let (compiler, (log, tracing)) =
        compiler(wasm::Settings { guest_slots, cache, ..options.wasm }, &metrics, (count, zone))?;
    let keeper = last_good.map(|last_good| last_good.keep(Arc::clone(&metrics)).map(Arc::new)).transpose();
    let keeper = keeper.map_err(StartError::Refused)?;
    let tunnels = Arc::new(Tunnels::default());
    let admin = match &options.admin {
        AdminChoice::Off => None,
        AdminChoice::Fixed(settings) => Some(settings.clone()),
        AdminChoice::Configured { flag, quickstart } => {
            let settings = admin::Settings::new(flag.as_ref(), &process, *quickstart);
            Some(settings.map_err(StartError::Refused)?)
        }
    };
    let board = Arc::new(Board::new(Arc::clone(&drain), Arc::clone(&tunnels), Arc::clone(&metrics), count, process));
    let sockets = Sockets::new(Arc::clone(&tunnels), Arc::clone(&metrics));
    let remembered = state_dir.map(|state| Remembered::open(&state.fallbacks()));
    let hands = Hands {
        workers: Arc::clone(&workers),
        drain: Arc::clone(&drain),
        board: Arc::clone(&board),
        fetcher,
        keeper: keeper.clone(),
        remembered: remembered.transpose().map_err(StartError::Refused)?,
    };
    let reloader = Reloader::begin(compiler, hands, sockets, first)
        .await
        .map_err(|attempt| StartError::Refused(attempt.report))?;
    let (commands, inbox) = mpsc::channel(COMMANDS_WAITING_MAX);
    tokio::spawn(reloader.run(inbox));
    let says = || Says { board: Arc::clone(&board), metrics: Arc::clone(&metrics) };
    let reporter = options.fleet.map(|settings| Reporter::start(settings, says()));
    let switchboard = Arc::new(Switchboard { board, commands, metrics });
    let admin = match admin {
        Some(settings) => Some(Admin::start(settings, Arc::clone(&switchboard) as _).await.map_err(no_admin)?),
        None => None,
    };
    Ok(Gateway { switchboard, workers, drain, tunnels, log, tracing, admin, keeper, reporter, control: None })
}

fn open(
    config: Vec<PathBuf>,
    more: Vec<Box<dyn Source>>,
    watch: &WatchOptions,
) -> Result<Vec<Box<dyn Source>>, StartError> {
    let open = |path: PathBuf| -> Result<Box<dyn Source>, StartError> {
        let name = path.display().to_string();
        match FileSource::open(path, watch.clone()) {
            Ok(source) => Ok(Box::new(source)),
            Err(error) => Err(StartError::Refused(format!("{name}: {error}"))),
        }
    };
    config.into_iter().map(open).chain(more.into_iter().map(Ok)).collect()
}

/// Who tell of each exchange elsewhere.
type Tellers = (Arc<access::Log>, Arc<Tracing>);

fn compiler(
    settings: wasm::Settings,
    metrics: &Arc<Metrics>,
    (workers, zone): (usize, Option<Arc<str>>),
) -> Result<(Compiler, Tellers), StartError> {
    let states = States::in_zone(workers, Handle::current(), zone);
    let settings = wasm::Settings { workers, ..settings };
    let wasm = Wasm::new(settings, Arc::clone(metrics), Arc::clone(&states));
    let wasm = wasm.map_err(|error| StartError::Refused(error.to_string()))?;
    let log = access::Log::start(workers, Arc::clone(metrics))
        .map_err(|error| StartError::System("the access log's writer cannot be started".to_owned(), error))?;
    let tellers = (Arc::new(log), Tracing::new(Handle::current(), Arc::clone(metrics)));
    Ok((Compiler::new(wasm, states, Arc::clone(metrics), tellers.clone()), tellers))
}

fn no_admin(error: io::Error) -> StartError {
    StartError::System("the admin endpoint cannot be opened".to_owned(), error)
}

// Frees what workers let go of, off the request path, and lets them drop what depended on it.
async fn bury(mut remains: mpsc::UnboundedReceiver<Remains>, workers: std::sync::Weak<Workers>) {
    while let Some(first) = remains.recv().await {
        drop(first);
        while let Ok(more) = remains.try_recv() {
            drop(more);
        }
        let Some(workers) = workers.upgrade() else { return };
        workers.sweep();
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({:?})", self.listeners())
    }
}
