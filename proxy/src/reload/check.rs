//! What is asked of a configuration without serving it: whether it would be taken, and which modules it names.

use std::sync::Arc;

use super::{
    course::Course,
    load::{self, Loaded},
    sources::Sources,
    status::Trigger,
};
use crate::{
    compile::Compiler,
    config::{self, Memo, diagnostic::Diagnostic},
    fetch::Fetcher,
    source::{Entry, Source, Tree, is_module},
};

/// Checks what `sources` hold as a start would, modules included, and serves nothing. Answers with all findings and
/// the tree that they are about.
pub async fn check(
    sources: Vec<Box<dyn Source>>,
    mut compiler: Compiler,
    fetcher: &Fetcher,
) -> (Vec<Diagnostic>, Tree) {
    let mut course = Course::new(Trigger::Start, true);
    match load::load(&mut Sources::new(sources, None), (&mut Memo::default(), None, fetcher), &mut course).await {
        Ok(loaded) => findings(&mut compiler, loaded).await,
        Err(refused) => (refused.diagnostics, refused.tree),
    }
}

/// The modules that the documents of `sources` name, by path, whether or not the documents are right in all else. What
/// cannot be read is left out.
pub async fn modules(sources: Vec<Box<dyn Source>>) -> Vec<(Arc<str>, Entry)> {
    let mut sources = Sources::new(sources, None);
    let mut tree = sources.read(false).await;
    let wanted = config::load(&tree, &mut Memo::default()).wanted;
    if sources.want(&wanted) {
        tree = sources.read(true).await;
    }
    let layers = tree.layers.iter().rev();
    let found = |path: &Arc<str>| layers.clone().find_map(|layer| layer.entries.get(path)?.as_ref().ok().cloned());
    wanted.iter().filter(|path| is_module(path)).filter_map(|path| Some((Arc::clone(path), found(path)?))).collect()
}

/// What a checked tree says of itself, with what its modules and plugins add.
pub(super) async fn findings(compiler: &mut Compiler, loaded: Loaded) -> (Vec<Diagnostic>, Tree) {
    let compiled = compiler.compile(&loaded.spec, &loaded.modules, None).await;
    let mut findings = loaded.warnings;
    findings.extend(compiled.map_or_else(|errors| errors, |compiled| compiled.warnings));
    (findings, loaded.tree)
}
