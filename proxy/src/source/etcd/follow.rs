//! Following a prefix: read once at a revision, watched from the next one on, without a gap. Each way in which that can
//! end has its own answer; none of them makes the tree shorter. Knows no tree but the one that it keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{blob, contents::Contents, monitor::EtcdMonitor, options::EtcdOptions, pause::Pauses};
use crate::etcd::{Batch, Client, Error, Header, Kind, Page, Range, Watch};

/// How often a reading is begun again because the revision that it was of is gone.
const READINGS_MAX: usize = 5;

/// Leases whose life is looked up. The entries of further ones go as they should, and are not told of before.
const LEASES_MAX: usize = 256;

/// A session that lasted this long was a good one: the pauses after it begin anew.
const GOOD: Duration = Duration::from_secs(1);

/// Keeps [`Contents`] as etcd has it, for ever.
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) options: EtcdOptions,
    pub(super) directory: String,
    pub(super) contents: watch::Sender<Option<Contents>>,
    pub(super) monitor: Arc<EtcdMonitor>,
    /// Somebody wants everything compared now.
    pub(super) asked: Arc<Notify>,
    /// How often everything was compared.
    pub(super) compared: watch::Sender<u64>,
    /// The last revision of which everything is known, and of which history.
    pub(super) at: Option<Header>,
    /// Somebody wanted everything compared, and it has not been yet.
    pub(super) wanted: bool,
    /// When the last session ended.
    pub(super) lost: Instant,
}

/// Why a session ended.
struct Failure {
    kind: &'static str,
    text: String,
    next: Next,
}

/// When to begin the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// At once, by reading everything.
    Read,
    /// After a short pause.
    Soon,
    /// After a longer one: trying again seldom helps.
    Later,
}

/// When what is due within a session.
struct Timers {
    compare: Instant,
    leases: Instant,
    /// When the watch said something last, and since when it owes a sign of life.
    heard: Instant,
    asked: Option<Instant>,
}

