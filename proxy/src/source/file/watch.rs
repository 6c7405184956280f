//! Watches on directories, never on files: a watch on a file dies at the first rename over it. Says where events cannot
//! be relied on, so that the source polls too. Knows no documents.

use std::{
    collections::{HashMap, HashSet},
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustix::io::Errno;

use super::{
    filesystem,
    hub::Hub,
    inotify::Inotify,
    options::{WatchMode, WatchOptions},
    stats::{SourceStats, count},
};

/// What of a directory is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Which names there are. Whoever writes to a file beside the configuration, as to a log, wakes nobody.
    Names,
    /// What is in its files, too.
    Files,
}

pub(super) struct Watches {
    hub: Arc<Hub>,
    stats: Arc<SourceStats>,
    options: WatchOptions,
    /// Shared with the one who waits for events; set once it could be had.
    queue: Arc<OnceLock<Arc<Inotify>>>,
    /// By real path: the number of the directory that is watched there.
    armed: HashMap<PathBuf, i32>,
    /// By device: the name of its file system, if its events cannot be relied on.
    devices: HashMap<u64, Option<&'static str>>,
    /// A watch was refused: what is not watched is polled.
    refused: bool,
    /// The operator has been told.
    told: bool,
    file_mount: bool,
}

impl Watches {
    pub(super) fn new(options: &WatchOptions, hub: Arc<Hub>, stats: Arc<SourceStats>) -> Self {
        let mut watches = Self {
            hub,
            stats,
            options: options.clone(),
            queue: Arc::default(),
            armed: HashMap::new(),
            devices: HashMap::new(),
            refused: false,
            told: false,
            file_mount: false,
        };
        watches.start();
        watches
    }

    /// Whether the source must poll.
    pub(super) fn polls(&self) -> bool {
        match self.options.mode {
            WatchMode::Poll => true,
            WatchMode::Off => false,
            WatchMode::Events => self.refused,
            WatchMode::Auto => self.refused || self.file_mount || self.is_remote(),
        }
    }

    /// Whether some of the files are on a file system whose clock and events are not this machine's.
    pub(super) fn is_remote(&self) -> bool {
        self.devices.values().any(Option::is_some)
    }

    /// Where the events come from, once there is something.
    pub(super) fn queue(&self) -> Arc<OnceLock<Arc<Inotify>>> {
        Arc::clone(&self.queue)
    }

    /// Whether there are events at all.
    fn has_events(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Whether every change should have been announced.
    pub(super) fn are_complete(&self) -> bool {
        self.has_events() && !self.polls()
    }

    /// Watches the directory, if it is not watched yet. Must be called before the directory is listed.
    pub(super) fn arm(&mut self, directory: &Path, metadata: &Metadata, aim: Aim) {
        self.inspect(directory, metadata.dev());
        let known = self.armed.contains_key(directory);
        if self.refused && !known {
            return;
        }
        let Some(queue) = self.queue.get() else { return };
        let outcome = if !known && self.armed.len() >= self.options.watches_max {
            Err(Errno::NOSPC.into())
        } else {
            self.hub.watching(directory, true);
            queue.add(directory, aim)
        };
        match outcome {
            // Costs one system call, and another directory in the place of the old one has another number.
            Ok(number) => match self.armed.insert(directory.to_owned(), number) {
                Some(old) if old != number => queue.remove(old, directory),
                _ => {}
            },
            Err(error) => self.refuse(directory, &error),
        }
    }

    /// Events of this path matter, whatever it is called.
    pub(super) fn know(&self, path: &Path) {
        self.hub.know(path);
    }

    /// Ends the watches of all other directories.
    pub(super) fn keep(&mut self, directories: &HashSet<PathBuf>) {
        let others: Vec<_> = self.armed.keys().filter(|armed| !directories.contains(*armed)).cloned().collect();
        others.iter().for_each(|directory| self.disarm(directory));
    }

    /// These directories moved or went: what was watched there and below is watched anew when it is next seen.
    pub(super) fn dropped(&mut self, directories: &[PathBuf]) {
        if directories.is_empty() {
            return;
        }
        let gone = |armed: &&PathBuf| directories.iter().any(|directory| armed.starts_with(directory));
        let gone: Vec<_> = self.armed.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|directory| self.disarm(directory));
    }

