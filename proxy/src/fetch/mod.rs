//! Fetch: modules that are not in the configuration, from `https://` addresses and registries, and whether they are signed
//! as they must be. What is fetched is verified by its hash before anybody else sees it, and kept on disk under that hash.
//! Runs on the control plane. Must not know what a module is, or what becomes of it.

mod archive;
mod error;
mod layout;
mod pull;
mod registry;
mod signature;
mod store;
mod web;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use self::{
    error::FetchError,
    pull::{Pull, Terms},
    signature::Keys,
    store::Store,
    web::Web,
};
use crate::{
    config::{
        diagnostic::{Diagnostic, Place},
        spec::{Middleware, ModuleTerms, Spec},
    },
    identity::Identity,
    source::Entry,
    state_dir::StateDir,
    telemetry::metrics::Fetches,
};

/// Modules that were fetched, for as long as a configuration names them.
pub struct Fetcher {
    store: Option<Arc<Store>>,
    /// Of the last two configurations that had all they need.
    known: Mutex<[HashMap<Arc<str>, Entry>; 2]>,
    /// What was found signed by some keys, each as the hash of all three.
    verified: Mutex<HashSet<Identity>>,
    counts: Arc<Fetches>,
}

/// Why a configuration does not have the modules that it names.
#[derive(Debug)]
pub struct Missing {
    /// All of it, each at its line.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether all of it may go away by itself.
    pub passing: bool,
}

/// Modules that are fetched at a time.
const AT_ONCE_MAX: usize = 4;
/// Signatures that are remembered as good; then all are verified again.
const VERIFIED_MAX: usize = 4096;

// A module as a document names it.
struct Wanted<'a> {
    title: String,
    name: &'a Arc<str>,
    terms: &'a ModuleTerms,
    place: Place,
}

impl Fetcher {
    /// Keeps what it fetches in `state`, if there is one.
    ///
    /// # Errors
    /// In words, where the directory cannot be used.
    pub fn new(state: Option<&StateDir>) -> Result<Self, String> {
        let store = state.map(|state| Store::open(&state.fetched())).transpose()?.map(Arc::new);
        Ok(Self { store, known: Mutex::default(), verified: Mutex::default(), counts: Arc::default() })
    }

    /// What it did so far.
    pub fn counts(&self) -> Arc<Fetches> {
        Arc::clone(&self.counts)
    }

    /// Adds to `modules` what of the modules of `spec` is to be fetched, and holds all of them against the rules of who
    /// must have signed them.
    ///
    /// # Errors
    /// One finding for each module that cannot be had, or is not signed.
    pub async fn complete(&self, spec: &Spec, modules: &mut BTreeMap<Arc<str>, Entry>) -> Result<(), Missing> {
        let sources = &spec.gateway.modules;
        let rules = sources.signed_by.iter().map(|rule| Keys::read(&rule.keys)).collect::<Vec<_>>();
        let wrong: Vec<_> = rules.iter().filter_map(|rule| rule.as_ref().err()).flatten().cloned().collect();
        if !wrong.is_empty() {
            return Err(Missing { diagnostics: wrong, passing: false });
        }
        let rules: Vec<_> = rules.into_iter().flatten().collect();
        let wanted = wanted(spec, !rules.is_empty());
        if let Some(store) = &self.store {
            store.limit(sources.cache_bytes_max as u64);
        }
        let web = Web::new(sources);
        let (found, turns) = (&*modules, Semaphore::new(AT_ONCE_MAX));
        let jobs = wanted.iter().map(|wanted| {
            let rule = sources.signed_by.iter().position(|rule| rule.is_about(wanted.name));
            let keys = rule.map(|at| (&sources.signed_by[at].keys, &rules[at])).filter(|(files, _)| !files.is_empty());
            let terms = Terms { web: &web, store: self.store.as_ref(), keys };
            let there = found.get(wanted.name);
            self.one(wanted, terms, there, &turns)
        });
        let outcomes = join_all(jobs).await;
        let (mut fetched, mut diagnostics, mut passing) = (HashMap::new(), Vec::new(), true);
        for (wanted, outcome) in wanted.iter().zip(outcomes) {
            match outcome {
                Ok(entry) if wanted.terms.remote.is_some() => drop(fetched.insert(Arc::clone(wanted.name), entry)),
                Ok(_) => {}
                Err(error) => {
                    passing &= error.passing;
                    diagnostics.push(error.diagnostic(&wanted.title, wanted.name, wanted.place.clone()));
                }
            }
        }
        if !diagnostics.is_empty() {
            return Err(Missing { diagnostics, passing });
        }
        modules.extend(fetched.iter().map(|(name, entry)| (Arc::clone(name), entry.clone())));
        self.remember(fetched);
        Ok(())
    }

