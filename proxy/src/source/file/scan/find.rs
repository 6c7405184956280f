//! Which files to look at: those that events touched, those that are not settled, or all.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    ops::Bound,
    path::Path,
    sync::Arc,
};

use super::{Marked, Scanner, UNWANTED_READS_MAX};
use crate::source::{
    file::{
        hub::{Batch, Phase},
        stats::count,
        walk::{Found, Walk, What, dangling},
    },
    naming,
};

impl Scanner {
    /// Which entries the events are about.
    pub(super) fn sort(&self, batch: &Batch) -> Marked {
        let mut marked = Marked::default();
        for (path, mark) in &batch.marks {
            let kind = fs::symlink_metadata(path).map(|metadata| metadata.file_type());
            if self.links.contains(path) || kind.as_ref().is_ok_and(|kind| kind.is_dir() || kind.is_symlink()) {
                marked.everything = true;
                if matches!(mark.phase, Phase::Whole | Phase::Created) && !kind.is_ok_and(|kind| kind.is_file()) {
                    marked.placed.push(path.clone());
                }
                self.hub.discharge(path, batch);
            } else if !self.keys_of(path, &mut marked) {
                self.hub.discharge(path, batch);
            }
        }
        marked
    }

    /// Adds the entries at a path, and tells whether there are any.
    fn keys_of(&self, path: &Path, marked: &mut Marked) -> bool {
        let before = marked.keys.len();
        marked.keys.extend(self.aliases.get(path).into_iter().flatten().cloned());
        if self.place.single.is_none()
            && let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str)
        {
            let below: Arc<str> = format!("{key}/").into();
            let after = (Bound::Excluded(Arc::clone(&below)), Bound::Unbounded);
            // What was a directory with documents is none any more.
            marked.everything |= self.files.range(after).next().is_some_and(|(next, _)| next.starts_with(&*below));
            if naming::is_document(key) {
                marked.keys.insert(key.into());
            }
        }
        marked.keys.len() > before || marked.everything
    }

    pub(super) fn find_all(&mut self) -> Vec<Found> {
        count(&self.stats.rescans);
        let mut walk = Walk::new(&self.options, &mut self.watches, self.root.clone());
        let directory = self.place.single.as_ref().and_then(|_| self.place.path.parent()).unwrap_or(&self.place.path);
        let entered = walk.enter(directory);
        let failed = entered.is_err();
        match entered {
            Ok(resolved) => {
                self.hub.set_tree(self.place.single.is_none().then(|| resolved.real.clone()));
                self.root = resolved.real;
                self.root_links = resolved.links;
                match &self.place.single {
                    Some(key) => walk.document(&self.place.path, key),
                    None => walk.documents(),
                }
            }
            Err(why) => walk.failures.push(("".into(), why)),
        }
        let listed = walk.found.len();
        if !failed {
            let known: HashSet<_> = walk.found.iter().map(|found| Arc::clone(&found.key)).collect();
            self.wanted.iter().filter(|key| !known.contains(*key)).for_each(|key| walk.named(key));
        }
        let Walk { found, failures, directories, known, links, .. } = walk;
        self.links = links;
        self.links.insert(self.root.clone());
        self.hub.set_known(known);
        self.watches.keep(&directories);
        self.watches.look_for_file_mounts(&self.place.path);
        self.note_failures(failures);
        self.aliases.clear();
        self.walked = true;
        self.register(found, listed)
    }

    /// Notes where the entries are, and adds the documents that are no longer there.
    fn register(&mut self, mut found: Vec<Found>, listed: usize) -> Vec<Found> {
        let mut seen = HashSet::with_capacity(found.len());
        for (at, found) in found.iter().enumerate() {
            seen.insert(Arc::clone(&found.key));
            self.note(found, at < listed);
        }
        let lost = |key: &Arc<str>| !seen.contains(key) && !self.is_behind_failure(key);
        let gone = self.files.iter().filter(|(key, file)| file.listed && lost(key));
        found.extend(gone.map(|(key, file)| Found {
            key: Arc::clone(key),
            real: file.real.clone(),
            links: Vec::new(),
            what: What::Missing,
        }));
        let (reads, wanted) = (self.reads, &self.wanted);
        self.files.retain(|key, file| file.listed || wanted.contains(key) || file.used + UNWANTED_READS_MAX > reads);
        found
    }

    fn note(&mut self, found: &Found, listed: bool) {
        let file = self.files.entry(Arc::clone(&found.key)).or_default();
        file.listed |= listed;
        file.used = self.reads;
        file.real.clone_from(&found.real);
        file.links.clone_from(&found.links);
        if !listed || !found.links.is_empty() || self.place.single.is_some() {
            self.aliases.entry(found.real.clone()).or_default().insert(Arc::clone(&found.key));
        }
    }

    /// The entries of these keys, and those that are not settled. None if a document is not there: only a listing from
    /// the root down can tell whether it was deleted, or all of the directory is gone.
    pub(super) fn find(&mut self, keys: &BTreeSet<Arc<str>>) -> Option<Vec<Found>> {
        let keys: Vec<_> = keys.union(&self.unsettled).cloned().collect();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let (next, listed) = self.find_one(&key);
            if listed && matches!(next.what, What::Missing) {
                return None;
            }
            self.note(&next, listed);
            found.push(next);
        }
        Some(found)
    }

    fn find_one(&mut self, key: &Arc<str>) -> (Found, bool) {
        let mut walk = Walk::new(&self.options, &mut self.watches, self.root.clone());
        match &self.place.single {
            Some(single) if single == key => walk.document(&self.place.path, key),
            _ => walk.named(key),
        }
        let Walk { mut found, links, .. } = walk;
        self.links.extend(links);
        let mut found = found.remove(0);
        let listed = self.files.get(key).is_some_and(|file| file.listed);
        if listed && matches!(found.what, What::Missing) && !found.links.is_empty() {
            found.what = dangling(key, &found.real);
        }
        // Below the root, whatever is called like a document is one.
        let exists = self.place.single.is_none() && !matches!(found.what, What::Missing);
        (found, listed || exists && naming::is_document(key))
    }

    fn is_behind_failure(&self, key: &str) -> bool {
        let behind =
            |prefix: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.failures.keys().any(|prefix| prefix.is_empty() || behind(prefix))
    }
}
