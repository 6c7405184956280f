//! BackendTLSPolicies: which of them holds for a port of a Service, and what it comes to as TLS of an upstream.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    certificates::Certificates,
    findings::Findings,
    inventory::{Inventory, Named},
    raw,
    sets::by_age,
    write::{self, Map},
};
use crate::config::raw::Field;

type Policy = Named<raw::BackendTlsPolicy>;

/// The policies, by what they are for.
#[derive(Default)]
pub(super) struct Policies<'a>(HashMap<(&'a str, String, Option<String>), &'a Policy>);

impl<'a> Policies<'a> {
    /// Those of `inventory`. Of several for the same, the oldest counts, then the first by name; others are said.
    pub(super) fn of(inventory: &'a Inventory, findings: &mut Findings) -> Self {
        let mut policies = Self::default();
        let mut all: Vec<_> = inventory.policies.iter().collect();
        all.sort_by(|one, other| by_age(*one, *other));
        for policy in all {
            findings.unsupported(policy, "spec.options", policy.spec.options.pos());
            for (target, pos) in
                policy.spec.target_refs.clone().value().unwrap_or_default().into_iter().filter_map(Field::spot)
            {
                let kind = target.kind.value().unwrap_or_default();
                if kind != "Service" || target.group.value().is_some_and(|group| !group.is_empty()) {
                    let message = format!("a {kind} is no target of it");
                    findings.about(
                        policy,
                        "unsupported",
                        pos,
                        &message,
                        "name a Service: `{group: '', kind: Service, name: web}`",
                    );
                    continue;
                }
                let section = target.section_name.value().filter(|name| !name.is_empty());
                match policies.0.entry((&policy.namespace, target.name.value().unwrap_or_default(), section)) {
                    Entry::Vacant(free) => drop(free.insert(policy)),
                    Entry::Occupied(first) => {
                        let message =
                            format!("the {} has the same target, and holds in its place", first.get().title());
                        findings.about(policy, "conflicted", pos, &message, "remove one of them");
                    }
                }
            }
        }
        policies
    }

    /// The one for a port: by its name, or else for the Service as a whole.
    pub(super) fn of_port(&self, namespace: &str, service: &str, port: &str) -> Option<&'a Policy> {
        let find = |section| {
            self.0.iter().find(|(key, _)| (key.0, &*key.1, key.2.as_deref()) == (namespace, service, section))
        };
        find(Some(port)).or_else(|| find(None)).map(|(_, policy)| *policy)
    }
}

/// TLS of an upstream as `policy` says. Without somebody to trust there is none, and nothing is sent.
pub(super) fn tls(policy: &Policy, certificates: &mut Certificates<'_>) -> Result<Map, String> {
    let why = |why: String| format!("the {}: {why}", policy.title());
    let (validation, pos) =
        policy.spec.validation.clone().spot().ok_or_else(|| why("it has no `validation`".into()))?;
    let mut map = Map::at(pos);
    match validation.well_known_ca_certificates.value().as_deref() {
        None | Some("") => {
            let from = ("BackendTLSPolicy", &*policy.namespace);
            let authority = certificates.authority(&validation.ca_certificate_refs, from).map_err(why)?;
            map.put("ca", write::text(&authority, pos));
        }
        Some("System") => {}
        Some(other) => return Err(why(format!("`{other}` are no well known certificates"))),
    }
    let (hostname, at) = validation.hostname.spot().ok_or_else(|| why("it has no `validation.hostname`".into()))?;
    map.put("server-name", write::text(&hostname, at));
    let names = validation.subject_alt_names.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    let names = names.filter_map(|(name, pos)| {
        let text = if name.r#type.value().as_deref() == Some("URI") { name.uri } else { name.hostname };
        text.value().map(|text| write::text(&text, pos))
    });
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        map.put("subject-alt-names", write::list(names, pos));
    }
    Ok(map)
}
