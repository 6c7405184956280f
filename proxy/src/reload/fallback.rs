//! The policy `previous`: which versions of plugins worked, which failed, and what is compiled in the place of those. A
//! version that was replaced so stays replaced until the configuration has another one. Swaps nothing itself.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;

use super::{
    Reloader,
    course::Course,
    load::Loaded,
    remembered::{Failed, Kind, Note, Remembered},
    status::{Fallback, Outcome, Trigger},
};
use crate::{
    compile::Compiler,
    config::spec::{
        FailurePolicy, Grants, Isolation, Middleware, ModuleTerms, Name, Part, Plugin, PluginLimits, ProxyWasm, Spec,
    },
    identity::Identity,
    resolve::Modules,
    source::Entry,
    telemetry::Timestamp,
    wasm::Standing,
};

/// What is known of the plugins that have the policy.
pub(super) struct Fallbacks {
    distress: Arc<Notify>,
    by_name: BTreeMap<Name, History>,
    /// Where it is kept from one run to the next, if it is.
    remembered: Option<Remembered>,
    /// What was kept there last.
    kept: Option<Vec<(Name, Mark)>>,
    /// Whether what was read from there stands in for something, and has not served yet.
    untried: bool,
    /// The modules of what serves: where another configuration has these, its plugins are the same.
    modules: Option<Arc<Modules>>,
}

struct History {
    serving: Version,
    /// The last that worked before it.
    good: Option<Version>,
    fallen: Option<Fallen>,
}

// A module with a configuration.
#[derive(Clone)]
struct Version {
    identity: Identity,
    entry: Entry,
    plugin: Box<Plugin>,
    standing: Arc<Standing>,
}

// What a note says, short enough to compare at each reload.
#[derive(PartialEq)]
struct Mark {
    serving: (Identity, Arc<str>),
    worked: bool,
    good: Option<(Identity, Arc<str>)>,
    failed: Option<Identity>,
}

struct Fallen {
    /// What the configuration has.
    bad: Identity,
    bad_module: Identity,
    instead: Version,
    since: Timestamp,
}

impl Fallbacks {
    /// With what is remembered of the last run.
    pub(super) fn new(compiler: &Compiler, remembered: Option<Remembered>) -> Self {
        let notes = remembered.as_ref().map(Remembered::read).unwrap_or_default();
        let known = notes.into_iter().filter_map(|(note, entries)| {
            Some((Name::from(note.name.as_str()), History::recalled(&note, entries, compiler)?))
        });
        let by_name: BTreeMap<_, _> = known.collect();
        let untried = by_name.values().any(|history| history.fallen.is_some());
        Self { distress: compiler.distress(), by_name, remembered, kept: None, untried, modules: None }
    }

    /// Leaves what was read aside, where something of it stands in for another and does not stand itself. Answers whether that
    /// changes something.
    pub(super) fn disbelieve(&mut self) -> bool {
        let untried = std::mem::take(&mut self.untried);
        if untried {
            tracing::warn!("a version of a plugin that took another's place in the last run does not stand any more");
            self.by_name.clear();
        }
        untried
    }

    /// Keeps what is known, if that changed.
    pub(super) async fn keep(&mut self) {
        let Some(remembered) = &self.remembered else { return };
        let marks: Vec<_> = self.by_name.iter().map(|(name, history)| (Arc::clone(name), history.mark())).collect();
        if self.kept.as_ref() != Some(&marks) {
            let notes = self.by_name.iter().map(|(name, history)| history.noted(name));
            let written = remembered.write(notes.collect()).await;
            self.kept = written.then_some(marks);
        }
    }

    /// Resolves when a version may have failed.
    pub(super) fn distress(&self) -> impl Future<Output = ()> + use<> {
        let distress = Arc::clone(&self.distress);
        async move { distress.notified().await }
    }

    /// Takes note of versions that failed. Answers with the plugins for which there is another one.
    pub(super) fn mark(&mut self) -> Vec<Name> {
        let mut marked = Vec::new();
        for (name, history) in &mut self.by_name {
            if history.fallen.is_some() || !history.serving.standing.has_failed() {
                continue;
            }
            let Some(instead) = history.good.take() else {
                tracing::warn!(plugin = &**name, "no version of the plugin has worked before this one");
                continue;
            };
            let (bad, bad_module) = (history.serving.identity, history.serving.entry.identity);
            history.fallen = Some(Fallen { bad, bad_module, instead, since: Timestamp::now() });
            marked.push(Arc::clone(name));
        }
        marked
    }

