//! Checks `gateway.modules`: hosts, credentials, whose signature is needed. Talks to nobody.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{module::is_authority, scope::Scope, tls, values};
use crate::{
    config::{
        node::Pos,
        raw::{self, Field},
        spec::{Credentials, ModuleHost, ModuleSources, Pem, Secret, SignedBy},
    },
    source::is_document,
};

/// Checks the setting.
pub(super) fn modules(scope: &mut Scope<'_>, field: Field<raw::Modules>) -> ModuleSources {
    let default = ModuleSources::default();
    let Some(raw) = field.value() else { return default };
    let at = raw.docker_config.pos();
    if let Field::Given(path, pos) = &raw.docker_config
        && is_document(path)
    {
        let hint = "give it a name without `.json`, such as `secrets/docker-login`";
        scope.error("bad-docker-config", *pos, format!("`{path}` is read as a document of the configuration"), hint);
    }
    let docker_config = tls::pem(scope, raw.docker_config, "docker configuration");
    let docker = docker_config.as_ref().zip(at).map(|(file, pos)| docker(scope, file, pos));
    let hosts = raw.hosts.value().unwrap_or_default().0;
    let hosts = hosts.into_iter().filter_map(|(name, pos, host)| self::host(scope, &name, pos, host.value()?));
    let hosts = hosts.collect();
    let rules = raw.signed_by.value().unwrap_or_default().into_iter().filter_map(Field::spot);
    let signed_by = rules.filter_map(|(rule, pos)| self::rule(scope, rule, pos)).collect();
    ModuleSources {
        fetch_timeout: values::period(scope, raw.fetch_timeout, default.fetch_timeout),
        tries_max: values::number(scope, raw.tries_max, 1, default.tries_max),
        module_bytes_max: values::size(scope, raw.module_bytes_max, 1, default.module_bytes_max),
        cache_bytes_max: values::size(scope, raw.cache_bytes_max, 0, default.cache_bytes_max),
        hosts,
        docker: docker.unwrap_or_default(),
        docker_config,
        signed_by,
    }
}

fn host(scope: &mut Scope<'_>, name: &str, pos: Pos, raw: raw::ModuleHost) -> Option<(Arc<str>, ModuleHost)> {
    let lower = name.to_ascii_lowercase();
    let authority = lower.strip_suffix(":443").unwrap_or(&lower);
    if !is_authority(authority) {
        let hint = "write the host, with its port where that is not 443: `registry.example.com:5000`";
        scope.error("bad-host", pos, format!("`{name}` is not a host that modules come from"), hint);
        return None;
    }
    let plain_http = match raw.plain_http.spot() {
        Some((true, pos)) if !is_loopback(authority) => {
            let message = format!("`{name}` is not this machine, and is not spoken to without TLS");
            scope.error("plain-http", pos, message, "remove `plain-http`; `ca` names a private authority");
            false
        }
        Some((plain, _)) => plain,
        None => false,
    };
    let credentials = credentials(scope, pos, raw.username, raw.password, raw.token);
    let ca = tls::pem(scope, raw.ca, "certificate");
    Some((authority.into(), ModuleHost { credentials, ca, plain_http }))
}

fn credentials(
    scope: &mut Scope<'_>,
    pos: Pos,
    username: Field<String>,
    password: Field<String>,
    token: Field<String>,
) -> Option<Credentials> {
    if let Some((text, at)) = token.spot() {
        if let Some(pos) = username.pos().or(password.pos()) {
            let hint = "keep the one that is meant";
            scope.error("several-credentials", pos, "a host is shown a `token`, or a name and a password", hint);
        }
        return Some(Credentials::Bearer(Secret(scope.reveal(&text, at))));
    }
    match (username.spot(), password.spot()) {
        (Some((name, at)), Some((password, pos))) => {
            let name = scope.reveal(&name, at);
            Some(Credentials::User { name, password: Secret(scope.reveal(&password, pos)) })
        }
        (None, None) => None,
        (Some(_), None) => {
            scope.missing("password", pos, "write `password: ${file:secrets/registry}`");
            None
        }
        (None, Some(_)) => {
            scope.missing("username", pos, "write who asks: `username: robot`");
            None
        }
    }
}

/// Whether a host is this machine, by what is written.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, port)| match port.ends_with(']') {
        true => authority,
        false => host,
    });
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The credentials that docker's `config.json` holds, by host. Empty where the file was not read yet.
fn docker(scope: &mut Scope<'_>, file: &Pem, pos: Pos) -> BTreeMap<String, Credentials> {
    let text = &file.text.0;
    if text.is_empty() {
        return BTreeMap::new();
    }
    let hint = "it is what `docker login` writes: `{\"auths\": {\"HOST\": {\"auth\": \"…\"}}}`";
    let auths = serde_json::from_str::<Json>(text).ok().and_then(|json| json.get("auths")?.as_object().cloned());
    let Some(auths) = auths else {
        let message = format!("`{}` is not a docker configuration with `auths`", file.named);
        scope.error("bad-docker-config", pos, message, hint);
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (name, auth) in auths {
        match of_docker(&auth) {
            Some(credentials) => drop(found.insert(docker_host(&name), credentials)),
            // A credential helper's entry is empty.
            None => {
                let message = format!("`{}` has no credentials for `{name}` in it", file.named);
                let hint = "credential helpers are not asked; log in without one, or name user and password in `hosts`";
                scope.warning("no-credentials", pos, message, hint);
            }
        }
    }
    found
}

fn of_docker(auth: &Json) -> Option<Credentials> {
    let text = |name: &str| auth.get(name).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(token) = text("identitytoken") {
        return Some(Credentials::Refresh(Secret(token)));
    }
    if let Some(token) = text("registrytoken") {
        return Some(Credentials::Bearer(Secret(token)));
    }
    if let Some((name, password)) = text("username").zip(text("password")) {
        return Some(Credentials::User { name, password: Secret(password) });
    }
    let both = STANDARD.decode(text("auth")?).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    let (name, password) = both.split_once(':')?;
    Some(Credentials::User { name: name.to_owned(), password: Secret(password.to_owned()) })
}

// Docker writes hosts and, of old, URLs.
fn docker_host(name: &str) -> String {
    let host = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
    if host == "index.docker.io" { "docker.io".to_owned() } else { host }
}

fn rule(scope: &mut Scope<'_>, raw: raw::SignedBy, pos: Pos) -> Option<SignedBy> {
    if raw.keys.is_absent() {
        scope.missing("keys", pos, "name the public keys: `keys: [keys/team.pub]`, or `[]` for none");
        return None;
    }
    let keys = raw.keys.value()?.into_iter();
    let keys = keys.filter_map(|key| tls::pem(scope, key, "public key")).collect();
    let from = raw.from.value().unwrap_or_default();
    Some(SignedBy { from, keys })
}
