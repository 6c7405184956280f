//! The command line: arguments in, text and an exit code out. What runs or checks a gateway is behind [`Backend`];
//! what talks to a running one goes over its admin endpoint.

mod args;
mod client;
mod etcd;
mod print;
mod publish;
mod publish_args;
mod remote;

use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde_json::{Value, json};

pub use self::{
    args::RunOptions,
    etcd::LayerChoice,
    publish::{Outcome, PushOptions},
};
use self::{
    args::{Arguments, CheckFormat, Command, ConfigCommand, Format, PluginCommand},
    publish_args::{FleetCommand, Gc, Pull},
};
use crate::{
    config::{diagnostic::Diagnostic, sarif},
    fleet::Fleet,
    publish::{Collected, Pulled},
    source::etcd::EtcdOptions,
    telemetry::log,
};

/// What the command line cannot do by itself.
pub trait Backend {
    /// Runs a gateway until a signal ends it.
    ///
    /// # Errors
    /// Why it did not start, for a terminal.
    fn run(&self, options: RunOptions) -> Result<(), String>;

    /// Checks these layers exactly as a running gateway would, modules included: all findings, and their text.
    ///
    /// # Errors
    /// When a path is not there, or the engine cannot be made.
    fn check(&self, layers: Vec<LayerChoice>) -> Result<(Vec<Diagnostic>, String), String>;

    /// The JSON Schema of a document, with the settings of the plugins that these layers name.
    ///
    /// # Errors
    /// When a path is not there.
    fn schema(&self, layers: Vec<LayerChoice>) -> Result<Value, String>;

    /// Publishes a directory, if a gateway would take it.
    ///
    /// # Errors
    /// In words, where it could not be done; then nothing was changed, unless they say otherwise.
    fn push(&self, options: &PushOptions) -> Result<Outcome, String>;

    /// Fetches a prefix back.
    ///
    /// # Errors
    /// In words; the directory is then as it was.
    fn pull(&self, etcd: &EtcdOptions, directory: &Path, force: bool) -> Result<Pulled, String>;

    /// Collects contents that nothing names.
    ///
    /// # Errors
    /// In words.
    fn collect(&self, etcd: &EtcdOptions, txn_ops_max: usize, dry_run: bool) -> Result<Collected, String>;

    /// What the gateways say that follow a prefix.
    ///
    /// # Errors
    /// In words.
    fn fleet(&self, etcd: &EtcdOptions, status_prefix: &str) -> Result<Fleet, String>;

    /// What there is to know of a module: as text and as JSON.
    ///
    /// # Errors
    /// Why it could not be loaded, with the next step.
    fn inspect(&self, module: &[u8]) -> Result<(String, Value), String>;
}

/// Where a command writes.
pub struct Console<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong.
    pub err: &'a mut dyn Write,
}

/// Why a command did not succeed. Exit code 1.
#[derive(Debug)]
enum Failure {
    /// What was asked for is on the console; the answer is no.
    Refused,
    /// It could not be done.
    Failed(String),
}

/// Exit code: done, or valid.
pub const OK: u8 = 0;
/// Exit code: refused, or it could not be done.
pub const FAILED: u8 = 1;
/// Exit code: the arguments make no sense.
pub const USAGE: u8 = 2;

/// Carries out a command line (the program's name first); answers the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>, backend: &dyn Backend, console: &mut Console<'_>) -> u8 {
    let typed = Arguments::command().try_get_matches_from(arguments);
    let read = |typed: ArgMatches| Ok((Arguments::from_arg_matches(&typed)?, typed));
    let (arguments, typed) = match typed.and_then(read) {
        Ok(read) => read,
        Err(error) => {
            let (to, code): (&mut dyn Write, u8) =
                if error.use_stderr() { (&mut *console.err, USAGE) } else { (&mut *console.out, OK) };
            say(to, &error.render().to_string());
            return code;
        }
    };
    match carry_out(arguments, &typed, backend, console.out) {
        Ok(()) => OK,
        Err(Failure::Refused) => FAILED,
        Err(Failure::Failed(message)) => {
            say(console.err, &format!("tidegate: {}\n", message.trim_end()));
            FAILED
        }
    }
}

