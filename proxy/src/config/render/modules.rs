//! Renders where modules come from. Secrets are shown as they were written.

use super::{Fields, Out, Written, period, texts};
use crate::config::spec::{Credentials, ModuleSources, ModuleTerms, Remote, Signature};

/// The `module` of a plugin or a table.
pub(super) fn module(written: Written<'_>, name: &str, terms: &ModuleTerms) -> Out {
    let signature = terms.signature.as_ref().map(|signature| match signature {
        Signature::File(file) => Out::text(&file.named),
        Signature::Url(url) => Out::text(url),
    });
    if signature.is_none() && !matches!(terms.remote, Some(Remote::Url { .. })) {
        return Out::text(name);
    }
    let mut fields = Fields::of(written);
    match &terms.remote {
        None => fields.put("path", Out::text(name)),
        Some(Remote::Oci { .. }) => fields.put("url", Out::text(name)),
        Some(Remote::Url { url, sha256 }) => {
            fields.put("url", Out::text(url));
            fields.put("sha256", Out::text(&sha256.to_string()));
        }
    }
    fields.maybe("signature", signature);
    fields.done()
}

/// The `modules` setting.
pub(super) fn modules<'a>(written: Written<'a>, modules: &ModuleSources) -> Fields<'a> {
    let mut fields = Fields::of(written);
    fields.put("fetch-timeout", period(modules.fetch_timeout));
    fields.put("tries-max", Out::plain(modules.tries_max));
    fields.put("module-bytes-max", Out::plain(modules.module_bytes_max));
    fields.put("cache-bytes-max", Out::plain(modules.cache_bytes_max));
    fields.maybe("docker-config", modules.docker_config.as_ref().map(|file| Out::text(&file.named)));
    let mut hosts = Fields::of(fields.written("hosts"));
    for (name, host) in &modules.hosts {
        let mut inner = Fields::of(hosts.written(name));
        match &host.credentials {
            Some(Credentials::User { name, .. }) => {
                let name = inner.written("username").text(name);
                inner.put("username", name);
                let password = inner.written("password").text("***");
                inner.put("password", password);
            }
            Some(Credentials::Bearer(_) | Credentials::Refresh(_)) => {
                let token = inner.written("token").text("***");
                inner.put("token", token);
            }
            None => {}
        }
        inner.maybe("ca", host.ca.as_ref().map(|ca| Out::text(&ca.named)));
        inner.put("plain-http", Out::plain(host.plain_http));
        hosts.put(name, inner.done());
    }
    fields.map("hosts", hosts);
    let rules = modules.signed_by.iter().map(|rule| {
        let mut entries = Vec::new();
        if !rule.from.is_empty() {
            entries.push(("from".to_owned(), Out::text(&rule.from), None));
        }
        entries.push(("keys".to_owned(), texts(rule.keys.iter().map(|key| &key.named)), None));
        Out::Map(entries)
    });
    let rules: Vec<_> = rules.collect();
    if !rules.is_empty() {
        fields.put("signed-by", Out::List(rules));
    }
    fields
}
