//! Load: from sources to a checked specification with its modules. The same path for start, reload, dry run and check.

use std::{sync::Arc, time::Instant};

use super::{
    Course,
    sources::Sources,
    status::{Phase, Phases},
};
use crate::{
    config::{self, Memo, diagnostic::Diagnostic, report, spec::Spec},
    fetch::{Fetcher, Missing},
    identity::{Identity, Sum},
    resolve::{self, Modules},
    source::{Layer, Tree},
};

// A document may name a module, and nothing that is named names more: two rounds are enough, one is to spare.
const ROUNDS_MAX: usize = 3;

/// A tree that passed every check that needs no engine.
#[derive(Clone)]
pub(super) struct Loaded {
    /// What the sources held.
    pub(super) tree: Tree,
    /// The hash of the tree.
    pub(super) identity: Identity,
    /// What each layer holds, and its hash.
    pub(super) layers: Vec<Identity>,
    sums: Vec<Sum>,
    /// What it says.
    pub(super) spec: Arc<Spec>,
    /// The modules that it names. The same object as long as plugins, tables and modules are the same.
    pub(super) modules: Arc<Modules>,
    /// Findings that do not refuse it.
    pub(super) warnings: Vec<Diagnostic>,
    /// Which layers are the last good ones, and why.
    pub(super) degraded: Vec<String>,
}

/// A tree that did not pass.
pub(super) struct Refused {
    pub(super) tree: Tree,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether it may pass as it is when it is tried again: somebody else did not answer.
    pub(super) passing: bool,
}

/// Reads `sources` until the tree holds all that its documents name, and checks it; what is as in the load before is taken from
/// there.
pub(super) async fn load(
    sources: &mut Sources,
    (memo, before, fetcher): (&mut Memo, Option<&Loaded>, &Fetcher),
    course: &mut Course,
) -> Result<Loaded, Refused> {
    let (parsed, objects) = (memo.parsed_files, memo.checked_objects);
    let mut round = 1;
    loop {
        let began = Instant::now();
        let tree = sources.read(round > 1).await;
        course.phases.add(Phase::Read, began.elapsed());
        let began = Instant::now();
        let checked = config::load(&tree, memo);
        course.phases.add(Phase::Check, began.elapsed());
        course.work.parsed_files = memo.parsed_files - parsed;
        course.work.checked_objects = memo.checked_objects - objects;
        if !sources.want(&checked.wanted) || round == ROUNDS_MAX {
            let finished = finish((tree, checked), before, fetcher, &mut course.phases).await;
            return finished.map(|loaded| Loaded { degraded: sources.degraded(), ..loaded });
        }
        round += 1;
    }
}

/// The last good tree, checked; `None` where a start does not go on with it.
///
/// # Errors
/// Why there is none, or why this version of the gateway would not take it.
pub(super) async fn last_good(sources: &mut Sources, fetcher: &Fetcher) -> Option<Result<Loaded, String>> {
    let restored = match sources.last_good()? {
        Ok(restored) => restored,
        Err(why) => return Some(Err(why)),
    };
    let degraded = format!("the sources hold what is refused; the last good tree of {} serves", restored.kept_at);
    Some(match check(restored.tree.clone(), fetcher).await {
        Ok(loaded) => Ok(Loaded { degraded: vec![degraded], ..loaded }),
        Err(Refused { tree, diagnostics, .. }) => {
            Err(format!("the last good tree is refused, too\n{}", report::text(&diagnostics, &tree, false)))
        }
    })
}

/// Checks a tree that came from elsewhere, whole.
pub(super) async fn check(tree: Tree, fetcher: &Fetcher) -> Result<Loaded, Refused> {
    let checked = config::load(&tree, &mut Memo::default());
    finish((tree, checked), None, fetcher, &mut Phases::default()).await
}

async fn finish(
    (tree, checked): (Tree, config::Checked),
    before: Option<&Loaded>,
    fetcher: &Fetcher,
    phases: &mut Phases,
) -> Result<Loaded, Refused> {
    let mut diagnostics = checked.diagnostics;
    let Some(spec) = checked.spec else { return Err(Refused { tree, diagnostics, passing: false }) };
    let began = Instant::now();
    let modules = match before.filter(|before| resolve::is_same((&before.spec, &before.tree), (&spec, &tree))) {
        Some(before) => Ok(Arc::clone(&before.modules)),
        None => modules(&spec, &tree, fetcher).await.map(Arc::new),
    };
    let sums: Vec<_> = tree.layers.iter().enumerate().map(|(at, layer)| summed(at, layer, before)).collect();
    let layers: Vec<_> = sums.iter().map(Sum::identity).collect();
    let identity = Tree::identity_of(&layers);
    phases.add(Phase::Resolve, began.elapsed());
    match modules {
        Ok(modules) => {
            Ok(Loaded { tree, identity, layers, sums, spec, modules, warnings: diagnostics, degraded: Vec::new() })
        }
        Err(Missing { diagnostics: missing, passing }) => {
            diagnostics.extend(missing);
            Err(Refused { tree, diagnostics, passing })
        }
    }
}

// From what the layer was, where that is known.
fn summed(at: usize, layer: &Layer, before: Option<&Loaded>) -> Sum {
    let known = before.and_then(|before| Some((before.tree.layers.get(at)?, before.sums.get(at)?)));
    known.map_or_else(|| layer.sum(), |(before, sum)| layer.sum_from(before, *sum))
}

// Those of the tree, and those that are fetched. What the tree lacks is said first: nobody is asked in vain.
async fn modules(spec: &Spec, tree: &Tree, fetcher: &Fetcher) -> Result<Modules, Missing> {
    let found = resolve::modules(spec, tree);
    let mut modules = found.map_err(|diagnostics| Missing { diagnostics, passing: false })?;
    fetcher.complete(spec, &mut modules).await?;
    Ok(modules)
}