fn carry_out(
    arguments: Arguments,
    typed: &ArgMatches,
    backend: &dyn Backend,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let typed = typed.subcommand().map_or(typed, |(_, typed)| typed);
    let command = arguments.command.unwrap_or(Command::Run(arguments.run));
    match command {
        Command::Run(run) => {
            log::init(run.log_format.into(), &run.log_level).map_err(Failure::Failed)?;
            backend.run(run.options(typed).map_err(Failure::Failed)?).map_err(Failure::Failed)
        }
        Command::Check { config, etcd, format } => {
            let layers = etcd::layers(config, &etcd, typed).map_err(Failure::Failed)?;
            check(backend, layers, format, out)
        }
        Command::Schema { config, etcd } => {
            let layers = etcd::layers(config, &etcd, typed).map_err(Failure::Failed)?;
            print::json(out, &backend.schema(layers).map_err(Failure::Failed)?);
            Ok(())
        }
        Command::Reload { admin, dry_run, format } => remote::reload(&admin, dry_run, format, out),
        Command::Status { admin, format } => remote::status(&admin, format, out),
        Command::Config { command: ConfigCommand::Render { admin, explain } } => remote::render(&admin, explain, out),
        Command::Explain { admin, method, url, headers, listener, format } => {
            remote::explain(&admin, (&method, &url, &headers, listener.as_deref()), format, out)
        }
        Command::Push(push) => {
            let format = push.format;
            publish::push(backend, &push.options().map_err(Failure::Failed)?, format, out)
        }
        Command::Pull(Pull { dir, etcd, force, format }) => {
            let etcd = etcd.required().map_err(Failure::Failed)?;
            let pulled = backend.pull(&etcd, &dir, force).map_err(Failure::Failed)?;
            publish::pulled(&pulled, format, out);
            Ok(())
        }
        Command::Gc(Gc { etcd, dry_run, max_txn_ops, format }) => {
            let etcd = etcd.required().map_err(Failure::Failed)?;
            let collected = backend.collect(&etcd, max_txn_ops, dry_run).map_err(Failure::Failed)?;
            publish::collected(&collected, dry_run, format, out);
            Ok(())
        }
        Command::Fleet { command: FleetCommand::Status { etcd, etcd_status_prefix, format } } => {
            let etcd = etcd.required().map_err(Failure::Failed)?;
            let fleet = backend.fleet(&etcd, &etcd_status_prefix).map_err(Failure::Failed)?;
            publish::fleet(&fleet, format, out)
        }
        Command::Plugin { command: PluginCommand::Inspect { file, format } } => inspect(backend, &file, format, out),
    }
}

fn check(
    backend: &dyn Backend,
    layers: Vec<LayerChoice>,
    format: CheckFormat,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (diagnostics, text) = backend.check(layers).map_err(Failure::Failed)?;
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    match format {
        CheckFormat::Sarif => print::json(out, &sarif::log(&diagnostics)),
        CheckFormat::Json => print::json(out, &json!({"valid": valid, "diagnostics": diagnostics})),
        CheckFormat::Text => say(out, &format!("{text}{}\n", if valid { "valid" } else { "refused" })),
    }
    if valid { Ok(()) } else { Err(Failure::Refused) }
}

fn inspect(backend: &dyn Backend, file: &PathBuf, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let named = |why: String| Failure::Failed(format!("{}: {why}", file.display()));
    let module = fs::read(file).map_err(|error| named(error.to_string()))?;
    let (text, value) = backend.inspect(&module).map_err(named)?;
    match format {
        Format::Json => print::json(out, &value),
        Format::Text => say(out, &text),
    }
    Ok(())
}

// Whoever reads us may have gone (`tidegate status | head -1`): that is no failure of ours.
fn say(to: &mut dyn Write, text: &str) {
    let _said = to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_ok();
}

#[cfg(test)]
mod tests;
