//! Resolve: finds the bytes of the modules that a specification names, in the tree that it was read from. Those that are
//! elsewhere are not its business.
//! Reads nothing itself: what a tree lacks was asked of its sources before.

use std::{collections::BTreeMap, sync::Arc};

use imbl::ordmap::DiffItem;

use crate::{
    config::{
        diagnostic::{Diagnostic, Place},
        spec::{Middleware, Part, Spec, Table},
    },
    source::{Entry, Tree, is_document},
};

/// The modules of a specification, by path.
pub type Modules = BTreeMap<Arc<str>, Entry>;

/// Finds every module of the tree that `spec` names. Later layers come first.
///
/// # Errors
/// One finding for each use of a module that no layer has.
pub fn modules(spec: &Spec, tree: &Tree) -> Result<Modules, Vec<Diagnostic>> {
    let mut found = Modules::new();
    let mut missing = Vec::new();
    let plugins = spec.middleware.iter().filter_map(|(name, part)| match &part.value {
        Middleware::Plugin(plugin) if plugin.module_terms.remote.is_none() => {
            Some(("middleware", name, &plugin.module, &plugin.module_place, &part.place))
        }
        _ => None,
    });
    let tables = spec.tables.iter().filter(|(_, part)| part.module_terms.remote.is_none());
    let table = |(name, part)| {
        let (name, part): (_, &Arc<Part<Table>>) = (name, part);
        ("table", name, &part.module, &part.module_place, &part.place)
    };
    for (noun, name, module, place, around) in plugins.chain(tables.map(table)) {
        match find(tree, module) {
            Ok(entry) => drop(found.insert(Arc::clone(module), entry.clone())),
            Err(why) => {
                let place = place.as_ref().unwrap_or(around).clone();
                missing.push(lacks(&format!("{noun} `{name}`"), module, &why, place));
            }
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Whether both of two configurations, each with the tree that it was read from, name the same modules for the same ends, and have
/// the same ones. Looks at what differs alone.
pub fn is_same((before, old): (&Spec, &Tree), (now, new): (&Spec, &Tree)) -> bool {
    let tables = |spec: &Spec| spec.tables.values().map(Arc::as_ptr).collect::<Vec<_>>();
    let layers = || old.layers.iter().zip(&new.layers);
    old.layers.len() == new.layers.len()
        && before.gateway.modules == now.gateway.modules
        && tables(before) == tables(now)
        && !layers()
            .any(|(old, new)| old.entries.diff(&new.entries).any(|difference| !is_document(path_of(&difference))))
        && !before.middleware.diff(&now.middleware).any(|difference| is_of_plugin(&difference))
}

// What is no document is there because a document names it.
fn path_of<'a, V>(difference: &DiffItem<'a, 'a, Arc<str>, V>) -> &'a str {
    match difference {
        DiffItem::Add(path, _) | DiffItem::Remove(path, _) | DiffItem::Update { new: (path, _), .. } => path,
    }
}

fn is_of_plugin<N>(difference: &DiffItem<'_, '_, N, Arc<Part<Middleware>>>) -> bool {
    let is_plugin = |part: &Arc<Part<Middleware>>| matches!(part.value, Middleware::Plugin(_));
    match difference {
        DiffItem::Add(_, part) | DiffItem::Remove(_, part) => is_plugin(part),
        DiffItem::Update { old: (_, old), new: (_, new) } => is_plugin(old) || is_plugin(new),
    }
}

fn find<'a>(tree: &'a Tree, path: &str) -> Result<&'a Entry, String> {
    let mut why = None;
    for layer in tree.layers.iter().rev() {
        match layer.entries.get(path) {
            Some(Ok(entry)) => return Ok(entry),
            Some(Err(error)) => why = why.or_else(|| Some(error.to_string())),
            None => {}
        }
    }
    Err(why.unwrap_or_else(|| "no such file".to_owned()))
}

fn lacks(what: &str, module: &str, why: &str, place: Place) -> Diagnostic {
    Diagnostic::error("missing-module", format!("{what}: the module `{module}` cannot be read: {why}"))
        .at(place)
        .hint("paths of modules start at the directory of the configuration; build the module or correct the path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Memo, load_with},
        source::Layer,
    };

    fn tree(entries: &[(&str, String)]) -> Tree {
        let entries = entries.iter().map(|(path, text)| (Arc::from(*path), Ok(Entry::new(text.clone()))));
        Tree { layers: vec![Layer { source: "test".into(), revision: 1, entries: entries.collect() }] }
    }

    // Every combination of a few variants of each file, each compared with each.
    #[test]
    fn what_is_the_same_has_the_same_modules_and_what_has_others_is_not() {
        let variants = |route: usize, plugin: usize, module: usize, table: usize| {
            tree(&[
                ("a.yaml", "listeners: {web: {address: '127.0.0.1:0'}}\nmiddleware: {b: {respond: {}}}\n".to_owned()),
                ("p.yaml", format!("middleware: {{p: {{module: m{}.wasm, config: {plugin}}}}}\n", plugin % 2)),
                (
                    "r.yaml",
                    format!("routes: [{{id: r, path: /{route}, middleware: [p, {{respond: {{body: '{route}'}}}}]}}]\n"),
                ),
                ("t.yaml", format!("tables: {{t: {{module: t.wasm, config: {table}}}}}\n")),
                ("m0.wasm", module.to_string()),
                ("m1.wasm", "one".to_owned()),
                ("t.wasm", "table".to_owned()),
            ])
        };
        let mut all = Vec::new();
        for number in 0..24 {
            let of = [number % 2, number / 2 % 3, number / 6 % 2, number / 12];
            let tree = variants(of[0], of[1], of[2], of[3]);
            // One memory for all of them: what did not change is the same object.
            all.push((of, tree));
        }
        let mut memo = Memo::default();
        let mut load = |tree: &Tree| {
            let checked = load_with(tree, &mut memo, &|_| None);
            checked.spec.unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
        };
        for (before, old) in &all {
            for (now, new) in &all {
                let (one, other) = (load(old), load(new));
                let same = is_same((&one, old), (&other, new));
                assert_eq!(same, before[1..] == now[1..], "{before:?} {now:?}");
                if same {
                    assert_eq!(modules(&one, old).unwrap(), modules(&other, new).unwrap());
                }
            }
        }
    }
}
