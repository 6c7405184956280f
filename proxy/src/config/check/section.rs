//! Checks the sections of a listener: their hosts, each once, and their steps.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{middleware, scope::Scope, values};
use crate::config::{
    document,
    node::Pos,
    raw::{self, Entries, Field},
    spec::{HostPattern, Name, Section},
};

/// The sections, by their whole names.
pub(super) fn sections(scope: &mut Scope<'_>, field: Field<Entries<raw::Section>>) -> BTreeMap<Name, Section> {
    let mut sections = BTreeMap::new();
    let mut hosts: HashMap<Option<HostPattern>, Pos> = HashMap::new();
    for (name, pos, raw) in field.value().unwrap_or_default().0 {
        if !document::is_name(&name) {
            let hint = "names are made of letters, digits, `-`, `_` and `.`, 1 to 128 of them";
            scope.error("bad-name", pos, format!("`{name}` cannot be the name of a section"), hint);
            continue;
        }
        let Some(raw) = raw.value() else { continue };
        let whole: Name = format!("{}/{name}", scope.name()).into();
        let host = match raw.host.spot() {
            Some((text, pos)) if text != "*" => match values::host_pattern(scope, &text, pos) {
                Some(host) => Some(host),
                None => continue,
            },
            _ => None,
        };
        if let Some(first) = hosts.get(&host).copied() {
            let hosts = host.as_ref().map_or_else(|| "any host".to_owned(), |host| format!("the host `{host}`"));
            let hint = "a request belongs to one section; give one of them another host, or join them";
            scope.error("same-host", pos, format!("two sections are for {hosts}"), hint);
            scope.relate(first, "the first is here");
            continue;
        }
        hosts.insert(host.clone(), pos);
        let prefix = format!("listener:{}:{name}", scope.name());
        let middleware = middleware::one_or_many(scope, raw.middleware, &prefix);
        sections.insert(Arc::clone(&whole), Section { host, middleware });
    }
    sections
}
