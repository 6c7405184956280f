//! A directory or a single file as a source: watched by events, by polling or both, and read only when it has come to
//! rest. Never yields a file that is half-written, and never takes a directory that cannot be read for an empty one.
//! Knows no YAML; `docs/reloading.md` says what an operator may rely on.

mod filesystem;
mod hub;
#[cfg_attr(not(target_os = "linux"), path = "inotify_elsewhere.rs")]
mod inotify;
mod options;
mod readable;
mod reading;
mod resolve;
mod scan;
mod stats;
mod walk;
mod watch;
mod whole;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use futures_util::future::BoxFuture;
use tokio::time::sleep_until;

use self::{
    hub::Hub,
    inotify::Inotify,
    readable::Readable,
    scan::{Depth, Outcome, Place, Scanner},
    stats::count,
};
pub use self::{
    options::{WatchMode, WatchOptions},
    stats::{SourceCounts, SourceStats},
};
use super::{Health, Layer, Monitor, ReadError, Source};

/// A directory with everything below it, or one file. Opened with [`FileSource::open`].
pub struct FileSource {
    name: Arc<str>,
    options: WatchOptions,
    hub: Arc<Hub>,
    stats: Arc<SourceStats>,
    // Waited for by blocking threads only, one at a time.
    scanner: Arc<Mutex<Scanner>>,
    queue: Arc<OnceLock<Arc<Inotify>>>,
    /// The queue as the runtime of the first wait sees it.
    readable: Option<Readable>,
    /// Whether it is polled, for the monitor.
    polling: Arc<AtomicBool>,
    state: State,
}

/// What survives a dropped `changed()`.
#[derive(Debug)]
struct State {
    /// The revision of the last layer that was read.
    delivered: Option<u64>,
    /// `changed()` has resolved and nothing was read since: the layer is settled.
    ready: bool,
    wanted: Vec<Arc<str>>,
    /// When the present commotion began.
    began: Option<Instant>,
    /// When something has to be looked at again.
    due: Option<Instant>,
    polls: bool,
    /// There are events, but nothing wakes us.
    deaf: bool,
    poll_at: Instant,
    compare_at: Instant,
}

/// Tells the source that events were lost: the whole directory is looked at again.
#[derive(Clone)]
pub struct EventsLost(Arc<Hub>);

impl EventsLost {
    /// As if the system had said so.
    pub fn report(&self) {
        self.0.events_lost();
    }
}

