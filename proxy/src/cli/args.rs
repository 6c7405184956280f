//! Every command and flag, with its help. Front door: names that scripts rely on.

use std::{path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, Parser, Subcommand, ValueEnum};

use super::{
    etcd::{self, Etcd, LayerChoice},
    publish_args::{FleetCommand, GC_EXAMPLES, Gc, PULL_EXAMPLES, PUSH_EXAMPLES, Pull, Push},
};
use crate::{
    admin::Address,
    fleet,
    source::file::{WatchMode, WatchOptions},
    telemetry::log,
};

const EXIT_CODES: &str = "\
Exit codes: 0 done, or valid; 1 refused, or it could not be done; 2 the arguments make no sense.";

const EXAMPLES: &str = "\
Examples:
  tidegate                                         the built-in quickstart
  tidegate run --config gateway.yaml
  tidegate run --config base/ --config site/       two layers, the later wins
  tidegate run --etcd http://127.0.0.1:2379        follow a prefix of etcd (/gw/)
  tidegate check --config gateway.yaml
  tidegate reload && tidegate status
  tidegate explain GET http://api.example.com/api/user/7 -H 'x-tenant: a'

Exit codes: 0 done, or valid; 1 refused, or it could not be done; 2 the arguments make no sense.";

/// An API gateway whose routes and WebAssembly middleware change while it runs.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Without a command: `run`.
    #[command(flatten)]
    pub(super) run: Run,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway; without --config and --etcd, the built-in quickstart
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Check a configuration exactly as a running gateway would, modules included
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// A document or a directory of them; several are layers, the later wins
        #[arg(long, short, required_unless_present = "etcd", value_name = "FILE_OR_DIR")]
        config: Vec<PathBuf>,
        #[command(flatten)]
        etcd: Etcd,
        /// How findings are printed
        #[arg(long, default_value = "text")]
        format: CheckFormat,
    },
    /// Print the JSON Schema of a document, for editors and other checks
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// Layers whose plugins describe their settings: these become part of the schema
        #[arg(long, short, value_name = "FILE_OR_DIR")]
        config: Vec<PathBuf>,
        #[command(flatten)]
        etcd: Etcd,
    },
    /// Make a running gateway load what its sources hold, and wait for the outcome
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload {
        #[command(flatten)]
        admin: Admin,
        /// Stop before the swap: only say what would come of it
        #[arg(long)]
        dry_run: bool,
        /// How the outcome is printed
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// What a running gateway serves, and what came of the last attempt to change it
    #[command(after_help = EXIT_CODES)]
    Status {
        #[command(flatten)]
        admin: Admin,
        /// How it is printed
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// The configuration of a running gateway
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// What a running gateway would do with a request, without sending it
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        #[command(flatten)]
        admin: Admin,
        /// The request's method
        method: String,
        /// The request's URL, or only its path and query
        url: String,
        /// A header field of the request; may be given again
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The listener that it arrives at; the one on the URL's port if not given, or else the first
        #[arg(long, value_name = "NAME")]
        listener: Option<String>,
        /// How it is printed
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Publish a directory to a prefix of etcd in one step, if a gateway would take it
    #[command(after_help = PUSH_EXAMPLES, mut_arg("etcd", etcd::required))]
    Push(Push),
    /// Fetch a prefix of etcd as a directory
    #[command(after_help = PULL_EXAMPLES, mut_arg("etcd", etcd::required))]
    Pull(Pull),
    /// Collect contents under a prefix of etcd that no key names any more
    #[command(after_help = GC_EXAMPLES, mut_arg("etcd", etcd::required))]
    Gc(Gc),
    /// The gateways that follow a prefix of etcd
    Fleet {
        #[command(subcommand)]
        command: FleetCommand,
    },
    /// What a plugin's module is
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration that serves, all layers merged, defaults filled in, secrets as ***
    #[command(after_help = EXIT_CODES)]
    Render {
        #[command(flatten)]
        admin: Admin,
        /// Say of each part which layer, file and line set it
        #[arg(long)]
        explain: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Print a module's ABI, its exports, and of every import whether it is provided
    #[command(after_help = EXIT_CODES)]
    Inspect {
        /// A module: .wasm or .wat
        file: PathBuf,
        /// How it is printed
        #[arg(long, default_value = "text")]
        format: Format,
    },
}

/// How a running gateway is reached.
#[derive(Args, Debug)]
pub(super) struct Admin {
    /// The admin endpoint of the gateway: ADDRESS:PORT or unix:PATH
    #[arg(long = "admin", value_name = "ADDR", default_value = "127.0.0.1:9901", env = "TIDEGATE_ADMIN")]
    pub(super) address: Address,
    /// A file with the admin token; the variable TIDEGATE_ADMIN_TOKEN holds the token itself
    #[arg(long, value_name = "FILE", env = "TIDEGATE_ADMIN_TOKEN_FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
    #[arg(long, hide = true, env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true)]
    pub(super) admin_token: Option<String>,
}

/// What `run` takes.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// A document or a directory of them; several are layers, the later wins
    #[arg(long, short, value_name = "FILE_OR_DIR")]
    config: Vec<PathBuf>,
    #[command(flatten)]
    etcd: Etcd,
    /// Where the admin endpoint listens: ADDRESS:PORT or unix:PATH; goes before the documents [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR", env = "TIDEGATE_ADMIN")]
    admin: Option<Address>,
    /// Worker threads; goes before the documents [default: one a core]
    #[arg(long, value_name = "N", env = "TIDEGATE_WORKERS", value_parser = workers)]
    workers: Option<usize>,
    /// Experimental: read and write connections without TLS over an io_uring, one a worker, where the kernel permits it
    #[arg(long, env = "TIDEGATE_IO_URING")]
    io_uring: bool,
    /// The zone that this gateway is in: it prefers endpoints of the same zone
    #[arg(long, value_name = "NAME", env = "TIDEGATE_ZONE")]
    zone: Option<String>,
    /// How the configuration is watched for changes: auto, events, poll or off
    #[arg(long, value_name = "MODE", default_value = "auto", env = "TIDEGATE_WATCH")]
    watch: WatchMode,
    /// Between two polls, where it is polled
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    watch_poll: Duration,
    /// What the process logs to standard error: a level, or levels by target (info,tidegate::reload=debug)
    #[arg(long, value_name = "LEVELS", default_value = "info", env = "TIDEGATE_LOG")]
    pub(super) log_level: String,
    /// The form of the process log
    #[arg(long, default_value = "text", env = "TIDEGATE_LOG_FORMAT")]
    pub(super) log_format: Format,
    /// A file that holds the process's number while it serves
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Where compiled modules and the last good configuration are kept, or `off` [default: $STATE_DIRECTORY, or else
    /// $XDG_STATE_HOME/tidegate or ~/.local/state/tidegate; off for the quickstart]
    #[arg(long, value_name = "DIR", env = "TIDEGATE_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// What this gateway is called where it says in etcd what it serves [default: the host's name and six digits]
    #[arg(long, value_name = "NAME", env = "TIDEGATE_NODE_ID", value_parser = node)]
    node_id: Option<String>,
    /// Where this gateway says in etcd what it serves, outside the prefix that it follows; or `off`
    #[arg(long, value_name = "PREFIX", default_value = fleet::STATUS_PREFIX, env = "TIDEGATE_ETCD_STATUS_PREFIX")]
    #[arg(value_parser = etcd::status_prefix)]
    etcd_status_prefix: String,
}

/// What `run` was asked for.
#[derive(Debug)]
pub struct RunOptions {
    /// Layers, the later wins; none is the quickstart.
    pub layers: Vec<LayerChoice>,
    /// Where the admin endpoint listens; goes before the documents.
    pub admin: Option<Address>,
    /// Worker threads; goes before the documents.
    pub workers: Option<usize>,
    /// Whether workers read and write over an io_uring where they can.
    pub io_uring: bool,
    /// The zone that it is in.
    pub zone: Option<String>,
    /// How the layers are watched.
    pub watch: WatchOptions,
    /// A file that holds the process's number while it serves.
    pub pid_file: Option<PathBuf>,
    /// Where state is kept, or `off`; by the environment where `None`.
    pub state_dir: Option<PathBuf>,
    /// What the gateway is called in its fleet.
    pub node_id: Option<String>,
    /// Where it says what it serves; nowhere if `None`.
    pub status_prefix: Option<String>,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0: for code hosts and editors.
    Sarif,
}

impl From<Format> for log::Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

impl Run {
    /// What was asked for; `typed` says in which order.
    pub(super) fn options(self, typed: &ArgMatches) -> Result<RunOptions, String> {
        let watch = WatchOptions { mode: self.watch, poll: self.watch_poll, ..WatchOptions::default() };
        let layers = etcd::layers(self.config, &self.etcd, typed)?;
        let status_prefix = etcd::outside(self.etcd_status_prefix, &layers)?;
        let Self { admin, workers, io_uring, zone, pid_file, state_dir, node_id, .. } = self;
        Ok(RunOptions { layers, admin, workers, io_uring, zone, watch, pid_file, state_dir, node_id, status_prefix })
    }
}

const RUN_EXAMPLES: &str = "\
Examples:
  tidegate run                                     the built-in quickstart on 127.0.0.1:8080
  tidegate run --config gateway/                   every document in a directory
  tidegate run --config g.yaml --admin unix:/run/tidegate.sock
  tidegate run --etcd http://10.0.0.5:2379 --etcd-prefix /gw/
  tidegate run --config base/ --etcd https://etcd:2379 --config local/

Signals: HUP and USR1 reload (USR1 opens log files anew, too); TERM and INT let what is under way end, and exit; a
second one exits at once.

Exit codes: 0 ended by a signal; 1 it could not start; 2 the arguments make no sense.";

const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check --config gateway.yaml
  tidegate check --config base/ --config site/ --format json
  tidegate check --config gateway/ --format sarif > findings.sarif
  tidegate check --etcd http://10.0.0.5:2379 --etcd-prefix /gw/

Exit codes: 0 valid (perhaps with warnings); 1 refused; 2 the arguments make no sense.";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  tidegate schema > tidegate.schema.json
  tidegate schema --config gateway/ > gateway/tidegate.schema.json

An editor takes it from the first line of a document:
  # yaml-language-server: $schema=tidegate.schema.json

Exit codes: 0 printed; 1 the configuration is not there; 2 the arguments make no sense.";

const RELOAD_EXAMPLES: &str = "\
Examples:
  tidegate reload
  tidegate reload --dry-run --admin unix:/run/tidegate.sock

Exit codes: 0 applied or unchanged; 1 refused (the findings are printed, the old generation serves on), or the gateway
could not be asked; 2 the arguments make no sense.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  tidegate explain GET http://api.example.com/api/user/7
  tidegate explain POST /orders -H 'host: shop.example.com' -H 'x-tenant: a'

Exit codes: 0 answered, also where no route matches; 1 the gateway could not be asked; 2 the arguments make no sense.";

fn node(text: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if fits { Ok(text.to_owned()) } else { Err("a name of up to 200 visible ASCII characters, without `/`".into()) }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("a number from 1 to 1024".into()),
    }
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| "a number with its unit: 500ms, 2s")?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        _ => Err("a number with its unit: 500ms, 2s".into()),
    }
}
