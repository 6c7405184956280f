//! Checks what objects say of each other, by index: names that are not defined, chains that contain themselves, routes
//! that lead nowhere or hide each other, listeners on one address, modules that are not there. Assembles the spec.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    check::{Mention, Outcome, Value},
    diagnostic::{Diagnostic, Place},
    document::{Kind, Object},
    spec::{HostPattern, Listener, Match, Middleware, Name, Part, Route, Spec},
    suggest,
};
use crate::source::{ReadError, Tree};

/// A checked object with what came of it.
pub(crate) type Checked = (Arc<Object>, Arc<Outcome>);

/// Whatever of the objects reads, as one configuration. `broken` says that documents are missing from `objects`.
pub(crate) fn assemble(
    objects: &[Checked],
    tree: &Tree,
    broken: bool,
    previous: &BTreeMap<Name, Arc<Part<Listener>>>,
    found: &mut Vec<Diagnostic>,
) -> Spec {
    let mut spec = gather(objects, previous);
    if !broken {
        undefined(objects, found);
        if !objects.iter().any(|(object, _)| object.kind == Kind::Listener) {
            let start = objects.first().map(|(object, _)| Place { line: 1, column: 1, length: 1, ..object.place() });
            let none = Diagnostic::error("no-listener", "nothing listens: there is no listener")
                .hint("add one, such as `listeners: {web: {address: 0.0.0.0:8080}}`");
            found.push(Diagnostic { at: start, ..none });
        }
        aimless(objects, &spec, found);
    }
    same_address(&spec, found);
    cycles(&mut spec, found);
    shadowed(&spec, found, |_| true);
    modules(objects, tree, found);
    spec
}

fn gather(objects: &[Checked], previous: &BTreeMap<Name, Arc<Part<Listener>>>) -> Spec {
    let mut spec = Spec::default();
    let mut trusted = Vec::new();
    for (object, outcome) in objects {
        spec.middleware.extend(outcome.middleware.iter().cloned());
        for (name, part) in &outcome.upstreams {
            spec.upstreams.entry(Arc::clone(name)).or_insert_with(|| Arc::clone(part));
        }
        let name = Arc::clone(&object.name);
        match &outcome.value {
            Some(Value::Setting(gateway, networks)) => {
                trusted.extend(networks);
                apply(&mut spec, &object.name, gateway);
            }
            Some(Value::Listener(part)) => drop(spec.listeners.insert(name, Arc::clone(part))),
            Some(Value::Upstream(part)) => drop(spec.upstreams.insert(name, Arc::clone(part))),
            Some(Value::Middleware(part)) => drop(spec.middleware.insert(name, Arc::clone(part))),
            Some(Value::Table(part)) => drop(spec.tables.insert(name, Arc::clone(part))),
            Some(Value::Route(part, _)) => spec.routes.push_back(Arc::clone(part)),
            None => {}
        }
    }
    for (name, part) in &mut spec.listeners {
        if part.trusted_proxies.is_empty() && !trusted.is_empty() {
            let listener = Listener { trusted_proxies: trusted.clone(), ..part.value.clone() };
            let whole = Part::new(part.place.clone(), listener);
            let same = |before: &&Arc<Part<_>>| before.identity == whole.identity && before.place == whole.place;
            *part = previous.get(name).filter(same).cloned().unwrap_or_else(|| Arc::new(whole));
        }
    }
    spec
}

/// Takes the one setting called `name` from `from`.
fn apply(spec: &mut Spec, name: &str, from: &super::spec::Gateway) {
    let (to, from) = (&mut spec.gateway, from.clone());
    match name {
        "middleware" => to.middleware = from.middleware,
        "workers" => to.process.workers = from.process.workers,
        "admin" => {
            to.process.admin = from.process.admin;
            to.process.admin_socket = from.process.admin_socket;
            to.process.admin_trust_loopback = from.process.admin_trust_loopback;
            to.process.admin_token = from.process.admin_token;
        }
        "generation-age-max" => to.generation_age_max = from.generation_age_max,
        "shutdown-deadline" => to.shutdown_deadline = from.shutdown_deadline,
        "dns" => to.dns = from.dns,
        "modules" => to.modules = from.modules,
        "access-log" => to.access_log = from.access_log,
        "tracing" => to.tracing = from.tracing,
        "guest-slots" => to.process.guest_slots = from.process.guest_slots,
        // Trusted proxies are the listeners'; unknown settings are reported.
        _ => {}
    }
}

fn undefined(objects: &[Checked], found: &mut Vec<Diagnostic>) {
    let mut defined: HashMap<Kind, HashSet<&str>> = HashMap::new();
    for (object, outcome) in objects {
        let names = defined.entry(object.kind).or_default();
        names.insert(&object.name);
        if let Some(Value::Listener(part)) = &outcome.value {
            names.extend(part.sections.keys().map(|name| &**name));
        }
    }
    unknown(&defined, objects.iter().flat_map(|(_, outcome)| &outcome.mentions), found);
}

