//! The process log: events of `tracing` to standard error, as text or JSON, at levels that can be changed while the
//! gateway runs. Written by a thread of its own behind a bounded queue, so that a stalled pipe stalls no worker.
//! There is one for the process, whatever the number of gateways in it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    str::FromStr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::{Layer, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

/// Events that may wait to be written. Over it: dropped, and the number is written when there is room again.
const QUEUE_LINES_MAX: usize = 4096;
/// Targets whose level is set apart.
const OVERRIDES_MAX: usize = 256;

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    levels: Mutex<Levels>,
    filter: reload::Handle<Targets, Registry>,
    lines: Lines,
}

/// The form of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

// What the command line said, and what was set since. `None` is every target without a level of its own.
struct Levels {
    base: Targets,
    set: BTreeMap<Option<String>, Set>,
}

#[derive(Clone, Copy)]
struct Set {
    level: LevelFilter,
    until: Option<Instant>,
}

/// A level that was set while the process ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The target (a module's path); all of them where `None`.
    pub target: Option<String>,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Seconds until it is as before; until it is changed again where `None`.
    pub ttl_s: Option<u64>,
}

/// Begins to log. `levels` is a level, or levels by target (`info,tidegate::reload=debug`). Called again, it changes
/// nothing: the process has one log.
///
/// # Errors
/// In words, where `levels` is not that.
pub fn init(form: Form, levels: &str) -> Result<(), String> {
    let base = Targets::from_str(levels).map_err(|error| {
        format!("`{levels}` is no log level, nor a list like `info,tidegate::reload=debug`: {error}")
    })?;
    LOG.get_or_init(|| {
        let (filter, handle) = reload::Layer::new(base.clone());
        let lines = Lines::start();
        let events = match form {
            Form::Text => fmt::layer().with_ansi(false).with_writer(lines.clone()).boxed(),
            Form::Json => fmt::layer().json().flatten_event(true).with_writer(lines.clone()).boxed(),
        };
        // A process that brought its own subscriber (a test, an embedder) keeps it.
        let _own = tracing_subscriber::registry().with(filter).with(events).try_init().is_ok();
        Log { levels: Mutex::new(Levels { base, set: BTreeMap::new() }), filter: handle, lines }
    });
    Ok(())
}

/// Sets the level of `target` (a module's path; all of them where `None`), for `ttl` if one is given. A level of
/// `None` puts it back to what the process began with. Answers the levels that are set.
///
/// # Errors
/// In words: no such level, too many targets, or the log has not begun.
pub fn set_level(target: Option<&str>, level: Option<&str>, ttl: Option<Duration>) -> Result<Vec<Level>, String> {
    let log = LOG.get().ok_or("the process log has not begun")?;
    let level = level.map(parse_level).transpose()?;
    let mut levels = log.levels();
    let target = target.map(str::to_owned);
    match level {
        None => drop(levels.set.remove(&target)),
        Some(level) => {
            if levels.set.len() >= OVERRIDES_MAX && !levels.set.contains_key(&target) {
                return Err(format!("{OVERRIDES_MAX} targets have a level of their own; reset one first"));
            }
            levels.set.insert(target, Set { level, until: ttl.and_then(|ttl| Instant::now().checked_add(ttl)) });
        }
    }
    log.apply(&levels)?;
    drop(levels);
    if let (Some(ttl), Ok(runtime)) = (ttl, tokio::runtime::Handle::try_current()) {
        runtime.spawn(async move {
            tokio::time::sleep(ttl).await;
            expire();
        });
    }
    Ok(levels_set())
}

/// The levels that were set while the process ran.
pub fn levels_set() -> Vec<Level> {
    let Some(log) = LOG.get() else { return Vec::new() };
    let levels = log.levels();
    let now = Instant::now();
    let listed = levels.set.iter().map(|(target, set)| Level {
        target: target.clone(),
        level: set.level.to_string(),
        ttl_s: set.until.map(|until| until.saturating_duration_since(now).as_secs()),
    });
    listed.collect()
}

/// Waits until what was logged so far is written, as long as `deadline`. Blocks: for the end of the process.
pub fn flush(deadline: Duration) {
    let Some(log) = LOG.get() else { return };
    let (done, written) = mpsc::sync_channel(1);
    // A full queue means a stalled reader, and then there is nothing to wait for.
    if log.lines.queue.try_send(Message::Flush(done)).is_ok() {
        let _written = written.recv_timeout(deadline).is_ok();
    }
}

