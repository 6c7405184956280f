//! An endpoint as one upstream sees it, and all of them together. Knows no policy.

use std::{collections::HashMap, sync::Arc};

use super::ring::Ring;
use crate::{
    config::spec::{Affinity, Balance, Secret},
    identity::Identity,
    state::{EndpointState, Verdict},
};

/// An endpoint as one upstream sees it.
#[derive(Debug)]
pub(in crate::upstream) struct Member {
    pub(in crate::upstream) endpoint: Arc<EndpointState>,
    /// What the upstream's health check says, where it has one.
    pub(in crate::upstream) verdict: Option<Arc<Verdict>>,
    /// 0 takes only clients that are bound to it.
    pub(in crate::upstream) weight: u32,
    /// The least that has a usable member takes everything.
    pub(in crate::upstream) priority: u16,
    /// Whether it is in the gateway's own zone; nothing where it or the gateway is in none.
    pub(in crate::upstream) local: Option<bool>,
    /// Whether the upstream minds that an endpoint is ejected.
    pub(in crate::upstream) ejects: bool,
}

/// Why a member takes nothing, or not its share; the worst that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Condition {
    /// Its health check fails.
    Unhealthy,
    /// It is ejected.
    Ejected,
    /// It could not be reached a moment ago.
    Suspect,
    /// Nothing is against it.
    Usable,
}

/// All members of an upstream at one time. Positions mean these.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Roster {
    pub(in crate::upstream) members: Box<[Member]>,
    /// Whether names have not been resolved yet, so that more may come any moment.
    pub(in crate::upstream) waits: bool,
    /// Why a name leads nowhere, where one does.
    pub(in crate::upstream) failure: Option<Arc<str>>,
    pub(super) ring: Option<Ring>,
    // By the value of the cookie.
    bound: HashMap<u64, usize, foldhash::fast::RandomState>,
    tokens: Box<[u64]>,
}

impl Member {
    #[inline]
    pub(in crate::upstream) fn is_healthy(&self) -> bool {
        self.verdict.as_ref().is_none_or(|verdict| verdict.is_healthy())
            && !(self.ejects && self.endpoint.conduct.is_ejected())
    }

    #[inline]
    pub(super) fn is_usable(&self) -> bool {
        self.is_healthy() && !self.endpoint.is_suspect()
    }

    pub(in crate::upstream) fn condition(&self) -> Condition {
        if self.verdict.as_ref().is_some_and(|verdict| !verdict.is_healthy()) {
            Condition::Unhealthy
        } else if self.ejects && self.endpoint.conduct.is_ejected() {
            Condition::Ejected
        } else if self.endpoint.is_suspect() {
            Condition::Suspect
        } else {
            Condition::Usable
        }
    }
}

impl Roster {
    /// The roster of `members`, with what `balance` and `affinity` look up in it.
    pub(in crate::upstream) fn new(members: Vec<Member>, balance: &Balance, affinity: Option<&Affinity>) -> Self {
        let hashed =
            |member: &Member| (xxhash_rust::xxh3::xxh3_64(member.endpoint.key.address.as_bytes()), member.weight);
        let ring = match balance {
            Balance::Hash { .. } => Ring::new(members.iter().map(hashed)),
            _ => None,
        };
        let secret = affinity.map(|affinity| affinity.secret.as_ref());
        let tokens = secret.map(|secret| members.iter().map(|member| token(member, secret)).collect::<Box<[u64]>>());
        let tokens = tokens.unwrap_or_default();
        let bound = tokens.iter().enumerate().map(|(position, token)| (*token, position)).collect();
        Self { members: members.into_boxed_slice(), ring, bound, tokens, ..Self::default() }
    }

    /// The member that a cookie's value stands for.
    pub(super) fn bound(&self, cookie: &str) -> Option<usize> {
        let valid = cookie.len() == 16 && cookie.bytes().all(|byte| byte.is_ascii_hexdigit());
        let token = valid.then(|| u64::from_str_radix(cookie, 16).ok()).flatten()?;
        self.bound.get(&token).copied()
    }

    /// The value of the cookie that binds to the member at `position`.
    pub(super) fn cookie(&self, position: usize) -> Option<String> {
        self.tokens.get(position).map(|token| format!("{token:016x}"))
    }
}

// Of the endpoint's address alone, so that every gateway in front of it, before and after a restart, comes to the same.
fn token(member: &Member, secret: Option<&Secret>) -> u64 {
    let secret = secret.map_or("", |Secret(text)| text);
    let key = &member.endpoint.key;
    let name = key.name.as_deref().unwrap_or_default();
    let parts = ["tidegate affinity", secret, name, &key.address].map(|part| Identity::of_bytes(part.as_bytes()));
    let identity = Identity::of_all(parts);
    let [first, ..] = identity.as_bytes().as_chunks::<8>().0 else { return 0 };
    u64::from_be_bytes(*first)
}
