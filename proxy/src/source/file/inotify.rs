//! The kernel's queue of events, read without a thread of its own. Reading it to its end is a fence: whoever has done
//! so knows of every write that was made before. No crate between us and the queue gives that; see
//! `docs/decisions/inotify.md`. Knows watches and hints, no documents.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::{
    hub::{Hint, Hub},
    watch::Aim,
};

/// Holds more than a hundred events, and at least one with a name of any length.
const BUFFER_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Inotify {
    queue: OwnedFd,
    hub: Arc<Hub>,
    // Held while events are read and passed on, so that they reach the hub in their order.
    paths: Mutex<HashMap<i32, PathBuf>>,
}

impl Inotify {
    /// # Errors
    /// `EMFILE`: the user has too many instances, or the process too many files.
    pub(super) fn new(hub: Arc<Hub>) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { queue, hub, paths: Mutex::default() })
    }

    /// Watches a directory, for more where it was watched for less. The number returned is that of the directory: the same for the
    /// same one.
    ///
    /// # Errors
    /// `ENOSPC`: the user has too many watches.
    pub(super) fn add(&self, directory: &Path, aim: Aim) -> io::Result<i32> {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ATTRIB;
        let content = match aim {
            Aim::Names => WatchFlags::empty(),
            Aim::Files => WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE,
        };
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        // What is still written to a file that has lost its name does not concern the one that has it now.
        let how = WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK | WatchFlags::MASK_ADD;
        let mut paths = self.paths();
        let number = inotify::add_watch(&self.queue, directory, names | content | itself | how)?;
        paths.insert(number, directory.to_owned());
        Ok(number)
    }

    /// Ends a watch, unless it is used for another path by now.
    pub(super) fn remove(&self, number: i32, directory: &Path) {
        let mut paths = self.paths();
        if paths.get(&number).is_some_and(|path| path == directory) {
            paths.remove(&number);
            if let Err(error) = inotify::remove_watch(&self.queue, number) {
                tracing::trace!(%error, "the watch had ended by itself");
            }
        }
    }

    /// Passes on every event that is queued. Afterwards the hub has all that happened before the call.
    pub(super) fn drain(&self) {
        let mut paths = self.paths();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    pass_on(&self.hub, &mut paths, event.wd(), event.events(), name);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "file events cannot be read");
                    return self.hub.events_lost();
                }
            }
        }
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<i32, PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_raw_fd()
    }
}

fn pass_on(hub: &Hub, paths: &mut HashMap<i32, PathBuf>, number: i32, what: ReadFlags, name: Option<&OsStr>) {
    if what.contains(ReadFlags::QUEUE_OVERFLOW) {
        return hub.events_lost();
    }
    if what.contains(ReadFlags::IGNORED) {
        // The kernel ended the watch: the directory is gone, or its file system.
        if let Some(path) = paths.remove(&number) {
            hub.mark(&path, Hint::Gone);
        }
        return;
    }
    let Some(directory) = paths.get(&number) else { return };
    match name {
        Some(name) => hint(what).into_iter().for_each(|hint| hub.mark(&directory.join(name), hint)),
        None => hint(what).into_iter().for_each(|hint| hub.mark(directory, hint)),
    }
}