    /// Leaves the failed versions of these in their places: the others do not stand any more.
    pub(super) fn unmark(&mut self, names: &[Name]) {
        names.iter().filter_map(|name| self.by_name.get_mut(name).map(|history| history.fallen.take())).for_each(drop);
    }

    /// What is to be compiled for a configuration: itself, with other versions where its own have failed.
    pub(super) fn instead<'a>(&self, loaded: &'a Loaded) -> (Arc<Spec>, Cow<'a, Modules>) {
        let (mut spec, mut modules) = (Arc::clone(&loaded.spec), Cow::Borrowed(&*loaded.modules));
        for (name, history) in &self.by_name {
            let Some(fallen) = &history.fallen else { continue };
            let Some((part, plugin)) = with_policy(&loaded.spec, name) else { continue };
            if identify(name, plugin, &loaded.modules) != Some(fallen.bad) {
                continue;
            }
            let Version { entry, plugin: good, .. } = &fallen.instead;
            let module: Arc<str> = format!("{} (sha256:{:.12})", good.module, entry.identity).into();
            // What it may use is what the configuration says now.
            let instead = Plugin {
                module: Arc::clone(&module),
                module_terms: good.module_terms.clone(),
                module_place: good.module_place.clone(),
                config: good.config.clone(),
                config_places: Arc::clone(&good.config_places),
                ..plugin.clone()
            };
            let part = Part::new(part.place.clone(), Middleware::Plugin(Box::new(instead)));
            Arc::make_mut(&mut spec).middleware.insert(Arc::clone(name), Arc::new(part));
            modules.to_mut().insert(module, entry.clone());
        }
        (spec, modules)
    }

    /// Takes note of what serves now.
    pub(super) fn serve(&mut self, loaded: &Loaded, compiler: &Compiler) {
        let (spec, modules) = (&loaded.spec, &loaded.modules);
        self.untried = false;
        let before = self.modules.replace(Arc::clone(modules));
        if !before.is_some_and(|before| Arc::ptr_eq(&before, modules)) {
            self.know(spec, modules, compiler);
        }
        for history in self.by_name.values_mut() {
            if let Some(fallen) = &history.fallen
                && history.serving.identity != fallen.instead.identity
            {
                fallen.instead.standing.forgive();
                history.serving = fallen.instead.clone();
            }
        }
    }

    // Takes note of the plugins that have the policy.
    fn know(&mut self, spec: &Spec, modules: &Modules, compiler: &Compiler) {
        self.by_name.retain(|name, _| with_policy(spec, name).is_some());
        for (name, part) in &spec.middleware {
            let Middleware::Plugin(plugin) = &part.value else { continue };
            let (true, Some(entry)) = (plugin.fall_back, modules.get(&plugin.module)) else { continue };
            let identity = version(name, entry, plugin);
            if self.by_name.get(name).is_some_and(|history| history.stays(identity)) {
                continue;
            }
            let standing = compiler.standing(identity);
            standing.forgive();
            let serving = Version { identity, entry: entry.clone(), plugin: plugin.clone(), standing };
            let good = self.by_name.remove(name).and_then(|history| history.last_good(identity));
            self.by_name.insert(Arc::clone(name), History { serving, good, fallen: None });
        }
    }

    /// What serves in another's place.
    pub(super) fn shown(&self) -> Vec<Fallback> {
        let shown = |(name, history): (&Name, &History)| {
            let fallen = history.fallen.as_ref()?;
            Some(Fallback {
                middleware: name.to_string(),
                module: fallen.instead.plugin.module.to_string(),
                failed_sha256: fallen.bad_module.to_string(),
                serving_sha256: fallen.instead.entry.identity.to_string(),
                since: fallen.since,
            })
        };
        self.by_name.iter().filter_map(shown).collect()
    }
}

impl Reloader {
    /// Where a version of a plugin fails and another one worked, that one serves: of the configuration that serves,
    /// whatever the sources hold meanwhile.
    pub(super) async fn fall_back(&mut self) {
        let marked = self.fallbacks.mark();
        if marked.is_empty() {
            // A version works for the first time.
            return self.fallbacks.keep().await;
        }
        let Some(loaded) = self.serving.clone() else { return };
        let attempt = self.carry_on(Ok(loaded), Course::new(Trigger::Fallback, false)).await;
        let (generation, refused) = (attempt.generation, attempt.outcome == Outcome::Refused);
        for plugin in &marked {
            let plugin = &**plugin;
            match refused {
                false => {
                    tracing::warn!(plugin, generation, "the plugin fails: its last version that worked serves again")
                }
                true => tracing::error!(
                    plugin,
                    generation,
                    "the plugin fails, and its last version does not stand any more"
                ),
            }
        }
        if refused {
            self.fallbacks.unmark(&marked);
            self.fallbacks.keep().await;
        }
        self.board.fell_back(self.fallbacks.shown(), if refused { &[] } else { &marked });
    }
}

