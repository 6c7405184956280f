//! Which modules the objects of a configuration name, and how many times, so that it is known which the sources are to be asked
//! for when one object names another one. Knows nothing of what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{check::Outcome, secret::Reference};

/// The paths of modules that are named.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<Arc<str>, usize>);

/// Those that an object names.
pub(super) fn paths(outcome: &Outcome) -> impl Iterator<Item = &Arc<str>> {
    outcome.modules.iter().map(|(path, _)| path)
}

impl Named {
    /// Those that all these objects name.
    pub(super) fn of<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> Self {
        let mut named = Self::default();
        outcomes.for_each(|outcome| named.add(outcome));
        named
    }

    /// An object names these.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        for path in paths(outcome) {
            *self.0.entry(Arc::clone(path)).or_default() += 1;
        }
    }

    /// An object that named these does not any more.
    pub(super) fn remove(&mut self, outcome: &Outcome) {
        for path in paths(outcome) {
            if let Some(times) = self.0.get_mut(path) {
                *times -= 1;
                if *times == 0 {
                    self.0.remove(path);
                }
            }
        }
    }

    /// What to ask the sources for: these, and the files of these secrets.
    pub(super) fn wanted<'a>(&self, secrets: impl Iterator<Item = &'a Reference>) -> Vec<Arc<str>> {
        let files = secrets.filter_map(Reference::file).cloned();
        let wanted: BTreeSet<_> = self.0.keys().cloned().chain(files).collect();
        wanted.into_iter().collect()
    }
}
