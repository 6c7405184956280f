//! From a tree to a checked configuration, or to everything that is wrong with it. Knows neither syntax nor objects;
//! it leads through the steps.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    cross,
    diagnostic::{Diagnostic, Place},
    document::Document,
    manifest,
    memo::{Load, Memo},
    merge,
    named::Named,
    patch::{Last, patch},
    render::Origins,
    secret::Environment,
    spec::Spec,
};
use crate::source::{Layer, ReadError, Tree, is_document, is_module};

/// What came of a tree.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration; `None` where anything is an error.
    pub spec: Option<Arc<Spec>>,
    /// Paths of the modules and secrets that documents name, sorted. Where the source was not asked for all of them
    /// yet, ask it and load again: until then secrets are empty and modules are taken to be there.
    pub wanted: Vec<Arc<str>>,
    /// What was found, by place; at most [`DIAGNOSTICS_MAX`], errors before warnings where there are more.
    pub diagnostics: Vec<Diagnostic>,
}

/// How many findings one load reports.
pub const DIAGNOSTICS_MAX: usize = 1000;

/// Reads and checks a tree; secrets come from the tree and the variables of the process. What did not change since
/// the last load with the same `memo` is the same object.
pub fn load(tree: &Tree, memo: &mut Memo) -> Checked {
    load_with(tree, memo, &|name| std::env::var(name).ok())
}

/// The same, with the environment's variables from `variable`.
pub fn load_with(tree: &Tree, memo: &mut Memo, variable: &dyn Fn(&str) -> Option<String>) -> Checked {
    let nothing_kept = BTreeMap::new();
    let environment = Environment { variable, tree, secrets: &nothing_kept };
    if let Some(checked) = patch(memo, tree, &environment) {
        return checked;
    }
    let mut found = Vec::new();
    let previous = std::mem::take(&mut memo.listeners);
    let mut load = memo.load();
    let layers: Vec<Vec<(Arc<str>, Arc<Document>)>> =
        tree.layers.iter().map(|layer| documents(layer, &mut load)).collect();
    let documents = || layers.iter().flatten();
    nothing(tree, &layers, &mut found);
    documents().for_each(|(_, document)| found.extend(document.diagnostics.iter().cloned()));
    let hides_objects = |document: &Document| document.broken || (document.empty && documents().count() == 1);
    let broken = documents().any(|(_, document)| hides_objects(document)) || has_read_error(tree);
    let broken = broken || documents().next().is_none();

    let mut translated = manifest::translate(&layers);
    let of_manifests = translated.as_mut().map(|translated| {
        found.append(&mut translated.diagnostics);
        Document { objects: std::mem::take(&mut translated.objects), ..Document::default() }
    });
    let secrets = translated.map(|translated| translated.secrets).unwrap_or_default();
    let environment = Environment { variable, tree, secrets: &secrets };
    let mut by_layer: Vec<Vec<&Document>> =
        layers.iter().map(|layer| layer.iter().map(|(_, document)| &**document).collect()).collect();
    // After all that people wrote in the native form, and beside it: no name of theirs is taken over in silence.
    by_layer.last_mut().into_iter().for_each(|layer| layer.extend(&of_manifests));
    let objects = merge::merge(by_layer.into_iter(), &mut found);
    let outcomes: Vec<cross::Checked> =
        objects.iter().map(|object| (Arc::clone(object), load.outcome(object, &environment))).collect();
    load.finish();
    outcomes.iter().for_each(|(_, outcome)| found.extend(outcome.diagnostics.iter().cloned()));
    let spec = cross::assemble(&outcomes, tree, broken, &previous, &mut found);
    let spec = Spec { origins: Origins(objects.into()), ..spec };
    memo.listeners.clone_from(&spec.listeners);

    let spec = Arc::new(spec);
    let modules = Named::of(outcomes.iter().map(|(_, outcome)| &**outcome));
    let wanted = modules.wanted(outcomes.iter().flat_map(|(_, outcome)| &outcome.secrets).map(|(secret, _)| secret));
    unreadable(tree, &wanted, &mut found);
    let read = (&layers[..], of_manifests.as_ref());
    memo.last = found.is_empty().then(|| Last::of(tree, (&spec, &wanted, modules), read, &outcomes, secrets));
    let refused = found.iter().any(Diagnostic::is_error);
    Checked { spec: (!refused).then_some(spec), wanted, diagnostics: sorted(found) }
}

