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
        let compiler = Compiler::new(wasm, states, metrics, log);
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
        self.compiler.keep(compiled.rows);
        let ledger = self.drain.open(1, 2, None);
        self.serving = Some(Snapshot {
            generation: 1,
            identity: tree.identity(),
            spec: compiled.spec,
            listeners: compiled.listeners,
            ledger,
        });
        (identity, built)
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
