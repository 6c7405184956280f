//! Tests of the way through the room: what loads to what, and what is remembered.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;

use super::{
    Checked, Memo,
    fuzz::EVERYTHING,
    load_with, render, report,
    spec::{HostPattern, Middleware, Name, Part, PathPattern, Spec},
};
use crate::{
    identity::Identity,
    source::{Entry, Layer, Tree},
};

fn layer(source: &str, files: &[(&str, &str)]) -> Layer {
    let entries = files.iter().map(|(path, text)| (Arc::from(*path), Ok(Entry::new(text.to_string())))).collect();
    Layer { source: source.into(), revision: 1, entries }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree { layers: vec![layer("gw", files)] }
}

fn check(tree: &Tree, memo: &mut Memo) -> Checked {
    load_with(tree, memo, &|name| (name == "TOKEN").then(|| "hunter2".to_owned()))
}

fn checked(text: &str) -> Checked {
    let tree = tree(&[("gateway.yaml", text)]);
    let checked = check(&tree, &mut Memo::default());
    assert!(checked.spec.is_some(), "{}", report::text(&checked.diagnostics, &tree, false));
    checked
}

#[test]
fn the_example_of_the_design_loads() {
    let checked = checked(
        "
listeners:
  web: {address: 0.0.0.0:8080}
upstreams:
  users: {endpoints: [10.0.1.20:8080, 10.0.1.21:8080], balance: least-request, health-check: {path: /healthz}}
middleware:
  auth:       {module: plugins/jwt-auth.wasm, config: {issuer: https://id.example.com}}
  rate-limit: {module: plugins/rate-limit.wasm, config: {requests: 100, per: 1s, key: client-ip}}
  secure:     {headers: {response: {set: {strict-transport-security: max-age=63072000}}}}   # a built-in
routes:
  - id: user-service-v2
    host: api.example.com
    path: /api/user/*
    middleware: [secure, auth, rate-limit, {respond: {status: 418}}]
    upstream: users
",
    );
    let spec = checked.spec.unwrap();
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    assert_eq!(checked.wanted, ["plugins/jwt-auth.wasm".into(), "plugins/rate-limit.wasm".into()]);
    let route = &spec.routes[0];
    assert_eq!(route.hosts, [HostPattern::Exact("api.example.com".into())]);
    assert_eq!(route.matches[0].path, PathPattern::Prefix("/api/user".into()));
    assert_eq!(&*route.middleware[3], "user-service-v2/4");
    let Middleware::Plugin(plugin) = &spec.middleware["rate-limit"].value else { panic!() };
    assert_eq!(plugin.config["requests"], 100);
    let place = &plugin.config_places["/per"];
    assert_eq!((place.line, place.column), (8, 78));
}

#[test]
fn a_flat_json_route_is_a_document() {
    let tree = tree(&[
        ("a.yaml", "listeners: {web: {address: 0.0.0.0:0}}\nmiddleware: {m: {headers: {}}}"),
        ("r.json", r#"{"route_id": "v2", "path": "/api/*", "target": "http://10.0.0.1:80", "middleware": ["m"]}"#),
        ("s.json", r#"[{"route_id": "v3", "path": "/x", "methods": ["GET", "PUT"], "target": "10.0.0.2:80"}]"#),
    ]);
    let spec = check(&tree, &mut Memo::default()).spec.unwrap();
    assert_eq!(spec.routes[0].targets[0].upstream().map(|name| &**name), Some("10.0.0.1:80"));
    assert!(spec.upstreams.contains_key("10.0.0.2:80"));
    let methods: Vec<_> = spec.routes[1].matches.iter().map(|on| on.method.clone().unwrap()).collect();
    assert_eq!(methods, [Method::GET, Method::PUT]);
}

#[test]
fn one_changed_file_among_many_is_read_and_checked_alone() {
    let mut files: Vec<(String, String)> = (0..1000)
        .map(|n| (format!("routes/{n:05}.yaml"), format!("routes: [{{id: r{n}, path: /r{n}, target: 10.0.0.1:80}}]")))
        .collect();
    files.push(("a.yaml".into(), "listeners: {web: {address: 127.0.0.1:0}}".into()));
    let of = |files: &[(String, String)]| {
        tree(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    };
    let mut memo = Memo::default();
    let first = check(&of(&files), &mut memo).spec.unwrap();
    assert_eq!((memo.parsed_files, memo.checked_objects), (1001, 1001));
    files[17].1 = "routes: [{id: r17, path: /changed, target: 10.0.0.1:80}]".into();
    let second = check(&of(&files), &mut memo).spec.unwrap();
    assert_eq!((memo.parsed_files, memo.checked_objects), (1002, 1002));
    let changed: Vec<_> = first.routes.iter().zip(&second.routes).filter(|(a, b)| !Arc::ptr_eq(a, b)).collect();
    assert_eq!(changed.len(), 1);
}

#[test]
fn anchors_may_be_defined_in_a_section_that_is_ignored() {
    let text = "x-slow: &slow {connect-timeout: 9s}
listeners: {web: {address: 127.0.0.1:0}}
upstreams:
  one: {<<: *slow, endpoints: [10.0.0.1:80]}
  two: {endpoints: [10.0.0.2:80], <<: *slow, connect-timeout: 1s}";
    let spec = checked(text).spec.unwrap();
    let timeouts = spec.upstreams.values().map(|part| part.connect_timeout.as_secs());
    assert_eq!(timeouts.collect::<Vec<_>>(), [9, 1]);
}

#[test]
fn a_changed_secret_checks_its_object_again() {
    let with = |secret: &str| {
        let text = "listeners: {web: {address: 127.0.0.1:0}}
middleware: {a: {headers: {request: {set: {x-key: '${file:key}', x-token: 'Bearer ${env:TOKEN}'}}}}}";
        tree(&[("a.yaml", text), ("key", secret)])
    };
    let mut memo = Memo::default();
    let value = |checked: &Checked, n: usize| {
        let Middleware::Headers { request, .. } = &checked.spec.as_ref().unwrap().middleware["a"].value else {
            panic!()
        };
        request.set[n].1.to_str().unwrap().to_owned()
    };
    let first = check(&with("one\n"), &mut memo);
    assert_eq!((value(&first, 0), value(&first, 1)), ("one".into(), "Bearer hunter2".into()));
    assert_eq!(first.wanted, ["key".into()]);
    let second = check(&with("two\n"), &mut memo);
    assert_eq!((value(&second, 0), memo.checked_objects, memo.parsed_files), ("two".into(), 3, 1));
}

#[test]
fn defaults_of_the_gateway_reach_its_listeners() {
    let checked = checked(
        "{gateway: {trusted-proxies: [10.0.0.0/8], access-log: {}}, listeners: {a: {address: '[::1]:0'},
          b: {address: 127.0.0.1:0, trusted-proxies: [::1]}}}",
    );
    let spec = checked.spec.unwrap();
    assert_eq!(spec.listeners["a"].trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(spec.listeners["b"].trusted_proxies, ["::1/128".parse().unwrap()]);
    assert!(spec.gateway.access_log.to.is_some());
}

#[test]
fn a_later_layer_overrides_by_name() {
    let base = layer("base", &[("a.yaml", "{listeners: {web: {address: 127.0.0.1:1}}, gateway: {workers: 2}}")]);
    let over = layer("over", &[("b.yaml", "{listeners: {web: {address: 127.0.0.1:2}}, gateway: {workers: 3}}")]);
    let spec = check(&Tree { layers: vec![base, over] }, &mut Memo::default()).spec.unwrap();
    assert_eq!(spec.listeners["web"].address.port(), 2);
    assert_eq!(&*spec.listeners["web"].place.file, "over/b.yaml");
    assert_eq!(spec.gateway.process.workers, Some(3));
}

#[test]
fn a_rendered_configuration_reads_back_as_the_same() {
    let spec = checked(EVERYTHING).spec.unwrap();
    for explain in [false, true] {
        let text = render::yaml(&spec, explain);
        assert!(!text.contains("hunter2"), "{text}");
        let again = checked(&text).spec.unwrap();
        assert_eq!(spec.gateway, again.gateway, "{text}");
        assert_eq!(identities(&spec.listeners), identities(&again.listeners), "{text}");
        assert_eq!(identities(&spec.upstreams), identities(&again.upstreams), "{text}");
        assert_eq!(identities(&spec.middleware), identities(&again.middleware), "{text}");
        assert_eq!(identities(&spec.tables), identities(&again.tables), "{text}");
        let routes = |spec: &Spec| spec.routes.iter().map(|part| (part.id.clone(), part.identity)).collect::<Vec<_>>();
        assert_eq!(routes(&spec), routes(&again), "{text}");
    }
}

fn identities<'a, T: 'a>(parts: impl IntoIterator<Item = (&'a Name, &'a Arc<Part<T>>)>) -> BTreeMap<Name, Identity> {
    parts.into_iter().map(|(name, part)| (name.clone(), part.identity)).collect()
}

#[test]
fn a_rendered_configuration_says_which_line_set_a_value() {
    let base = layer(
        "base",
        &[("a.yaml", "gateway: {trusted-proxies: [10.0.0.0/8]}\nlisteners:\n  web:\n    address: 127.0.0.1:0")],
    );
    let over = layer("over", &[("b.yaml", "\nupstreams: {users: {endpoints: [10.0.0.1:80],\n  connect-timeout: 1s}}")]);
    let spec = check(&Tree { layers: vec![base, over] }, &mut Memo::default()).spec.unwrap();
    let text = render::yaml(&spec, true);
    for line in [
        "  web:  # base/a.yaml:3",
        "    address: \"127.0.0.1:0\"  # base/a.yaml:4",
        "    trusted-proxies: [10.0.0.0/8]  # base/a.yaml:1",
        "    connect-timeout: 1s  # over/b.yaml:3",
        "    idle-timeout: 60s  # default",
    ] {
        assert!(text.lines().any(|have| have == line || have == line.replace('"', "")), "{line}\n{text}");
    }
}