    async fn one(
        &self,
        wanted: &Wanted<'_>,
        terms: Terms<'_>,
        there: Option<&Entry>,
        turns: &Semaphore,
    ) -> Result<Entry, FetchError> {
        let _turn = turns.acquire().await.map_err(|_| FetchError::passing("it was not its turn"))?;
        let pull = Pull::new(terms);
        let entry = match (&wanted.terms.remote, there) {
            (Some(remote), _) => match self.known(wanted.name) {
                Some(known) => known,
                None => self.counted(pull.module(remote).await)?,
            },
            (None, Some(entry)) => entry.clone(),
            (None, None) => return Err(FetchError::lasting("it is not in the configuration", "correct the path")),
        };
        let Some(token) = pull.to_verify(&entry, wanted.terms) else { return Ok(entry) };
        if !self.verified().contains(&token) {
            pull.verify(&entry, wanted.terms).await?;
            let mut verified = self.verified();
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
            verified.insert(token);
        }
        Ok(entry)
    }

    fn counted(&self, pulled: Result<(Entry, bool), FetchError>) -> Result<Entry, FetchError> {
        match &pulled {
            Ok((_, true)) => self.counts.fetched(),
            Ok((_, false)) => self.counts.found(),
            Err(_) => self.counts.failed(),
        }
        pulled.map(|(entry, _)| entry)
    }

    fn known(&self, name: &str) -> Option<Entry> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find_map(|known| known.get(name).cloned())
    }

    // A configuration that turns out to be refused later must not cost what serves its modules.
    fn remember(&self, fetched: HashMap<Arc<str>, Entry>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known[0].len() != fetched.len() || !fetched.keys().all(|name| known[0].contains_key(name)) {
            known.swap(0, 1);
            known[0] = fetched;
        }
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<Identity>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The modules that are to be fetched, and with `all` the others as well.
fn wanted(spec: &Spec, all: bool) -> Vec<Wanted<'_>> {
    let plugins = spec.middleware.iter().filter_map(|(name, part)| match &part.value {
        Middleware::Plugin(plugin) => {
            let place = plugin.module_place.as_ref().unwrap_or(&part.place).clone();
            let title = format!("middleware `{name}`");
            Some(Wanted { title, name: &plugin.module, terms: &plugin.module_terms, place })
        }
        _ => None,
    });
    let tables = spec.tables.iter().map(|(name, table)| {
        let place = table.module_place.as_ref().unwrap_or(&table.place).clone();
        Wanted { title: format!("table `{name}`"), name: &table.module, terms: &table.module_terms, place }
    });
    let mut seen = HashSet::new();
    let own = |wanted: &Wanted<'_>| all || wanted.terms.remote.is_some();
    let both = plugins.chain(tables).filter(own);
    // What two plugins have in common is fetched once; each of several signatures is verified.
    both.filter(|wanted| {
        let signed = wanted.terms.signature.as_ref().map(|signature| format!("{signature:?}"));
        seen.insert((Arc::clone(wanted.name), signed))
    })
    .collect()
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetcher({:?})", self.store)
    }
}
