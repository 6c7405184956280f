//! Compiling twice: what is built anew, and what is found.

use std::{fmt::Write as _, sync::Arc};

use super::*;
use crate::{
    config::{self, Memo},
    drain::Drain,
    resolve,
    source::{Entry, Layer, Tree},
    wasm::Settings,
};

struct Bench {
    compiler: Compiler,
    memo: Memo,
    drain: Drain,
    serving: Option<Snapshot>,
}

impl Bench {
    fn new() -> Self {
        let (metrics, states) = (Metrics::new(2), States::new(2, tokio::runtime::Handle::current()));
        let settings = Settings { workers: 2, ..Settings::default() };
        let wasm = Wasm::new(settings, Arc::clone(&metrics), Arc::clone(&states)).expect("an engine");
        let log = Arc::new(access::Log::start(2, Arc::clone(&metrics)).expect("a thread"));
        let tracing = Tracing::new(tokio::runtime::Handle::current(), Arc::clone(&metrics));
        let compiler = Compiler::new(wasm, states, metrics, (log, tracing));
        Self { compiler, memo: Memo::default(), drain: Drain::default(), serving: None }
    }

    async fn load(&mut self, documents: &[(&str, &str)]) -> (Identity, Built) {
        let entries = documents.iter().map(|(path, text)| (Arc::from(*path), Ok(Entry::new((*text).to_owned()))));
        let layer = Layer { source: "test".into(), revision: 1, entries: entries.collect() };
        let tree = Tree { layers: vec![layer] };
        let checked = config::load(&tree, &mut self.memo);
        let spec = checked.spec.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        let modules = resolve::modules(&spec, &tree).expect("modules are there");
        let compiled = self.compiler.compile(&spec, &modules, self.serving.as_ref()).await;
        let compiled = compiled.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let (identity, built) = (compiled.identity, compiled.built);
        self.compiler.keep(compiled.kept);
        let ledger = self.drain.open(1, 2, None);
        self.serving = Some(Snapshot {
            generation: 1,
            identity: tree.identity(),
            spec: compiled.spec,
            listeners: compiled.listeners,
            tracer: compiled.tracer,
            ledger,
        });
        (identity, built)
    }

    fn finds(&self, listener: &str, host: &str, path: &str) -> Option<(Name, Identity)> {
        let (method, headers) = (http::Method::GET, http::HeaderMap::new());
        let head = crate::route::Head { host, path, query: "", method: &method, headers: &headers };
        let plan = self.serving.as_ref().expect("loaded").listeners[listener].rest.table.find(&head)?;
        Some((Arc::clone(&plan.id), plan.identity))
    }
}

const WEB: &str = "listeners: {web: {address: '127.0.0.1:0'}}\nupstreams: {up: {endpoints: ['127.0.0.1:9']}}\n";

fn routes(count: usize, special: &str) -> String {
    let mut text = WEB.to_owned() + "routes:\n";
    for number in 0..count {
        let host = number % 10;
        let path = if number == 3 { special } else { "plain" };
        writeln!(text, "  - {{id: r{number}, host: h{host}.test, path: /{path}/{number}/*, upstream: up}}")
            .expect("text");
    }
    text
}

#[tokio::test]
async fn an_equal_tree_builds_nothing_and_has_the_same_identity() {
    let mut bench = Bench::new();
    let (first, built) = bench.load(&[("a.yaml", &routes(20, "plain"))]).await;
    assert_eq!(built, Built { upstreams: 1, rows: 20, host_tables: 10, ..Built::default() });
    let again = format!("# a comment\n{}", routes(20, "plain"));
    let (second, built) = bench.load(&[("b.yaml", &again)]).await;
    assert_eq!((second, built), (first, Built::default()));
}

#[tokio::test]
async fn one_changed_route_builds_one_row_and_one_host() {
    let mut bench = Bench::new();
    let (first, _) = bench.load(&[("a.yaml", &routes(100, "plain"))]).await;
    let (second, built) = bench.load(&[("a.yaml", &routes(100, "other"))]).await;
    assert_ne!(first, second);
    assert_eq!(built, Built { rows: 1, host_tables: 1, ..Built::default() });
}

#[tokio::test]
async fn a_changed_step_reaches_every_route_that_has_it_and_no_other() {
    let mut bench = Bench::new();
    let with = |value: &str| {
        format!(
            "{WEB}middleware: {{tag: {{headers: {{response: {{set: {{x-tag: {value}}}}}}}}}, \
             chain: {{chain: [tag]}}}}\n\
             routes:\n  - {{id: a, path: /a, middleware: [chain], upstream: up}}\n  - {{id: b, path: /b, upstream: up}}\n"
        )
    };
    bench.load(&[("a.yaml", &with("one"))]).await;
    let (_, built) = bench.load(&[("a.yaml", &with("two"))]).await;
    assert_eq!(built, Built { steps: 1, rows: 1, host_tables: 1, ..Built::default() });
}