impl History {
    // What was known in the last run; none where it says nothing.
    fn recalled(note: &Note, entries: Vec<Entry>, compiler: &Compiler) -> Option<Self> {
        let versions =
            note.kinds().zip(entries).map(|(kind, entry)| Version::recalled(&note.name, kind, entry, compiler));
        let mut versions = versions.collect::<Vec<_>>().into_iter();
        let (serving, good) = (versions.next()?, versions.next());
        good.iter().for_each(|good| good.standing.recall());
        if note.worked {
            serving.standing.recall();
        }
        let fallen = match &note.failed {
            None => None,
            Some(Failed { version, sha256 }) => {
                let (bad, bad_module) = (Identity::parse(version)?, Identity::parse(sha256)?);
                Some(Fallen { bad, bad_module, instead: serving.clone(), since: Timestamp::now() })
            }
        };
        Some(Self { serving, good, fallen })
    }

    fn noted(&self, name: &Name) -> (Note, Vec<Entry>) {
        let kind = |version: &Version| Kind {
            module: version.plugin.module.to_string(),
            config: version.plugin.config.clone(),
            sha256: version.entry.identity.to_string(),
        };
        let serving = self.stands();
        let failed = self
            .fallen
            .as_ref()
            .map(|fallen| Failed { version: fallen.bad.to_string(), sha256: fallen.bad_module.to_string() });
        let note = Note {
            name: name.to_string(),
            serving: kind(serving),
            worked: self.works(),
            good: self.good.as_ref().map(kind),
            failed,
        };
        (note, std::iter::once(serving).chain(&self.good).map(|version| version.entry.clone()).collect())
    }

    fn mark(&self) -> Mark {
        let mark = |version: &Version| (version.identity, Arc::clone(&version.plugin.module));
        Mark {
            serving: mark(self.stands()),
            worked: self.works(),
            good: self.good.as_ref().map(mark),
            failed: self.fallen.as_ref().map(|fallen| fallen.bad),
        }
    }

    // What serves, in another's place or its own.
    fn stands(&self) -> &Version {
        self.fallen.as_ref().map_or(&self.serving, |fallen| &fallen.instead)
    }

    fn works(&self) -> bool {
        let standing = &self.stands().standing;
        self.fallen.is_some() || (standing.has_worked() && !standing.has_failed())
    }

    // Whether nothing changes for the plugin when the configuration has this version of it.
    fn stays(&self, identity: Identity) -> bool {
        match &self.fallen {
            Some(fallen) => fallen.bad == identity,
            None => self.serving.identity == identity,
        }
    }

    // The last version that worked, other than this one.
    fn last_good(self, but: Identity) -> Option<Version> {
        let instead = self.fallen.map(|fallen| fallen.instead);
        let serving = Some(self.serving).filter(|version| {
            let standing = &version.standing;
            standing.has_worked() && !standing.has_failed()
        });
        [serving, instead, self.good].into_iter().flatten().find(|version| version.identity != but)
    }
}

impl Version {
    fn recalled(name: &str, kind: &Kind, entry: Entry, compiler: &Compiler) -> Self {
        // What it may do is what the configuration says when it takes another's place.
        let plugin = Plugin {
            module: kind.module.as_str().into(),
            module_terms: ModuleTerms::default(),
            module_place: None,
            config: kind.config.clone(),
            config_places: Arc::default(),
            grants: Grants::default(),
            limits: PluginLimits::default(),
            on_failure: FailurePolicy::Closed,
            fall_back: true,
            isolation: Isolation::Reused,
            proxy_wasm: ProxyWasm::default(),
            environment: Vec::new(),
        };
        let identity = plugin.version(name, entry.identity);
        let standing = compiler.standing(identity);
        Self { identity, entry, plugin: Box::new(plugin), standing }
    }
}

fn with_policy<'a>(spec: &'a Spec, name: &Name) -> Option<(&'a Part<Middleware>, &'a Plugin)> {
    let part = spec.middleware.get(name)?;
    match &part.value {
        Middleware::Plugin(plugin) if plugin.fall_back => Some((part, plugin)),
        _ => None,
    }
}

fn identify(name: &Name, plugin: &Plugin, modules: &Modules) -> Option<Identity> {
    modules.get(&plugin.module).map(|entry| version(name, entry, plugin))
}

fn version(name: &Name, entry: &Entry, plugin: &Plugin) -> Identity {
    plugin.version(name, entry.identity)
}
