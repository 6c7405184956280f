//! A change of few documents, taken over into the configuration before it. Where each changed object stands where it stood
//! and shows to the others what it showed, these objects alone are read and checked, however many there are beside them; routes
//! may come and go, too. What is not plainly so is left to the whole way, which comes to the same. Knows neither syntax nor sources.

mod matched;
mod places;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use imbl::ordmap::DiffItem;

use self::{
    matched::Matched,
    places::{Places, Stand},
};
use super::{
    check::{Outcome, Value},
    cross,
    diagnostic::Place,
    document::{Document, Kind, Object},
    load::{Checked, label},
    memo::Memo,
    named::{Named, paths},
    secret::{Environment, Reference},
    spec::{HostPattern, Match, Name, Part, Route, Spec},
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
    places: Places,
    secrets: BTreeMap<Reference, Identity>,
    /// What manifests of the kind `Secret` hold: they are as they were.
    kept: BTreeMap<Arc<str>, Arc<str>>,
    /// Of upstreams that are named in place: the objects that do, by where they stand. The first one's counts.
    users: HashMap<Name, BTreeMap<Stand, (Kind, Name)>, RandomState>,
    matched: Matched,
    modules: Named,
}

/// A document that is another one.
struct Change<'t> {
    layer: usize,
    path: Arc<str>,
    was: bool,
    entry: Option<&'t Entry>,
}

/// What was in a document, and what is.
struct Edit {
    layer: usize,
    path: Arc<str>,
    before: Vec<Arc<Object>>,
    now: Vec<Arc<Object>>,
}

/// The documents of a layer, by their path.
type Documents = Vec<(Arc<str>, Arc<Document>)>;

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
    let mut edits = Vec::new();
    for Change { layer, path, was, entry } in changed {
        let of = &tree.layers[layer];
        let (before, now) = memo.read_again((Arc::clone(&of.source), Arc::clone(&path)), entry, || label(of, &path));
        if before.is_some() != was || !before.iter().chain(&now).all(|document| is_clean(document)) {
            return None;
        }
        let [before, now] = [before, now].map(|read| read.map_or_else(Vec::new, |document| document.objects.clone()));
        edits.push(Edit { layer, path, before, now });
    }
    let spec = Patch::of(&mut last, memo, environment).carry_out(&edits)?;
    last.kept = kept;
    (last.tree, last.spec) = (tree.clone(), Arc::new(spec));
    let checked = Checked { spec: Some(Arc::clone(&last.spec)), wanted: last.wanted.clone(), diagnostics: Vec::new() };
    memo.last = Some(last);
    memo.patched += 1;
    Some(checked)
}

// What manifests come to depends on all of them.
fn is_clean(document: &Document) -> bool {
    !document.broken && !document.empty && document.diagnostics.is_empty() && document.manifests.is_empty()
}

impl Last {
    /// What there is to know of a tree without a finding, of whose documents and manifests came what is `read`.
    pub(super) fn of(
        tree: &Tree,
        (spec, wanted, modules): (&Arc<Spec>, &[Arc<str>], Named),
        (layers, manifests): (&[Documents], Option<&Document>),
        objects: &[cross::Checked],
        kept: BTreeMap<Arc<str>, Arc<str>>,
    ) -> Self {
        let mut last = Self {
            tree: tree.clone(),
            spec: Arc::clone(spec),
            wanted: wanted.to_vec(),
            places: Places::of(layers, manifests),
            secrets: BTreeMap::new(),
            kept,
            users: HashMap::default(),
            matched: Matched::default(),
            modules,
        };
        for (object, outcome) in objects {
            last.secrets.extend(outcome.secrets.iter().cloned());
            last.aim(object, &Outcome::default(), outcome);
            if let Some(Value::Route(route, _)) = &outcome.value {
                last.matched.add(route, spec);
            }
        }
        last
    }

