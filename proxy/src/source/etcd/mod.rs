//! A prefix of etcd as a source: read as a directory, followed by a watch. One revision, however many keys its
//! transaction touched, is one tree. Nothing that etcd does or fails to do makes the tree empty or shorter, unless the
//! keys are deleted. Knows no YAML; `docs/etcd.md` says what an operator may rely on.

mod blob;
mod contents;
mod follow;
mod monitor;
mod options;
mod pause;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use imbl::OrdMap;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

pub(crate) use self::blob::{FOLDER as BLOBS, around, chunk_key, fetch};
pub use self::options::EtcdOptions;
use self::{blob::Blobs, contents::Contents, follow::Follower, monitor::EtcdMonitor};
use super::{Entry, Layer, Monitor, Pointer, ReadError, Source, Trouble};
use crate::etcd::Client;

/// A prefix of etcd. Made with [`EtcdSource::new`]; it connects when it is first read.
pub struct EtcdSource {
    name: Arc<str>,
    directory: String,
    options: EtcdOptions,
    client: Client,
    monitor: Arc<EtcdMonitor>,
    asked: Arc<Notify>,
    seen: watch::Receiver<Option<Contents>>,
    compared: watch::Receiver<u64>,
    follower: Option<Follower>,
    task: Option<JoinHandle<()>>,
    blobs: Blobs,
    refresh: bool,
    delivered: Delivered,
}

/// What was handed out last.
#[derive(Debug, Default)]
struct Delivered {
    version: Option<u64>,
    at: Option<Instant>,
    /// When to hand it out again, because something of it could not be read.
    again: Option<Instant>,
}

impl EtcdSource {
    /// A source that has not connected yet.
    pub fn new(options: EtcdOptions) -> Self {
        let client = Client::new(options.client.clone());
        let directory = options.directory();
        let name: Arc<str> = format!("etcd {directory}").into();
        let (contents, seen) = watch::channel(None);
        let (count, compared) = watch::channel(0);
        let asked = Arc::<Notify>::default();
        let monitor = Arc::new(EtcdMonitor::new(&name));
        let follower = Follower {
            client: client.clone(),
            options: options.clone(),
            directory: directory.clone(),
            contents,
            monitor: Arc::clone(&monitor),
            asked: Arc::clone(&asked),
            compared: count,
            at: None,
            wanted: false,
            lost: Instant::now(),
        };
        Self {
            name,
            directory,
            options,
            client,
            monitor,
            asked,
            seen,
            compared,
            follower: Some(follower),
            task: None,
            blobs: Blobs::default(),
            refresh: false,
            delivered: Delivered::default(),
        }
    }

    /// The client that it uses, for what else has to be asked of the same etcd.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Begins to follow, on the runtime that this is first called on.
    fn begin(&mut self) {
        if let Some(follower) = self.follower.take() {
            self.task = Some(tokio::spawn(follower.run()));
        }
    }

    async fn layer(&mut self, wanted: &[Arc<str>]) -> Layer {
        self.begin();
        if std::mem::take(&mut self.refresh) {
            self.refreshed().await;
        }
        let contents = match self.first().await {
            Ok(contents) => contents,
            Err(why) => return self.unread(&why),
        };
        self.delivered = Delivered { version: Some(contents.version), at: Some(Instant::now()), again: None };
        if contents.is_empty() && !self.options.allow_empty {
            return self.unread(&empty(&self.directory));
        }
        let mut entries = contents.documents.clone();
        for (path, pointer) in &contents.pointers {
            entries.insert(Arc::clone(path), self.assembled(pointer).await);
        }
        for path in wanted {
            if !entries.contains_key(path) {
                let entry = self.wanted(&contents, path).await;
                entries.insert(Arc::clone(path), entry);
            }
        }
        self.blobs.read();
        let revision = u64::try_from(contents.revision).unwrap_or(0);
        Layer { source: Arc::clone(&self.name), revision, entries }
    }

    async fn wanted(&mut self, contents: &Contents, path: &str) -> Result<Entry, ReadError> {
        let missing = || ReadError(format!("no such key: {}{path}", self.directory).into());
        let entry = contents.others.get(path).ok_or_else(missing)?;
        match Pointer::read(&entry.bytes) {
            Some(pointer) => self.assembled(&pointer).await,
            None => Ok(entry.clone()),
        }
    }

    async fn assembled(&mut self, pointer: &Pointer) -> Result<Entry, ReadError> {
        let bytes_max = self.options.entry_bytes_max;
        let entry = self.blobs.entry(&self.client, &self.directory, pointer, bytes_max).await;
        if entry.is_err() {
            self.delivered.again = Some(Instant::now() + self.options.pause_max);
        }
        entry
    }

    /// What is known, waited for the first time.
    async fn first(&mut self) -> Result<Contents, String> {
        if let Some(contents) = self.seen.borrow_and_update().clone() {
            return Ok(contents);
        }
        let seen = self.seen.wait_for(Option::is_some);
        if let Ok(Ok(contents)) = timeout(self.options.first_wait, seen).await {
            return Ok(contents.clone().expect("waited for"));
        }
        let lost = self.monitor.trouble();
        Err(lost.map_or_else(|| "it has not been read yet".to_owned(), |lost: Trouble| lost.text))
    }

    /// Has everything compared, and waits for it where that can be expected to end.
    async fn refreshed(&mut self) {
        let before = *self.compared.borrow_and_update();
        self.asked.notify_one();
        if self.monitor.trouble().is_none() {
            let compared = self.compared.wait_for(|count| *count > before);
            // In time or not: what is known is what is handed out.
            drop(timeout(self.options.client.request_timeout, compared).await);
        }
    }

    fn unread(&self, why: &str) -> Layer {
        let entries = OrdMap::unit(Arc::from(""), Err(ReadError(why.into())));
        Layer { source: Arc::clone(&self.name), revision: 0, entries }
    }

    async fn change(&mut self) {
        self.begin();
        loop {
            let version = self.seen.borrow_and_update().as_ref().map(|contents| contents.version);
            if version.is_some() && version != self.delivered.version {
                return self.pace().await;
            }
            let again = self.delivered.again;
            tokio::select! {
                changed = self.seen.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                () = until(again) => return,
            }
        }
    }

    /// What follows fast on the last tree waits for more.
    async fn pace(&self) {
        if let Some(at) = self.delivered.at {
            sleep_until(at + self.options.pace).await;
        }
    }
}

impl Source for EtcdSource {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn origin(&self) -> String {
        let mut endpoints = self.options.client.endpoints.clone();
        endpoints.sort();
        format!("{} of {}", self.name, endpoints.join(","))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn monitor(&self) -> Option<Arc<dyn Monitor>> {
        Some(Arc::clone(&self.monitor) as _)
    }

    fn refresh(&mut self) {
        self.refresh = true;
    }

    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer> {
        Box::pin(self.layer(wanted))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.change())
    }
}

impl Drop for EtcdSource {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn empty(directory: &str) -> String {
    format!(
        "there is no document under {directory}; an empty prefix is never taken for an empty configuration, unless \
         `--etcd-allow-empty` says so"
    )
}
