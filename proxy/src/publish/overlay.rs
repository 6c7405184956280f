//! A directory with what the prefix keeps beside it: keys under leases, which no push writes or deletes. Together they
//! are what a gateway will see.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::source::{Entry, Layer, Source, is_document};

/// A source with more entries; its own go first.
pub struct Overlay {
    inner: Box<dyn Source>,
    more: Vec<(String, Entry)>,
    added: Added,
}

/// The paths that were not the source's own in its last reading.
#[derive(Clone, Debug, Default)]
pub struct Added(Arc<Mutex<Vec<Arc<str>>>>);

impl Overlay {
    /// `inner` with `more` (path, content).
    pub fn new(inner: Box<dyn Source>, more: Vec<(String, Entry)>) -> (Self, Added) {
        let added = Added::default();
        (Self { inner, more, added: added.clone() }, added)
    }
}

impl Added {
    /// What they are.
    pub fn paths(&self) -> Vec<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for Overlay {
    fn name(&self) -> Arc<str> {
        self.inner.name()
    }

    fn read<'a>(&'a mut self, wanted: &'a [Arc<str>]) -> BoxFuture<'a, Layer> {
        Box::pin(async move {
            let mut layer = self.inner.read(wanted).await;
            let mut added = Vec::new();
            for (path, entry) in &self.more {
                let path: Arc<str> = path.as_str().into();
                let seen = is_document(&path) || wanted.contains(&path);
                if seen && !layer.entries.get(&path).is_some_and(Result::is_ok) {
                    layer.entries.insert(Arc::clone(&path), Ok(entry.clone()));
                    added.push(path);
                }
            }
            *self.added.0.lock().unwrap_or_else(PoisonError::into_inner) = added;
            layer
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        self.inner.changed()
    }
}
