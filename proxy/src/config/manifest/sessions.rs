//! `sessionPersistence` of a rule: the cookie that binds a client to an endpoint.

use super::{
    findings::Findings,
    inventory::Named,
    raw,
    write::{self, Map},
};
use crate::{
    config::{
        node::{Node, Pos},
        raw::{Field, Period},
    },
    identity::Identity,
};

/// Affinity of the upstreams of a rule.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What tells the upstream from those that bind nobody, or otherwise.
    pub(super) name: String,
    /// As the native form says it.
    pub(super) node: Node,
}

/// What a rule says. What has no effect is said.
pub(super) fn session<S>(
    route: &Named<S>,
    field: Field<raw::SessionPersistence>,
    findings: &mut Findings,
) -> Option<Session> {
    let (raw, pos) = field.spot()?;
    if let Some((kind, pos)) = raw.r#type.spot().filter(|(kind, _)| kind != "Cookie") {
        let message = format!("clients are bound to no endpoint: `{kind}` is no type of session");
        findings.about(route, "unsupported", pos, &message, "write `type: Cookie`");
        return None;
    }
    findings.unsupported(route, "sessionPersistence.idleTimeout", raw.idle_timeout.pos());
    let lifetime = raw.cookie_config.value().and_then(|config| config.lifetime_type.value());
    let permanent = lifetime.as_deref() == Some("Permanent");
    let mut map = Map::at(pos);
    let name = raw.session_name.spot();
    map.maybe("cookie", name.as_ref().map(|(name, pos)| write::text(name, *pos)));
    let ttl = raw.absolute_timeout.spot();
    if !permanent {
        findings.unsupported(route, "sessionPersistence.absoluteTimeout", ttl.as_ref().map(|(_, pos)| *pos));
    }
    let ttl = ttl.filter(|_| permanent);
    map.maybe("ttl", ttl.as_ref().map(|(Period(ttl), pos)| write::text(&format!("{}ms", ttl.as_millis()), *pos)));
    let said = (name.map(|(name, _): (String, Pos)| name), ttl.map(|(Period(ttl), _)| ttl));
    let name = format!("session-{}", &Identity::of(&said).to_string()[..HASH_BYTES]);
    Some(Session { name, node: map.node() })
}

const HASH_BYTES: usize = 8;
