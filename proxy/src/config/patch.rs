//! A change of few documents, taken over into the configuration before it. Where each changed object stands where it stood
//! and shows to the others what it showed, these objects alone are read and checked, however many there are beside them.
//! What is not plainly so is left to the whole way, which comes to the same. Knows neither syntax nor sources.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use imbl::ordmap::DiffItem;

use super::{
    check::{Outcome, Value},
    cross,
    diagnostic::Place,
    document::{Kind, Object},
    load::{Checked, label},
    memo::Memo,
    secret::{Environment, Reference},
    spec::{Name, Part, Route, Spec},
};
use crate::{
    identity::Identity,
    source::{Entry, Tree, is_document},
};

/// With more documents than this, the whole way is as short.
const DOCUMENTS_MAX: usize = 64;

/// A configuration in which there was nothing to find, and what has to be known of it to change a part.
#[derive(Debug)]
pub(super) struct Last {
    tree: Tree,
    spec: Arc<Spec>,
    wanted: Vec<Arc<str>>,
    places: HashMap<(Kind, Name), Stand, RandomState>,
    secrets: BTreeMap<Reference, Identity>,
    /// What manifests of the kind `Secret` hold: they are as they were.
    kept: BTreeMap<Arc<str>, Arc<str>>,
    /// Of upstreams that are named in place: the objects that do, by their place. The first one's counts.
    users: HashMap<Name, BTreeSet<usize>, RandomState>,
}

/// Where an object stands: among all objects, and among the routes.
#[derive(Clone, Copy, Debug)]
struct Stand {
    object: usize,
    route: usize,
}

/// A route without a target, and the place that says so.
type Aimless = (Arc<Part<Route>>, Option<Place>);

/// What `tree` says, if it can be told from what it said last.
pub(super) fn patch(memo: &mut Memo, tree: &Tree, environment: &Environment<'_>) -> Option<Checked> {
    let mut last = memo.last.take()?;
    let changed = last.changed(tree)?;
    let kept = std::mem::take(&mut last.kept);
    let environment = &Environment { secrets: &kept, ..*environment };
    if !last.secrets.iter().all(|(secret, print)| secret.fingerprint(environment) == *print) {
        return None;
    }
    let mut pairs = Vec::new();
    for (layer, path, entry) in changed {
        let layer = &tree.layers[layer];
        let key = (Arc::clone(&layer.source), Arc::clone(path));
        let (before, now) = memo.read_again(key, entry, || label(layer, path))?;
        let clean = !now.broken && !now.empty && now.diagnostics.is_empty();
        // What manifests come to depends on all of them.
        let has_manifests = !(before.manifests.is_empty() && now.manifests.is_empty());
        if !clean || has_manifests || before.objects.len() != now.objects.len() {
            return None;
        }
        pairs.extend(before.objects.iter().cloned().zip(now.objects.iter().cloned()));
    }
    let spec = last.edited(memo, pairs, environment)?;
    last.kept = kept;
    (last.tree, last.spec) = (tree.clone(), Arc::new(spec));
    let checked = Checked { spec: Some(Arc::clone(&last.spec)), wanted: last.wanted.clone(), diagnostics: Vec::new() };
    memo.last = Some(last);
    memo.patched += 1;
    Some(checked)
}

impl Last {
    /// What there is to know of a tree without a finding.
    pub(super) fn of(
        tree: &Tree,
        (spec, wanted): (&Arc<Spec>, &[Arc<str>]),
        objects: &[cross::Checked],
        kept: BTreeMap<Arc<str>, Arc<str>>,
    ) -> Self {
        let mut last = Self {
            tree: tree.clone(),
            spec: Arc::clone(spec),
            wanted: wanted.to_vec(),
            places: HashMap::with_capacity_and_hasher(objects.len(), RandomState::default()),
            secrets: BTreeMap::new(),
            kept,
            users: HashMap::default(),
        };
        let mut route = 0;
        for (at, (object, outcome)) in objects.iter().enumerate() {
            last.places.insert((object.kind, Arc::clone(&object.name)), Stand { object: at, route });
            route += usize::from(object.kind == Kind::Route);
            last.secrets.extend(outcome.secrets.iter().cloned());
            for (name, _) in &outcome.upstreams {
                last.users.entry(Arc::clone(name)).or_default().insert(at);
            }
        }
        last
    }

