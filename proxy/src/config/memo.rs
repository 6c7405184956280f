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
            let same = Arc::ptr_eq(before, object)
                || (before.file == object.file && before.at == object.at && before.node == object.node);
            same && outcome.secrets.iter().all(|(secret, print)| secret.fingerprint(environment) == *print)
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
    match parse::parse(label, bytes) {
        Ok(Some(node)) => document::split(label, node),
        Ok(None) => Document { empty: true, ..Document::default() },
        Err(found) => Document { broken: true, diagnostics: vec![*found], ..Document::default() },
    }
}