impl FileSource {
    /// Opens a directory, or a file whose directory then is the root. Reads nothing yet.
    ///
    /// # Errors
    /// There is nothing at `path`, or it is neither a file nor a directory.
    pub fn open(path: impl AsRef<Path>, options: WatchOptions) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let name: Arc<str> = path.display().to_string().into();
        let explain = |why: &dyn std::fmt::Display| ReadError(format!("cannot read {name}: {why}").into());
        let metadata = std::fs::metadata(path).map_err(|error| explain(&error))?;
        let absolute = std::path::absolute(path).map_err(|error| explain(&error))?;
        let single = match absolute.file_name().and_then(std::ffi::OsStr::to_str) {
            _ if metadata.is_dir() => None,
            Some(file) if metadata.is_file() => Some(Arc::from(file)),
            _ => return Err(explain(&"it is neither a file nor a directory, or its name is not UTF-8")),
        };
        let stats = Arc::<SourceStats>::default();
        let hub = Arc::new(Hub::new(Arc::clone(&stats)));
        let place = Place { name: Arc::clone(&name), path: absolute, single };
        let scanner = Scanner::new(place, options.clone(), Arc::clone(&hub), Arc::clone(&stats));
        let (state, queue) = (State::new(&options), scanner.queue());
        let (scanner, polling) = (Arc::new(Mutex::new(scanner)), Arc::<AtomicBool>::default());
        Ok(Self { name, options, hub, stats, scanner, queue, readable: None, polling, state })
    }

    /// The counters, which outlive the source.
    pub fn stats(&self) -> Arc<SourceStats> {
        Arc::clone(&self.stats)
    }

    /// A handle that reports lost events, for what watches beside the source and for tests.
    pub fn events_lost(&self) -> EventsLost {
        EventsLost(Arc::clone(&self.hub))
    }

    async fn layer(&mut self, wanted: &[Arc<str>]) -> Layer {
        let first = self.state.delivered.is_none();
        let same = !first && self.state.wanted == wanted;
        let ready = std::mem::take(&mut self.state.ready);
        // Somebody asks, though nothing told of a change: then every file's state is looked at.
        let asked = !ready && (same || !self.has_events());
        let depth = if asked { Depth::States } else { Depth::Touched };
        if !same {
            self.state.wanted = wanted.to_vec();
            let wanted = self.state.wanted.clone();
            self.blocking(move |scanner| scanner.want(&wanted)).await;
        }
        // What `changed()` waited for was looked at a moment ago; an event since then is looked at first.
        let is_seen = ready && same && self.has_events() && self.state.due.is_none() && self.last_event().is_none();
        if !is_seen {
            self.settle(depth, first).await;
        }
        let layer = self.standing().await.unwrap_or_else(|| Layer {
            source: Arc::clone(&self.name),
            revision: 0,
            entries: imbl::ordmap! { Arc::from("") => Err(ReadError("the gateway is shutting down".into())) },
        });
        self.state.delivered = Some(layer.revision);
        layer
    }

    /// Looks until nothing is to be looked at again, for as long as a reading may wait.
    async fn settle(&mut self, mut depth: Depth, first: bool) {
        let end = Instant::now() + self.options.quiet_max + self.options.settle;
        loop {
            let outcome = self.survey(depth).await;
            depth = Depth::Touched;
            let unseen = outcome.open_until.filter(|_| first && outcome.unseen).map(|_| end);
            match outcome.due.or(unseen) {
                Some(due) if Instant::now() < end => self.event_or(due.min(end)).await,
                _ => return,
            }
        }
    }

    /// The layer that stands: touches no file, so that a thread is asked for it only where one has the scanner.
    async fn standing(&self) -> Option<Layer> {
        let at_once = self.scanner.try_lock().ok().map(|mut scanner| scanner.layer());
        match at_once {
            Some(layer) => Some(layer),
            None => self.blocking(Scanner::layer).await,
        }
    }

    fn has_events(&self) -> bool {
        self.queue.get().is_some() && !self.state.polls()
    }

    async fn change(&mut self) {
        if self.options.mode == WatchMode::Off {
            std::future::pending::<()>().await;
        }
        loop {
            let events = self.stats.snapshot().events;
            let depth = self.something().await;
            let outcome = self.rest(depth).await;
            if self.state.delivered != Some(outcome.revision) {
                self.state.ready = true;
                return;
            }
            if self.stats.snapshot().events > events {
                count(&self.stats.suppressed);
            }
        }
    }

    /// Waits until there is a reason to look, and says how closely.
    async fn something(&mut self) -> Depth {
        loop {
            let now = Instant::now();
            if now >= self.state.compare_at {
                return Depth::Contents;
            }
            if self.state.polls() && now >= self.state.poll_at {
                self.state.poll_at = now + self.options.poll_interval();
                return Depth::States;
            }
            if self.last_event().is_some() || self.state.due.is_some_and(|due| now >= due) {
                return Depth::Touched;
            }
            let poll_at = self.state.polls().then_some(self.state.poll_at);
            let next = [Some(self.state.compare_at), poll_at, self.state.due].into_iter().flatten().min();
            self.event_or(next.unwrap_or(self.state.compare_at)).await;
        }
    }

    /// Looks until nothing moves any more, or for as long as a commotion may last.
    async fn rest(&mut self, mut depth: Depth) -> Outcome {
        let end = *self.state.began.get_or_insert_with(Instant::now) + self.options.quiet_max;
        loop {
            self.quiet(end).await;
            let outcome = self.survey(depth).await;
            depth = Depth::Touched;
            let pending = [outcome.due, outcome.open_until].into_iter().flatten().min();
            if Instant::now() < end {
                if self.last_event().is_some() {
                    continue;
                }
                if let Some(due) = pending {
                    self.event_or(due.min(end)).await;
                    continue;
                }
            }
            self.state.began = None;
            return outcome;
        }
    }

    /// Waits until no event came for as long as `quiet` says, or until `end`.
    async fn quiet(&mut self, end: Instant) {
        while let Some(last) = self.last_event() {
            let until = (last + self.options.quiet).min(end);
            if Instant::now() >= until {
                break;
            }
            self.event_or(until).await;
        }
    }

    /// The last event of which the scanner does not know yet.
    fn last_event(&self) -> Option<Instant> {
        if let Some(queue) = self.queue.get() {
            queue.drain();
        }
        self.hub.fresh_since()
    }

    async fn event_or(&mut self, time: Instant) {
        self.register();
        tokio::select! {
            () = self.hub.woken() => {}
            () = drained(self.readable.as_ref()) => {}
            () = sleep_until(time.into()) => {}
        }
    }

    /// From the first wait on, events wake the one who waits.
    fn register(&mut self) {
        if self.readable.is_none()
            && !self.state.deaf
            && let Some(queue) = self.queue.get()
        {
            match Readable::new(Arc::clone(queue)) {
                Ok(readable) => self.readable = Some(readable),
                Err(error) => {
                    self.state.deaf = true;
                    self.polling.store(true, Relaxed);
                    let poll = self.options.poll_interval();
                    tracing::warn!(%error, "file events cannot be waited for: polling every {poll:?} instead");
                }
            }
        }
    }

    async fn survey(&mut self, depth: Depth) -> Outcome {
        // Should this be dropped before the scanner is through, the next call looks again.
        let began = Instant::now();
        self.state.due = Some(began);
        let outcome = self.blocking(move |scanner| scanner.survey(depth)).await.unwrap_or_default();
        if depth == Depth::Contents {
            // However much there is to compare, it takes no more than a fiftieth of the time.
            let pause = self.options.compare.max(began.elapsed() * 50);
            self.state.compare_at = Instant::now() + pause;
        }
        self.state.due = [outcome.due, outcome.open_until].into_iter().flatten().min();
        self.state.polls = outcome.polls;
        self.polling.store(self.state.polls(), Relaxed);
        outcome
    }

    /// Runs on a blocking thread; none if the runtime is shutting down.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut Scanner) -> T + Send + 'static) -> Option<T> {
        let scanner = Arc::clone(&self.scanner);
        let work = move || work(&mut scanner.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.ok()
    }
}

