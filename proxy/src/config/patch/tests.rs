//! Random edits: what comes of a tree by way of the one before it is what comes of it from nothing.

use imbl::OrdMap;

use super::*;
use crate::{
    config::{load_with, render},
    source::Layer,
};

const STEPS: usize = 600;
const SEED: u64 = 0x7061_7463_6865_6421;

const BASE: [(&str, &str); 6] = [
    (
        "gateways.yaml",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, \
         spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}}\n",
    ),
    (
        "manifest.yaml",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: m}, spec: {parentRefs: [{name: g}], \
         rules: [{matches: [{path: {value: /m@}}], backendRefs: [{name: shared, port: 80}]}]}}\n",
    ),
    ("gateway.yaml", "listeners: {web: {address: '127.0.0.1:0'}, more: {address: '127.0.0.1:0'}}\n"),
    ("upstreams.yaml", "upstreams: {shared: {endpoints: ['10.0.0.1:80']}}\n"),
    (
        "steps.yaml",
        "middleware: {a: {headers: {response: {set: {x: '1'}}}}, b: {respond: {status: 200}}, c: {chain: [a, b]}}\n",
    ),
    ("plugin.yaml", "middleware: {p: {module: p.wasm, config: {key: '${env:TOKEN}'}}}\n"),
];

/// What a route may be; `@` is a small number.
const ROUTES: [&str; 35] = [
    "target: '10.0.0.@:80'",
    "target: '10.0.0.@:80', timeout: @s",
    "targets: [{target: '10.0.0.@:80', weight: 2}, {target: '10.0.0.9:80'}]",
    "upstream: shared",
    "upstream: shared, middleware: [a]",
    "upstream: shared, middleware: [a, {headers: {response: {set: {y: '@'}}}}]",
    "middleware: [{respond: {status: 200, body: 'b@'}}]",
    "middleware: [{headers: {response: {set: {z: '@'}}}}, {respond: {status: 200}}]",
    "middleware: [c]",
    "middleware: [p], upstream: shared",
    "middleware: [{module: p.wasm, config: {n: @}}], upstream: shared",
    "middleware: [{module: q@.wasm}], upstream: shared",
    "middleware: [{headers: {request: {set: {k: '${env:TOKEN}'}}}}], upstream: shared",
    "host: h@.example, upstream: shared",
    "listeners: [more], upstream: shared",
    "middleware: [{maintenance: {retry-after: @m}}]",
    "middleware: [{maintenance: {body: '${env:TOKEN}'}}]",
    "middleware: [{maintenance: {allow: [10.0.0.@]}}], upstream: shared",
    "middleware: [{cors: {allow-origins: '*', max-age: @s}}], upstream: shared",
    "middleware: [{forward-auth: {upstream: shared, path: '/@'}}, {request-id: {}}], upstream: shared",
    "middleware: [{ip-access: {deny: [10.0.0.@]}}, b]",
    "middleware: [{compress: {gzip-level: 1}}, {decompress: {ratio-max: 1@}}, {cache: {default-max-age: @s}}], upstream: shared",
    "middleware: [{basic-auth: {users: ['a@:$2b$04$.....................................................']}}], upstream: shared",
    // And what is refused, or warned of.
    "middleware: [nowhere], upstream: shared",
    "upstream: nobody",
    "middleware: [a]",
    "middleware: [{maintenance: {allow: [10.0.0.@]}}]",
    "middleware: [{maintenance: {enabled: false}}]",
    "middleware: [{concurrency: {exchanges-max: @}}], upstream: shared",
    "middleware: [{forward-auth: {upstream: nobody}}], upstream: shared",
    "middleware: [{forward-auth: {upstream: shared}}]",
    "middleware: [{basic-auth: {users: ['${env:TOKEN}']}}], upstream: shared",
    "upstream: shared, nonsense: @",
    "path: /same, upstream: shared",
    "upstream: [",
];

/// How many of them are right.
const RIGHT: usize = 23;

