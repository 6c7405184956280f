//! The program: what the command line starts. Runs a gateway until a signal ends it, checks a configuration, looks at
//! a module. Knows gateways and signals; holds no logic of theirs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    admin::DEFAULT_ADDRESS,
    cli::{Backend, LayerChoice, Outcome, PushOptions, RunOptions},
    config::{diagnostic::Diagnostic, schema},
    fleet::{self, Fleet},
    gateway::{self, AdminChoice, Gateway, Options},
    publish::{self, Collected, Pulled},
    quickstart,
    reload::status::Trigger,
    signals::{Signal, Signals},
    source::{
        Source,
        etcd::{EtcdOptions, EtcdSource},
        file::{FileSource, WatchOptions},
    },
    state_dir::Choice,
    telemetry::log,
    wasm::{self, Item},
};

// What was logged last is the most wanted, and a few lines.
const LOG_DEADLINE: Duration = Duration::from_secs(1);

/// The commands that the library carries out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Program {
    /// See [`Options::give_back`].
    pub give_back: Option<fn()>,
}

mod publishing;

impl Backend for Program {
    fn run(&self, options: RunOptions) -> Result<(), String> {
        // First of all, so that no signal finds a process that would die of it.
        let signals = Taken::new().map_err(|error| format!("signals cannot be taken: {error}"))?;
        let quickstart = options.layers.is_empty();
        let fleet = fleet(&options);
        let mut sources = sources(options.layers, &options.watch)?;
        sources.extend(quickstart.then(|| Box::new(quickstart::source()) as _));
        let admin = AdminChoice::Configured { flag: options.admin, quickstart };
        let RunOptions { workers, io_uring, zone, state_dir, pid_file, .. } = options;
        let state_dir = Choice::of(state_dir, quickstart, &|name| std::env::var(name).ok()).open()?;
        let started = Gateway::start(Options {
            sources,
            workers,
            io_uring,
            zone,
            admin,
            state_dir,
            fleet,
            give_back: self.give_back,
            ..Options::default()
        });
        let gateway = started.map_err(|error| error.to_string())?;
        let _pid_file = pid_file.map(PidFile::write).transpose()?;
        for (name, address) in gateway.listeners() {
            tracing::info!(listener = %name, %address, "listening");
        }
        if quickstart {
            eprintln!("{}", quickstart::NEXT);
        }
        serve(gateway, signals)
    }

    fn check(&self, layers: Vec<LayerChoice>) -> Result<(Vec<Diagnostic>, String), String> {
        let sources = sources(layers, &WatchOptions::default())?;
        gateway::check(Options { sources, ..Options::default() }).map_err(|error| error.to_string())
    }

    fn schema(&self, layers: Vec<LayerChoice>) -> Result<Value, String> {
        let modules = if layers.is_empty() {
            Vec::new()
        } else {
            let sources = sources(layers, &WatchOptions::default())?;
            gateway::modules(Options { sources, ..Options::default() }).map_err(|error| error.to_string())?
        };
        let described = modules.iter().filter_map(|(path, file)| {
            // What is neither plugin nor table has no settings; `check` says what is wrong with it.
            let settings = wasm::inspect(&file.bytes).ok()?.settings_schema?;
            Some((path.to_string(), settings))
        });
        Ok(schema::schema(&described.collect::<Vec<_>>()))
    }

    fn push(&self, options: &PushOptions) -> Result<Outcome, String> {
        publishing::push(options)
    }

    fn pull(&self, etcd: &EtcdOptions, directory: &Path, force: bool) -> Result<Pulled, String> {
        publishing::pull(etcd, directory, force)
    }

    fn collect(&self, etcd: &EtcdOptions, txn_ops_max: usize, dry_run: bool) -> Result<Collected, String> {
        publishing::collect(etcd, txn_ops_max, dry_run)
    }

    fn fleet(&self, etcd: &EtcdOptions, status_prefix: &str) -> Result<Fleet, String> {
        publishing::fleet(etcd, status_prefix)
    }

