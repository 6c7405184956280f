//! A source in memory: what a handle sets is the layer. For the embedded quickstart, for tests, and for trees that are
//! pushed. Knows no file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use imbl::OrdMap;
use tokio::sync::watch;

use super::{Entry, Layer, ReadError, Source, naming};

/// The reading end.
#[derive(Debug)]
pub struct MemorySource {
    name: Arc<str>,
    state: watch::Receiver<State>,
}

/// The writing end. Clones write to the same source. When the last one is dropped the source stays as it is.
#[derive(Clone, Debug)]
pub struct MemoryHandle {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    revision: u64,
    entries: OrdMap<Arc<str>, Entry>,
}

impl MemorySource {
    /// A source that holds `entries` (path, content), and the handle that changes it.
    pub fn new<P: Into<Arc<str>>, B: Into<Bytes>>(
        name: impl Into<Arc<str>>,
        entries: impl IntoIterator<Item = (P, B)>,
    ) -> (Self, MemoryHandle) {
        let (sender, receiver) = watch::channel(State { revision: 1, entries: collect(entries) });
        (Self { name: name.into(), state: receiver }, MemoryHandle { state: sender })
    }
}

impl MemoryHandle {
    /// Sets one entry. An equal content changes nothing.
    pub fn set(&self, path: impl Into<Arc<str>>, content: impl Into<Bytes>) {
        let (path, entry) = (path.into(), Entry::new(content));
        self.change(|entries| entries.insert(path, entry.clone()).is_none_or(|old| old != entry));
    }

    /// Removes one entry.
    pub fn remove(&self, path: &str) {
        self.change(|entries| entries.remove(path).is_some());
    }

    /// Replaces all entries in one step: no reader sees some of the old beside some of the new.
    pub fn replace<P: Into<Arc<str>>, B: Into<Bytes>>(&self, entries: impl IntoIterator<Item = (P, B)>) {
        let new = collect(entries);
        self.change(|entries| {
            let differs = *entries != new;
            *entries = new;
            differs
        });
    }

    fn change(&self, change: impl FnOnce(&mut OrdMap<Arc<str>, Entry>) -> bool) {
        self.state.send_if_modified(|state| {
            let differs = change(&mut state.entries);
            state.revision += u64::from(differs);
            differs
        });
    }
}

impl Source for MemorySource {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer> {
        Box::pin(async move {
            let state = self.state.borrow_and_update().clone();
            let documents = state.entries.iter().filter(|(path, _)| naming::is_document(path));
            let mut entries: OrdMap<_, _> =
                documents.map(|(path, entry)| (Arc::clone(path), Ok(entry.clone()))).collect();
            for path in wanted {
                let entry = state.entries.get(path).cloned();
                let missing = || ReadError(format!("no such entry: {path} in {}", self.name).into());
                entries.insert(Arc::clone(path), entry.ok_or_else(missing));
            }
            Layer { source: Arc::clone(&self.name), revision: state.revision, entries }
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

fn collect<P: Into<Arc<str>>, B: Into<Bytes>>(entries: impl IntoIterator<Item = (P, B)>) -> OrdMap<Arc<str>, Entry> {
    entries.into_iter().map(|(path, content)| (path.into(), Entry::new(content))).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_set_entry_is_one_change_and_an_equal_one_is_none() {
        let (mut source, handle) = MemorySource::new("memory", [("a.yaml", "a: 1"), ("p.wasm", "x")]);
        let before = source.read(&[]).await;
        assert_eq!(before.entries.len(), 1, "a module that nobody wants is not in the layer");
        handle.set("a.yaml", "a: 1");
        assert!(source.changed().now_or_never().is_none());
        handle.set("a.yaml", "a: 2");
        source.changed().await;
        let after = source.read(&["p.wasm".into(), "q.wasm".into()]).await;
        assert_eq!(after.revision, before.revision + 1);
        assert_eq!(after.entries["a.yaml"], Ok(Entry::new("a: 2")));
        assert_eq!(after.entries["p.wasm"], Ok(Entry::new("x")));
        assert_eq!(after.entries["q.wasm"], Err(ReadError("no such entry: q.wasm in memory".into())));
    }

    #[tokio::test]
    async fn a_replacement_is_one_step_and_a_dropped_handle_ends_nothing() {
        let (mut source, handle) = MemorySource::new("memory", [("a.yaml", "1"), ("b.yaml", "1")]);
        source.read(&[]).await;
        handle.replace([("b.yaml", "2"), ("c.yaml", "2")]);
        handle.remove("c.yaml");
        drop(handle);
        source.changed().await;
        let layer = source.read(&[]).await;
        assert_eq!(layer.entries.keys().map(|path| &**path).collect::<Vec<_>>(), ["b.yaml"]);
        assert!(source.changed().now_or_never().is_none(), "no more change can come");
    }
}