    /// The documents that are other ones in `tree`. `None` where anything else is.
    fn changed<'t>(&self, tree: &'t Tree) -> Option<Vec<Change<'t>>> {
        let sources = |tree: &Tree| tree.layers.iter().map(|layer| Arc::clone(&layer.source)).collect::<Vec<_>>();
        if sources(&self.tree) != sources(tree) {
            return None;
        }
        let mut changed = Vec::new();
        for (layer, (before, now)) in self.tree.layers.iter().zip(&tree.layers).enumerate() {
            for difference in before.entries.diff(&now.entries) {
                let (path, was, entry) = match difference {
                    DiffItem::Update { new: (path, Ok(entry)), .. } if is_document(path) => (path, true, Some(entry)),
                    DiffItem::Add(path, Ok(entry)) if is_document(path) => (path, false, Some(entry)),
                    DiffItem::Remove(path, Ok(_)) if is_document(path) => (path, true, None),
                    // A module: that it is there is all that counts, and of one that goes, that nobody names it.
                    DiffItem::Update { new: (_, Ok(_)), old: (_, Ok(_)) } | DiffItem::Add(_, Ok(_)) => continue,
                    DiffItem::Remove(path, Ok(_)) if !self.wanted.contains(path) => continue,
                    _ => return None,
                };
                if changed.len() == DOCUMENTS_MAX {
                    return None;
                }
                changed.push(Change { layer, path: Arc::clone(path), was, entry });
            }
        }
        Some(changed)
    }

    /// Whether no other object, and no check of objects with each other but for what routes match, can tell the two apart.
    fn shows_the_same(&self, old: &Outcome, new: &Outcome) -> bool {
        let seen = match (&old.value, &new.value) {
            (Some(Value::Route(..)), Some(Value::Route(..))) => true,
            (Some(Value::Upstream(_)), Some(Value::Upstream(_))) => true,
            (Some(Value::Middleware(old)), Some(Value::Middleware(new))) => {
                old.answers().is_some() && old.answers() == new.answers()
            }
            _ => false,
        };
        seen && new.secrets == old.secrets && self.is_whole(new)
    }

    /// Whether nothing is wrong with it, all that it names is there, and it defines no chain.
    fn is_whole(&self, new: &Outcome) -> bool {
        new.diagnostics.is_empty()
            && !new.middleware.iter().any(|(_, part)| part.answers().is_none())
            && new.mentions.iter().all(|mention| self.defines(mention.kind, &mention.name))
    }

    fn defines(&self, kind: Kind, name: &Name) -> bool {
        self.places.get(kind, name).is_some()
    }

    /// Notes which modules an object names now. `None` where one of them is known to be missing.
    fn name(&mut self, old: &Outcome, new: &Outcome, tree: &Tree) -> Option<()> {
        if paths(old).eq(paths(new)) {
            return Some(());
        }
        if paths(new).any(|path| cross::missing(path, tree).is_some()) {
            return None;
        }
        self.modules.remove(old);
        self.modules.add(new);
        self.wanted = self.modules.wanted(self.secrets.keys());
        Some(())
    }

    /// Notes which upstreams an object names in place now. Answers with those of before and now.
    fn aim(&mut self, object: &Object, old: &Outcome, new: &Outcome) -> Vec<Name> {
        let Some(stand) = self.places.get(object.kind, &object.name).cloned() else { return Vec::new() };
        for (name, _) in &old.upstreams {
            if let Some(users) = self.users.get_mut(name) {
                users.remove(&stand);
            }
        }
        for (name, _) in &new.upstreams {
            let users = self.users.entry(Arc::clone(name)).or_default();
            users.insert(stand.clone(), (object.kind, Arc::clone(&object.name)));
        }
        old.upstreams.iter().chain(&new.upstreams).map(|(name, _)| Arc::clone(name)).collect()
    }
}

/// A configuration on its way from the last one to the next.
struct Patch<'a> {
    last: &'a mut Last,
    memo: &'a mut Memo,
    environment: &'a Environment<'a>,
    spec: Spec,
    aimless: Vec<Aimless>,
    /// Upstreams that changed objects name in place, or named.
    aimed: BTreeSet<Name>,
}

impl<'a> Patch<'a> {
    fn of(last: &'a mut Last, memo: &'a mut Memo, environment: &'a Environment<'a>) -> Self {
        let spec = Spec::clone(&last.spec);
        Self { last, memo, environment, spec, aimless: Vec::new(), aimed: BTreeSet::new() }
    }

    /// The configuration with what is there now in the place of what was.
    fn carry_out(mut self, edits: &[Edit]) -> Option<Spec> {
        let name = |object: &Arc<Object>| (object.kind, Arc::clone(&object.name));
        let is_alike = |edit: &&Edit| edit.before.iter().map(name).eq(edit.now.iter().map(name));
        let (alike, others): (Vec<_>, Vec<_>) = edits.iter().partition(is_alike);
        // What goes first makes room for what comes.
        for Edit { layer, path, before, .. } in &others {
            before.iter().try_for_each(|object| self.leave((*layer, &**path), object))?;
        }
        for Edit { layer, path, now, .. } in alike {
            now.iter().try_for_each(|object| self.replace((*layer, &**path), object))?;
        }
        for Edit { layer, path, now, .. } in &others {
            let mut objects = now.iter().enumerate();
            objects.try_for_each(|(at, object)| self.come(Stand::new(*layer, Arc::clone(path), at), object))?;
        }
        for name in std::mem::take(&mut self.aimed) {
            self.upstream_in_place(&name)?;
        }
        let leads = |(route, place): &Aimless| place.is_none() || cross::answers(route, &self.spec);
        self.aimless.iter().all(leads).then_some(self.spec)
    }

