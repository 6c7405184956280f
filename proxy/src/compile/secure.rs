//! TLS of listeners and to upstreams: made once for each identity, so that a listener whose certificates did not change keeps its
//! acceptor, and one whose certificates did keeps its session tickets.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use imbl::OrdMap;

use super::{Kept, parts::Parts, taken_over};
use crate::{
    config::{
        diagnostic::Diagnostic,
        spec::{ListenerTls, Name, Spec},
    },
    identity::Identity,
    tls::{Acceptor, Connector, SystemRoots, Tickets},
};

/// Acceptors by listener, for those that speak TLS.
pub(super) type Acceptors = BTreeMap<Name, Arc<Acceptor>>;

/// Makes what is new of the acceptors of `spec`; what is worth a word of any is added to `warnings`.
pub(super) fn build(
    parts: &mut Parts,
    spec: &Spec,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Acceptors, Vec<Diagnostic>> {
    let (mut acceptors, mut wrong) = (Acceptors::new(), Vec::new());
    let now = SystemTime::now();
    for (name, listener) in &spec.listeners {
        let Some(tls) = &listener.tls else { continue };
        let named = Identity::of_bytes(name.as_bytes());
        let identity = Identity::of_all([named, Identity::of(tls)]);
        let made = match parts.acceptors.find(identity) {
            Some(found) => Ok(found),
            None => {
                tickets(parts, sessions(named, tls)).and_then(|tickets| Acceptor::build(tls, &tickets)).map(Arc::new)
            }
        };
        match made {
            Ok(acceptor) => {
                parts.acceptors.keep(identity, &acceptor);
                warnings.extend(acceptor.warnings(tls, now));
                acceptors.insert(Arc::clone(name), acceptor);
            }
            Err(found) => wrong.extend(found),
        }
    }
    if wrong.is_empty() { Ok(acceptors) } else { Err(wrong) }
}

// A session goes on with what its first handshake verified: whoever is asked for a certificate anew has to show it.
fn sessions(named: Identity, tls: &ListenerTls) -> Identity {
    let clients =
        tls.client_certificates.as_ref().map(|clients| (clients.required, clients.unverified, &clients.ca.identity));
    Identity::of_all([named, Identity::of(&clients)])
}

fn tickets(parts: &mut Parts, identity: Identity) -> Result<Arc<Tickets>, Vec<Diagnostic>> {
    if let Some(found) = parts.tickets.find(identity) {
        return Ok(found);
    }
    let made = Arc::new(Tickets::new().map_err(|found| vec![*found])?);
    parts.tickets.keep(identity, &made);
    Ok(made)
}

/// Connectors by upstream, for those that speak TLS.
pub(super) type Connectors = OrdMap<Name, Arc<Connector>>;

/// Makes what is new of the connectors of `spec`. Upstreams whose TLS is equal share theirs, and its sessions.
pub(super) fn connectors(parts: &mut Parts, kept: &Kept, spec: &Spec) -> Result<Connectors, Vec<Diagnostic>> {
    let (mut connectors, defined) = taken_over(&kept.connectors, &kept.spec.upstreams, &spec.upstreams);
    let mut wrong = Vec::new();
    for (name, upstream) in defined {
        let Some(tls) = &upstream.tls else {
            connectors.remove(name);
            continue;
        };
        let identity = Identity::of(tls);
        let Parts { system_roots, connectors: known, .. } = parts;
        let system = || system_roots.find_or_make(Identity::of_bytes(b"system"), || Arc::new(SystemRoots::load()));
        let made = known.find(identity).map_or_else(|| Connector::build(tls, system).map(Arc::new), Ok);
        match made {
            Ok(connector) => {
                known.keep(identity, &connector);
                connectors.insert(Arc::clone(name), connector);
            }
            Err(found) => wrong.extend(found),
        }
    }
    if wrong.is_empty() { Ok(connectors) } else { Err(wrong) }
}
