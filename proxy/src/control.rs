//! The switchboard: what the admin endpoint, signals and tests can ask of a running gateway, passed on to the reload
//! loop or read off its board. Decides nothing itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::{
    admin::{Ask, Control, Explanation},
    config::{diagnostic::Diagnostic, render},
    explain,
    reload::{
        Board, Command,
        status::{Attempt, Revision, Status, Trigger},
    },
    snapshot::Snapshot,
    source::{Expiring, Tree},
    telemetry::{Metrics, UpstreamSample},
};

/// One for each running gateway.
pub struct Switchboard {
    /// What the loop says of itself.
    pub board: Arc<Board>,
    /// Where the loop listens.
    pub commands: mpsc::Sender<Command>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Switchboard {
    /// Loads what the sources hold now; `None` when the gateway is ending.
    pub async fn load(&self, trigger: Trigger, dry_run: bool) -> Option<Attempt> {
        let (answer, attempt) = oneshot::channel();
        self.commands.send(Command::Reload { trigger, dry_run, answer }).await.ok()?;
        attempt.await.ok()
    }

    /// Makes the loop let go of the listening sockets, and load nothing any more.
    pub async fn end(&self) {
        self.board.end();
        let (answer, done) = oneshot::channel();
        if self.commands.send(Command::End { answer }).await.is_ok() {
            // A loop that is gone has let go already.
            done.await.unwrap_or(());
        }
    }

    /// The snapshot that serves; `None` before the first.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.board.current()?.load().stable))
    }
}

impl Control for Switchboard {
    fn status(&self) -> Status {
        self.board.status()
    }

    fn reload(&self, trigger: Trigger, dry_run: bool) -> BoxFuture<'_, Attempt> {
        Box::pin(async move {
            let ending = || self.board.ending(trigger, dry_run);
            self.load(trigger, dry_run).await.unwrap_or_else(ending)
        })
    }

    fn check(&self, tree: Tree) -> BoxFuture<'_, Vec<Diagnostic>> {
        Box::pin(async move {
            let (answer, findings) = oneshot::channel();
            let asked = self.commands.send(Command::Check { tree, answer }).await;
            let found = if asked.is_ok() { findings.await.ok() } else { None };
            found.unwrap_or_else(|| vec![Diagnostic::error("ending", "the gateway is ending and checks nothing")])
        })
    }

    fn config(&self, explain: bool) -> String {
        let Some(snapshot) = self.snapshot() else { return String::new() };
        let layers = if explain { layers(&self.board.status().revision) } else { String::new() };
        layers + &expiring(&self.board.expiring()) + &render::yaml(&snapshot.spec, explain)
    }

    fn explain<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Explanation, String>> {
        Box::pin(async move {
            let snapshot = self.snapshot().ok_or("nothing serves yet")?;
            explain::explain(&snapshot, ask).await
        })
    }

    fn ready(&self) -> Result<Vec<String>, String> {
        self.board.ready()
    }

    fn upstreams(&self) -> Vec<UpstreamSample> {
        self.metrics.upstreams()
    }

    fn metrics(&self) -> String {
        self.metrics.generations(self.board.live());
        self.metrics.sources(self.board.samples());
        self.metrics.render()
    }
}

// The layers, as remarks above what they make together: each place in it begins with one of them.
fn layers(revisions: &[Revision]) -> String {
    let each =
        revisions.iter().map(|Revision { source, revision, .. }| format!("#   {source} (revision {revision})\n"));
    ["# layers, the later wins:\n".to_owned()].into_iter().chain(each).collect()
}

// What goes by itself, as remarks above the configuration that it is part of.
fn expiring(sources: &[(Arc<str>, Vec<Expiring>)]) -> String {
    let each = sources.iter().flat_map(|(source, expiring)| expiring.iter().map(move |entry| (source, entry)));
    each.map(|(source, Expiring { path, lease, within })| {
        format!("# {source}{path} goes within {} s, unless lease {lease:x} is kept alive\n", within.as_secs())
    })
    .collect()
}
