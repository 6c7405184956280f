//! The sources of a process as one tree: read together, waited for together.

use std::sync::Arc;

use futures_util::future::{join_all, select_all};

use crate::source::{Source, Tree};

/// All sources, in the order of the command line.
pub(super) struct Sources {
    all: Vec<Box<dyn Source>>,
    wanted: Vec<Arc<str>>,
}

impl Sources {
    pub(super) fn new(all: Vec<Box<dyn Source>>) -> Self {
        Self { all, wanted: Vec::new() }
    }

    /// The present tree, with the entries asked for by [`Sources::want`].
    pub(super) async fn read(&mut self) -> Tree {
        let wanted = &self.wanted;
        Tree { layers: join_all(self.all.iter_mut().map(|source| source.read(wanted))).await }
    }

    /// Asks for entries that documents name. Answers whether the next reading may hold more for it.
    pub(super) fn want(&mut self, wanted: &[Arc<str>]) -> bool {
        let news = wanted.iter().any(|path| !self.wanted.contains(path));
        self.wanted = wanted.to_vec();
        news
    }

    /// Waits until any source may have changed; for ever where there is none.
    pub(super) async fn changed(&mut self) {
        if self.all.is_empty() {
            return std::future::pending().await;
        }
        let ((), ..) = select_all(self.all.iter_mut().map(|source| source.changed())).await;
    }
}
