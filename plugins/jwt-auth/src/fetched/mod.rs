//! Keys that an issuer publishes (`jwks_uri`), fetched through a granted upstream. The set is in the key-value space, so
//! all workers and guests share it and a reload keeps it; each guest keeps what it made of it. One guest fetches at a
//! time; the others use what there is, or wait for it where nothing is.

mod state;

use std::{cell::RefCell, rc::Rc, time::Duration};

use sha2::{Digest, Sha256};
use tidegate_guest::{
    clock, kv, log,
    metrics::Counter,
    upstream::{self, Call},
};

pub(crate) use self::state::Times;
use self::state::{State, Step, nanos};
use crate::keys::KeySet;

/// Where keys come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) upstream: String,
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) bytes_max: usize,
    pub(crate) times: Times,
}

/// The keys of one source.
#[derive(Debug)]
pub(crate) struct Fetched {
    source: Source,
    /// In the key-value space: another source's keys are never taken for this one's.
    state_name: String,
    set_name: String,
    held: RefCell<Option<Rc<KeySet>>>,
    fetches: Counter,
    failures: Counter,
}

/// Between two looks at what another guest is fetching.
const WAIT: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_millis(40);
/// How often the state is read again because another guest wrote it: each time, that one made progress.
const ROUNDS_MAX: u32 = 100;

impl Fetched {
    /// Nothing is fetched before it is needed.
    pub(crate) fn new(source: Source) -> Self {
        let place = [&source.upstream, source.host.as_deref().unwrap_or_default(), &source.path].join("\n");
        let id: String = Sha256::digest(place).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let (state_name, set_name) = (format!("keys-{id}"), format!("set-{id}-"));
        let (fetches, failures) = (Counter::new("fetches"), Counter::new("fetch_failures"));
        Self { source, state_name, set_name, held: RefCell::default(), fetches, failures }
    }

    /// The keys for a token that `knows` says whether a set has a key for. None if there are none to be had; a set
    /// without such a key if that is all there is.
    pub(crate) fn keys(&self, knows: impl Fn(&KeySet) -> bool) -> Option<Rc<KeySet>> {
        let times = &self.source.times;
        let deadline = clock::monotonic() + times.timeout + WAIT_MAX;
        let mut wait = WAIT;
        loop {
            let (state, version) = self.state();
            let now = clock::monotonic();
            let keys = state.usable(now, times).then(|| self.set(state.set)).flatten();
            if keys.is_none() && state.usable(now, times) && self.state().1 != version {
                continue;
            }
            match state.step(now, keys.as_deref().is_some_and(&knows), times) {
                Step::Use => return keys,
                Step::Wait if now >= deadline => return keys,
                Step::Wait => {
                    clock::sleep(wait);
                    wait = (wait * 2).min(WAIT_MAX);
                }
                Step::Fetch => match self.claim(state.claimed(now, times), version) {
                    Ok(true) => return self.fetch(now).or(keys),
                    // Somebody else was first: see what they are doing.
                    Ok(false) => {}
                    Err(error) => {
                        log::warn(&format!("keys cannot be fetched: {error}; raise `limits: {{kv-bytes-max}}`"));
                        return keys;
                    }
                },
            }
        }
    }

    fn state(&self) -> (State, u64) {
        let entry = kv::get(&self.state_name);
        entry.map_or((State::default(), 0), |entry| (State::from_bytes(&entry.value), entry.version))
    }

    fn claim(&self, claimed: State, version: u64) -> Result<bool, kv::Error> {
        match kv::compare_and_set(&self.state_name, version, &claimed.to_bytes(), None) {
            Ok(_) => Ok(true),
            Err(kv::Error::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    // The set of this number, as this guest has it or as it is stored; none if another one came in its place just now.
    fn set(&self, id: u64) -> Option<Rc<KeySet>> {
        if let Some(held) = self.held.borrow().as_ref().filter(|held| held.id == id) {
            return Some(Rc::clone(held));
        }
        let entry = kv::get(&self.named(id))?;
        let (keys, _) = KeySet::parse(id, &entry.value).ok()?;
        Some(self.hold(keys))
    }

    // Whoever comes here has claimed it, at `now`, which is the number of the set, if a new one comes of it.
    fn fetch(&self, now: Duration) -> Option<Rc<KeySet>> {
        self.fetches.add(1);
        let fetched = self.document().and_then(|document| self.store(nanos(now).saturating_add(1), &document));
        let set = match &fetched {
            Ok(keys) => Some(keys.id),
            Err(why) => {
                self.failures.add(1);
                let (upstream, path) = (&self.source.upstream, &self.source.path);
                log::warn(&format!("the keys could not be fetched from {path} of upstream `{upstream}`: {why}"));
                None
            }
        };
        self.release(set, now);
        fetched.ok()
    }

    fn document(&self) -> Result<Vec<u8>, String> {
        let source = &self.source;
        let call = Call::get(&source.path).field("accept", "application/jwk-set+json, application/json");
        let call = call.timeout(source.times.timeout);
        let call = match &source.host {
            Some(host) => call.authority(host),
            None => call,
        };
        let answer = call.send(&source.upstream).map_err(|error| match error {
            upstream::Error::NotGranted => format!("{error}; write `grants: {{upstreams: [{}]}}`", source.upstream),
            upstream::Error::TooLarge => format!("{error}; see `limits: {{call-bytes-max}}`"),
            error => error.to_string(),
        })?;
        match answer.status {
            200 if answer.body.len() <= source.bytes_max => Ok(answer.body),
            200 => Err(format!("{} bytes are over `bytes-max`", answer.body.len())),
            status => Err(format!("it answered {status}")),
        }
    }

    // An equal document is the same set: what was verified with it stays so.
    fn store(&self, id: u64, document: &[u8]) -> Result<Rc<KeySet>, String> {
        let before = self.state().0.set;
        if kv::get(&self.named(before)).is_some_and(|entry| entry.value == document)
            && let Some(keys) = self.set(before)
        {
            return Ok(keys);
        }
        let (keys, said) = KeySet::parse(id, document)?;
        kv::set(&self.named(id), document, None)
            .map_err(|error| format!("{error}; raise `limits: {{kv-bytes-max}}`"))?;
        for said in said {
            log::warn(&format!("of the keys fetched, one is not used: {said}"));
        }
        log::info(&format!("{} keys were fetched from upstream `{}`", keys.keys.len(), self.source.upstream));
        Ok(self.hold(keys))
    }

    // Says that nobody is fetching any more, and which set there is now.
    fn release(&self, set: Option<u64>, now: Duration) {
        for _ in 0..ROUNDS_MAX {
            let (state, version) = self.state();
            let mut released = state;
            // A claim that ran out may be another guest's by now.
            if state.begun == Some(now) {
                released.until = Duration::ZERO;
            }
            if let Some(set) = set {
                (released.set, released.fetched) = (set, now);
            }
            match kv::compare_and_set(&self.state_name, version, &released.to_bytes(), None) {
                Err(kv::Error::Conflict) => {}
                done => {
                    if done.is_ok() && state.set != released.set {
                        kv::delete(&self.named(state.set));
                    }
                    return;
                }
            }
        }
    }

    fn named(&self, set: u64) -> String {
        format!("{}{set:x}", self.set_name)
    }

    fn hold(&self, keys: KeySet) -> Rc<KeySet> {
        let keys = Rc::new(keys);
        *self.held.borrow_mut() = Some(Rc::clone(&keys));
        keys
    }
}
