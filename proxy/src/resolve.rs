//! Resolve: finds the bytes of the modules that a specification names, in the tree that it was read from. Those that are
//! elsewhere are not its business.
//! Reads nothing itself: what a tree lacks was asked of its sources before.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::{
        diagnostic::{Diagnostic, Place},
        spec::{Middleware, Part, Spec, Table},
    },
    source::{Entry, Tree},
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