impl Follower {
    /// Follows until it is dropped.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(self.options.pause);
        loop {
            let mut followed = None;
            let Err(failure) = self.session(&mut followed).await;
            if followed.is_some_and(|since: Instant| since.elapsed() > GOOD.min(self.options.pause_max)) {
                pauses.reset();
            }
            if followed.is_some() {
                self.lost = Instant::now();
            }
            self.monitor.lost(failure.kind, failure.text);
            self.monitor.authentications(self.client.counts().authentications);
            let pause = match failure.next {
                // It should not wait; if it does not help, it must not spin either.
                Next::Read => {
                    self.at = None;
                    pauses.next(self.options.pause)
                }
                Next::Soon => pauses.next(self.options.pause_max),
                Next::Later => pauses.next(self.options.pause_refused_max),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked.notified() => self.wanted = true,
            }
        }
    }

    /// From a state that is known to be whole through a watch to the failure that ends it.
    async fn session(&mut self, followed: &mut Option<Instant>) -> Result<Infallible, Failure> {
        let from = self.catch_up().await?;
        let mut watch = self.client.watch(&self.everything(), from.revision + 1).await.map_err(Failure::of)?;
        if watch.opened.cluster != from.cluster {
            return Err(Failure::backwards("another cluster answered"));
        }
        self.monitor.follows(watch.endpoint());
        self.monitor.authentications(self.client.counts().authentications);
        *followed = Some(Instant::now());
        let mut timers = Timers::new(&self.options, self.wanted);
        loop {
            tokio::select! {
                // What it has said counts before what it owes.
                biased;
                said = watch.next() => self.hear(said.map_err(Failure::of)?, &mut timers),
                () = sleep_until(timers.next(&self.options)) => {
                    if timers.is_silent(&self.options) {
                        watch.abandon();
                        return Err(Failure::silent(&self.options));
                    }
                    self.tend(&watch, &mut timers).await?;
                }
                () = self.asked.notified() => timers.compare = Instant::now(),
            }
        }
    }

    /// Makes sure that what is known is what a watch can go on from.
    async fn catch_up(&mut self) -> Result<Header, Failure> {
        if let Some(at) = self.at {
            let now = self.client.range(&self.everything().count_only()).await.map_err(Failure::of)?.header;
            let went_back = now.cluster != at.cluster || now.revision < at.revision;
            if went_back {
                self.monitor.failed("backwards");
                tracing::warn!(
                    was = at.revision,
                    now = now.revision,
                    "etcd's state is an older or another one than before: everything is compared"
                );
            }
            // After an election the history may be another one although its revision is higher.
            // So it may be after any absence that is long enough to restore a snapshot in.
            if !went_back && now.term == at.term && self.lost.elapsed() <= self.options.resume_max {
                return Ok(at);
            }
        }
        self.compare().await
    }

    fn hear(&mut self, batch: Batch, timers: &mut Timers) {
        timers.heard = Instant::now();
        timers.asked = None;
        let Some(at) = &mut self.at else { return };
        match batch {
            Batch::Alive => {}
            Batch::Unchanged(revision) => at.revision = at.revision.max(revision),
            Batch::Changes(events) => {
                let known = at.revision;
                // A comparison may have been ahead of the watch.
                let news: Vec<_> = events.iter().filter(|event| event.kv().mod_revision > known).collect();
                let Some(last) = news.last() else { return };
                let revision = last.kv().mod_revision;
                at.revision = revision;
                self.monitor.changed(news.len(), revision);
                let directory = &self.directory;
                let change = |contents: &mut Contents| {
                    // Every one of them, so no shortcut.
                    news.iter().fold(false, |changed, event| contents.apply(directory, event) | changed)
                };
                let leased = self.publish(revision, change);
                if leased {
                    timers.leases = Instant::now();
                }
            }
        }
    }

    /// Does what is due.
    async fn tend(&mut self, watch: &Watch, timers: &mut Timers) -> Result<(), Failure> {
        let now = Instant::now();
        if timers.compare <= now {
            match self.compare().await {
                Ok(_) => timers.compare = Instant::now() + self.options.compare,
                // The watch goes on; its own pings say whether it should.
                Err(failure) if failure.next == Next::Soon => {
                    self.monitor.failed(failure.kind);
                    timers.compare = Instant::now() + self.options.pause_max;
                }
                Err(failure) => return Err(failure),
            }
        }
        if timers.leases <= now {
            self.look_up_leases().await;
            timers.leases = Instant::now() + self.options.leases;
        }
        if timers.asked.is_none() && timers.heard + self.options.quiet_max <= now {
            timers.asked = Some(now);
            watch.ask();
        }
        Ok(())
    }

    /// Reads everything and takes over what is different.
    async fn compare(&mut self) -> Result<Header, Failure> {
        let page = self.read().await?;
        let at = page.header;
        let bytes: usize = page.kvs.iter().map(|kv| kv.value.len()).sum();
        if page.kvs.len() > self.options.keys_max || bytes > self.options.tree_bytes_max {
            let text = format!(
                "{} keys with {bytes} bytes; {} keys with {} bytes are the most",
                page.kvs.len(),
                self.options.keys_max,
                self.options.tree_bytes_max
            );
            return Err(Failure { kind: Kind::TooLarge.name(), text, next: Next::Later });
        }
        let version = |contents: &Option<Contents>| contents.as_ref().map(|contents| contents.version);
        let before = version(&self.contents.borrow());
        let directory = self.directory.clone();
        self.publish(at.revision, |contents| contents.replace(&directory, &page.kvs));
        self.monitor.compared(before == version(&self.contents.borrow()), at.revision);
        (self.at, self.wanted) = (Some(at), false);
        self.compared.send_modify(|count| *count += 1);
        Ok(at)
    }

    /// Everything but the chunks, as of one revision.
    async fn read(&self) -> Result<Page, Failure> {
        let [before, behind] = blob::around(&self.directory).map(|(from, to)| Range::between(from, to));
        let mut reading = 1;
        loop {
            let both = async {
                let mut page = self.client.read(&before).await?;
                let rest = behind.clone().at(page.header.revision);
                page.kvs.extend(self.client.read(&rest).await?.kvs);
                Ok::<Page, Error>(page)
            };
            match both.await {
                Err(Error { kind: Kind::Compacted { .. }, .. }) if reading < READINGS_MAX => reading += 1,
                read => return read.map_err(Failure::of),
            }
        }
    }

    /// Lets everyone see a change, if it is one. Answers whether entries have leases.
    fn publish(&self, revision: i64, change: impl FnOnce(&mut Contents) -> bool) -> bool {
        let mut leased = false;
        self.contents.send_if_modified(|known| {
            let first = known.is_none();
            let contents = known.get_or_insert_default();
            let changed = change(contents);
            leased = !contents.leases.is_empty();
            contents.revision = revision;
            contents.version += u64::from(changed || first);
            changed || first
        });
        let empty = !self.options.allow_empty && self.contents.borrow().as_ref().is_some_and(Contents::is_empty);
        self.monitor.refuses(empty.then(|| ("empty", super::empty(&self.directory))));
        leased
    }

    /// Finds out how long leased entries live.
    async fn look_up_leases(&self) {
        let leased: Vec<_> = {
            let contents = self.contents.borrow();
            let leases = contents.iter().flat_map(|contents| &contents.leases);
            leases.map(|(path, lease)| (Arc::clone(path), *lease)).collect()
        };
        let mut until = BTreeMap::new();
        for lease in leased.iter().map(|(_, lease)| *lease).collect::<BTreeSet<_>>().into_iter().take(LEASES_MAX) {
            match timeout(self.options.client.request_timeout, self.client.lease_time_to_live(lease)).await {
                Ok(Ok(Some(left))) => {
                    let left = Duration::from_secs(u64::try_from(left.remaining_s).unwrap_or(0));
                    until.insert(lease, std::time::Instant::now() + left);
                }
                Ok(Ok(None)) => {}
                // Nothing but the dump depends on it.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.monitor.leases(leased, until);
    }

    fn everything(&self) -> Range {
        Range::prefix(self.directory.as_str())
    }
}

impl Timers {
    fn new(options: &EtcdOptions, compare_now: bool) -> Self {
        let now = Instant::now();
        let compare = if compare_now { now } else { now + options.compare };
        Self { compare, leases: now, heard: now, asked: None }
    }

    fn next(&self, options: &EtcdOptions) -> Instant {
        let sign = match self.asked {
            None => self.heard + options.quiet_max,
            Some(at) => at + options.client.request_timeout,
        };
        self.compare.min(self.leases).min(sign)
    }

    fn is_silent(&self, options: &EtcdOptions) -> bool {
        self.asked.is_some_and(|at| at.elapsed() >= options.client.request_timeout)
    }
}

impl Failure {
    fn of(error: Error) -> Self {
        let next = match error.kind {
            Kind::Compacted { .. } | Kind::Future => Next::Read,
            _ if error.is_passing() => Next::Soon,
            Kind::Cancelled | Kind::Server | Kind::NotFound => Next::Soon,
            _ => Next::Later,
        };
        Self { kind: error.kind.name(), text: error.to_string(), next }
    }

    fn backwards(text: &str) -> Self {
        Self { kind: "backwards", text: text.to_owned(), next: Next::Read }
    }

    fn silent(options: &EtcdOptions) -> Self {
        let within = options.quiet_max + options.client.request_timeout;
        Self { kind: "silent", text: format!("the watch said nothing for {within:?}"), next: Next::Soon }
    }
}
