//! Explain: what would happen to a request that nobody sends, by the tables that serve. Reads a snapshot, asks the
//! tables that choose, and changes nothing.

use std::sync::Arc;

use http::Uri;

use crate::{
    admin::{Ask, ExplainedStep, ExplainedTarget, Explanation},
    config::spec::{Destination, Match, Middleware, Name, Part, PathPattern, Route, Spec},
    exchange::{Asked, Authority},
    filter::{Chain, Origin},
    route::Head,
    server::path,
    snapshot::{ListenerPlan, Plan, Section, Snapshot},
};

/// Answers `ask` from `snapshot`.
///
/// # Errors
/// In words, where it names no listener that there is, or its path would be refused.
pub async fn explain(snapshot: &Snapshot, ask: &Ask) -> Result<Explanation, String> {
    let (name, listener) = listener(snapshot, ask)?;
    let target = ask.url.path();
    let normal = path::normalize(target, &listener.spec.path).map_err(|error| format!("answered with 400: {error}"))?;
    let host = host(ask);
    let head = Head {
        host: &host,
        path: &normal,
        query: ask.url.query().unwrap_or_default(),
        method: &ask.method,
        headers: &ask.headers,
    };
    let mut said = Vec::new();
    let section = listener.section(&host);
    let named = listener.sections.iter().find(|(_, own)| std::ptr::eq(&***own, section));
    said.extend(named.map(|(name, _)| format!("the request belongs to the section `{name}`")));
    let chosen = choose(snapshot.generation, (name, section), &head, &mut said).await;
    let found = chosen.or_else(|| section.table.find(&head));
    let plan = found.unwrap_or(&section.fallback);
    let route = found.and_then(|plan| snapshot.spec.routes.iter().find(|route| route.id == plan.id));
    let mut explanation = Explanation {
        generation: snapshot.generation,
        listener: name.to_string(),
        middleware: steps(&plan.chain, &snapshot.spec),
        timeout: plan.timeout,
        notes: said.into_iter().chain(notes(plan, route.is_some(), &snapshot.spec)).collect(),
        ..Explanation::default()
    };
    if let Some(route) = route {
        explanation.route = Some(route.id.to_string());
        explanation.defined = Some(route.place.clone());
        explanation.because = Some(because(route, &head));
        explanation.table = route.table.as_ref().map(|from| from.table.to_string());
        explanation.targets = targets(route, &snapshot.spec);
    }
    explanation.path = normal.into_owned();
    explanation.host = host;
    Ok(explanation)
}

fn listener<'a>(snapshot: &'a Snapshot, ask: &Ask) -> Result<(&'a Name, &'a Arc<ListenerPlan>), String> {
    let names = || snapshot.listeners.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some(name) = &ask.listener {
        return snapshot
            .listeners
            .get_key_value(name.as_str())
            .ok_or_else(|| format!("there is no listener `{name}`; there are {}", names()));
    }
    let port = ask.url.port_u16();
    let on_port = snapshot.listeners.iter().find(|(_, plan)| Some(plan.spec.address.port()) == port);
    on_port.or_else(|| snapshot.listeners.iter().next()).ok_or_else(|| "there is no listener".to_owned())
}

// What the tables that are asked first say; each that does not decide leaves a note.
async fn choose<'a>(
    generation: u64,
    (name, section): (&Name, &'a Section),
    head: &Head<'_>,
    said: &mut Vec<String>,
) -> Option<&'a Arc<Plan>> {
    for selection in section.selections.iter().filter(|selection| selection.is_for(head.host)) {
        let table = &selection.table;
        let chosen = selection.select.trial(asked(generation, name, head)).await.1;
        let route = match chosen {
            Ok(Some(route)) => route,
            Ok(None) => {
                said.push(format!("the table `{table}` was asked and chooses none of its routes"));
                continue;
            }
            Err(why) => {
                let why = why.lines().next().unwrap_or_default();
                said.push(format!("the table `{table}` fails, and others decide: {why}"));
                continue;
            }
        };
        match selection.find(&route, head) {
            Some(plan) => {
                said.push(format!("the table `{table}` chose the route"));
                return Some(plan);
            }
            None => said.push(format!("the table `{table}` chose `{route}`, which does not match, so others decide")),
        }
    }
    None
}

fn asked(generation: u64, listener: &Name, head: &Head<'_>) -> Asked {
    let query = if head.query.is_empty() { String::new() } else { format!("?{}", head.query) };
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = head.method.clone();
    parts.uri = format!("{}{query}", head.path).parse().unwrap_or_default();
    parts.headers = head.headers.clone();
    let authority = head.host.parse().unwrap_or_else(|_| Authority::from_static("localhost"));
    let client = std::net::Ipv4Addr::LOCALHOST.into();
    Asked { head: parts, authority, client, secure: false, listener: Arc::clone(listener), generation }
}

