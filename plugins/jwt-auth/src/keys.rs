//! A set of keys, and which of them a token could be signed with. Knows no host.

use serde_json::Value;

use crate::{
    key::{
        Algorithm, Key,
        jwk::{self, Unused},
    },
    refusal::Refusal,
    token::Token,
};

/// A set of keys.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    /// Tells this set from others: 0 for the one in the settings.
    pub(crate) id: u64,
    pub(crate) keys: Vec<Key>,
    /// Keys without a `kid` fit any: so it is with those of the settings, which have no other way to say so.
    pub(crate) unnamed_fit_all: bool,
}

/// Keys that are tried for one token, at most: those that all have its `kid`, or that have none to tell them by.
const TRIES_MAX: usize = 8;

impl KeySet {
    /// The set in a document, and what the operator should know of it.
    pub(crate) fn parse(id: u64, document: &[u8]) -> Result<(Self, Vec<String>), String> {
        let value: Value = serde_json::from_slice(document).map_err(|error| format!("it is not JSON: {error}"))?;
        let (keys, unused) = jwk::set(&value)?;
        if keys.is_empty() {
            let why =
                unused.first().map(|(position, why)| format!("; key {position}: {}", why.why())).unwrap_or_default();
            return Err(format!("it has no key that can be used{why}"));
        }
        let wrong = unused.iter().filter(|(_, why)| matches!(why, Unused::Wrong(_)));
        let said = wrong.map(|(position, why)| format!("key {position}: {}", why.why())).collect();
        Ok((Self { id, keys, unnamed_fit_all: false }, said))
    }

    /// Whether a key is here that the token could be signed with.
    pub(crate) fn knows(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.candidates(algorithm, kid).next().is_some()
    }

    /// Whether a key here signed the token.
    pub(crate) fn verify(&self, algorithm: Algorithm, token: &Token) -> Result<(), Refusal> {
        let kid = token.header.kid.as_deref();
        if !self.knows(algorithm, kid) {
            return Err(Refusal::UnknownKey(token.header.kid.clone()));
        }
        let mut candidates = self.candidates(algorithm, kid).take(TRIES_MAX);
        match candidates.any(|key| key.verifies(token.signed, &token.signature)) {
            true => Ok(()),
            false => Err(Refusal::Signature(token.header.kid.clone())),
        }
    }

    fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            let named = match (kid, key.kid.as_deref()) {
                (Some(wanted), Some(name)) => wanted == name,
                (Some(_), None) => self.unnamed_fit_all,
                (None, _) => true,
            };
            named && key.algorithm() == algorithm
        })
    }
}
