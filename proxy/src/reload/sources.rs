//! The sources of a process as one tree: read together, waited for together. While a remote source was never read, the
//! last good layer stands in for its own.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::{join_all, select_all};
use tokio::time::timeout;

use crate::{
    last_good::{LastGood, RestoreError, Restored},
    source::{Layer, Monitor, ReadError, Source, Tree},
};

/// All sources, in the order of the command line.
pub(super) struct Sources {
    all: Vec<One>,
    wanted: Vec<Arc<str>>,
    last_good: Option<LastGood>,
    /// Read from disk when it is needed for the first time.
    restored: Option<Result<Restored, RestoreError>>,
}

struct One {
    source: Box<dyn Source>,
    /// Its own layer was read at least once: from then on it is the source's to keep it.
    known: bool,
    /// Why the last good layer stands in.
    stands_in: Option<ReadError>,
}

/// How long a start waits for a remote source where there is a last good layer: it is to serve within a second.
const START_PATIENCE: Duration = Duration::from_millis(400);

impl Sources {
    pub(super) fn new(all: Vec<Box<dyn Source>>, last_good: Option<LastGood>) -> Self {
        let one = |source| One { source, known: false, stands_in: None };
        Self { all: all.into_iter().map(one).collect(), wanted: Vec::new(), last_good, restored: None }
    }

    /// The present tree, with the entries asked for by [`Sources::want`].
    /// `again` says that it is a further round of the same attempt.
    pub(super) async fn read(&mut self, again: bool) -> Tree {
        if !again {
            self.all.iter_mut().for_each(|one| one.stands_in = None);
        }
        let patience = self.last_good.as_ref().filter(|last_good| last_good.exists()).map(|_| START_PATIENCE);
        let wanted = &self.wanted;
        let layers = join_all(self.all.iter_mut().map(|one| one.read(wanted, patience))).await;
        let layers = layers.into_iter().enumerate().map(|(at, layer)| self.stand_in(at, layer)).collect();
        if self.all.iter().all(|one| one.known) {
            // Whoever asks for it again has it read again: it is as large as the tree that serves.
            self.restored = None;
        }
        Tree { layers }
    }

    /// Where it can be seen how each source is, in the order of the layers.
    pub(super) fn monitors(&self) -> Vec<Option<Arc<dyn Monitor>>> {
        self.all.iter().map(|one| one.source.monitor()).collect()
    }

    /// Has the next reading be of what there is now.
    pub(super) fn refresh(&mut self) {
        self.all.iter_mut().for_each(|one| one.source.refresh());
    }

    /// Asks for entries that documents name. Answers whether the next reading may hold more for it.
    pub(super) fn want(&mut self, wanted: &[Arc<str>]) -> bool {
        if self.wanted == wanted {
            return false;
        }
        let before: HashSet<_> = std::mem::replace(&mut self.wanted, wanted.to_vec()).into_iter().collect();
        wanted.iter().any(|path| !before.contains(path))
    }

    /// Waits until any source may have changed; for ever where there is none.
    pub(super) async fn changed(&mut self) {
        if self.all.is_empty() {
            return std::future::pending().await;
        }
        let ((), ..) = select_all(self.all.iter_mut().map(|one| one.source.changed())).await;
    }

    /// Which layers of the last reading are the last good ones, and why, each in a sentence.
    pub(super) fn degraded(&self) -> Vec<String> {
        let Some(Ok(restored)) = &self.restored else { return Vec::new() };
        let sentence = |(one, layer): (&One, &Layer)| {
            let why = one.stands_in.as_ref()?;
            let (source, revision, kept_at) = (&layer.source, layer.revision, &restored.kept_at);
            Some(format!(
                "{source} cannot be read; its last good state of {kept_at} serves (revision {revision}): {why}"
            ))
        };
        self.all.iter().zip(&restored.tree.layers).filter_map(sentence).collect()
    }

    /// The whole last good tree, for a start on a remote source that holds what is refused. `None` where every source
    /// is local: then whoever starts the process is the one to correct it.
    pub(super) fn last_good(&mut self) -> Option<Result<&Restored, String>> {
        let remote = self.all.iter().any(|one| one.source.is_remote());
        self.last_good.as_ref().filter(|_| remote)?;
        Some(self.restored()?.as_ref().map_err(ToString::to_string))
    }

    fn restored(&mut self) -> Option<&Result<Restored, RestoreError>> {
        let last_good = self.last_good.as_ref()?;
        Some(self.restored.get_or_insert_with(|| last_good.restore()))
    }

    // The layer itself, or the last good one where the source could not be read yet.
    fn stand_in(&mut self, at: usize, layer: Layer) -> Layer {
        let one = &mut self.all[at];
        one.stands_in = None;
        let Some(why) = layer.unread().cloned() else {
            one.known = true;
            return layer;
        };
        if one.known || !one.source.is_remote() {
            return layer;
        }
        let found = self.restored().map(|restored| restored.as_ref().map(|restored| restored.tree.layers.get(at)));
        match found {
            Some(Ok(Some(kept))) => {
                let kept = Layer { source: layer.source, ..kept.clone() };
                self.all[at].stands_in = Some(why);
                kept
            }
            Some(Err(refused)) => {
                let why = ReadError(format!("{why}; and {refused}").into());
                Layer { entries: imbl::ordmap! { Arc::from("") => Err(why) }, ..layer }
            }
            Some(Ok(None)) | None => layer,
        }
    }
}

impl One {
    async fn read(&mut self, wanted: &[Arc<str>], patience: Option<Duration>) -> Layer {
        let patience = patience.filter(|_| !self.known && self.source.is_remote());
        let Some(patience) = patience else { return self.source.read(wanted).await };
        // It was waited for in this attempt's first round.
        if let Some(why) = self.stands_in.clone() {
            return unread(self.source.name(), why);
        }
        match timeout(patience, self.source.read(wanted)).await {
            Ok(layer) => layer,
            Err(_) => {
                let trouble = self.source.monitor().and_then(|monitor| monitor.health().trouble);
                let kind = trouble.map_or_else(String::new, |trouble| format!(" ({})", trouble.kind));
                let why = format!("it did not answer within {} ms{kind}", patience.as_millis());
                unread(self.source.name(), ReadError(why.into()))
            }
        }
    }
}

fn unread(source: Arc<str>, why: ReadError) -> Layer {
    Layer { source, revision: 0, entries: imbl::ordmap! { Arc::from("") => Err(why) } }
}