    /// The documents that are other ones in `tree`, by layer and path. `None` where anything else is.
    fn changed<'t>(&self, tree: &'t Tree) -> Option<Vec<(usize, &'t Arc<str>, &'t Entry)>> {
        let sources = |tree: &Tree| tree.layers.iter().map(|layer| Arc::clone(&layer.source)).collect::<Vec<_>>();
        if sources(&self.tree) != sources(tree) {
            return None;
        }
        let mut changed = Vec::new();
        for (at, (before, now)) in self.tree.layers.iter().zip(&tree.layers).enumerate() {
            for difference in before.entries.diff(&now.entries) {
                match difference {
                    DiffItem::Update { new: (path, Ok(entry)), .. } if is_document(path) => {
                        changed.push((at, path, entry));
                    }
                    // A module: that it is there is all that counts.
                    DiffItem::Update { new: (_, Ok(_)), old: (_, Ok(_)) } => {}
                    _ => return None,
                }
                if changed.len() > DOCUMENTS_MAX {
                    return None;
                }
            }
        }
        Some(changed)
    }

    /// The configuration with these objects in the place of those before them.
    fn edited(
        &mut self,
        memo: &mut Memo,
        pairs: Vec<(Arc<Object>, Arc<Object>)>,
        environment: &Environment<'_>,
    ) -> Option<Spec> {
        let mut spec = Spec::clone(&self.spec);
        let mut aimless: Vec<Aimless> = Vec::new();
        let mut aimed = BTreeSet::new();
        for (before, now) in pairs {
            if (before.kind, &before.name) != (now.kind, &now.name) {
                return None;
            }
            let stand = *self.places.get(&(now.kind, Arc::clone(&now.name)))?;
            if !Arc::ptr_eq(spec.origins.0.get(stand.object)?, &before) {
                // A later layer defines it again.
                continue;
            }
            let name = Arc::clone(&now.name);
            let (old, new) = memo.check_again(&now, environment)?;
            spec.origins.0.set(stand.object, now);
            if Arc::ptr_eq(&old, &new) {
                continue;
            }
            self.shows_the_same(&old, &new).then_some(())?;
            replace_steps(&mut spec, &old, &new, |name| self.defines(Kind::Middleware, name))?;
            aimed.extend(self.aim(stand.object, &old, &new));
            match new.value.clone()? {
                Value::Route(part, place) => {
                    aimless.push((Arc::clone(&part), place));
                    spec.routes.set(stand.route, part);
                }
                Value::Upstream(part) => drop(spec.upstreams.insert(name, part)),
                Value::Middleware(part) => drop(spec.middleware.insert(name, part)),
                Value::Setting(..) | Value::Listener(_) | Value::Table(_) => return None,
            }
        }
        for name in aimed {
            self.upstream_in_place(&mut spec, memo, &name)?;
        }
        let leads = |(route, place): &Aimless| place.is_none() || cross::answers(route, &spec);
        aimless.iter().all(leads).then_some(spec)
    }

    /// Whether no other object, and no check of objects with each other, can tell the two apart.
    fn shows_the_same(&self, old: &Outcome, new: &Outcome) -> bool {
        let modules = |outcome: &Outcome| outcome.modules.iter().map(|(path, _)| Arc::clone(path)).collect::<Vec<_>>();
        let seen = match (&old.value, &new.value) {
            (Some(Value::Route(old, _)), Some(Value::Route(new, _))) => {
                old.listeners == new.listeners && old.hosts == new.hosts && old.matches == new.matches
            }
            (Some(Value::Upstream(_)), Some(Value::Upstream(_))) => true,
            (Some(Value::Middleware(old)), Some(Value::Middleware(new))) => {
                old.answers().is_some() && old.answers() == new.answers()
            }
            _ => false,
        };
        let chains = new.middleware.iter().any(|(_, part)| part.answers().is_none());
        seen && !chains
            && new.diagnostics.is_empty()
            && new.secrets == old.secrets
            && modules(new) == modules(old)
            && new.mentions.iter().all(|mention| self.defines(mention.kind, &mention.name))
    }

    fn defines(&self, kind: Kind, name: &Name) -> bool {
        self.places.contains_key(&(kind, Arc::clone(name)))
    }

    /// Notes which upstreams an object names in place now. Answers with those of before and now.
    fn aim(&mut self, object: usize, old: &Outcome, new: &Outcome) -> Vec<Name> {
        let names = |outcome: &Outcome| outcome.upstreams.iter().map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>();
        for name in names(old) {
            if let Some(users) = self.users.get_mut(&name) {
                users.remove(&object);
            }
        }
        for name in names(new) {
            self.users.entry(name).or_default().insert(object);
        }
        let mut both = names(old);
        both.extend(names(new));
        both
    }

    /// Puts in the upstream that the first object which names it in place means; takes it out where there is none.
    fn upstream_in_place(&mut self, spec: &mut Spec, memo: &Memo, name: &Name) -> Option<()> {
        if self.defines(Kind::Upstream, name) {
            return Some(());
        }
        let Some(first) = self.users.get(name).and_then(BTreeSet::first) else {
            self.users.remove(name);
            spec.upstreams.remove(name);
            return Some(());
        };
        let outcome = memo.outcome_of(spec.origins.0.get(*first)?)?;
        let (_, part) = outcome.upstreams.iter().find(|(own, _)| own == name)?;
        spec.upstreams.insert(Arc::clone(name), Arc::clone(part));
        Some(())
    }
}

/// Puts the steps that an object defines in place where those of before were. `None` where another object has one of
/// their names.
fn replace_steps(spec: &mut Spec, old: &Outcome, new: &Outcome, defined: impl Fn(&Name) -> bool) -> Option<()> {
    for (name, part) in &old.middleware {
        let own = spec.middleware.get(name).is_some_and(|known| Arc::ptr_eq(known, part));
        if !own || defined(name) {
            return None;
        }
        spec.middleware.remove(name);
    }
    for (name, part) in &new.middleware {
        if defined(name) || spec.middleware.insert(Arc::clone(name), Arc::clone(part)).is_some() {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
