//! What is kept from one load to the next: documents by the identity of their file, outcomes by object. What did not
//! change is not read or checked again, and is the same object. Knows no object in particular.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    check::{self, Outcome},
    document::{self, Document, Kind, Object},
    parse,
    patch::Last,
    secret::Environment,
    spec::{Listener, Name, Part},
};
use crate::{identity::Identity, source::Entry};

/// Kept between loads. Costs memory in the order of the documents; holds nothing of objects that are gone.
#[derive(Debug, Default)]
pub struct Memo {
    /// How many documents were read since it was made.
    pub parsed_files: u64,
    /// How many objects were checked since it was made.
    pub checked_objects: u64,
    /// How many loads looked at nothing but what had changed.
    pub patched: u64,
    /// What the last load came to, where there was nothing to find.
    pub(super) last: Option<Last>,
    documents: HashMap<FileKey, (Identity, Arc<Document>)>,
    outcomes: HashMap<(Kind, Name), (Arc<Object>, Arc<Outcome>)>,
    pub(super) listeners: BTreeMap<Name, Arc<Part<Listener>>>,
}

/// Source and path.
type FileKey = (Arc<str>, Arc<str>);

/// One load: takes over what it needs of the memo, and leaves the rest behind.
pub(super) struct Load<'a> {
    memo: &'a mut Memo,
    documents: HashMap<FileKey, (Identity, Arc<Document>)>,
    outcomes: HashMap<(Kind, Name), (Arc<Object>, Arc<Outcome>)>,
}

impl Memo {
    pub(super) fn load(&mut self) -> Load<'_> {
        let documents = HashMap::with_capacity(self.documents.len());
        let outcomes = HashMap::with_capacity(self.outcomes.len());
        Load { memo: self, documents, outcomes }
    }

    /// The document that was read of a file, and the one that is there now; `None` where there was none, or is none.
    pub(super) fn read_again(
        &mut self,
        key: FileKey,
        entry: Option<&Entry>,
        label: impl FnOnce() -> Arc<str>,
    ) -> (Option<Arc<Document>>, Option<Arc<Document>>) {
        let known = self.documents.remove(&key);
        let before = known.as_ref().map(|(_, document)| Arc::clone(document));
        let Some(entry) = entry else { return (before, None) };
        let same = known.filter(|(identity, _)| *identity == entry.identity);
        let (_, now) = self.documents.entry(key).or_insert(same.unwrap_or_else(|| {
            self.parsed_files += 1;
            (entry.identity, Arc::new(read(&label(), &entry.bytes)))
        }));
        (before, Some(Arc::clone(now)))
    }

    /// What came of an object, and what comes of the one in its place. `None` where there was none.
    pub(super) fn check_again(
        &mut self,
        object: &Arc<Object>,
        environment: &Environment<'_>,
    ) -> Option<(Arc<Outcome>, Arc<Outcome>)> {
        let (before, known) = self.outcomes.get_mut(&(object.kind, Arc::clone(&object.name)))?;
        let old = Arc::clone(known);
        if !is_same(before, object) {
            self.checked_objects += 1;
            *known = Arc::new(check::check(object, environment));
        }
        *before = Arc::clone(object);
        Some((old, Arc::clone(known)))
    }

    /// What comes of an object that was not there.
    pub(super) fn check_new(&mut self, object: &Arc<Object>, environment: &Environment<'_>) -> Arc<Outcome> {
        self.checked_objects += 1;
        let outcome = Arc::new(check::check(object, environment));
        let known = (Arc::clone(object), Arc::clone(&outcome));
        self.outcomes.insert((object.kind, Arc::clone(&object.name)), known);
        outcome
    }

    /// Forgets an object; answers with what came of it.
    pub(super) fn forget(&mut self, object: &Object) -> Option<Arc<Outcome>> {
        self.outcomes.remove(&(object.kind, Arc::clone(&object.name))).map(|(_, outcome)| outcome)
    }

    /// What came of an object.
    pub(super) fn outcome_of(&self, (kind, name): &(Kind, Name)) -> Option<&Arc<Outcome>> {
        self.outcomes.get(&(*kind, Arc::clone(name))).map(|(_, outcome)| outcome)
    }
}

fn is_same(before: &Arc<Object>, object: &Arc<Object>) -> bool {
    Arc::ptr_eq(before, object) || (before.file == object.file && before.at == object.at && before.node == object.node)
}

impl Load<'_> {
    /// The document of a file; `label` is how diagnostics call it.
    pub(super) fn document(&mut self, key: FileKey, entry: &Entry, label: impl FnOnce() -> Arc<str>) -> Arc<Document> {
        let known = self.memo.documents.remove(&key).filter(|(identity, _)| *identity == entry.identity);
        let (identity, document) = known.unwrap_or_else(|| {
            self.memo.parsed_files += 1;
            (entry.identity, Arc::new(read(&label(), &entry.bytes)))
        });
        self.documents.insert(key, (identity, Arc::clone(&document)));
        document
    }

    /// What comes of checking an object.
    pub(super) fn outcome(&mut self, object: &Arc<Object>, environment: &Environment<'_>) -> Arc<Outcome> {
        let key = (object.kind, Arc::clone(&object.name));
        let known = self.memo.outcomes.remove(&key).filter(|(before, outcome)| {
            is_same(before, object)
                && outcome.secrets.iter().all(|(secret, print)| secret.fingerprint(environment) == *print)
        });
        let outcome = known.map_or_else(
            || {
                self.memo.checked_objects += 1;
                Arc::new(check::check(object, environment))
            },
            |(_, outcome)| outcome,
        );
        self.outcomes.insert(key, (Arc::clone(object), Arc::clone(&outcome)));
        outcome
    }

    /// Ends the load: only what it used is kept.
    pub(super) fn finish(self) {
        self.memo.documents = self.documents;
        self.memo.outcomes = self.outcomes;
    }
}

fn read(label: &Arc<str>, bytes: &[u8]) -> Document {
    match parse::parse_all(label, bytes) {
        Ok(nodes) if nodes.is_empty() => Document { empty: true, ..Document::default() },
        Ok(nodes) => {
            let mut document = Document::default();
            nodes.into_iter().for_each(|node| document.append(document::split(label, node)));
            document
        }
        Err(found) => Document { broken: true, diagnostics: vec![*found], ..Document::default() },
    }
}
