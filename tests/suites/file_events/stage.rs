//! The stage of one save sequence: a directory that a reader follows while a writer changes it, and the judgement of
//! every layer that the reader saw.
#![allow(clippy::unwrap_used, reason = "a call that fails is the failure of its row, and says where")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use tidegate::source::{
    Layer, Source,
    file::{EventsLost, FileSource, SourceCounts, SourceStats, WatchMode, WatchOptions},
};

/// Far longer than anything takes, so that only what never happens fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// By path: content, or why there is none.
pub(super) type State = BTreeMap<String, Result<String, String>>;

/// One save sequence and what may be seen of it.
pub(super) struct Row {
    /// What is saved how, completing "the reader follows …".
    pub(super) name: &'static str,
    /// The path that the source is opened with, below the stage.
    pub(super) named: &'static str,
    /// The files before, below the stage; `a -> b` is a symbolic link.
    pub(super) before: &'static [(&'static str, &'static str)],
    /// What a reader of documents wants besides.
    pub(super) wanted: &'static [&'static str],
    /// The system calls, in order.
    pub(super) save: fn(&Stage),
    /// The most layers that may differ from their predecessor.
    pub(super) changes_max: usize,
    /// Only the state before and the one after may be seen, nothing between.
    pub(super) atomic: bool,
    /// Whole contents that a file has on the way.
    pub(super) between: &'static [(&'static str, &'static str)],
    /// Needs events: what is whole cannot be told by polling, or the row is about events.
    pub(super) events_only: bool,
    /// So many writes that a disk would be measured.
    pub(super) in_memory: bool,
    /// Settings other than those of all rows.
    pub(super) adjust: fn(&mut WatchOptions),
}

impl Row {
    pub(super) const PLAIN: Self = Self {
        name: "",
        named: "conf",
        before: &[("conf/a.yaml", "old"), ("conf/b.yaml", "b")],
        wanted: &[],
        save: |_| {},
        changes_max: 1,
        atomic: true,
        between: &[],
        events_only: false,
        in_memory: false,
        adjust: |_| {},
    };
}

/// What a writer works on.
pub(super) struct Stage {
    base: PathBuf,
    seen: Arc<Seen>,
    stats: Arc<SourceStats>,
    pub(super) lost: EventsLost,
}

#[derive(Default)]
struct Seen {
    states: Mutex<Vec<State>>,
    more: Condvar,
}

impl Stage {
    /// A path below the stage.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// Waits until the reader's last layer is as asked.
    pub(super) fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let states = self.seen.states.lock().unwrap();
        let last = |states: &mut Vec<State>| !states.last().is_some_and(&holds);
        let (_states, timeout) = self.seen.more.wait_timeout_while(states, DEADLINE, last).unwrap();
        assert!(!timeout.timed_out(), "waited in vain until {what}");
    }

    /// Waits until the counters are as asked.
    pub(super) fn until_counted(&self, what: &str, holds: impl Fn(SourceCounts) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds(self.stats.snapshot()) {
            assert!(Instant::now() < end, "waited in vain until {what}: {:?}", self.stats.snapshot());
            std::thread::yield_now();
        }
    }
}

