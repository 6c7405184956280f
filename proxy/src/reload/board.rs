//! The board: what the loop says of itself, for whoever asks. Written by the loop alone, read by admin and tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    load::Loaded,
    status::{Attempt, Fallback, LiveGeneration, Outcome, Phases, Revision, SourceHealth, Status, Trigger, Work},
};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{Name, Process},
    },
    drain::{Drain, Live, Tunnels},
    identity::Identity,
    snapshot::{Current, ListenerPlan},
    source::{Expiring, Health, Layer, Monitor, Tree},
    telemetry::{Metrics, SourceSample, Timestamp, metrics},
};

/// The state of the loop as others may know it.
pub struct Board {
    drain: Arc<Drain>,
    tunnels: Arc<Tunnels>,
    metrics: Arc<Metrics>,
    workers: usize,
    process: Process,
    started: (Instant, Timestamp),
    /// Counts attempts.
    changes: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    revisions: Vec<Revision>,
    hash: String,
    since: Option<Timestamp>,
    last_attempt: Option<Attempt>,
    tree: Tree,
    addresses: BTreeMap<Name, SocketAddr>,
    current: Option<Arc<Current>>,
    needs_restart: Vec<String>,
    degraded: Vec<String>,
    refused: Option<Vec<Revision>>,
    fallbacks: Vec<Fallback>,
    monitors: Vec<Option<Arc<dyn Monitor>>>,
    ending: bool,
}

/// The tree of an attempt, and what is known of it.
pub(super) struct Seen {
    pub(super) tree: Tree,
    pub(super) identity: Identity,
    pub(super) layers: Vec<Identity>,
    pub(super) degraded: Vec<String>,
}

impl Seen {
    /// One that was refused.
    pub(super) fn refused(tree: Tree) -> Self {
        let layers: Vec<_> = tree.layers.iter().map(Layer::identity).collect();
        Self { identity: Tree::identity_of(&layers), layers, tree, degraded: Vec::new() }
    }

    fn revisions(&self) -> Vec<Revision> {
        revisions(&self.tree, &self.layers)
    }
}

impl From<Loaded> for Seen {
    fn from(loaded: Loaded) -> Self {
        let Loaded { tree, identity, layers, degraded, .. } = loaded;
        Self { tree, identity, layers, degraded }
    }
}

/// Where each listener really listens.
type Addresses = BTreeMap<Name, SocketAddr>;

/// The certificates of each listener: its name, the file, and when it expires, in seconds since the epoch.
pub(super) type Shown = Vec<(String, String, u64)>;

impl Board {
    /// An empty board of a process with these settings.
    pub fn new(
        drain: Arc<Drain>,
        tunnels: Arc<Tunnels>,
        metrics: Arc<Metrics>,
        workers: usize,
        process: Process,
    ) -> Self {
        let started = (Instant::now(), Timestamp::now());
        let changes = watch::Sender::new(0);
        Self { drain, tunnels, metrics, workers, process, started, changes, state: Mutex::default() }
    }

    /// What `GET /-/status` answers.
    pub fn status(&self) -> Status {
        let state = self.state();
        let tunnels = self.tunnels.by_generation().iter().map(|(_, count)| count).sum();
        let live = |live: Live| LiveGeneration {
            // A tunnel holds nothing of the generation it began on, so it counts with the one that serves.
            tunnels: if live.generation == state.generation { tunnels } else { 0 },
            live,
        };
        Status {
            version: env!("CARGO_PKG_VERSION"),
            generation: state.generation,
            revision: state.revisions.clone(),
            hash: state.hash.clone(),
            serving_since: state.since.unwrap_or(self.started.1),
            started: self.started.1,
            uptime_s: self.started.0.elapsed().as_secs(),
            workers: self.workers,
            last_attempt: state.last_attempt.clone(),
            live_generations: self.drain.live().into_iter().map(live).collect(),
            sources: state.sources(),
            needs_restart: state.needs_restart.clone(),
            degraded: state.degraded(),
            fallbacks: state.fallbacks.clone(),
        }
    }

    /// Whether requests may be sent here: something serves, and the gateway is not ending. Answers with what is not as it
    /// should be all the same, each in a sentence.
    ///
    /// # Errors
    /// The reason why not.
    pub fn ready(&self) -> Result<Vec<String>, String> {
        let state = self.state();
        match (state.ending, state.generation) {
            (true, _) => Err("the gateway is draining and will end".to_owned()),
            (false, 0) => Err("the first generation does not serve yet".to_owned()),
            (false, _) => Ok(state.degraded()),
        }
    }

    /// What the last attempt was refused with: the state of each layer. `None` where it was not refused.
    pub fn refused(&self) -> Option<Vec<Revision>> {
        self.state().refused.clone()
    }