/// The kernel never reports two of these at once.
fn hint(what: ReadFlags) -> Option<Hint> {
    let gone = ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
    let is_directory = what.contains(ReadFlags::ISDIR);
    Some(if what.intersects(gone | ReadFlags::UNMOUNT) {
        Hint::Gone
    } else if what.contains(ReadFlags::MOVED_TO) {
        Hint::Placed
    } else if what.contains(ReadFlags::CREATE) {
        if is_directory { Hint::Renamed } else { Hint::Created }
    } else if what.contains(ReadFlags::CLOSE_WRITE) {
        Hint::Closed
    } else if what.contains(ReadFlags::MODIFY) {
        Hint::Written
    } else if what.contains(ReadFlags::ATTRIB) {
        Hint::Touched
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::hub::Phase;
    use super::*;

    #[test]
    fn a_drained_queue_holds_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(Arc::default()));
        hub.set_tree(Some(dir.path().into()));
        let inotify = Inotify::new(Arc::clone(&hub)).unwrap();
        let number = inotify.add(dir.path(), Aim::Files).unwrap();
        assert_eq!(inotify.add(dir.path(), Aim::Files).unwrap(), number, "the same directory is watched once");

        let path = dir.path().join("a.yaml");
        for content in ["one", "two"] {
            fs::write(&path, content).unwrap();
            inotify.drain();
            assert_eq!(hub.take().marks[&path].phase, Phase::Whole);
        }
        let open = fs::File::create(&path).unwrap();
        inotify.drain();
        let batch = hub.take();
        assert_eq!(batch.marks[&path].phase, Phase::Writing, "truncated and not closed");
        drop(open);
        inotify.drain();
        assert!(hub.heard_since(&path, &batch));

        inotify.remove(number, dir.path());
        fs::write(&path, "three").unwrap();
        hub.take();
        inotify.drain();
        assert!(hub.fresh_since().is_none());
    }

    #[test]
    fn a_queue_that_overflows_says_so() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let stats = Arc::<super::super::SourceStats>::default();
        let hub = Arc::new(Hub::new(Arc::clone(&stats)));
        let inotify = Inotify::new(Arc::clone(&hub)).unwrap();
        inotify.add(dir.path(), Aim::Files).unwrap();
        let queued: usize =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        // Each closing is an event, and two names by turns keep the kernel from merging them.
        for number in 0..=queued {
            fs::File::create(dir.path().join((number % 2).to_string())).unwrap();
        }
        inotify.drain();
        assert_eq!(stats.snapshot().overflows, 1);
        assert!(hub.take().rescan);
    }

    #[test]
    fn our_own_reading_raises_no_event() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(Arc::default()));
        hub.set_tree(Some(dir.path().into()));
        fs::write(dir.path().join("a.yaml"), "a").unwrap();
        let inotify = Inotify::new(Arc::clone(&hub)).unwrap();
        inotify.add(dir.path(), Aim::Files).unwrap();
        fs::read(dir.path().join("a.yaml")).unwrap();
        fs::read_dir(dir.path()).unwrap().for_each(drop);
        inotify.drain();
        assert!(hub.fresh_since().is_none());
    }

    #[test]
    fn what_is_written_beside_names_wakes_nobody_until_it_matters() {
        let dir = tempfile::tempdir().unwrap();
        let (log, link) = (dir.path().join("log"), dir.path().join("link"));
        fs::write(&log, "one").unwrap();
        let hub = Arc::new(Hub::new(Arc::default()));
        [&log, &link].iter().for_each(|path| hub.know(path));
        let inotify = Inotify::new(Arc::clone(&hub)).unwrap();
        let number = inotify.add(dir.path(), Aim::Names).unwrap();
        let is_told = || {
            inotify.drain();
            !hub.take().marks.is_empty()
        };
        fs::write(&log, "two").unwrap();
        assert!(!is_told());
        std::os::unix::fs::symlink(&log, &link).unwrap();
        assert!(is_told());
        for aim in [Aim::Files, Aim::Names] {
            assert_eq!(inotify.add(dir.path(), aim).unwrap(), number);
            fs::write(&log, "three").unwrap();
            assert!(is_told(), "what was asked for once is told of as long as the watch is there");
        }
    }

    #[test]
    fn a_deleted_directory_asks_for_its_watch_again() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        let hub = Arc::new(Hub::new(Arc::default()));
        let inotify = Inotify::new(Arc::clone(&hub)).unwrap();
        inotify.add(&sub, Aim::Files).unwrap();
        hub.watching(&sub, true);
        fs::remove_dir(&sub).unwrap();
        inotify.drain();
        assert!(hub.take().unwatched.contains(&sub));
    }
}
