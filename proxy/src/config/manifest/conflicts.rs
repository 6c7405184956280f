//! HTTPRoutes and GRPCRoutes that share a hostname of a listener: the Gateway API has one of both kinds accepted there.

use super::{attach::Attached, findings::Findings, inventory::Named, sets::by_age};
use crate::config::spec::HostPattern;

/// A route with what it asks for.
pub(super) struct Claim<'r> {
    /// Names and age.
    pub(super) route: Named<()>,
    /// Its own hostnames; any, where there are none.
    pub(super) hosts: &'r [HostPattern],
    /// Where it is attached. What it does not get is taken away.
    pub(super) sections: &'r mut Vec<Attached>,
}

/// Settles who serves: the older one, then the first by namespace and name. Who does not is said.
pub(super) fn settle(mut claims: Vec<Claim<'_>>, findings: &mut Findings) {
    let kind = |claim: &Claim<'_>| claim.route.kind;
    if claims.windows(2).all(|pair| kind(&pair[0]) == kind(&pair[1])) {
        return;
    }
    claims.sort_by(|one, other| by_age(&one.route, &other.route));
    for at in 1..claims.len() {
        let (before, [claim, ..]) = claims.split_at_mut(at) else { continue };
        let (kind, hosts, route) = (claim.route.kind, claim.hosts, &claim.route);
        claim.sections.retain(|own| {
            let rival = before.iter().filter(|other| other.route.kind != kind).find(|other| {
                other.sections.iter().any(|it| it.section == own.section) && meet(other.hosts, hosts, own.host.as_ref())
            });
            if let Some(rival) = rival {
                let message = format!(
                    "not accepted by `{}`: the {} has a hostname in common with it",
                    own.section,
                    rival.route.title()
                );
                let hint = "give them hostnames of their own: a listener serves one of both kinds for a hostname";
                findings.about(route, "not-accepted", own.pos, &message, hint);
            }
            rival.is_none()
        });
    }
}

// Whether both have a host in common that is one of the listener's. Patterns that meet are nested, so those that meet two
// by two meet all three.
fn meet(one: &[HostPattern], other: &[HostPattern], listener: Option<&HostPattern>) -> bool {
    let within = |host: &HostPattern| listener.is_none_or(|listener| both(listener, host));
    match (one, other) {
        ([], []) => true,
        ([], some) | (some, []) => some.iter().any(within),
        _ => one.iter().any(|one| within(one) && other.iter().any(|other| within(other) && both(one, other))),
    }
}

fn both(one: &HostPattern, other: &HostPattern) -> bool {
    one.covers(other) || other.covers(one)
}