    /// Which layers are the last good ones instead of what their sources hold, each in a sentence.
    pub fn stand_ins(&self) -> Vec<String> {
        self.state().degraded.clone()
    }

    /// Wakes whoever waits for the next attempt's outcome.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Entries that go by themselves, under the names of their sources.
    pub fn expiring(&self) -> Vec<(Arc<str>, Vec<Expiring>)> {
        self.state().healths().map(|(source, health)| (source, health.expiring)).collect()
    }

    /// What the metrics say of the sources.
    pub fn samples(&self) -> Vec<SourceSample> {
        let sample = |(source, health): (Arc<str>, Health)| SourceSample {
            source,
            revision: health.revision,
            events: health.events,
            overflows: health.overflows,
            watches: health.watches,
            comparisons: [health.comparisons.equal, health.comparisons.different],
            authentications: health.authentications,
            failures: health.failures,
            trouble: health.trouble.map(|trouble| trouble.kind),
            expiring: health.expiring.len(),
        };
        self.state().healths().map(sample).collect()
    }

    /// Takes note of where it can be seen how the sources are, in the order of the layers.
    pub(super) fn follows(&self, monitors: Vec<Option<Arc<dyn Monitor>>>) {
        self.state().monitors = monitors;
    }

    /// Notes that the gateway is about to end.
    pub fn end(&self) {
        self.state().ending = true;
    }

    /// The answer to a load that is asked of a gateway that is ending.
    pub fn ending(&self, trigger: Trigger, dry_run: bool) -> Attempt {
        let generation = self.state().generation;
        let why = Diagnostic::error("ending", "the gateway is ending and loads nothing any more");
        Attempt {
            at: Timestamp::now(),
            trigger,
            outcome: Outcome::Refused,
            dry_run,
            generation_before: generation,
            generation,
            report: why.message.clone(),
            diagnostics: vec![why],
            phases_ms: Phases::default(),
            work: Work::default(),
        }
    }

    /// Every generation that something still holds.
    pub fn live(&self) -> Vec<Live> {
        self.drain.live()
    }

    /// Where each listener really listens, by name.
    pub fn addresses(&self) -> BTreeMap<Name, SocketAddr> {
        self.state().addresses.clone()
    }

