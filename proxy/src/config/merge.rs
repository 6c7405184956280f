//! Merges the documents of all layers into one set of objects. Within a layer a name stands once; a later layer
//! overrides an earlier one by name. Knows nothing of what is in an object.

use std::{collections::HashMap, sync::Arc};

use super::{
    diagnostic::Diagnostic,
    document::{Document, Kind, Object},
};

/// The objects that count, in order: layer, then document path, then position. `layers` holds each layer's documents
/// by path.
pub(crate) fn merge<'a>(
    layers: impl Iterator<Item = Vec<&'a Document>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Arc<Object>> {
    let mut objects: Vec<Option<&Arc<Object>>> = Vec::new();
    let mut index: HashMap<(Kind, &str), (usize, usize)> = HashMap::new();
    for (layer, documents) in layers.enumerate() {
        for object in documents.iter().flat_map(|document| &document.objects) {
            let key = (object.kind, &*object.name);
            match index.get(&key) {
                Some(&(other, position)) if other == layer => {
                    if let Some(first) = objects[position] {
                        diagnostics.push(twice(first, object));
                    }
                    continue;
                }
                Some(&(_, position)) => objects[position] = None,
                None => {}
            }
            index.insert(key, (layer, objects.len()));
            objects.push(Some(object));
        }
    }
    objects.into_iter().flatten().cloned().collect()
}

fn twice(first: &Object, second: &Object) -> Diagnostic {
    Diagnostic::error("duplicate-name", format!("the {} `{}` is defined twice", second.kind.noun(), second.name))
        .at(second.place())
        .related(first.place(), "first defined here")
        .hint("remove or rename one of them; only a later layer may define it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        document::split,
        node::{Node, Value},
        parse::parse,
    };

    fn document(file: &str, text: &str) -> Document {
        let file = file.into();
        split(
            &file,
            parse(&file, text.as_bytes()).unwrap().unwrap_or(Node { value: Value::Null, pos: Default::default() }),
        )
    }

    #[test]
    fn a_later_layer_overrides_and_one_layer_may_not_repeat() {
        let base = document("a.yaml", "upstreams: {one: {}, two: {}}\n");
        let again = document("b.yaml", "upstreams: {two: {}}\n");
        let over = document("c.yaml", "upstreams:\n  one: {}\n");
        let mut found = Vec::new();
        let merged = merge([vec![&base, &again], vec![&over]].into_iter(), &mut found);
        let order: Vec<_> = merged.iter().map(|object| (&*object.name, &*object.file)).collect();
        assert_eq!(order, [("two", "a.yaml"), ("one", "c.yaml")]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].related.len()), ("duplicate-name", 1));
    }
}