    /// All watches are made anew, and a refused one is tried again.
    pub(super) fn renew(&mut self) {
        self.keep(&HashSet::new());
        self.retry();
    }

    /// Forgets that a watch was refused, so that a raised limit is noticed.
    pub(super) fn retry(&mut self) {
        if self.refused {
            self.refused = false;
            self.start();
        }
    }

    /// Afterwards the hub has every event of what happened before the call.
    pub(super) fn catch_up(&self) {
        if let Some(queue) = self.queue.get() {
            queue.drain();
        }
    }

    /// Looks for single files that are mounts of their own.
    pub(super) fn look_for_file_mounts(&mut self, path: &Path) {
        let found = self.options.mode == WatchMode::Auto && filesystem::has_file_mount(path);
        if found && !self.file_mount {
            tracing::warn!(
                path = %path.display(),
                "a single file is mounted here, and its replacement outside raises no event: polling every {:?} too. \
                 Mount the directory instead",
                self.options.poll_interval()
            );
        }
        self.file_mount = found;
    }

    fn start(&mut self) {
        if self.has_events() || !matches!(self.options.mode, WatchMode::Auto | WatchMode::Events) {
            return;
        }
        match Inotify::new(Arc::clone(&self.hub)) {
            Ok(inotify) => drop(self.queue.set(Arc::new(inotify))),
            Err(error) => self.refuse(Path::new("the configuration"), &error),
        }
    }

    fn disarm(&mut self, directory: &Path) {
        if let Some(number) = self.armed.remove(directory) {
            self.hub.watching(directory, false);
            if let Some(queue) = self.queue.get() {
                queue.remove(number, directory);
            }
        }
    }

    fn refuse(&mut self, directory: &Path, error: &io::Error) {
        self.disarm(directory);
        self.hub.watching(directory, false);
        // A directory that went while it was looked at is no limit, and one that may not be read is reported as such.
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
            return;
        }
        self.refused = true;
        if !self.told {
            self.told = true;
            count(&self.stats.fallbacks);
            tracing::warn!(
                "cannot watch {} for changes: {}; polling every {:?} instead",
                directory.display(),
                reason(error),
                self.options.poll_interval()
            );
        }
    }

    fn inspect(&mut self, directory: &Path, device: u64) {
        let mode = self.options.mode;
        let poll = self.options.poll_interval();
        self.devices.entry(device).or_insert_with(|| {
            let name = filesystem::without_events(directory);
            if let Some(name) = name.filter(|_| mode == WatchMode::Auto) {
                tracing::info!(
                    path = %directory.display(),
                    "{name} does not report every change: polling every {poll:?} too"
                );
            }
            name
        });
    }
}

/// What was refused, and which limit to raise.
fn reason(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => "the limit of inotify watches is reached; raise it with \
                               `sysctl fs.inotify.max_user_watches=524288`"
            .into(),
        Some(Errno::MFILE) => "the limit of inotify instances or of open files is reached; raise it with \
                               `sysctl fs.inotify.max_user_instances=1024` or `ulimit -n`"
            .into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn watches(options: &WatchOptions) -> (Watches, Arc<SourceStats>) {
        let stats = Arc::<SourceStats>::default();
        let hub = Arc::new(Hub::new(Arc::clone(&stats)));
        (Watches::new(options, hub, Arc::clone(&stats)), stats)
    }

    #[test]
    fn a_refused_watch_means_polling_and_is_counted_once() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = WatchOptions { mode: WatchMode::Events, watches_max: 1, ..WatchOptions::default() };
        let (mut watches, stats) = watches(&options);
        watches.arm(a.path(), &fs::metadata(a.path()).unwrap(), Aim::Files);
        assert!(!watches.polls());
        for _ in 0..2 {
            watches.arm(b.path(), &fs::metadata(b.path()).unwrap(), Aim::Files);
        }
        assert!(watches.polls());
        assert_eq!(stats.snapshot().fallbacks, 1);
        watches.keep(&HashSet::new());
        watches.retry();
        watches.arm(b.path(), &fs::metadata(b.path()).unwrap(), Aim::Files);
        assert!(!watches.polls(), "there is room again");
    }

    #[test]
    fn a_refusal_says_which_limit_to_raise() {
        assert!(reason(&Errno::NOSPC.into()).contains("fs.inotify.max_user_watches"));
        assert!(reason(&Errno::MFILE.into()).contains("fs.inotify.max_user_instances"));
    }
}
