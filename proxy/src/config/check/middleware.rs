//! Checks middleware, named and inline: which step it is, and lists of steps. The steps themselves are in `steps` and
//! `plugin`.

use std::sync::Arc;

use super::{
    cache, guards, plugin,
    scope::{Scope, Value},
    steps as built_in, traffic, users,
};
use crate::config::{
    document::Kind,
    node::Pos,
    raw::{self, Field, Step},
    spec::{Middleware, Name, Part},
};

/// Checks a named middleware.
pub(super) fn middleware(scope: &mut Scope<'_>) -> Option<Value> {
    let raw: raw::Middleware = scope.read()?;
    let at = scope.at();
    let prefix = format!("chain:{}", scope.name());
    let value = definition(scope, raw, at, &prefix)?;
    let at = scope.place(at);
    Some(Value::Middleware(Arc::new(Part::new(at, value))))
}

/// The names of a list of steps. Inline definitions are noted under `prefix`, a slash and their position from 1.
pub(super) fn steps(scope: &mut Scope<'_>, steps: Field<Vec<Field<Step>>>, prefix: &str) -> Vec<Name> {
    let steps = steps.value().unwrap_or_default().into_iter().map(Field::spot).collect::<Vec<_>>();
    list(scope, steps.into_iter(), prefix)
}

/// The same of one step or a list of them.
pub(super) fn one_or_many(scope: &mut Scope<'_>, steps: Field<raw::OneOrMany<Step>>, prefix: &str) -> Vec<Name> {
    list(scope, steps.many().into_iter().map(Some), prefix)
}

fn list(scope: &mut Scope<'_>, steps: impl Iterator<Item = Option<(Step, Pos)>>, prefix: &str) -> Vec<Name> {
    let mut names = Vec::new();
    for (position, step) in (1..).zip(steps) {
        match step {
            Some((Step::Text(name), pos)) => names.push(scope.mention(Kind::Middleware, &name, pos)),
            Some((Step::Map(raw), pos)) => {
                let name = format!("{prefix}/{position}");
                if let Some(value) = definition(scope, *raw, pos, &name) {
                    let name: Name = name.into();
                    let part = Arc::new(Part::new(scope.place(pos), value));
                    scope.outcome.middleware.push((Arc::clone(&name), part));
                    names.push(name);
                }
            }
            None => {}
        }
    }
    names
}

/// What a definition at `pos` is; steps inline in it are named after `prefix`.
fn definition(scope: &mut Scope<'_>, raw: raw::Middleware, pos: Pos, prefix: &str) -> Option<Middleware> {
    let given = [
        ("module", raw.module.pos(), raw.module.is_absent()),
        ("headers", raw.headers.pos(), raw.headers.is_absent()),
        ("redirect", raw.redirect.pos(), raw.redirect.is_absent()),
        ("rewrite", raw.rewrite.pos(), raw.rewrite.is_absent()),
        ("respond", raw.respond.pos(), raw.respond.is_absent()),
        ("mirror", raw.mirror.pos(), raw.mirror.is_absent()),
        ("cors", raw.cors.pos(), raw.cors.is_absent()),
        ("ip-access", raw.ip_access.pos(), raw.ip_access.is_absent()),
        ("request-id", raw.request_id.pos(), raw.request_id.is_absent()),
        ("basic-auth", raw.basic_auth.pos(), raw.basic_auth.is_absent()),
        ("forward-auth", raw.forward_auth.pos(), raw.forward_auth.is_absent()),
        ("maintenance", raw.maintenance.pos(), raw.maintenance.is_absent()),
        ("compress", raw.compress.pos(), raw.compress.is_absent()),
        ("decompress", raw.decompress.pos(), raw.decompress.is_absent()),
        ("concurrency", raw.concurrency.pos(), raw.concurrency.is_absent()),
        ("cache", raw.cache.pos(), raw.cache.is_absent()),
        ("grpc-web", raw.grpc_web.pos(), raw.grpc_web.is_absent()),
        ("chain", raw.chain.pos(), raw.chain.is_absent()),
    ];
    let mut kinds = given.iter().filter(|(.., absent)| !absent);
    let Some((first, ..)) = kinds.next() else {
        scope.error(
            "no-step",
            pos,
            "this middleware does not say what it is",
            format!("give it one of {}", given.map(|(name, ..)| format!("`{name}`")).join(", ")),
        );
        return None;
    };
    if let Some((second, at, _)) = kinds.next() {
        let message = format!("a middleware is one step: it cannot be both `{first}` and `{second}`");
        let hint = "define two, and list both or put them into a `chain`";
        scope.error("several-steps", at.unwrap_or(pos), message, hint);
        return None;
    }
    if *first != "module" {
        plugin::only(scope, &raw, first);
    }
    match *first {
        "module" => plugin::plugin(scope, raw),
        "headers" => raw.headers.value().map(|raw| built_in::headers(scope, raw)),
        "redirect" => raw.redirect.spot().and_then(|(raw, pos)| built_in::redirect(scope, raw, pos)),
        "rewrite" => raw.rewrite.spot().and_then(|(raw, pos)| built_in::rewrite(scope, raw, pos)),
        "respond" => raw.respond.value().and_then(|raw| built_in::respond(scope, raw)),
        "mirror" => raw.mirror.spot().and_then(|(raw, pos)| built_in::mirror(scope, raw, pos)),
        "cors" => raw.cors.spot().and_then(|(raw, pos)| guards::cors(scope, raw, pos)),
        "ip-access" => raw.ip_access.spot().and_then(|(raw, pos)| guards::ip_access(scope, raw, pos)),
        "request-id" => raw.request_id.value().and_then(|raw| traffic::request_id(scope, raw)),
        "basic-auth" => raw.basic_auth.spot().and_then(|(raw, pos)| users::basic_auth(scope, raw, pos)),
        "forward-auth" => raw.forward_auth.spot().and_then(|(raw, pos)| guards::forward_auth(scope, raw, pos)),
        "maintenance" => raw.maintenance.value().and_then(|raw| guards::maintenance(scope, raw)),
        "compress" => raw.compress.value().and_then(|raw| traffic::compress(scope, raw)),
        "decompress" => raw.decompress.value().map(|raw| traffic::decompress(scope, raw)),
        "concurrency" => raw.concurrency.spot().and_then(|(raw, pos)| traffic::concurrency(scope, raw, pos)),
        "cache" => raw.cache.value().and_then(|raw| cache::cache(scope, raw)),
        "grpc-web" => raw.grpc_web.value().map(|_| Middleware::GrpcWeb),
        _ => Some(Middleware::Chain(steps(scope, raw.chain, prefix))),
    }
}