/// What documents of steps and upstreams may be.
const OTHERS: [(&str, &str); 13] = [
    (
        "manifest.yaml",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: m}, spec: {parentRefs: [{name: g}], \
         rules: [{matches: [{path: {value: /m@}}], backendRefs: [{name: shared, port: 80}]}]}}\n",
    ),
    ("upstreams.yaml", "upstreams: {shared: {endpoints: ['10.0.0.@:80']}}\n"),
    (
        "upstreams.yaml",
        "upstreams: {shared: {endpoints: ['10.0.0.@:80']}, '10.0.0.1:80': {endpoints: ['10.0.0.7:80']}}\n",
    ),
    (
        "steps.yaml",
        "middleware: {a: {headers: {response: {set: {x: '@'}}}}, b: {respond: {status: 200}}, c: {chain: [a, b]}}\n",
    ),
    ("steps.yaml", "middleware: {a: {respond: {status: 204}}, b: {respond: {status: 200}}, c: {chain: [a, b]}}\n"),
    ("steps.yaml", "middleware: {a: {headers: {}}, b: {headers: {}}, c: {chain: [a, b]}}\n"),
    ("steps.yaml", "middleware: {a: {headers: {}}, b: {respond: {status: 200}}, c: {chain: [b, a]}}\n"),
    ("steps.yaml", "middleware: {a: {maintenance: {}}, b: {maintenance: {retry-after: 1s}}, c: {chain: [a, b]}}\n"),
    ("steps.yaml", "middleware: {a: {maintenance: {enabled: false}}, b: {maintenance: {}}, c: {chain: [a, b]}}\n"),
    (
        "steps.yaml",
        "middleware: {a: {cors: {allow-origins: '*'}}, b: {forward-auth: {upstream: shared}}, c: {chain: [a, b]}}\n",
    ),
    ("plugin.yaml", "middleware: {p: {module: p.wasm, config: {key: '${env:TOKEN}', n: @}}}\n"),
    ("plugin.yaml", "middleware: {p: {module: q@.wasm, config: {key: '${env:TOKEN}'}}}\n"),
    ("gateway.yaml", "listeners: {web: {address: '127.0.0.1:0'}, more: {address: '127.0.0.1:0', middleware: [a]}}\n"),
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("small")
    }
}

fn entry(text: &str) -> Result<Entry, crate::source::ReadError> {
    Ok(Entry::new(text.to_owned()))
}

fn route(random: &mut Random, name: &str) -> String {
    // What is right more often than not, so that what is wrong comes alone.
    let end = if random.below(4) == 0 { ROUTES.len() } else { RIGHT };
    let text = ROUTES[random.below(end)].replace('@', &random.below(4).to_string());
    let path = if text.contains("path:") { String::new() } else { format!("path: /{name}, ") };
    format!("routes: [{{id: {name}, {path}{text}}}]\n")
}

// One of those that may be there or not.
fn module(random: &mut Random) -> Arc<str> {
    format!("q{}.wasm", random.below(4)).into()
}

fn change(tree: &mut Tree, random: &mut Random) {
    let layer = if random.below(6) == 0 { 1 } else { 0 };
    let entries = &mut tree.layers[layer].entries;
    match random.below(12) {
        0 => {
            let (path, text) = OTHERS[random.below(OTHERS.len())];
            entries.insert(path.into(), entry(&text.replace('@', &random.below(4).to_string())));
        }
        1 => drop(entries.remove(&*format!("r{}.yaml", random.below(8)))),
        2 => match random.below(5) {
            0 => drop(entries.insert("p.wasm".into(), entry(&random.below(4).to_string()))),
            1 | 2 => drop(entries.insert(module(random), entry(&random.below(4).to_string()))),
            3 => drop(entries.remove(&module(random))),
            _ => drop(entries.insert(module(random), Err(crate::source::ReadError("it is gone".into())))),
        },
        3 => {
            // A document comes to hold what another one held.
            let [one, two] = [random.below(8), random.below(8)].map(|number| format!("r{number}"));
            let text = route(random, &one);
            entries.insert(format!("{two}.yaml").into(), entry(&text));
        }
        // Several in one document, of which some are in others' documents as well, or were.
        4 | 5 => {
            let first = random.below(8);
            let texts = (first..8).step_by(1 + random.below(4)).map(|number| route(random, &format!("r{number}")));
            let items: Vec<_> = texts.map(|text| text.trim().trim_start_matches("routes: ").to_owned()).collect();
            let items = items.iter().map(|text| text.trim_start_matches('[').trim_end_matches(']'));
            let text = format!("routes: [{}]\n", items.collect::<Vec<_>>().join(", "));
            (0..8).for_each(|number| drop(entries.remove(&*format!("r{number}.yaml"))));
            entries.insert("r.yaml".into(), entry(&text));
        }
        6 => drop(entries.remove("r.yaml")),
        _ => {
            let name = format!("r{}", random.below(8));
            let text = route(random, &name);
            entries.insert(format!("{name}.yaml").into(), entry(&text));
        }
    }
}