/// How diagnostics call an entry of a layer.
pub(crate) fn label(layer: &Layer, path: &str) -> Arc<str> {
    let source = &*layer.source;
    if source == path || source.strip_suffix(path).is_some_and(|stem| stem.ends_with('/')) {
        return Arc::clone(&layer.source);
    }
    format!("{}/{path}", source.strip_suffix('/').unwrap_or(source)).into()
}

fn documents(layer: &Layer, load: &mut Load<'_>) -> Vec<(Arc<str>, Arc<Document>)> {
    let entries = layer.entries.iter().filter(|(path, _)| is_document(path));
    entries
        .filter_map(|(path, entry)| {
            let entry = entry.as_ref().ok()?;
            let key = (Arc::clone(&layer.source), Arc::clone(path));
            Some((Arc::clone(path), load.document(key, entry, || label(layer, path))))
        })
        .collect()
}

fn has_read_error(tree: &Tree) -> bool {
    tree.layers.iter().flat_map(|layer| &layer.entries).any(|(path, entry)| is_document(path) && entry.is_err())
}

/// Reports documents that hold nothing: an error where nothing else is there, since a file cut short is never taken
/// for an empty configuration.
fn nothing(tree: &Tree, layers: &[Vec<(Arc<str>, Arc<Document>)>], found: &mut Vec<Diagnostic>) {
    let total: usize = layers.iter().map(Vec::len).sum();
    if total == 0 && !has_read_error(tree) {
        let sources: Vec<&str> = tree.layers.iter().map(|layer| &*layer.source).collect();
        let what = match &sources[..] {
            [] => "there is no configuration".to_owned(),
            sources => format!("there is no document in {}", sources.join(", ")),
        };
        let hint = "documents end in `.yaml`, `.yml` or `.json`";
        found.push(Diagnostic::error("no-documents", what).hint(hint));
    }
    let all = layers.iter().flatten().all(|(_, document)| document.empty);
    for (layer, documents) in tree.layers.iter().zip(layers) {
        for (path, _) in documents.iter().filter(|(_, document)| document.empty) {
            let place = start(label(layer, path));
            let what = "this document is empty";
            found.push(if all {
                let hint = "an empty file is never taken for an empty configuration; write at least a listener";
                Diagnostic::error("empty-document", what).at(place).hint(hint)
            } else {
                Diagnostic::warning("empty-document", what).at(place).hint("remove it, or fill it in")
            });
        }
    }
}

/// Reports what the source could not read, wanted entries aside: what names those reports them.
fn unreadable(tree: &Tree, wanted: &[Arc<str>], found: &mut Vec<Diagnostic>) {
    for layer in &tree.layers {
        for (path, entry) in &layer.entries {
            let Err(ReadError(why)) = entry else { continue };
            if is_document(path) || !(is_module(path) || wanted.binary_search(path).is_ok()) {
                let label = label(layer, path);
                let what = format!("`{label}` cannot be read: {why}");
                let hint = "a part that cannot be read is never left out; make it readable, or remove it";
                found.push(Diagnostic::error("unreadable", what).at(start(label)).hint(hint));
            }
        }
    }
}

fn start(file: Arc<str>) -> Place {
    Place { file, line: 1, column: 1, length: 1 }
}

/// By place, those without one first; the same finding at the same place once.
fn sorted(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let more = found.len().saturating_sub(DIAGNOSTICS_MAX);
    if more > 0 {
        found.sort_by_key(|diagnostic| diagnostic.severity);
        found.truncate(DIAGNOSTICS_MAX);
    }
    let mut seen: HashMap<(Option<Place>, &'static str, String), ()> = HashMap::new();
    found.retain(|found| seen.insert((found.at.clone(), found.code, found.message.clone()), ()).is_none());
    found.sort_by(|one, other| one.at.cmp(&other.at));
    if more > 0 {
        found.push(Diagnostic::warning("too-many", format!("{more} more findings are not shown")));
    }
    found
}
