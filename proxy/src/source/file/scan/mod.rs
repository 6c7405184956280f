//! The scanner: looks at what may have changed, weighs each reading, and holds the layer that stands. Called from
//! blocking threads only. Knows no YAML and waits for nothing.

mod find;
mod judge;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Instant,
};

use imbl::OrdMap;

use super::{
    hub::{Batch, Hub},
    inotify::Inotify,
    options::WatchOptions,
    reading::Observed,
    stats::{SourceStats, count},
    watch::Watches,
    whole::Settling,
};
use crate::source::{Entry, Layer, ReadError};

/// Reads after which the content of a module that no document names any more is forgotten.
const UNWANTED_READS_MAX: u64 = 8;

/// What the operator named.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// As written.
    pub(super) name: Arc<str>,
    /// Absolute, links not followed.
    pub(super) path: PathBuf,
    /// The name of a single file; none for a directory.
    pub(super) single: Option<Arc<str>>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// What events touched, and what is not settled.
    Touched,
    /// The state of every file.
    States,
    /// The content of every file.
    Contents,
}

/// What came of looking.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) revision: u64,
    /// Something has to be read again at that time.
    pub(super) due: Option<Instant>,
    /// A file is being written; it is taken as it is at that time, unless an event comes before.
    pub(super) open_until: Option<Instant>,
    /// A file is being written of which no whole content was ever seen.
    pub(super) unseen: bool,
    /// Something differs that nothing had pointed at.
    missed: bool,
    pub(super) polls: bool,
}

pub(super) struct Scanner {
    place: Place,
    options: WatchOptions,
    hub: Arc<Hub>,
    stats: Arc<SourceStats>,
    watches: Watches,
    root: PathBuf,
    /// Links between the path that the operator named and the root.
    root_links: Vec<PathBuf>,
    files: BTreeMap<Arc<str>, File>,
    /// Entries whose real path is not the root and their key.
    aliases: HashMap<PathBuf, BTreeSet<Arc<str>>>,
    links: HashSet<PathBuf>,
    failures: BTreeMap<Arc<str>, Failure>,
    unsettled: BTreeSet<Arc<str>>,
    wanted: BTreeSet<Arc<str>>,
    entries: OrdMap<Arc<str>, Result<Entry, ReadError>>,
    revision: u64,
    /// The entries differ from those of the revision.
    altered: bool,
    reads: u64,
    walked: bool,
    delivered: bool,
    /// There was a document once.
    held_documents: bool,
}

/// One entry over time.
#[derive(Debug, Default)]
struct File {
    settling: Settling,
    real: PathBuf,
    links: Vec<PathBuf>,
    /// It is a document of the source; when it goes, it is a deleted document.
    listed: bool,
    /// The last read that wanted it.
    used: u64,
}

/// A directory that cannot be listed.
#[derive(Debug)]
struct Failure {
    why: Arc<str>,
    since: Instant,
}

/// What a batch of events asks for.
#[derive(Default)]
struct Marked {
    everything: bool,
    keys: BTreeSet<Arc<str>>,
    /// Directories and links that were put in place in one step: what is behind them is whole.
    placed: Vec<PathBuf>,
}

enum Look {
    Stands,
    OpenUntil(Instant),
    Weigh(Observed, bool),
}

impl Scanner {
    pub(super) fn new(place: Place, options: WatchOptions, hub: Arc<Hub>, stats: Arc<SourceStats>) -> Self {
        let watches = Watches::new(&options, Arc::clone(&hub), Arc::clone(&stats));
        Self {
            place,
            options,
            hub,
            stats,
            watches,
            root: PathBuf::new(),
            root_links: Vec::new(),
            files: BTreeMap::new(),
            aliases: HashMap::new(),
            links: HashSet::new(),
            failures: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            wanted: BTreeSet::new(),
            entries: OrdMap::new(),
            revision: 0,
            altered: false,
            reads: 0,
            walked: false,
            delivered: false,
            held_documents: false,
        }
    }