fn told(checked: &Checked) -> String {
    let spec = checked.spec.as_ref().map(|spec| format!("{spec:#?}\n{}", render::yaml(spec, true)));
    format!("{}\n{:#?}\n{:#?}", spec.unwrap_or_default(), checked.wanted, checked.diagnostics)
}

#[test]
fn what_is_patched_is_what_is_loaded_from_nothing() {
    let mut random = Random(SEED);
    let base: OrdMap<Arc<str>, _> = BASE.iter().map(|(path, text)| (Arc::from(*path), entry(text))).collect();
    let layer = |source: &str, entries| Layer { source: source.into(), revision: 1, entries };
    let mut tree = Tree { layers: vec![layer("one", base), layer("two", OrdMap::new())] };
    tree.layers[0].entries.insert("p.wasm".into(), entry("0"));
    let mut memo = Memo::default();
    let (mut token, mut refused) = (0, 0);
    for step in 0..STEPS {
        let before = tree.clone();
        change(&mut tree, &mut random);
        token += usize::from(random.below(50) == 0);
        let variable = |name: &str| (name == "TOKEN").then(|| format!("secret{token}"));
        let patched = load_with(&tree, &mut memo, &variable);
        let whole = load_with(&tree, &mut Memo::default(), &variable);
        assert_eq!(told(&patched), told(&whole), "step {step} (seed {SEED:#x})");
        if whole.spec.is_none() {
            refused += 1;
            tree = before;
        }
    }
    assert!(memo.patched > STEPS as u64 / 10, "only {} of {STEPS} were patched", memo.patched);
    assert!(refused > STEPS / 50, "only {refused} were refused");
}

#[test]
fn one_route_among_many_is_all_that_is_looked_at() {
    let text = |number: usize, timeout: usize| {
        format!("routes: [{{id: r{number}, path: /{number}, target: '10.0.0.1:80', timeout: {timeout}s}}]\n")
    };
    let mut entries: OrdMap<Arc<str>, _> = BASE.iter().map(|(path, text)| (Arc::from(*path), entry(text))).collect();
    entries.extend((0..1000).map(|number| (Arc::from(format!("r{number}.yaml")), entry(&text(number, 1)))));
    entries.insert("p.wasm".into(), entry("0"));
    let mut tree = Tree { layers: vec![Layer { source: "one".into(), revision: 1, entries }] };
    let mut memo = Memo::default();
    let variable = |_: &str| Some("secret".to_owned());
    let first = load_with(&tree, &mut memo, &variable);
    let first = first.spec.unwrap_or_else(|| panic!("{:?}", first.diagnostics));
    tree.layers[0].entries.insert("r7.yaml".into(), entry(&text(7, 2)));
    let second = load_with(&tree, &mut memo, &variable).spec.expect("a configuration");
    assert_eq!((memo.patched, memo.parsed_files, memo.checked_objects), (1, 1007, 1010));
    let same = first.routes.iter().zip(&second.routes).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
    assert_eq!((first.routes.len(), same), (1001, 1000));
}

