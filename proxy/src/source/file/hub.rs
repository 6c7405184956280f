//! Where events arrive: one mark a path, and the moment of the last event. Who drains the queue writes, the scanner
//! takes. Bounded however many events come: beyond a number of marked paths it only remembers "look at everything".
//! Touches no file.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use tokio::sync::Notify;

use super::stats::{SourceStats, count};
use crate::source::naming;

/// The most paths that are kept apart.
const MARKS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Hub {
    pending: Mutex<Pending>,
    woken: Notify,
    stats: Arc<SourceStats>,
}

/// What the last events of a path say about its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Something happened to it; nothing says whether it is whole.
    Touched,
    /// A name appeared, by opening for writing, by linking, or as a symbolic link.
    Created,
    /// Written to, and not closed since.
    Writing,
    /// Closed after writing, or renamed into place.
    Whole,
}

/// The last word on one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) phase: Phase,
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
    seq: u64,
}

/// What had come in when the scanner looked.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) marks: HashMap<PathBuf, Mark>,
    /// Everything must be looked at.
    pub(super) rescan: bool,
    /// Directories whose watch the watcher may have dropped.
    pub(super) unwatched: Vec<PathBuf>,
    seq: u64,
    epoch: u64,
}

#[derive(Debug, Default)]
struct Pending {
    marks: HashMap<PathBuf, Mark>,
    rescan: bool,
    unwatched: Vec<PathBuf>,
    /// Counts events; a mark with a higher number than a batch's came after it.
    seq: u64,
    /// Counts the times that marks were thrown away.
    epoch: u64,
    fresh: bool,
    last: Option<Instant>,
    interest: Interest,
}

/// Which events concern the source.
#[derive(Debug, Default)]
struct Interest {
    /// The real path of the directory whose documents are taken; none for a single file.
    tree: Option<PathBuf>,
    /// Paths outside of it, and paths that names alone do not tell.
    known: HashSet<PathBuf>,
    watched: HashSet<PathBuf>,
}

/// One event, reduced to what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The name is gone, deleted or moved.
    Gone,
    /// The name of a file appeared.
    Created,
    /// Something was renamed to this name.
    Placed,
    /// The name of a directory appeared.
    Renamed,
    /// Written to or truncated.
    Written,
    /// Closed after it was open for writing.
    Closed,
    /// Its permissions, times or number of names changed.
    Touched,
}

impl Hub {
    pub(super) fn new(stats: Arc<SourceStats>) -> Self {
        Self { pending: Mutex::default(), woken: Notify::new(), stats }
    }

    /// Called for every event, in their order.
    pub(super) fn mark(&self, path: &Path, hint: Hint) {
        let mut pending = self.lock();
        if pending.interest.concerns(path, hint) {
            count(&self.stats.events);
            pending.mark(path, hint, Instant::now());
            self.woken.notify_one();
        }
    }

    /// The system lost events: everything is looked at again, and nothing counts as whole on the word of an event.
    pub(super) fn events_lost(&self) {
        count(&self.stats.overflows);
        self.lock().forget();
        self.woken.notify_one();
    }

    /// Takes what came in. Marks of files that are still being written stay, for the next batch.
    pub(super) fn take(&self) -> Batch {
        let mut pending = self.lock();
        let marks = pending.marks.clone();
        pending.marks.retain(|_, mark| matches!(mark.phase, Phase::Writing | Phase::Created));
        pending.fresh = false;
        Batch {
            marks,
            rescan: std::mem::take(&mut pending.rescan),
            unwatched: std::mem::take(&mut pending.unwatched),
            seq: pending.seq,
            epoch: pending.epoch,
        }
    }

    /// Whether anything was heard of `path` since `batch` was taken.
    pub(super) fn heard_since(&self, path: &Path, batch: &Batch) -> bool {
        let pending = self.lock();
        pending.epoch != batch.epoch || pending.marks.get(path).is_some_and(|mark| mark.seq > batch.seq)
    }

    /// Drops the mark of a path that `batch` dealt with for good.
    pub(super) fn discharge(&self, path: &Path, batch: &Batch) {
        let mut pending = self.lock();
        if pending.marks.get(path).is_some_and(|mark| mark.seq <= batch.seq) {
            pending.marks.remove(path);
        }
    }

    /// The last event that the scanner has not taken yet.
    pub(super) fn fresh_since(&self) -> Option<Instant> {
        let pending = self.lock();
        pending.last.filter(|_| pending.fresh)
    }

