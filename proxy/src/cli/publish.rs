//! The commands that publish to etcd and look at the fleet: what was asked for, and how the answer reads.

use std::{io::Write, path::PathBuf, time::Duration};

use serde_json::json;

use super::{Backend, Failure, args::Format, print, say};
use crate::{
    config::diagnostic::Diagnostic,
    fleet::{Fleet, Verdict},
    publish::{Changes, Collected, Limits, Pulled, Pushed},
    source::etcd::EtcdOptions,
};

/// What `push` was asked for.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// What to publish.
    pub directory: PathBuf,
    /// Where to.
    pub etcd: EtcdOptions,
    /// Layers that the gateways have below the prefix.
    pub under: Vec<PathBuf>,
    /// Layers that the gateways have above it.
    pub over: Vec<PathBuf>,
    /// Only say what differs.
    pub dry_run: bool,
    /// Collect blobs that nothing names afterwards.
    pub collect: bool,
    /// Wait so long for the fleet.
    pub wait: Option<Duration>,
    /// Where the fleet says what it serves.
    pub status_prefix: String,
    /// What the server takes.
    pub limits: Limits,
}

/// What came of a push.
#[derive(Debug)]
pub enum Outcome {
    /// A gateway would refuse it; nothing was changed.
    Refused {
        /// Why.
        diagnostics: Vec<Diagnostic>,
        /// The same for a terminal.
        text: String,
    },
    /// A dry run.
    Planned {
        /// What would change.
        changes: Changes,
        /// How many entries would stay as they are.
        unchanged: usize,
        /// The hash that gateways would say.
        hash: String,
        /// Keys under leases.
        leased: Vec<String>,
        /// What the check found, for a terminal.
        warnings: String,
    },
    /// It is done.
    Pushed {
        /// What.
        pushed: Pushed,
        /// Keys under leases, which were left alone.
        leased: Vec<String>,
        /// Blobs that were collected.
        collected: Option<Collected>,
        /// Who serves it, where that was waited for.
        verdict: Option<Verdict>,
        /// What the check found, for a terminal.
        warnings: String,
    },
}

/// `tidegate push`.
pub(super) fn push(
    backend: &dyn Backend,
    options: &PushOptions,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let outcome = backend.push(options).map_err(Failure::Failed)?;
    match format {
        Format::Json => print::json(out, &pushed_json(&outcome)),
        Format::Text => say(out, &pushed_text(&outcome)),
    }
    match outcome {
        Outcome::Refused { .. } => Err(Failure::Refused),
        Outcome::Pushed { verdict: Some(verdict), .. } if !verdict.is_done() => Err(Failure::Refused),
        Outcome::Planned { .. } | Outcome::Pushed { .. } => Ok(()),
    }
}

/// `tidegate pull`.
pub(super) fn pulled(pulled: &Pulled, format: Format, out: &mut dyn Write) {
    match format {
        Format::Json => print::json(out, &json!(pulled)),
        Format::Text => {
            let Pulled { revision, files, bytes, .. } = pulled;
            let mut text = format!("pulled revision {revision}: {files} files, {bytes} bytes\n");
            text.push_str(&listed("left out, for it is under a lease", &pulled.leased));
            text.push_str(&listed("left out, for its key is no path", &pulled.strangers));
            say(out, &text);
        }
    }
}

/// `tidegate gc`.
pub(super) fn collected(collected: &Collected, dry_run: bool, format: Format, out: &mut dyn Write) {
    match format {
        Format::Json => print::json(out, &json!(collected)),
        Format::Text => say(out, &collected_text(collected, dry_run)),
    }
}

/// `tidegate fleet status`.
pub(super) fn fleet(fleet: &Fleet, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    match format {
        Format::Json => print::json(out, &json!(fleet)),
        Format::Text => say(out, &fleet.text()),
    }
    if fleet.healthy { Ok(()) } else { Err(Failure::Refused) }
}

fn pushed_json(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Refused { diagnostics, .. } => json!({"outcome": "refused", "diagnostics": diagnostics}),
        Outcome::Planned { changes, unchanged, hash, leased, .. } => json!({
            "outcome": "planned", "hash": hash, "added": changes.added, "changed": changes.changed,
            "removed": changes.removed, "unchanged": unchanged, "leased": leased,
        }),
        Outcome::Pushed { pushed, leased, collected, verdict, .. } => {
            let mut value = json!(pushed);
            value["outcome"] = if pushed.changes.is_empty() { "unchanged".into() } else { "pushed".into() };
            value["leased"] = json!(leased);
            if let Some(collected) = collected {
                value["collected"] = json!(collected);
            }
            if let Some(Verdict { serving, missing }) = verdict {
                let missing: Vec<_> = missing.iter().map(|(node, why)| json!({"node": node, "why": why})).collect();
                value["fleet"] = json!({"serving": serving, "missing": missing});
            }
            value
        }
    }
}

fn pushed_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused { text, .. } => format!("{text}refused: nothing was pushed\n"),
        Outcome::Planned { changes, unchanged, hash, leased, warnings } => format!(
            "{warnings}{}{}would be pushed: {}, {unchanged} unchanged, hash {hash:.12} (dry run)\n",
            changes.text(),
            listed("left alone, for it is under a lease", leased),
            counts(changes),
        ),
        Outcome::Pushed { pushed, leased, collected, verdict, warnings } => {
            let Pushed { revision, hash, changes, unchanged, uploaded } = pushed;
            let leased = listed("left alone, for it is under a lease", leased);
            let blobs = if *uploaded == 0 { String::new() } else { format!(", {uploaded} contents uploaded") };
            let mut text = match changes.is_empty() {
                true => format!("{warnings}{leased}unchanged: revision {revision}, hash {hash:.12}{blobs}\n"),
                false => format!(
                    "{warnings}{leased}pushed: revision {revision}, {}, {unchanged} unchanged, hash {hash:.12}{blobs}\n",
                    counts(changes)
                ),
            };
            text.extend(collected.iter().map(|collected| collected_text(collected, false)));
            text.extend(verdict.iter().map(verdict_text));
            text
        }
    }
}

fn counts(changes: &Changes) -> String {
    let Changes { added, changed, removed } = changes;
    format!("{} added, {} changed, {} removed", added.len(), changed.len(), removed.len())
}

fn listed(what: &str, paths: &[String]) -> String {
    paths.iter().map(|path| format!("{path}: {what}\n")).collect()
}

fn collected_text(Collected { removed, chunks, kept, spared }: &Collected, dry_run: bool) -> String {
    let verb = if dry_run { "would be collected" } else { "collected" };
    let spared = match spared {
        0 => String::new(),
        spared => format!(", {spared} spared that were uploaded since the last push"),
    };
    format!("{verb}: {removed} contents that nothing names, in {chunks} chunks; {kept} kept{spared}\n")
}

fn verdict_text(verdict: &Verdict) -> String {
    let Verdict { serving, missing } = verdict;
    if missing.is_empty() && serving.is_empty() {
        return "served by nobody: no gateway that follows this prefix says anything\n".into();
    }
    let mut text = format!("served by {} of {}", serving.len(), serving.len() + missing.len());
    text.push_str(if missing.is_empty() { "\n" } else { ", not by:\n" });
    for (node, whys) in missing {
        let whys = if whys.is_empty() { "it does not say why".to_owned() } else { whys.join("\n    ") };
        text.push_str(&format!("  {node}: {whys}\n"));
    }
    text
}