/// Plays one row in one mode and says what was wrong with it.
pub(super) async fn play(row: &Row, mode: WatchMode) -> Result<(), String> {
    let directory = if row.in_memory { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
    let directory = directory.expect("a temporary directory can be made");
    let base = directory.path().canonicalize().expect("it is there");
    row.before.iter().for_each(|(path, content)| put(&base, path, content));
    let mut options = WatchOptions { mode, poll: Duration::from_millis(30), ..WatchOptions::default() };
    options.quiet = Duration::from_millis(30);
    // A writer on a busy machine may be stopped for long between deleting a name and giving it again.
    options.settle = Duration::from_millis(300);
    // Rows are about events or polls; the net has a row of its own.
    options.compare = Duration::from_secs(600);
    (row.adjust)(&mut options);
    let mut source = FileSource::open(base.join(row.named), options).map_err(|error| error.to_string())?;
    let wanted: Vec<Arc<str>> = row.wanted.iter().map(|path| Arc::from(*path)).collect();
    let before = state(&source.read(&wanted).await);
    let seen = Arc::new(Seen::default());
    let stage =
        Stage { base: base.clone(), seen: Arc::clone(&seen), stats: source.stats(), lost: source.events_lost() };
    let save = row.save;
    let mut writer = tokio::task::spawn_blocking(move || save(&stage));
    let mut states = vec![before];
    let mut written = false;
    while !written || states.last() != Some(&on_disk(&base.join(row.named), row.wanted, &states)) {
        tokio::select! {
            change = tokio::time::timeout(2 * DEADLINE, source.changed()) => {
                change.map_err(|_| format!("the end was never seen: {states:?}"))?;
                let next = state(&source.read(&wanted).await);
                seen.states.lock().unwrap().push(next.clone());
                seen.more.notify_all();
                states.push(next);
            }
            outcome = &mut writer, if !written => {
                outcome.map_err(|panic| format!("the writer failed: {panic}; seen: {states:?}"))?;
                written = true;
            }
        }
    }
    // Whatever else was under way must come to the same.
    let last = state(&source.read(&wanted).await);
    judge(row, source.stats().snapshot().fallbacks == 0 && mode != WatchMode::Poll, &states, &last)
}

fn judge(row: &Row, events: bool, states: &[State], last: &State) -> Result<(), String> {
    let (before, after) = (&states[0], &states[states.len() - 1]);
    if after != last {
        return Err(format!("it was not at rest: {after:?} became {last:?}"));
    }
    let changes = states.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // How many states a poll sees of a long commotion is the clock's affair.
    if changes > row.changes_max && (events || row.atomic) {
        return Err(format!("{changes} changes instead of {}: {states:?}", row.changes_max));
    }
    // A refused tree is no state: what stood before goes on serving.
    for state in states.iter().filter(|state| !state.contains_key("")) {
        if row.atomic && state != before && state != after {
            return Err(format!("a state between before and after was seen: {state:?}"));
        }
        let paths: BTreeSet<_> = before.keys().chain(after.keys()).chain(state.keys()).collect();
        for path in paths {
            let now = state.get(path);
            let between = row.between.iter().any(|(at, content)| at == path && now == Some(&Ok((*content).into())));
            if now != before.get(path) && now != after.get(path) && !between {
                return Err(format!("{path} was seen as {now:?}"));
            }
        }
    }
    Ok(())
}

fn put(base: &Path, path: &str, content: &str) {
    if let Some((link, target)) = path.split_once(" -> ") {
        return std::os::unix::fs::symlink(target, base.join(link)).expect("a link can be made");
    }
    let path = base.join(path);
    fs::create_dir_all(path.parent().expect("it is below the stage")).expect("a directory can be made");
    fs::write(path, content).expect("a file can be written");
}

fn state(layer: &Layer) -> State {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    layer
        .entries
        .iter()
        .map(|(path, entry)| {
            (path.to_string(), entry.as_ref().map(|entry| text(&entry.bytes)).map_err(ToString::to_string))
        })
        .collect()
}

/// What a reader must come to see. Errors are taken from the last state, when it has one at that path and there is
/// nothing to read.
fn on_disk(named: &Path, wanted: &[&str], states: &[State]) -> State {
    let mut found = State::new();
    let root = if named.is_dir() {
        collect(named, "", &mut found);
        named
    } else {
        let name = named.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        found.insert(name.into(), fs::read_to_string(named).map_err(|error| error.to_string()));
        named.parent().unwrap_or(named)
    };
    for path in wanted {
        found.insert((*path).into(), fs::read_to_string(root.join(path)).map_err(|error| error.to_string()));
    }
    let last = &states[states.len() - 1];
    if found.is_empty() || !named.exists() {
        return if last.get("").is_some_and(Result::is_err) { last.clone() } else { found };
    }
    for (path, content) in &mut found {
        if let (Err(_), Some(Err(why))) = (&content, last.get(path)) {
            *content = Err(why.clone());
        }
    }
    found
}

fn collect(directory: &Path, prefix: &str, found: &mut State) {
    for entry in fs::read_dir(directory).expect("it can be listed") {
        let name = entry.expect("it can be listed").file_name().into_string().expect("names are plain");
        let (path, key) = (directory.join(&name), format!("{prefix}{name}"));
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{key}/"), found);
        } else if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
            found.insert(key, fs::read_to_string(&path).map_err(|error| error.to_string()));
        }
    }
}
