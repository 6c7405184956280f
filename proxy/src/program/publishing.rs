//! What `push`, `pull`, `gc` and `fleet status` do: a check as a start would do it, and then what the rooms `publish` and
//! `fleet` have. Each is one short run with a runtime of its own.

use std::{path::Path, sync::Arc};

use crate::{
    cli::{Outcome, PushOptions},
    config::diagnostic::Diagnostic,
    etcd::Client,
    fleet::{self, Fleet},
    gateway,
    publish::{self, Collected, Limits, Local, Overlay, Prefix, Pulled, Push, Pushed, Remote},
    source::{
        Entry, Layer, Source, Tree,
        etcd::EtcdOptions,
        file::{FileSource, WatchMode, WatchOptions},
    },
};

/// `tidegate push`.
pub(super) fn push(options: &PushOptions) -> Result<Outcome, String> {
    let prefix = Prefix::new(&options.etcd.prefix)?;
    let runtime = runtime()?;
    let client = Client::new(options.etcd.client.clone());
    let (remote, leased) = runtime.block_on(async {
        let remote = Remote::read(&client, &prefix).await?;
        let leased = remote.leased(&client, &prefix).await?;
        Ok::<_, String>((remote, leased))
    })?;
    let checked = check(options, leased)?;
    if checked.diagnostics.iter().any(Diagnostic::is_error) {
        return Ok(Outcome::Refused { diagnostics: checked.diagnostics, text: checked.text });
    }
    let limits = options.limits;
    runtime.block_on(async {
        let hash = checked.local.hash;
        let push = Push::plan(&client, &prefix, remote, checked.local, limits).await?;
        let leased = push.leased();
        if options.dry_run {
            let (changes, unchanged) = (push.changes.clone(), push.unchanged());
            return Ok(Outcome::Planned { changes, unchanged, hash: hash.to_string(), leased, warnings: checked.text });
        }
        let pushed = push.carry_out().await?;
        finish(options, (&client, &prefix), limits, pushed, (leased, checked.text)).await
    })
}

// What comes after the flip: it stands whatever becomes of these.
async fn finish(
    options: &PushOptions,
    (client, prefix): (&Client, &Prefix),
    limits: Limits,
    pushed: Pushed,
    (leased, warnings): (Vec<String>, String),
) -> Result<Outcome, String> {
    let stands = |why: String| format!("pushed as revision {}, but {why}", pushed.revision);
    let collected = match options.collect {
        true => Some(publish::collect(client, prefix, limits, false).await.map_err(stands)?),
        false => None,
    };
    let verdict = match options.wait {
        Some(deadline) => {
            let what = (&*prefix.to_string(), &*pushed.hash, pushed.revision);
            Some(fleet::wait(client, &options.status_prefix, what, deadline).await.map_err(stands)?)
        }
        None => None,
    };
    Ok(Outcome::Pushed { pushed, leased, collected, verdict, warnings })
}

/// `tidegate pull`.
pub(super) fn pull(etcd: &EtcdOptions, directory: &Path, force: bool) -> Result<Pulled, String> {
    let prefix = Prefix::new(&etcd.prefix)?;
    runtime()?.block_on(publish::pull(&Client::new(etcd.client.clone()), &prefix, directory, force))
}

/// `tidegate gc`.
pub(super) fn collect(etcd: &EtcdOptions, txn_ops_max: usize, dry_run: bool) -> Result<Collected, String> {
    let prefix = Prefix::new(&etcd.prefix)?;
    let client = Client::new(etcd.client.clone());
    runtime()?.block_on(publish::collect(&client, &prefix, Limits { txn_ops_max, ..Limits::default() }, dry_run))
}

/// `tidegate fleet status`.
pub(super) fn fleet(etcd: &EtcdOptions, status_prefix: &str) -> Result<Fleet, String> {
    let client = Client::new(etcd.client.clone());
    let nodes = runtime()?.block_on(fleet::read(&client, status_prefix))?;
    Ok(Fleet::of(nodes, &etcd.prefix))
}

struct CheckedDirectory {
    diagnostics: Vec<Diagnostic>,
    text: String,
    local: Local,
}

// The directory with what is under leases, among the layers that gateways have beside it.
fn check(options: &PushOptions, leased: Vec<(String, Entry)>) -> Result<CheckedDirectory, String> {
    let directory = open(&options.directory)?;
    let (overlay, added) = Overlay::new(directory, leased);
    let mut sources: Vec<Box<dyn Source>> = options.under.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
    let at = sources.len();
    sources.push(Box::new(overlay));
    for path in &options.over {
        sources.push(open(path)?);
    }
    let options = gateway::Options { sources, ..gateway::Options::default() };
    let (diagnostics, text, tree) = gateway::check_tree(options).map_err(|error| error.to_string())?;
    Ok(CheckedDirectory { diagnostics, text, local: local(&tree, at, &added.paths()) })
}

// What the directory itself holds of the layer that will be seen.
fn local(tree: &Tree, at: usize, added: &[Arc<str>]) -> Local {
    let empty = Layer { source: "".into(), revision: 0, entries: imbl::OrdMap::new() };
    let layer = tree.layers.get(at).unwrap_or(&empty);
    let own = layer.entries.iter().filter(|(path, _)| !added.contains(path));
    let entries = own.filter_map(|(path, entry)| Some((path.to_string(), entry.as_ref().ok()?.clone()))).collect();
    Local { entries, hash: layer.identity() }
}

fn open(path: &Path) -> Result<Box<dyn Source>, String> {
    let options = WatchOptions { mode: WatchMode::Off, ..WatchOptions::default() };
    let source = FileSource::open(path, options).map_err(|error| error.to_string())?;
    Ok(Box::new(source))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| format!("the runtime cannot be made: {error}"))
}