/// Reports the mentions of what a checked configuration does not have.
pub(crate) fn undefined_in(spec: &Spec, mentions: &[Mention], found: &mut Vec<Diagnostic>) {
    if mentions.is_empty() {
        return;
    }
    let has = |mention: &&Mention| match mention.kind {
        Kind::Listener => {
            let has = |(name, _): (&str, &str)| spec.listeners.get(name)?.sections.get(&mention.name);
            spec.listeners.contains_key(&mention.name) || mention.name.split_once('/').and_then(has).is_some()
        }
        Kind::Upstream => spec.upstreams.contains_key(&mention.name),
        Kind::Middleware => spec.middleware.contains_key(&mention.name),
        Kind::Setting | Kind::Table | Kind::Route => false,
    };
    let mut lacking = mentions.iter().filter(|mention| !has(mention)).peekable();
    if lacking.peek().is_none() {
        return;
    }
    let defined = HashMap::from([
        (Kind::Listener, named(spec.listeners.keys())),
        (Kind::Upstream, named(spec.upstreams.keys())),
        (Kind::Middleware, named(spec.middleware.keys())),
    ]);
    unknown(&defined, lacking, found);
}

// Those that people named, and not what was defined in place.
fn named<'a>(names: impl Iterator<Item = &'a Name>) -> HashSet<&'a str> {
    names.map(|name| &**name).filter(|name| !name.contains([':', '/'])).collect()
}

fn unknown<'a>(
    defined: &HashMap<Kind, HashSet<&str>>,
    mentions: impl Iterator<Item = &'a Mention>,
    found: &mut Vec<Diagnostic>,
) {
    for Mention { kind, name, at } in mentions {
        let known = defined.get(kind);
        if known.is_some_and(|names| names.contains(&**name)) {
            continue;
        }
        let mut names: Vec<&str> = known.into_iter().flatten().copied().collect();
        names.sort_unstable();
        let hint = match suggest::nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("define it in the section `{}`", section(*kind)),
            None => format!("define it, or use one of {}", suggest::listed(names.into_iter())),
        };
        let what = format!("there is no {} called `{name}`", kind.noun());
        found.push(Diagnostic::error("unknown-reference", what).at(at.clone()).hint(hint));
    }
}

const fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Setting => "gateway",
        Kind::Listener => "listeners",
        Kind::Upstream => "upstreams",
        Kind::Middleware => "middleware",
        Kind::Table => "tables",
        Kind::Route => "routes",
    }
}

/// Routes without a target, in whose chain nothing is sure or likely to answer.
fn aimless(objects: &[Checked], spec: &Spec, found: &mut Vec<Diagnostic>) {
    for (object, outcome) in objects {
        let Some(Value::Route(route, Some(place))) = &outcome.value else { continue };
        if !answers(route, spec) {
            found.push(leads_nowhere(&object.title(), place.clone()));
        }
    }
}

/// Whether a step of a route is sure or likely to answer.
pub(crate) fn answers(route: &Route, spec: &Spec) -> bool {
    let mut seen = HashSet::new();
    let mut left: Vec<&Name> = route.middleware.iter().collect();
    while let Some(name) = left.pop() {
        if !seen.insert(name) {
            continue;
        }
        match spec.middleware.get(name).map(|part| &part.value) {
            Some(Middleware::Chain(names)) => left.extend(names),
            Some(step) if step.answers() == Some(false) => {}
            // A name that is not there, or is wrong, is reported itself.
            _ => return true,
        }
    }
    false
}

/// Says that a route has no target and no step that answers.
pub(crate) fn leads_nowhere(route: &str, at: Place) -> Diagnostic {
    let hint = "give it an `upstream`, a `target` or `targets`, or a step that answers (`respond`, `redirect`)";
    Diagnostic::error("no-target", format!("{route} leads nowhere")).at(at).hint(hint)
}

fn same_address(spec: &Spec, found: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<_, (&Name, &Part<Listener>)> = HashMap::new();
    for (name, part) in spec.listeners.iter().filter(|(_, part)| part.address.port() != 0) {
        if let Some(other) = seen.get(&part.address) {
            let mut two = [*other, (name, part)];
            two.sort_by_key(|(_, part)| &part.place);
            let [(first, before), (second, after)] = two;
            let what = format!("the listeners `{first}` and `{second}` have the same address {}", part.address);
            found.push(
                Diagnostic::error("same-address", what)
                    .at(after.place.clone())
                    .related(before.place.clone(), format!("`{first}` is defined here"))
                    .hint("give one of them another port, or serve both from one listener by `host`"),
            );
            continue;
        }
        seen.insert(part.address, (name, part));
    }
}