    fn inspect(&self, module: &[u8]) -> Result<(String, Value), String> {
        let report = wasm::inspect(module).map_err(|error| match error.hint() {
            Some(hint) => format!("{error}\n  hint: {hint}"),
            None => error.to_string(),
        })?;
        if report.problem.is_some() {
            return Err(format!("this module would not be loaded\n{report}"));
        }
        let item = |item: &Item| item.to_string();
        let value = json!({
            "abi": report.abi.map(wasm::Abi::name),
            "component": report.component,
            "exports": report.exports.iter().map(item).collect::<Vec<_>>(),
            "imports": report.imports.iter().map(|(name, provided)| json!({"name": item(name), "provided": provided}))
                .collect::<Vec<_>>(),
            "settings_schema": report.settings_schema,
        });
        Ok((report.to_string(), value))
    }
}

// A gateway that follows a prefix says so in the same etcd.
fn fleet(options: &RunOptions) -> Option<fleet::Settings> {
    let etcd = options.layers.iter().find_map(|layer| match layer {
        LayerChoice::Etcd(etcd) => Some(etcd),
        LayerChoice::Files(_) => None,
    })?;
    let status_prefix = options.status_prefix.clone()?;
    let admin = options.admin.as_ref().map_or_else(|| DEFAULT_ADDRESS.to_string(), ToString::to_string);
    let node = options.node_id.clone().unwrap_or_else(|| fleet::default_id(&publish::host_name(), &admin));
    let (etcd, follows) = (etcd.client.clone(), etcd.prefix.clone());
    Some(fleet::Settings { etcd, status_prefix, node, follows, lease: fleet::LEASE })
}

fn sources(layers: Vec<LayerChoice>, watch: &WatchOptions) -> Result<Vec<Box<dyn Source>>, String> {
    let source = |layer| -> Result<Box<dyn Source>, String> {
        Ok(match layer {
            LayerChoice::Etcd(options) => Box::new(EtcdSource::new(*options)),
            LayerChoice::Files(path) => {
                let source = FileSource::open(&path, watch.clone());
                Box::new(source.map_err(|error| format!("{}: {error}", path.display()))?)
            }
        })
    };
    layers.into_iter().map(source).collect()
}

// The signals of the process, and the runtime that they arrive on.
struct Taken {
    runtime: Runtime,
    signals: Signals,
}

impl Taken {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        Ok(Self { runtime, signals })
    }
}

// Serves until a signal ends it: the first lets what is under way end, the second does not.
fn serve(gateway: Gateway, Taken { runtime, mut signals }: Taken) -> Result<(), String> {
    runtime.block_on(async {
        loop {
            let signal = signals.next().await;
            match signal {
                Signal::Stop => return,
                Signal::ReloadAndReopen => gateway.reopen_logs(),
                Signal::Reload => {}
            }
            // Answered on the board and in the log; a second signal meanwhile is coalesced with the next attempt.
            gateway.reload_soon(Trigger::Signal);
        }
    });
    let deadline = gateway.shutdown_deadline();
    tracing::info!(deadline_s = deadline.as_secs(), "draining; a second signal ends at once");
    let draining = std::thread::spawn(move || gateway.shutdown(deadline));
    runtime.block_on(async {
        let drained = async {
            while !draining.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let again = async { while signals.next().await != Signal::Stop {} };
        tokio::select! {
            () = drained => {}
            () = again => {
                tracing::warn!("ending at once");
                log::flush(LOG_DEADLINE);
                process::exit(0);
            }
        }
    });
    match draining.join() {
        Ok(true) => tracing::info!("drained"),
        Ok(false) => tracing::warn!("the deadline has passed; what was still under way was cut"),
        Err(_) => return Err("the shutdown panicked".to_owned()),
    }
    log::flush(LOG_DEADLINE);
    Ok(())
}

// Removed when the gateway ends in good order.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, String> {
        let written: io::Result<()> = fs::write(&path, format!("{}\n", process::id()));
        written.map_err(|error| format!("the pid file {} cannot be written: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), %error, "the pid file cannot be removed");
        }
    }
}
