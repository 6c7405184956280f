//! The step on one worker: who passes, and who was verified lately.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderName, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::{Sent, Users, password};
use crate::{
    config::spec,
    error::{Error, Kind},
    exchange::{Exchange, Request, Response},
    state::Offload,
};

pub(super) type Key = [u8; 32];

pub(super) struct Guard {
    users: Arc<Users>,
    offload: Arc<Offload>,
    challenge: HeaderValue,
    header: Option<HeaderName>,
    pass_credentials: bool,
    secret: Key,
    verified: Mutex<Verified>,
}

/// Keys of credentials that were verified, the oldest first; no more than so many.
#[derive(Default)]
struct Verified {
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

// On each worker. Beyond it, who was verified first is verified again.
const VERIFIED_MAX: usize = 4096;

impl Guard {
    pub(super) fn new(spec: &spec::BasicAuth, users: Arc<Users>, offload: Arc<Offload>) -> Self {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", spec.realm);
        let random = RandomState::new();
        let mut secret = Key::default();
        for (part, bytes) in secret.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&random.hash_one(part).to_ne_bytes());
        }
        Self {
            users,
            offload,
            challenge: HeaderValue::try_from(challenge).expect("a checked realm is visible ASCII without quotes"),
            header: spec.header.clone(),
            pass_credentials: spec.pass_credentials,
            secret,
            verified: Mutex::default(),
        }
    }

    /// What credentials are remembered by.
    pub(super) fn key(&self, sent: &Sent) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        digest.update(sent.user.as_bytes());
        digest.update(b":");
        digest.update(&sent.password);
        digest.finalize().into()
    }

    /// Whether they were verified lately.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).keys.contains(key)
    }

    fn remember(&self, key: Key) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.keys.insert(key) {
            verified.order.push_back(key);
        }
        if verified.order.len() > VERIFIED_MAX
            && let Some(oldest) = verified.order.pop_front()
        {
            verified.keys.remove(&oldest);
        }
    }

    /// Whether the password is the user's.
    ///
    /// # Errors
    /// When too many wait to be verified.
    pub(super) async fn verify(&self, sent: &Sent, key: Key) -> Result<bool, Error> {
        let known = self.users.get(&sent.user);
        // A user that there is not costs the time of one that there is.
        let Some(hash) = known.or_else(|| self.users.values().next()).cloned() else { return Ok(false) };
        let full = |_| Error::new(Kind::Overloaded, "basic-auth: too many passwords wait to be verified");
        let place = self.offload.place().await.map_err(full)?;
        // While this one waited, another exchange may have brought the same.
        if self.knows(&key) {
            return Ok(true);
        }
        let password = sent.password.clone();
        let fits = place.run(move || password::fits(&password, &hash)).await.map_err(full)?;
        let fits = fits && known.is_some();
        if fits {
            self.remember(key);
        }
        Ok(fits)
    }

    /// The request of a verified user, as it goes on.
    pub(super) fn admit(&self, sent: Sent, mut request: Box<Request>) -> Result<Box<Request>, Error> {
        if !self.pass_credentials {
            request.head.headers.remove(header::AUTHORIZATION);
        }
        if let Some(name) = &self.header {
            let value = HeaderValue::try_from(sent.user.as_bytes()).map_err(|error| {
                Error::because(Kind::Internal, "basic-auth: a user's name is no field value", error)
            })?;
            let full = request.head.headers.try_insert(name, value);
            full.map_err(|full| Error::because(Kind::HeadTooLarge, "adding the user's name", full))?;
        }
        request.exchange.attributes.borrow_mut().push(("basic-auth.user".into(), sent.user));
        Ok(request)
    }

    /// Asks for credentials.
    pub(super) fn refuse(&self, exchange: &Exchange, why: &str) -> Box<Response> {
        let error = Error::new(Kind::Unauthenticated, format!("basic-auth: {why}"));
        exchange.record.fail(&error);
        let mut response = Response::of_error(&error);
        response.head.headers.insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        Box::new(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let spec = spec::BasicAuth { realm: "r".into(), users: Vec::new(), header: None, pass_credentials: false };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let offload = Arc::new(Offload::new(runtime.handle().clone()));
        let guard = Guard::new(&spec, Arc::default(), offload);
        let key = |number: usize| {
            let mut key = Key::default();
            key[..8].copy_from_slice(&number.to_ne_bytes());
            key
        };
        for number in 0..=VERIFIED_MAX {
            guard.remember(key(number));
            guard.remember(key(number));
        }
        assert!(!guard.knows(&key(0)) && guard.knows(&key(1)) && guard.knows(&key(VERIFIED_MAX)));
        assert_eq!(guard.verified.lock().unwrap().keys.len(), VERIFIED_MAX);
    }
}
