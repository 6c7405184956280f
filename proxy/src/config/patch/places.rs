//! Where objects stand in the order of all of them, which is that of layers, paths and positions. Finds the place of one that is
//! there, or that comes. Knows nothing of what is in an object.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use imbl::Vector;

use crate::config::{
    document::{Document, Kind, Object},
    spec::{Name, Part, Route},
};

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stand {
    layer: usize,
    path: Arc<str>,
    at: usize,
}

/// Where the objects of a configuration stand, by kind and name.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_name: HashMap<(Kind, Name), Stand, RandomState>,
    /// Those that an earlier layer has as well.
    hiding: HashSet<(Kind, Name), RandomState>,
}

/// What manifests come to stands behind all documents.
const OF_MANIFESTS: usize = usize::MAX;

impl Stand {
    /// In a document.
    pub(super) const fn new(layer: usize, path: Arc<str>, at: usize) -> Self {
        Self { layer, path, at }
    }

    /// Whether it is in this document.
    pub(super) fn is_in(&self, layer: usize, path: &str) -> bool {
        self.layer == layer && *self.path == *path
    }
}

impl Places {
    /// Of the documents of all layers, and of what manifests came to.
    pub(super) fn of(layers: &[Vec<(Arc<str>, Arc<Document>)>], manifests: Option<&Document>) -> Self {
        let mut places = Self::default();
        let documents = layers.iter().enumerate();
        let documents =
            documents.flat_map(|(at, layer)| layer.iter().map(move |(path, document)| (at, path, &**document)));
        let nowhere = Arc::from("");
        for (layer, path, document) in documents.chain(manifests.map(|document| (OF_MANIFESTS, &nowhere, document))) {
            for (at, object) in document.objects.iter().enumerate() {
                places.note(object, Stand::new(layer, Arc::clone(path), at));
            }
        }
        places
    }

    /// An object stands there; one that another layer has as well goes before it.
    pub(super) fn note(&mut self, object: &Object, stand: Stand) {
        let key = (object.kind, Arc::clone(&object.name));
        if self.by_name.insert(key.clone(), stand).is_some() {
            self.hiding.insert(key);
        }
    }

    /// Where an object stands.
    pub(super) fn get(&self, kind: Kind, name: &Name) -> Option<&Stand> {
        self.by_name.get(&(kind, Arc::clone(name)))
    }

    /// Takes an object out. `None` where it hides another one, which would come back.
    pub(super) fn remove(&mut self, kind: Kind, name: &Name) -> Option<()> {
        let key = (kind, Arc::clone(name));
        if self.hiding.contains(&key) {
            return None;
        }
        self.by_name.remove(&key).map(drop)
    }

    /// The place among all objects; an error is where it would be.
    pub(super) fn object(&self, objects: &Vector<Arc<Object>>, stand: &Stand) -> Result<usize, usize> {
        objects.binary_search_by(|object| self.compare(object.kind, &object.name, stand))
    }

    /// The place among the routes; an error is where it would be.
    pub(super) fn route(&self, routes: &Vector<Arc<Part<Route>>>, stand: &Stand) -> Result<usize, usize> {
        routes.binary_search_by(|route| self.compare(Kind::Route, &route.id, stand))
    }

    fn compare(&self, kind: Kind, name: &Name, stand: &Stand) -> Ordering {
        self.get(kind, name).cmp(&Some(stand))
    }
}