#[tokio::test]
async fn a_changed_upstream_reaches_its_routes() {
    let mut bench = Bench::new();
    let first = routes(2, "plain");
    bench.load(&[("a.yaml", &first)]).await;
    let (_, built) = bench.load(&[("a.yaml", &first.replace("127.0.0.1:9", "127.0.0.1:10"))]).await;
    assert_eq!(built, Built { upstreams: 1, rows: 2, host_tables: 2, ..Built::default() });
}

/// A route of a small world at random, by what is left of `random`.
fn random_route(number: usize, random: usize) -> String {
    let host = ["", "host: a.test, ", "host: b.test, ", "hosts: [a.test, '*.test'], "][random % 4];
    let path = ["path: /x", "path: '/y/*'", "path: {regex: '/z[0-9]'}", "path: '/w/{id}'"][random / 4 % 4];
    let on = ["", "listeners: [web], ", "listeners: [more], "][random / 16 % 3];
    let own = "middleware: [{headers: {response: {set: {x: '1'}}}}], ";
    let steps = ["", "middleware: [tag], ", "middleware: [outer], ", own][random / 48 % 4];
    let to = ["upstream: up", "target: '127.0.0.1:8'", "upstream: other"][random / 192 % 3];
    format!("routes: [{{id: r{number}, {host}{path}, {on}{steps}{to}}}]\n")
}

#[tokio::test]
async fn what_is_compiled_from_the_last_is_what_is_compiled_from_nothing() {
    const BASE: &str = "listeners: {web: {address: '127.0.0.1:0'}, more: {address: '127.0.0.1:0'}}\n";
    const ROUTES: usize = 150;
    let upstreams = |port: usize| {
        format!("upstreams: {{up: {{endpoints: ['127.0.0.1:{port}']}}, other: {{endpoints: ['127.0.0.1:7']}}}}\n")
    };
    let steps = |tag: usize| {
        format!(
            "middleware: {{tag: {{headers: {{response: {{set: {{x-tag: '{tag}'}}}}}}}}, still: {{maintenance: {{}}}}, \
             inner: {{chain: [still, tag]}}, outer: {{chain: [inner]}}}}\n"
        )
    };
    let owned = |(path, text): (&str, String)| (path.to_owned(), text);
    let mut documents: BTreeMap<String, String> = (0..ROUTES)
        .map(|number| (format!("r{number:03}.yaml"), random_route(number, number * 7)))
        .chain([("a.yaml", BASE.to_owned()), ("b.yaml", upstreams(9)), ("c.yaml", steps(0))].map(owned))
        .collect();
    let (mut bench, mut anew) = (Bench::new(), Bench::new());
    let mut random = 0x006c_616e_6573_usize;
    for step in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (number, kind) = ((random >> 33) % ROUTES, (random >> 20) % 23);
        let path = format!("r{number:03}.yaml");
        match kind {
            0 => drop(documents.insert("b.yaml".to_owned(), upstreams(9 + random % 5))),
            1 => drop(documents.remove(&path)),
            2 => drop(documents.insert("c.yaml".to_owned(), steps(random % 5))),
            3 => {
                documents.insert("c.yaml".to_owned(), steps(random % 5));
                documents.insert(path, random_route(number, random >> 40));
            }
            _ => drop(documents.insert(path, random_route(number, random >> 40))),
        }
        let all: Vec<_> = documents.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (identity, _) = bench.load(&all).await;
        (anew.compiler.kept, anew.serving) = (Kept::default(), None);
        assert_eq!(identity, anew.load(&all).await.0, "step {step}");
        for listener in ["web", "more"] {
            for (host, path) in
                [("a.test", "/x"), ("b.test", "/y/1"), ("c.test", "/w/1"), ("d", "/v"), ("b.test", "/x")]
            {
                assert_eq!(
                    bench.finds(listener, host, path),
                    anew.finds(listener, host, path),
                    "step {step}: {host}{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_changed_step_leaves_other_routes_alone() {
    let mut bench = Bench::new();
    let with = |tag: usize, last: usize| {
        let mut text = WEB.to_owned() + "middleware:\n";
        for number in 0..50 {
            let value = if number == 7 { tag } else { 0 };
            writeln!(text, "  m{number}: {{headers: {{response: {{set: {{x-tag: '{value}'}}}}}}}}").expect("text");
        }
        text += "routes:\n";
        for number in 0..1_000 {
            let path = if number == 999 { last } else { 0 };
            let step = number / 20;
            writeln!(text, "  - {{id: r{number}, path: /r{number}/{path}, middleware: [m{step}], upstream: up}}")
                .expect("text");
        }
        text
    };
    bench.load(&[("a.yaml", &with(0, 0))]).await;
    let before = bench.compiler.kept.lanes.by_listener["web"].clone();
    let (_, built) = bench.load(&[("a.yaml", &with(1, 1))]).await;
    assert_eq!(built, Built { steps: 1, rows: 21, host_tables: 1, ..Built::default() });
    let after = &bench.compiler.kept.lanes.by_listener["web"];
    assert!(after.shared_with(&before) > 700, "only what is near a touched route is copied");
}