    /// What serves; `None` before the first generation.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.state().current.clone()
    }

    /// The last tree that was read, serving or not, for reports.
    pub fn tree(&self) -> Tree {
        self.state().tree.clone()
    }

    /// Notes what came of an attempt, and logs and counts it.
    pub(super) fn attempted(&self, attempt: &Attempt, seen: Seen) {
        let (outcome, trigger, generation) = (attempt.outcome.name(), attempt.trigger.name(), attempt.generation);
        match attempt.outcome {
            Outcome::Refused => {
                tracing::error!(trigger, generation, "refused, the old generation serves on\n{}", attempt.report);
            }
            Outcome::Applied | Outcome::Unchanged => {
                tracing::info!(trigger, generation, dry_run = attempt.dry_run, "{outcome}");
                if !attempt.diagnostics.is_empty() {
                    tracing::warn!("\n{}", attempt.report);
                }
            }
        }
        let phases: Vec<_> = attempt.phases_ms.0.iter().map(|(phase, time)| (phase.name(), *time)).collect();
        let refused = attempt.outcome == Outcome::Refused;
        self.metrics.loaded(&metrics::Loaded { at: attempt.at, trigger, outcome, refused, phases: &phases });
        if attempt.dry_run {
            return;
        }
        let mut state = self.state();
        state.refused = refused.then(|| seen.revisions());
        if !refused {
            state.hash = seen.identity.to_string();
            state.revisions = seen.revisions();
            self.degrade(&mut state, seen.degraded);
        }
        state.last_attempt = Some(attempt.clone());
        state.tree = seen.tree;
        drop(state);
        self.changes.send_modify(|attempts| *attempts += 1);
    }

    // Notes what serves instead of what should, and says so once.
    fn degrade(&self, state: &mut State, degraded: Vec<String>) {
        self.metrics.last_good_serves(!degraded.is_empty());
        match (state.degraded.is_empty(), degraded.is_empty()) {
            (true, true) => return,
            (false, true) => {
                tracing::info!("all sources are read again; nothing of the last good tree serves any more")
            }
            _ => degraded.iter().filter(|why| !state.degraded.contains(why)).for_each(|why| tracing::warn!("{why}")),
        }
        state.degraded = degraded;
    }

    /// Notes a new generation.
    pub(super) fn serves(&self, generation: u64, loaded: &Loaded, (addresses, shown): (Addresses, Shown)) {
        let needs_restart = self.needs_restart(&loaded.spec.gateway.process);
        for setting in &needs_restart {
            tracing::warn!("`{setting}` is a setting of the process: it needs a restart; the rest is applied");
        }
        self.metrics.serving(generation, &loaded.identity.to_string());
        self.metrics.certificates(shown);
        let mut state = self.state();
        state.generation = generation;
        state.hash = loaded.identity.to_string();
        state.revisions = revisions(&loaded.tree, &loaded.layers);
        state.since = Some(Timestamp::now());
        state.addresses = addresses;
        state.needs_restart = needs_restart;
    }

    /// Notes which versions of plugins serve in others' places, and those for which it was done just now.
    pub(super) fn fell_back(&self, shown: Vec<Fallback>, now: &[Name]) {
        self.metrics.fallbacks(shown.iter().map(|fallback| fallback.middleware.clone()).collect(), now);
        self.state().fallbacks = shown;
    }

    pub(super) fn watch(&self, current: &Arc<Current>) {
        self.state().current = Some(Arc::clone(current));
    }

    fn needs_restart(&self, wanted: &Process) -> Vec<String> {
        let running = &self.process;
        let changed = [
            ("gateway.workers", wanted.workers != running.workers),
            ("gateway.admin.address", wanted.admin != running.admin),
            ("gateway.admin.socket", wanted.admin_socket != running.admin_socket),
            ("gateway.admin.trust-loopback", wanted.admin_trust_loopback != running.admin_trust_loopback),
            ("gateway.admin.token", wanted.admin_token != running.admin_token),
            ("gateway.guest-slots", wanted.guest_slots != running.guest_slots),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(setting, _)| setting.to_owned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revisions(tree: &Tree, identities: &[Identity]) -> Vec<Revision> {
    let revision = |(layer, identity): (&Layer, &Identity)| Revision {
        source: layer.source.to_string(),
        revision: layer.revision,
        hash: identity.to_string(),
    };
    tree.layers.iter().zip(identities).map(revision).collect()
}

impl State {
    // Whoever may probe reads them, so they say what is wrong and not where.
    fn degraded(&self) -> Vec<String> {
        let sentence = |(source, health): (Arc<str>, Health)| {
            let trouble = health.trouble.filter(|trouble| trouble.kind != "starting")?;
            let (kind, for_s) = (trouble.kind, trouble.since.elapsed().as_secs());
            Some(format!("{source}: {kind} for {for_s} s; what is known of it serves on"))
        };
        let fallen = self.fallbacks.iter().map(|fallback| {
            format!("the plugin `{}` failed; its last version that worked serves", fallback.middleware)
        });
        self.degraded.iter().cloned().chain(fallen).chain(self.healths().filter_map(sentence)).collect()
    }

    fn healths(&self) -> impl Iterator<Item = (Arc<str>, Health)> {
        let layers = self.tree.layers.iter().zip(&self.monitors);
        layers.filter_map(|(layer, monitor)| Some((Arc::clone(&layer.source), monitor.as_ref()?.health())))
    }

    fn sources(&self) -> Vec<SourceHealth> {
        let monitors = self.monitors.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        let health = |(layer, monitor): (&Layer, Option<&Arc<dyn Monitor>>)| {
            let unread = self.unread(layer);
            let health = monitor.map(|monitor| monitor.health());
            let trouble = health.as_ref().and_then(|health| health.trouble.as_ref());
            SourceHealth {
                source: layer.source.to_string(),
                healthy: unread.is_none() && trouble.is_none(),
                kind: trouble.map(|trouble| trouble.kind).or_else(|| unread.as_ref().map(|_| "unreadable")),
                for_s: trouble.map(|trouble| trouble.since.elapsed().as_secs()),
                trouble: trouble.map(|trouble| trouble.text.clone()).or(unread),
                watch: health.map(|health| health.how),
            }
        };
        self.tree.layers.iter().zip(monitors).map(health).collect()
    }

    // The first entry that cannot be read; what another layer has is not missed.
    fn unread(&self, layer: &Layer) -> Option<String> {
        let elsewhere =
            |path: &Arc<str>| self.tree.layers.iter().any(|layer| layer.entries.get(path).is_some_and(Result::is_ok));
        layer.entries.iter().find_map(|(path, entry)| {
            let error = entry.as_ref().err().filter(|_| !elsewhere(path))?;
            Some(if path.is_empty() { error.to_string() } else { format!("{path}: {error}") })
        })
    }
}

/// The certificates that listeners show.
pub(super) fn shown(listeners: &BTreeMap<Name, Arc<ListenerPlan>>) -> Shown {
    let of = |(name, plan): (&Name, &Arc<ListenerPlan>)| {
        let each = plan.tls.iter().flat_map(|acceptor| acceptor.certificates());
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        each.map(|(named, at)| (name.to_string(), named.to_owned(), seconds(at))).collect::<Vec<_>>()
    };
    listeners.iter().flat_map(of).collect()
}