    /// Where the events come from, once there is something.
    pub(super) fn queue(&self) -> Arc<OnceLock<Arc<Inotify>>> {
        self.watches.queue()
    }

    /// Says which entries documents name besides the documents themselves.
    pub(super) fn want(&mut self, wanted: &[Arc<str>]) {
        self.reads += 1;
        let wanted: BTreeSet<_> = wanted.iter().cloned().collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        for key in before.difference(&self.wanted) {
            if !self.files.get(key).is_some_and(|file| file.listed) {
                self.unsettled.remove(key);
                self.altered |= self.entries.remove(key).is_some();
            }
        }
        for key in &self.wanted {
            if !before.contains(key) {
                self.unsettled.insert(Arc::clone(key));
            }
            if let Some(file) = self.files.get_mut(key) {
                file.used = self.reads;
            }
        }
    }

    /// Looks, and takes what is whole into the layer.
    pub(super) fn survey(&mut self, depth: Depth) -> Outcome {
        if depth == Depth::Contents {
            self.watches.retry();
        }
        self.watches.catch_up();
        let batch = self.hub.take();
        self.watches.dropped(&batch.unwatched);
        let marked = self.sort(&batch);
        let everything =
            depth > Depth::Touched || batch.rescan || marked.everything || !self.walked || !self.failures.is_empty();
        let found = if everything { None } else { self.find(&marked.keys) };
        let found = found.unwrap_or_else(|| self.find_all());
        let looks: Vec<_> = found
            .into_iter()
            .map(|found| {
                let look = self.look(&found, &batch, &marked, depth);
                (found, look)
            })
            .collect();
        self.watches.catch_up();
        let clock = self.clock();
        let mut outcome = Outcome::default();
        for (found, look) in looks {
            self.take(found, look, &batch, &clock, &mut outcome);
        }
        self.report_failures(&clock, &mut outcome);
        if outcome.missed && depth == Depth::Contents && self.is_unannounced(&batch) {
            count(&self.stats.missed);
            tracing::warn!(source = %self.place.name, "no event announced a change; all watches are renewed");
            self.watches.renew();
            self.walked = false;
            outcome.due = Some(clock.now);
        }
        Outcome { revision: self.stamp(), polls: self.watches.polls(), ..outcome }
    }

    /// The layer that stands. Entries of which no whole content was ever seen are errors, if a document names them or
    /// nothing was read before; other documents that are still being written for the first time are not there yet.
    pub(super) fn layer(&mut self) -> Layer {
        for key in self.unsettled.clone() {
            let needed = self.is_named(&key) || !self.delivered;
            if let Some(file) = self.files.get_mut(&key).filter(|file| needed && file.settling.settled().is_none()) {
                let why = file
                    .settling
                    .pending()
                    .unwrap_or_else(|| ReadError(format!("{key} is empty or still being written").into()));
                file.settling.refuse(why);
                self.publish(&key);
            }
        }
        self.delivered = true;
        Layer { source: Arc::clone(&self.place.name), revision: self.stamp(), entries: self.entries.clone() }
    }

    /// The number of the state that stands.
    fn stamp(&mut self) -> u64 {
        self.revision += u64::from(std::mem::take(&mut self.altered));
        self.revision
    }

    /// Puts what stands for the key into the layer.
    fn publish(&mut self, key: &Arc<str>) {
        let Some(settled) = self.files.get(key).and_then(|file| file.settling.settled()) else { return };
        if self.entries.get(key) != Some(settled) {
            self.entries.insert(Arc::clone(key), settled.clone());
            self.altered = true;
        }
    }

    fn is_named(&self, key: &Arc<str>) -> bool {
        self.wanted.contains(key) || self.place.single.as_ref() == Some(key)
    }

    fn is_unannounced(&self, batch: &Batch) -> bool {
        self.watches.are_complete() && batch.marks.is_empty() && !batch.rescan && self.delivered
    }
}