    /// An object has another one in its place.
    fn replace(&mut self, (layer, path): (usize, &str), now: &Arc<Object>) -> Option<()> {
        let stand = self.last.places.get(now.kind, &now.name)?.clone();
        if !stand.is_in(layer, path) {
            // A later layer defines it again.
            return Some(());
        }
        let (old, new) = self.memo.check_again(now, self.environment)?;
        self.spec.origins.0.set(self.last.places.object(&self.spec.origins.0, &stand).ok()?, Arc::clone(now));
        if Arc::ptr_eq(&old, &new) {
            return Some(());
        }
        self.last.shows_the_same(&old, &new).then_some(())?;
        self.last.name(&old, &new, self.environment.tree)?;
        self.replace_steps(&old, &new)?;
        self.aimed.extend(self.last.aim(now, &old, &new));
        let name = Arc::clone(&now.name);
        match new.value.clone()? {
            Value::Route(part, place) => {
                let at = self.last.places.route(&self.spec.routes, &stand).ok()?;
                let before = self.spec.routes.set(at, Arc::clone(&part));
                self.matches(Some(&before), Some(&part))?;
                self.aimless.push((part, place));
            }
            Value::Upstream(part) => drop(self.spec.upstreams.insert(name, part)),
            Value::Middleware(part) => drop(self.spec.middleware.insert(name, part)),
            Value::Setting(..) | Value::Listener(_) | Value::Table(_) => return None,
        }
        Some(())
    }

    /// A route goes.
    fn leave(&mut self, (layer, path): (usize, &str), object: &Arc<Object>) -> Option<()> {
        let places = &self.last.places;
        let stand = places.get(object.kind, &object.name).filter(|stand| stand.is_in(layer, path))?.clone();
        let at = places.object(&self.spec.origins.0, &stand).ok()?;
        let old = self.memo.forget(object).filter(|old| old.secrets.is_empty())?;
        let Some(Value::Route(part, _)) = &old.value else { return None };
        let route = places.route(&self.spec.routes, &stand).ok()?;
        self.spec.origins.0.remove(at);
        self.spec.routes.remove(route);
        self.last.name(&old, &Outcome::default(), self.environment.tree)?;
        self.replace_steps(&old, &Outcome::default())?;
        self.matches(Some(part), None)?;
        self.aimed.extend(self.last.aim(object, &old, &Outcome::default()));
        self.last.places.remove(object.kind, &object.name)
    }

    /// A route comes.
    fn come(&mut self, stand: Stand, object: &Arc<Object>) -> Option<()> {
        (!self.last.defines(object.kind, &object.name)).then_some(())?;
        let new = self.memo.check_new(object, self.environment);
        (self.last.is_whole(&new) && new.secrets.is_empty()).then_some(())?;
        let Value::Route(part, place) = new.value.clone()? else { return None };
        let places = &self.last.places;
        let at = places.object(&self.spec.origins.0, &stand).err()?;
        let route = places.route(&self.spec.routes, &stand).err()?;
        self.spec.origins.0.insert(at, Arc::clone(object));
        self.spec.routes.insert(route, Arc::clone(&part));
        self.last.places.note(object, stand);
        self.last.name(&Outcome::default(), &new, self.environment.tree)?;
        self.replace_steps(&Outcome::default(), &new)?;
        self.matches(None, Some(&part))?;
        self.aimed.extend(self.last.aim(object, &Outcome::default(), &new));
        self.aimless.push((part, place));
        Some(())
    }

    /// Notes what a route matches now. `None` where another matches some of it.
    fn matches(&mut self, old: Option<&Route>, new: Option<&Route>) -> Option<()> {
        if old.map(seen) == new.map(seen) {
            return Some(());
        }
        if let Some(old) = old {
            self.last.matched.remove(old, &self.spec);
        }
        new.is_none_or(|new| self.last.matched.add(new, &self.spec)).then_some(())
    }

    /// Puts the steps that an object defines in place where those of before were. `None` where another object has one of
    /// their names.
    fn replace_steps(&mut self, old: &Outcome, new: &Outcome) -> Option<()> {
        for (name, part) in &old.middleware {
            let own = self.spec.middleware.get(name).is_some_and(|known| Arc::ptr_eq(known, part));
            if !own || self.last.defines(Kind::Middleware, name) {
                return None;
            }
            self.spec.middleware.remove(name);
        }
        for (name, part) in &new.middleware {
            let taken = self.spec.middleware.insert(Arc::clone(name), Arc::clone(part)).is_some();
            if taken || self.last.defines(Kind::Middleware, name) {
                return None;
            }
        }
        Some(())
    }

    /// Puts in the upstream that the first object which names it in place means; takes it out where there is none.
    fn upstream_in_place(&mut self, name: &Name) -> Option<()> {
        if self.last.defines(Kind::Upstream, name) {
            return Some(());
        }
        let Some((_, first)) = self.last.users.get(name).and_then(BTreeMap::first_key_value) else {
            self.last.users.remove(name);
            self.spec.upstreams.remove(name);
            return Some(());
        };
        let outcome = self.memo.outcome_of(first)?;
        let (_, part) = outcome.upstreams.iter().find(|(own, _)| own == name)?;
        self.spec.upstreams.insert(Arc::clone(name), Arc::clone(part));
        Some(())
    }
}

/// What other routes can tell a route by.
fn seen(route: &Route) -> (&[Name], &[HostPattern], &[Match]) {
    (&route.listeners, &route.hosts, &route.matches)
}

#[cfg(test)]
mod tests;
