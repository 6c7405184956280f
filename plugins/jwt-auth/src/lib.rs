//! Lets requests pass that carry a JSON Web Token of an issuer that is trusted, and says whose they are.
//!
//! Nothing is taken from the token alone: its algorithm must be one of the settings' and fit the key, its key is found
//! among the settings' and the issuer's, and its claims count once the signature does. Signatures are verified in the
//! guest, in Rust; the README says why and what it costs.

mod claims;
mod fetched;
mod identity;
mod key;
mod keys;
mod place;
mod refusal;
mod seen;
mod settings;
mod token;

use std::{cell::RefCell, rc::Rc};

use tidegate_guest::{Phases, Plugin, Problems, Request, Result, Verdict, clock, exchange, log, metrics::Counter};

use self::{
    fetched::Fetched,
    identity::Identity,
    key::Algorithm,
    keys::KeySet,
    refusal::Refusal,
    seen::{Seen, Verified},
    settings::{Checked, Settings},
    token::Token,
};

struct JwtAuth {
    settings: Checked,
    fetched: Option<Fetched>,
    seen: RefCell<Seen>,
    accepted: Counter,
    refused: Counter,
}

impl Plugin for JwtAuth {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Problems> {
        let settings = settings.checked()?;
        let fetched = settings.source.clone().map(Fetched::new);
        let seen = RefCell::new(Seen::new(settings.verified_max));
        Ok(Self { settings, fetched, seen, accepted: Counter::new("accepted"), refused: Counter::new("refused") })
    }

    fn phases(&self) -> Phases {
        Phases::none().request()
    }

    fn on_request(&self, request: Request) -> Result<Verdict> {
        let settings = &self.settings;
        settings.passed.strip(request)?;
        match self.admit(request) {
            Ok(identity) => {
                if let Some(identity) = identity {
                    self.accepted.add(1);
                    identity.tell(request)?;
                }
                if !settings.forward {
                    place::strip(&settings.places, request)?;
                }
                Ok(Verdict::Proceed)
            }
            Err(refusal) => {
                self.refused.add(1);
                exchange::set_attribute("refused", refusal.word())?;
                log::info(&format!("a request was refused: {refusal}"));
                Ok(Verdict::Respond(refusal.answer(&settings.realm, &settings.rules.scopes)))
            }
        }
    }
}

impl JwtAuth {
    // Whose the request is; nobody's, where it has no token and need not have one.
    fn admit(&self, request: Request) -> Result<Option<Rc<Identity>>, Refusal> {
        let text = match place::find(&self.settings.places, request)? {
            Some(text) => text,
            None if self.settings.optional => return Ok(None),
            None => return Err(Refusal::Missing),
        };
        if text.len() > self.settings.token_bytes_max {
            return Err(Refusal::TooLong(text.len()));
        }
        let now = clock::wall().as_secs_f64();
        let sum = seen::sum(&text);
        let known = self.seen.borrow_mut().of(&sum);
        if let Some(verified) = known
            && self.serves(verified.set)?
        {
            verified.window.check(now)?;
            return Ok(Some(verified.identity));
        }
        let verified = self.verify(&text)?;
        verified.window.check(now)?;
        let identity = Rc::clone(&verified.identity);
        self.seen.borrow_mut().remember(sum, verified);
        Ok(Some(identity))
    }

    fn verify(&self, text: &str) -> Result<Verified, Refusal> {
        let settings = &self.settings;
        let token = Token::parse(text)?;
        let algorithm = Algorithm::named(&token.header.algorithm).filter(|named| settings.algorithms.contains(named));
        let algorithm = algorithm.ok_or_else(|| Refusal::Algorithm(token.header.algorithm.clone()))?;
        let claims = token.claims()?;
        // Nothing is fetched for a token that says itself that it is somebody else's.
        settings.rules.trusts(&claims)?;
        let set = self.with_keys(algorithm, &token, |keys| keys.verify(algorithm, &token).map(|()| keys.id))?;
        let window = settings.rules.check(token.header.kind.as_deref(), &claims)?;
        Ok(Verified { set, window, identity: Rc::new(settings.passed.identity(&claims)?) })
    }

    // Runs `f` on the settings' keys, if they have one for the token, else on those that are fetched.
    fn with_keys<T>(
        &self,
        algorithm: Algorithm,
        token: &Token,
        f: impl FnOnce(&KeySet) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let knows = |keys: &KeySet| keys.knows(algorithm, token.header.kid.as_deref());
        match &self.fetched {
            Some(fetched) if !knows(&self.settings.keys) => f(&*fetched.keys(knows).ok_or(Refusal::NoKeys)?),
            _ => f(&self.settings.keys),
        }
    }

    // Whether the keys that a token was verified with are still those that count.
    fn serves(&self, set: u64) -> Result<bool, Refusal> {
        match &self.fetched {
            Some(fetched) if set != 0 => Ok(fetched.keys(|_| true).ok_or(Refusal::NoKeys)?.id == set),
            _ => Ok(true),
        }
    }
}

tidegate_guest::export!(JwtAuth);

#[cfg(test)]
mod tests;