fn host(ask: &Ask) -> String {
    let field = ask.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    let authority = field.and_then(|text| text.parse::<Uri>().ok()).unwrap_or_else(|| ask.url.clone());
    authority.host().unwrap_or_default().to_ascii_lowercase()
}

fn steps(chain: &Chain, spec: &Spec) -> Vec<ExplainedStep> {
    let step = |step: &crate::filter::Step| {
        let part = spec.middleware.get(&step.name);
        ExplainedStep {
            name: step.name.to_string(),
            kind: part.map_or_else(String::new, |part| kind(&part.value)),
            from: origin(step.origin),
            defined: part.map(|part| part.place.clone()),
        }
    };
    chain.steps().iter().map(step).collect()
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Gateway => "gateway",
        Origin::Listener => "listener",
        Origin::Route => "route",
    }
}

fn kind(middleware: &Middleware) -> String {
    match middleware {
        Middleware::Plugin(plugin) => return format!("plugin {}", plugin.module),
        Middleware::Headers { .. } => "headers",
        Middleware::Redirect(_) => "redirect",
        Middleware::Rewrite(_) => "rewrite",
        Middleware::Respond(_) => "respond",
        Middleware::Mirror(_) => "mirror",
        Middleware::Cors(_) => "cors",
        Middleware::IpAccess(_) => "ip-access",
        Middleware::RequestId(_) => "request-id",
        Middleware::BasicAuth(_) => "basic-auth",
        Middleware::ForwardAuth(_) => "forward-auth",
        Middleware::Maintenance(_) => "maintenance",
        Middleware::Compress(_) => "compress",
        Middleware::Decompress(_) => "decompress",
        Middleware::Concurrency(_) => "concurrency",
        Middleware::Cache(_) => "cache",
        Middleware::GrpcWeb => "grpc-web",
        Middleware::Chain(_) => "chain",
    }
    .to_owned()
}

fn notes(plan: &Plan, routed: bool, spec: &Spec) -> Vec<String> {
    let mut notes = Vec::new();
    let parts =
        || plan.chain.steps().iter().filter_map(|step| Some((&step.name, &spec.middleware.get(&step.name)?.value)));
    for (name, middleware) in parts() {
        match middleware {
            Middleware::Plugin(_) => notes.push(format!("the plugin `{name}` may answer before what follows it")),
            Middleware::Respond(_) | Middleware::Redirect(_) => {
                notes.push(format!("`{name}` answers; nothing after it is reached"));
                return notes;
            }
            _ => {}
        }
    }
    if !routed {
        notes.push("no route matches: answered with 404".to_owned());
    }
    notes
}

fn because(route: &Part<Route>, head: &Head<'_>) -> String {
    let hosts = route.hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(" or ");
    let hosts = if hosts.is_empty() { "any host".to_owned() } else { format!("host {hosts}") };
    let ways = route.matches.iter().map(way).collect::<Vec<_>>().join("; or ");
    format!("{hosts} and {ways} match {} {}{}", head.method, head.host, head.path)
}

fn way(on: &Match) -> String {
    let mut words = match &on.path {
        PathPattern::Exact(path) => format!("the exact path `{path}`"),
        PathPattern::Prefix(path) => format!("the path prefix `{path}`"),
        PathPattern::Template(path) => format!("the template `{path}`"),
        PathPattern::Regex(path) => format!("the expression `{path}`"),
    };
    if let Some(method) = &on.method {
        words += &format!(", method {method}");
    }
    for field in &on.headers {
        words += &format!(", header `{}`", field.name);
    }
    for field in &on.query {
        words += &format!(", query parameter `{}`", field.name);
    }
    words
}

fn targets(route: &Route, spec: &Spec) -> Vec<ExplainedTarget> {
    let endpoints = |name: &str| {
        let upstream = spec.upstreams.get(name);
        let address = |endpoint: &crate::config::spec::Endpoint| endpoint.address.clone();
        upstream.map_or_else(Vec::new, |upstream| upstream.endpoints.iter().map(address).collect())
    };
    let target = |target: &crate::config::spec::Target| ExplainedTarget {
        upstream: match &target.to {
            Destination::Upstream(name) => name.to_string(),
            Destination::Nowhere { status, because } => format!("({status}: {because})"),
        },
        weight: target.weight,
        endpoints: target.upstream().map_or_else(Vec::new, |name| endpoints(name)),
    };
    route.targets.iter().map(target).collect()
}