/// Reports chains that contain themselves, and empties them, so that nothing after this goes round.
fn cycles(spec: &mut Spec, found: &mut Vec<Diagnostic>) {
    let mut done: HashSet<Name> = HashSet::new();
    let mut broken: Vec<Name> = Vec::new();
    let is_inline = |name: &str| name.contains([':', '/']);
    let (inline, named): (Vec<&Name>, Vec<&Name>) = spec.middleware.keys().partition(|name| is_inline(name));
    for start in named.into_iter().chain(inline) {
        // A path of chains and, for each, the next of its steps to look at.
        let mut path: Vec<(&Name, usize)> = vec![(start, 0)];
        let mut on_path: HashSet<&Name> = HashSet::from([start]);
        while let Some((name, next)) = path.last_mut() {
            let step = match spec.middleware.get(*name).map(|part| &part.value) {
                Some(Middleware::Chain(steps)) if !done.contains(*name) => steps.get(*next),
                _ => None,
            };
            *next += 1;
            match step {
                Some(step) if on_path.contains(step) => {
                    let first = path.iter().position(|(name, _)| *name == step).unwrap_or_default();
                    let round = path[first..].iter().map(|(name, _)| &***name).chain([&**step]);
                    let round: Vec<&str> = round.filter(|name| !is_inline(name)).collect();
                    let what = format!("the chain `{step}` contains itself: {}", round.join(" → "));
                    let place = spec.middleware.get(step).map(|part| part.place.clone());
                    let found_here = Diagnostic::error("chain-cycle", what).hint("remove one of these steps");
                    found.push(Diagnostic { at: place, ..found_here });
                    broken.push(Arc::clone(step));
                }
                Some(step) if spec.middleware.contains_key(step) => {
                    path.push((step, 0));
                    on_path.insert(step);
                }
                Some(_) => {}
                None => {
                    let name = *name;
                    done.insert(Arc::clone(name));
                    on_path.remove(name);
                    path.pop();
                }
            }
        }
    }
    broken.iter().for_each(|name| drop(spec.middleware.remove(name)));
}

/// Routes that can never be reached, as an earlier one has the same listener, host and match; those that are `meant`.
/// Routes that a table selects hide nobody.
pub(crate) fn shadowed(spec: &Spec, found: &mut Vec<Diagnostic>, meant: impl Fn(&Route) -> bool) {
    let every: Vec<&Name> = spec.listeners.keys().collect();
    let any_host = [HostPattern::Wildcard(String::new())];
    let mut seen: HashMap<(&Name, &HostPattern, &Match), &Arc<Part<Route>>> = HashMap::new();
    let matched = |route: &&Arc<Part<Route>>| route.table.as_ref().is_none_or(|table| !table.selected);
    for route in spec.routes.iter().filter(matched) {
        let listeners: Vec<&Name> =
            if route.listeners.is_empty() { every.clone() } else { route.listeners.iter().collect() };
        let hosts = if route.hosts.is_empty() { &any_host[..] } else { &route.hosts };
        let mut hidden_by: Option<&Arc<Part<Route>>> = None;
        let mut reached = listeners.is_empty();
        for on in &route.matches {
            for (listener, host) in listeners.iter().flat_map(|name| hosts.iter().map(move |host| (*name, host))) {
                match seen.get(&(listener, host, on)) {
                    Some(first) if !Arc::ptr_eq(first, route) => hidden_by = Some(first),
                    Some(_) => {}
                    None => {
                        reached = true;
                        seen.insert((listener, host, on), route);
                    }
                }
            }
        }
        let Some(first) = hidden_by.filter(|_| meant(route)) else { continue };
        let much = if reached { "partly hidden" } else { "never reached" };
        found.push(
            Diagnostic::warning(
                "shadowed-route",
                format!("the route `{}` is {much}: `{}` matches the same requests and comes first", route.id, first.id),
            )
            .at(route.place.clone())
            .related(first.place.clone(), format!("`{}` is defined here", first.id))
            .hint("remove one of them, or give it a further condition"),
        );
    }
}

/// Modules that the source was asked for and does not have.
fn modules(objects: &[Checked], tree: &Tree, found: &mut Vec<Diagnostic>) {
    for (path, at) in objects.iter().flat_map(|(_, outcome)| &outcome.modules) {
        if let Some(why) = missing(path, tree) {
            let what = format!("the module `{path}` cannot be read: {why}");
            let hint = "the path is taken from the root of the configuration; build the plugin, or correct the path";
            found.push(Diagnostic::error("missing-module", what).at(at.clone()).hint(hint));
        }
    }
}

/// Why there is no module of this path; `None` where there is one, or nobody was asked for it yet.
pub(super) fn missing<'t>(path: &str, tree: &'t Tree) -> Option<&'t ReadError> {
    let entries = || tree.layers.iter().rev().filter_map(|layer| layer.entries.get(path));
    let why = entries().find_map(|entry| entry.as_ref().err());
    why.filter(|_| !entries().any(Result::is_ok))
}