fn expire() {
    let Some(log) = LOG.get() else { return };
    let mut levels = log.levels();
    let now = Instant::now();
    levels.set.retain(|_, set| set.until.is_none_or(|until| until > now));
    if let Err(error) = log.apply(&levels) {
        drop(levels);
        tracing::warn!(error, "the log level could not be put back");
    }
}

fn parse_level(level: &str) -> Result<LevelFilter, String> {
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
    let parsed = known.then(|| level.parse().ok()).flatten();
    parsed.ok_or_else(|| format!("`{level}` is no log level: it is off, error, warn, info, debug or trace"))
}

impl Levels {
    fn targets(&self) -> Targets {
        self.set.iter().fold(self.base.clone(), |targets, (target, set)| match target {
            None => targets.with_default(set.level),
            Some(target) => targets.with_target(target.as_str(), set.level),
        })
    }
}

impl Log {
    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, levels: &Levels) -> Result<(), String> {
        let applied = self.filter.reload(levels.targets());
        applied.map_err(|_| "the log's levels belong to another part of this process".to_owned())
    }
}

/// The queue to the writing thread. `write` takes one whole event, as `tracing_subscriber::fmt` hands them over.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Message>,
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Lines {
    fn start() -> Self {
        let (queue, messages) = mpsc::sync_channel(QUEUE_LINES_MAX);
        let started = thread::Builder::new().name("log".into()).spawn(move || {
            let mut out = io::stderr();
            for message in messages {
                write(&mut out, message);
            }
        });
        // Without a thread nobody takes messages: they are dropped, and the gateway runs.
        drop(started);
        Self { queue }
    }
}

fn write(out: &mut impl Write, message: Message) {
    let dropped = DROPPED.swap(0, Relaxed);
    // Where standard error fails there is nobody left to tell.
    let _complained = dropped > 0 && writeln!(out, "tidegate: {dropped} log lines dropped").is_ok();
    match message {
        Message::Line(line) => drop(out.write_all(&line)),
        Message::Flush(done) => drop(done.try_send(())),
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                DROPPED.fetch_add(1, Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Severity;

    use super::*;

    #[test]
    fn what_is_set_goes_before_what_the_process_began_with() {
        let base: Targets = "info,tidegate::wasm=debug".parse().expect("levels");
        let mut levels = Levels { base, set: BTreeMap::new() };
        let enabled = |levels: &Levels, target, level| levels.targets().would_enable(target, &level);
        assert!(enabled(&levels, "tidegate::wasm", Severity::DEBUG));
        assert!(!enabled(&levels, "tidegate::reload", Severity::DEBUG));
        let set = |level: &str| Set { level: parse_level(level).expect("a level"), until: None };
        levels.set.insert(None, set("error"));
        levels.set.insert(Some("tidegate::reload".into()), set("trace"));
        assert!(enabled(&levels, "tidegate::wasm", Severity::DEBUG), "its own level stays");
        assert!(enabled(&levels, "tidegate::reload", Severity::TRACE));
        assert!(!enabled(&levels, "tidegate::server", Severity::WARN));
    }

    #[test]
    fn beginning_twice_is_no_harm_and_levels_come_and_go() {
        assert!(init(Form::Json, "nonsense=loud").is_err());
        init(Form::Text, "warn").expect("levels");
        init(Form::Json, "info").expect("levels");
        let level_of = |set: &[Level], name: &str| {
            set.iter().find(|set| set.target.as_deref() == Some(name)).map(|set| (set.level.clone(), set.ttl_s))
        };
        let set = set_level(Some("tidegate::x"), Some("debug"), None).expect("set");
        assert_eq!(level_of(&set, "tidegate::x"), Some(("debug".into(), None)));
        let reset = set_level(Some("tidegate::x"), None, None).expect("reset");
        assert_eq!(level_of(&reset, "tidegate::x"), None);
        let error = set_level(None, Some("loud"), None).expect_err("no level");
        assert_eq!(error, "`loud` is no log level: it is off, error, warn, info, debug or trace");
        set_level(Some("tidegate::y"), Some("debug"), Some(Duration::ZERO)).expect("set");
        expire();
        assert_eq!(level_of(&levels_set(), "tidegate::y"), None);
        flush(Duration::from_secs(20));
    }
}