    /// Resolves at an event, or at once if one came since the last call.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    pub(super) fn set_tree(&self, tree: Option<PathBuf>) {
        self.lock().interest.tree = tree;
    }

    pub(super) fn know(&self, path: &Path) {
        self.lock().interest.known.insert(path.to_owned());
    }

    pub(super) fn set_known(&self, known: HashSet<PathBuf>) {
        self.lock().interest.known = known;
    }

    pub(super) fn watching(&self, directory: &Path, is: bool) {
        let watched = &mut self.lock().interest.watched;
        if is {
            watched.insert(directory.to_owned());
        } else {
            watched.remove(directory);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn mark(&mut self, path: &Path, hint: Hint, now: Instant) {
        self.seq += 1;
        self.fresh = true;
        self.last = Some(now);
        if matches!(hint, Hint::Gone | Hint::Renamed) && self.interest.watched.contains(path) {
            self.unwatched.push(path.to_owned());
            self.rescan = true;
        }
        if self.marks.len() >= MARKS_MAX && !self.marks.contains_key(path) {
            self.forget();
        }
        let before = self.marks.get(path).map(|mark| mark.phase);
        let phase = match hint {
            Hint::Gone | Hint::Renamed => Phase::Touched,
            Hint::Created => Phase::Created,
            Hint::Placed | Hint::Closed => Phase::Whole,
            Hint::Written => Phase::Writing,
            Hint::Touched => before.unwrap_or(Phase::Touched),
        };
        self.marks.insert(path.to_owned(), Mark { phase, at: now, wall: SystemTime::now(), seq: self.seq });
    }

    fn forget(&mut self) {
        self.marks.clear();
        self.rescan = true;
        self.epoch += 1;
        self.fresh = true;
        self.last = Some(Instant::now());
    }
}

impl Interest {
    fn concerns(&self, path: &Path, hint: Hint) -> bool {
        if self.known.contains(path) || self.watched.contains(path) {
            return true;
        }
        let Some(inside) = self.tree.as_ref().and_then(|tree| path.strip_prefix(tree).ok()) else { return false };
        // A name that is not UTF-8 is reported by the scan.
        let Some(inside) = inside.to_str() else { return true };
        if naming::is_hidden(inside) || inside.rsplit('/').next().is_some_and(naming::is_dropping) {
            return false;
        }
        // A name that appears or goes may be a directory or a link to one, whatever it is called.
        let of_name = matches!(hint, Hint::Gone | Hint::Created | Hint::Placed | Hint::Renamed);
        of_name || naming::is_document(inside) || naming::is_module(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        let hub = Hub::new(Arc::default());
        hub.set_tree(Some("/conf".into()));
        hub
    }

    fn tell(hub: &Hub, path: &str, hints: &[Hint]) {
        hints.iter().for_each(|hint| hub.mark(Path::new(path), *hint));
    }

    #[test]
    fn the_last_event_of_a_path_decides() {
        let cases: [(&[Hint], Phase); 8] = [
            (&[Hint::Created, Hint::Written, Hint::Closed], Phase::Whole),
            (&[Hint::Created, Hint::Written], Phase::Writing),
            (&[Hint::Created, Hint::Touched], Phase::Created),
            (&[Hint::Closed, Hint::Written], Phase::Writing),
            (&[Hint::Written, Hint::Touched], Phase::Writing),
            (&[Hint::Written, Hint::Gone], Phase::Touched),
            (&[Hint::Written, Hint::Placed], Phase::Whole),
            (&[Hint::Touched], Phase::Touched),
        ];
        for (hints, phase) in cases {
            let hub = hub();
            tell(&hub, "/conf/a.yaml", hints);
            assert_eq!(hub.take().marks[Path::new("/conf/a.yaml")].phase, phase, "{hints:?}");
        }
    }

    #[test]
    fn only_files_still_being_written_stay_marked() {
        let hub = hub();
        tell(&hub, "/conf/a.yaml", &[Hint::Written]);
        tell(&hub, "/conf/b.yaml", &[Hint::Closed]);
        assert_eq!(hub.take().marks.len(), 2);
        let again = hub.take();
        assert_eq!(again.marks.keys().collect::<Vec<_>>(), [Path::new("/conf/a.yaml")]);
        assert!(!hub.heard_since(Path::new("/conf/a.yaml"), &again));
        tell(&hub, "/conf/a.yaml", &[Hint::Closed]);
        assert!(hub.heard_since(Path::new("/conf/a.yaml"), &again));
    }

    #[test]
    fn what_does_not_concern_the_source_is_ignored() {
        let hub = hub();
        tell(&hub, "/conf/.a.yaml.swp", &[Hint::Created, Hint::Written, Hint::Closed]);
        tell(&hub, "/conf/a.yaml~", &[Hint::Created]);
        tell(&hub, "/conf/4913", &[Hint::Created]);
        tell(&hub, "/conf/access.log", &[Hint::Written, Hint::Closed]);
        tell(&hub, "/elsewhere/a.yaml", &[Hint::Closed]);
        assert!(hub.fresh_since().is_none());
        hub.know(Path::new("/elsewhere/a.yaml"));
        tell(&hub, "/elsewhere/a.yaml", &[Hint::Closed]);
        assert!(hub.fresh_since().is_some());
    }

    #[test]
    fn an_overflow_forgets_what_was_whole() {
        let hub = hub();
        tell(&hub, "/conf/a.yaml", &[Hint::Closed]);
        let batch = hub.take();
        hub.events_lost();
        assert!(hub.heard_since(Path::new("/conf/a.yaml"), &batch));
        assert!(hub.take().rescan);
        assert_eq!(hub.stats.snapshot().overflows, 1);
    }

    #[test]
    fn thousands_of_paths_become_one_rescan() {
        let hub = hub();
        for number in 0..=MARKS_MAX {
            tell(&hub, &format!("/conf/{number}.yaml"), &[Hint::Closed]);
        }
        let batch = hub.take();
        assert!(batch.rescan);
        assert!(batch.marks.len() <= MARKS_MAX);
    }

    #[test]
    fn a_watched_directory_that_goes_asks_for_its_watch_again() {
        let hub = hub();
        hub.watching(Path::new("/conf/sub"), true);
        tell(&hub, "/conf/sub", &[Hint::Gone]);
        let batch = hub.take();
        assert_eq!(batch.unwatched, [Path::new("/conf/sub")]);
        assert!(batch.rescan);
    }
}