async fn drained(readable: Option<&Readable>) {
    match readable {
        Some(readable) => readable.drained().await,
        None => std::future::pending().await,
    }
}

impl State {
    fn new(options: &WatchOptions) -> Self {
        let now = Instant::now();
        Self {
            delivered: None,
            ready: false,
            wanted: Vec::new(),
            began: None,
            due: None,
            polls: false,
            deaf: false,
            poll_at: now + options.poll_interval(),
            compare_at: now + options.compare,
        }
    }

    const fn polls(&self) -> bool {
        self.polls || self.deaf
    }
}

impl Source for FileSource {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn origin(&self) -> String {
        let absolute = std::path::absolute(&*self.name);
        absolute.map_or_else(|_| self.name.to_string(), |path| path.display().to_string())
    }

    fn monitor(&self) -> Option<Arc<dyn Monitor>> {
        let (queue, stats) = (Arc::clone(&self.queue), Arc::clone(&self.stats));
        Some(Arc::new(FileMonitor { queue, polling: Arc::clone(&self.polling), stats }))
    }

    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer> {
        Box::pin(self.layer(wanted))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.change())
    }
}

/// What can be seen of a file source from outside.
struct FileMonitor {
    queue: Arc<OnceLock<Arc<Inotify>>>,
    polling: Arc<AtomicBool>,
    stats: Arc<SourceStats>,
}

impl Monitor for FileMonitor {
    fn health(&self) -> Health {
        let how = match (self.queue.get().is_some(), self.polling.load(Relaxed)) {
            (true, false) => "events",
            (true, true) => "events and polling",
            (false, true) => "polling",
            (false, false) => "off",
        };
        let SourceCounts { events, overflows, fallbacks, missed, .. } = self.stats.snapshot();
        let failures = vec![("watch_refused", fallbacks), ("event_missed", missed)];
        Health { how: how.to_owned(), events, overflows, failures, ..Health::default() }
    }
}

#[cfg(test)]
mod tests;
