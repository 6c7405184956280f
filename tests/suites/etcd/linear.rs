//! Linearised: a writer makes random transactions over twenty keys, three gateways follow. Every generation that any of
//! them served is the prefix at one revision, and no gateway goes back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tidegate::{
    etcd::{Op, Range},
    source::etcd::EtcdSource,
};
use tidegate_tests::{Client, Etcd, Gateway, WEB, soon};

use super::stage::quick;

const KEYS: usize = 20;
const TRANSACTIONS: u64 = 500;
const SEED: u64 = 0x7469_6465_6761_7465;

/// What each key holds: the transaction that wrote it last.
type Values = Vec<u64>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_generation_that_is_served_is_the_prefix_at_some_revision_in_order() {
    let etcd = Etcd::start().await;
    let writer = etcd.client();
    let mut values: Values = vec![0; KEYS];
    let names: Vec<_> = (0..KEYS).map(|key| format!("k{key:02}")).collect();
    let chain = names.join(", ");
    let gateway = format!(
        "{WEB}routes: [{{id: all, path: /*, middleware: [{chain}, {{respond: {{status: 200, body: here}}}}]}}]\n"
    );
    let mut places = [false; KEYS];
    let mut first: Vec<_> = (0..KEYS).map(|key| put(key, false, 0)).collect();
    first.push(Op::put("/gw/gateway.yaml", gateway));
    let begun = writer.txn(Vec::new(), first, Vec::new()).await.unwrap().header.revision;
    let mut history = BTreeMap::from([(begun, values.clone())]);

    let over = Arc::<AtomicBool>::default();
    let (mut gateways, mut watchers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let source = EtcdSource::new(quick(etcd.options()));
        let gateway = Gateway::over(vec![Box::new(source)]).await.unwrap_or_else(|why| panic!("{why}"));
        watchers.push(tokio::spawn(watch(gateway.http1().await, Arc::clone(&over))));
        gateways.push(gateway);
    }

    let mut random = SEED;
    for transaction in 1..=TRANSACTIONS {
        let mut ops = Vec::new();
        for key in chosen(&mut random) {
            // A key may move to another document: gone here and there at one revision.
            if next(&mut random).is_multiple_of(4) {
                ops.push(Op::Delete(Range::key(place(key, places[key]))));
                places[key] = !places[key];
            }
            ops.push(put(key, places[key], transaction));
            values[key] = transaction;
        }
        let revision = writer.txn(Vec::new(), ops, Vec::new()).await.unwrap().header.revision;
        history.insert(revision, values.clone());
    }
    let (last, _) = history.last_key_value().unwrap();
    for gateway in &gateways {
        soon("the last revision is served", async || gateway.status().await["revision"][0]["revision"] == *last).await;
    }
    over.store(true, Relaxed);

    let known: HashMap<&Values, i64> = history.iter().map(|(revision, values)| (values, *revision)).collect();
    for (watcher, gateway) in watchers.into_iter().zip(&gateways) {
        let served = watcher.await.unwrap();
        let mut before = 0;
        for (generation, values) in &served {
            let revision = *known.get(values).unwrap_or_else(|| {
                panic!("generation {generation} is the prefix at no revision (seed {SEED:#x}): {values:?}")
            });
            assert!(revision > before, "generation {generation} went back from {before} to {revision}");
            before = revision;
        }
        println!("{} generations of {TRANSACTIONS} revisions were seen", served.len());
        assert!(served.len() > 5, "only {} generations were seen", served.len());
        assert_eq!(gateway.metric("tidegate_reloads_total", "outcome=\"refused\"").await, 0.0);
    }
}

/// What was served, by generation.
async fn watch(mut client: Client, over: Arc<AtomicBool>) -> BTreeMap<u64, Values> {
    let mut served: BTreeMap<u64, Values> = BTreeMap::new();
    while !over.load(Relaxed) {
        let answer = client.get("/").await;
        let value = |key| answer.header(&format!("x-k{key:02}")).parse().unwrap();
        let values: Values = (0..KEYS).map(value).collect();
        let known = served.entry(answer.generation()).or_insert_with(|| values.clone());
        assert_eq!(*known, values, "generation {}", answer.generation());
    }
    served
}

fn place(key: usize, moved: bool) -> String {
    let folder = if moved { "b" } else { "a" };
    format!("/gw/{folder}/k{key:02}.yaml")
}

fn put(key: usize, moved: bool, value: u64) -> Op {
    let step = format!("{{headers: {{response: {{set: {{x-k{key:02}: '{value}'}}}}}}}}");
    Op::put(place(key, moved), format!("middleware: {{k{key:02}: {step}}}\n"))
}

/// One to five keys, each once.
fn chosen(random: &mut u64) -> Vec<usize> {
    let mut keys: Vec<_> = (0..1 + next(random) % 5).map(|_| (next(random) % KEYS as u64) as usize).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// SplitMix64.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
