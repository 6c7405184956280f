//! The keeper: a thread that writes what was applied, the latest only where it falls behind. Whoever hands it a tree
//! never waits for the disk.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read, Seek, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    INDEX_BYTES_MAX, TREE_BYTES_MAX, TREES_MAX,
    index::{ENDING, Index, STEM},
    objects::Objects,
    too_large,
};
use crate::{
    identity::Identity,
    source::Tree,
    state_dir::Directory,
    telemetry::{Metrics, Timestamp},
};

/// Keeps what is handed to it. When it is dropped, what is being written is written to its end.
#[derive(Debug)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Wanted>,
    busy: bool,
    ended: bool,
}

#[derive(Debug)]
struct Wanted {
    tree: Tree,
    generation: u64,
    hash: Identity,
}

/// A storm of changes costs no more than a tenth of a core, and is kept within a second of its end.
const PAUSE_FACTOR: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Keeper {
    pub(super) fn start(directory: Directory, file: String, metrics: Arc<Metrics>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let objects = Objects::open(&directory)?;
        let token = format!("{}-{}", std::process::id(), Timestamp::now());
        let writer = Writer { directory, file, objects, token, kept: HashSet::new(), others: BTreeMap::new() };
        let work = Arc::clone(&shared);
        thread::Builder::new().name("last-good".into()).spawn(move || run(&work, writer, &metrics))?;
        Ok(Self(shared))
    }

    /// Keeps `tree`, which was applied as `generation` and has this hash. What waits to be written is replaced.
    pub fn keep(&self, tree: &Tree, generation: u64, hash: Identity) {
        self.0.state().next = Some(Wanted { tree: tree.clone(), generation, hash });
        self.0.changed.notify_all();
    }

    /// Waits until all is written, `deadline` at most. Answers whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.0.state();
        while state.busy || state.next.is_some() {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            state = self.0.wait(state, left);
        }
        true
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    // Waits for the next tree, but not before `from`; none at the end.
    fn next(&self, from: Instant) -> Option<Wanted> {
        let mut state = self.state();
        state.busy = false;
        self.changed.notify_all();
        loop {
            let early = from.saturating_duration_since(Instant::now());
            if (early.is_zero() || state.ended)
                && let Some(wanted) = state.next.take()
            {
                state.busy = true;
                return Some(wanted);
            }
            if state.ended {
                return None;
            }
            let time = if early.is_zero() { Duration::from_secs(3600) } else { early };
            state = self.wait(state, time);
        }
    }
}

fn run(shared: &Shared, mut writer: Writer, metrics: &Metrics) {
    let mut from = Instant::now();
    while let Some(wanted) = shared.next(from) {
        let began = Instant::now();
        let kept = writer.write(&wanted);
        metrics.last_good_kept(kept.is_ok());
        if let Err(error) = kept {
            let directory = writer.directory.path().display();
            tracing::warn!(%error, %directory, "the last good tree could not be kept; the one before it stays");
        }
        from = Instant::now() + (began.elapsed() * PAUSE_FACTOR).min(PAUSE_MAX);
    }
}

struct Writer {
    directory: Directory,
    file: String,
    objects: Objects,
    /// Says in the lock file that nobody else wrote since.
    token: String,
    /// What our index names.
    kept: HashSet<Identity>,
    /// What those of other sets name, by file.
    others: BTreeMap<String, HashSet<Identity>>,
}

impl Writer {
    fn write(&mut self, wanted: &Wanted) -> io::Result<()> {
        let mut lock = self.directory.lock()?;
        if !self.is_last_writer(&mut lock)? {
            self.objects.distrust();
            self.others = self.others()?;
            self.kept.clear();
        }
        let entries = || wanted.tree.layers.iter().flat_map(|layer| layer.entries.values().flatten());
        let bytes = entries().map(|entry| entry.bytes.len() as u64).sum();
        if bytes > TREE_BYTES_MAX {
            return Err(too_large(bytes));
        }
        self.objects.store(entries().map(|entry| (entry.identity, &entry.bytes[..])))?;
        let index = Index::of(&wanted.tree, wanted.generation, wanted.hash, Timestamp::now().to_string());
        self.directory.write(&self.file, &[&index.encode()], true)?;
        self.directory.sync()?;
        let kept: HashSet<_> = entries().map(|entry| entry.identity).collect();
        let before = std::mem::replace(&mut self.kept, kept);
        if before.is_empty() {
            return self.collect();
        }
        let named = |identity: &Identity| {
            self.kept.contains(identity) || self.others.values().any(|others| others.contains(identity))
        };
        before.iter().filter(|identity| !named(identity)).try_for_each(|identity| self.objects.remove(*identity))
    }

    // Whether the last one who wrote here is this process; says so for the next one.
    fn is_last_writer(&self, lock: &mut File) -> io::Result<bool> {
        let mut last = String::new();
        lock.read_to_string(&mut last)?;
        if last == self.token {
            return Ok(true);
        }
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(self.token.as_bytes())?;
        Ok(false)
    }

    // Removes what no index names.
    fn collect(&mut self) -> io::Result<()> {
        let mut kept = self.kept.clone();
        kept.extend(self.others.values().flatten());
        self.objects.retain(&kept)
    }

    // What the indexes of other sets name; too many, and those that do not read, are removed.
    fn others(&self) -> io::Result<BTreeMap<String, HashSet<Identity>>> {
        let mut indexes = Vec::new();
        for name in self.directory.names()? {
            if name == self.file || !name.starts_with(STEM) {
                continue;
            }
            let index = self.directory.read(&name, INDEX_BYTES_MAX).ok().and_then(|file| Index::decode(&file).ok());
            match index.filter(|_| name.ends_with(ENDING)) {
                Some(index) => indexes.push((index.kept_at.clone(), name, index)),
                None => self.directory.remove(&name)?,
            }
        }
        indexes.sort_by(|one, other| other.0.cmp(&one.0));
        for (_, name, _) in indexes.split_off(indexes.len().min(TREES_MAX - 1)) {
            self.directory.remove(&name)?;
        }
        let named = |index: &Index| -> HashSet<Identity> {
            index.layers.iter().flat_map(|layer| layer.entries.iter().map(|(_, identity, _)| *identity)).collect()
        };
        Ok(indexes.into_iter().map(|(_, name, index)| (name, named(&index))).collect())
    }
}