#[test]
fn a_route_that_comes_goes_or_matches_something_else_is_all_that_is_looked_at() {
    let text = |name: &str, path: &str| format!("routes: [{{id: {name}, path: /{path}, target: '10.0.0.1:80'}}]\n");
    let mut entries: OrdMap<Arc<str>, _> = BASE.iter().map(|(path, text)| (Arc::from(*path), entry(text))).collect();
    entries.extend((0..1000).map(|number| {
        (Arc::from(format!("r{number}.yaml")), entry(&text(&format!("r{number}"), &number.to_string())))
    }));
    entries.insert("p.wasm".into(), entry("0"));
    let mut tree = Tree { layers: vec![Layer { source: "one".into(), revision: 1, entries }] };
    let mut memo = Memo::default();
    let variable = |_: &str| Some("secret".to_owned());
    let first = load_with(&tree, &mut memo, &variable);
    assert!(first.spec.is_some(), "{:?}", first.diagnostics);
    let checked = memo.checked_objects;
    // Each a document, what is in it, and how many objects are checked from then on.
    let steps = [
        ("r1000.yaml", Some(text("new", "new")), 1),
        ("r5.yaml", None, 1),
        ("r1000.yaml", Some(text("new", "other")), 2),
        ("r1000.yaml", Some(text("newer", "other")), 3),
        ("r6.yaml", Some(text("r6", "5")), 4),
        ("r1000.yaml", Some(text("newer", "6")), 5),
    ];
    for (at, (path, text, objects)) in steps.into_iter().enumerate() {
        match text {
            Some(text) => drop(tree.layers[0].entries.insert(path.into(), entry(&text))),
            None => drop(tree.layers[0].entries.remove(path)),
        }
        let patched = load_with(&tree, &mut memo, &variable);
        assert_eq!(told(&patched), told(&load_with(&tree, &mut Memo::default(), &variable)), "step {at}");
        assert_eq!((memo.patched, memo.checked_objects - checked), (at as u64 + 1, objects), "step {at}");
    }
    tree.layers[0].entries.insert("r8.yaml".into(), entry(&text("r8", "7")));
    let hidden = load_with(&tree, &mut memo, &variable);
    assert_eq!(hidden.diagnostics.iter().map(|found| found.code).collect::<Vec<_>>(), ["shadowed-route"]);
    assert_eq!(memo.patched, 6, "what another route matches is looked at the whole way");
}

#[test]
fn a_plugin_of_another_module_is_all_that_is_looked_at() {
    let mut entries: OrdMap<Arc<str>, _> = BASE.iter().map(|(path, text)| (Arc::from(*path), entry(text))).collect();
    let plugin =
        |number: usize, module: &str| entry(&format!("middleware: {{p{number}: {{module: {module}.wasm}}}}\n"));
    entries.extend((0..100).map(|number| (Arc::from(format!("p{number}.yaml")), plugin(number, "p"))));
    entries.insert("p.wasm".into(), entry("p"));
    let mut tree = Tree { layers: vec![Layer { source: "one".into(), revision: 1, entries }] };
    let mut memo = Memo::default();
    let variable = |_: &str| Some("secret".to_owned());
    assert!(load_with(&tree, &mut memo, &variable).spec.is_some());
    let (checked, patched) = (memo.checked_objects, memo.patched);
    let (present, missing) = (entry("m"), Err(crate::source::ReadError("it is gone".into())));
    // What is saved, whether it is told from what was, and what the sources are to be asked for then.
    let steps = [
        ("p7.yaml", Some(plugin(7, "m")), true, vec!["m.wasm", "p.wasm"]),
        ("m.wasm", Some(present), true, vec!["m.wasm", "p.wasm"]),
        ("p8.yaml", Some(plugin(8, "m")), true, vec!["m.wasm", "p.wasm"]),
        ("p7.yaml", Some(plugin(7, "p")), true, vec!["m.wasm", "p.wasm"]),
        ("p8.yaml", Some(plugin(8, "p")), true, vec!["p.wasm"]),
        ("m.wasm", None, true, vec!["p.wasm"]),
        ("p8.yaml", Some(plugin(8, "m")), true, vec!["m.wasm", "p.wasm"]),
        ("m.wasm", Some(missing), false, vec!["m.wasm", "p.wasm"]),
    ];
    let mut times = 0;
    for (at, (path, saved, is_told, wanted)) in steps.into_iter().enumerate() {
        match saved {
            Some(saved) => drop(tree.layers[0].entries.insert(path.into(), saved)),
            None => drop(tree.layers[0].entries.remove(path)),
        }
        let loaded = load_with(&tree, &mut memo, &variable);
        assert_eq!(told(&loaded), told(&load_with(&tree, &mut Memo::default(), &variable)), "step {at}");
        assert!(loaded.wanted.iter().map(|path| &**path).eq(wanted), "step {at}: {:?}", loaded.wanted);
        times += u64::from(is_told);
        assert_eq!(memo.patched - patched, times, "step {at}");
    }
    assert_eq!(memo.checked_objects - checked, 5);
}
