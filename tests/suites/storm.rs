//! A thousand edits of routes, plugin settings and modules while requests run on both protocols: nothing fails, and
//! every response is of exactly one generation.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use http::Method;
use tidegate_tests::{Answer, Client, ConfigDir, Gateway, Origin, WEB, guests, request};

const EDITS: u64 = 1_000;
const SEED: u64 = 0x7469_6465_6761_7465;

/// What one edit wrote, which a response of it must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    number: u64,
    module: u32,
}

/// What responses showed: by generation, the edit.
#[derive(Debug, Default)]
struct Seen {
    edits: Mutex<HashMap<u64, Edit>>,
    answers: AtomicUsize,
    over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_a_thousand_edits_fails_no_request_and_mixes_no_generations() {
    let origin = Origin::start();
    let dir = ConfigDir::new().with("origin", origin.address());
    let mut edit = Edit { number: 1, module: 1 };
    let mut random = SEED;
    let mut written = HashMap::from([(1, edit)]);
    write(&dir, edit, &mut random);
    let gateway = Gateway::start(&dir).await;

    let seen = Arc::new(Seen::default());
    let mut traffic = tokio::task::JoinSet::new();
    for _ in 0..3 {
        traffic.spawn(ask(gateway.http1().await, Arc::clone(&seen)));
        let two = gateway.http2().await;
        traffic.spawn(ask(two.another(), Arc::clone(&seen)));
        traffic.spawn(ask(two, Arc::clone(&seen)));
    }

    for generation in 2..=EDITS + 1 {
        let previous = edit.module;
        edit.number = generation;
        edit.module += u32::from(next(&mut random).is_multiple_of(4));
        write(&dir, edit, &mut random);
        assert_eq!(gateway.apply().await, generation);
        written.insert(generation, edit);
        // A module that nothing names any more may go at any time, or stay.
        if edit.module != previous && next(&mut random).is_multiple_of(2) {
            dir.remove(&format!("plugins/stamp-{previous}.wat"));
        }
    }
    seen.over.store(true, Relaxed);
    traffic.join_all().await;

    let shown = std::mem::take(&mut *seen.edits.lock().unwrap());
    for (generation, edit) in &shown {
        assert_eq!(written.get(generation), Some(edit), "generation {generation} (seed {SEED:#x})");
    }
    let answers = seen.answers.load(Relaxed);
    assert!(answers > 1_000, "{answers} answers are no traffic");
    assert!(shown.len() > 100, "{} generations were seen by anybody", shown.len());
    gateway.only(EDITS + 1).await;
    assert_eq!(gateway.metric("tidegate_reloads_total", "outcome=\"applied\"").await, EDITS as f64 + 1.0);
}

/// Asks until the storm is over; every answer must be whole, and of one generation.
async fn ask(mut client: Client, seen: Arc<Seen>) {
    let body = "0123456789".repeat(1_000);
    while !seen.over.load(Relaxed) {
        let mut ask = request(Method::POST, "/storm/here");
        *ask.body_mut() = body.clone().into();
        let answer = client.try_send(ask).await.unwrap_or_else(|error| panic!("{client:?}: {error:?}"));
        assert_eq!(answer.status, 200, "{client:?}: {}", answer.text());
        assert_eq!(answer.echo()["body_bytes"], body.len());
        let edit = edit_of(&answer);
        let known = *seen.edits.lock().unwrap().entry(answer.generation()).or_insert(edit);
        assert_eq!(known, edit, "generation {}", answer.generation());
        seen.answers.fetch_add(1, Relaxed);
    }
}

/// The edit that an answer shows, which must be the same wherever it shows.
fn edit_of(answer: &Answer) -> Edit {
    let one = |name: &str| answer.echoed(name).pop().unwrap_or_else(|| panic!("no {name}: {}", answer.text()));
    let number: u64 = one("x-edit").parse().unwrap();
    let config: serde_json::Value = serde_json::from_str(&one("x-config")).unwrap();
    assert_eq!(config["edit"], number, "the plugin's settings are those of the route's steps");
    assert_eq!(answer.header("x-edit"), number.to_string(), "the response passes the steps of its request");
    assert_eq!(answer.header("x-route"), format!("route-{number}"), "the route is that of its steps");
    Edit { number, module: one("x-module").parse().unwrap() }
}

/// One valid configuration, a different one each time: other routes around, and the edit's number in every part.
fn write(dir: &ConfigDir, Edit { number, module }: Edit, random: &mut u64) {
    let name = format!("plugins/stamp-{module}.wat");
    if !dir.path().join(&name).exists() {
        dir.write(&name, &guests::stamp(module));
    }
    let mut text = format!(
        "{WEB}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  stamp: {{module: {name}, config: {{edit: {number}}}}}
  mark: {{headers: {{request: {{set: {{x-edit: '{number}'}}}}, response: {{set: {{x-edit: '{number}'}}}}}}}}
routes:
  - id: route-{number}
    path: /storm/*
    middleware: [mark, stamp, {{headers: {{response: {{set: {{x-route: route-{number}}}}}}}}}]
    upstream: origin
"
    );
    for other in 0..next(random) % 8 {
        let (host, path) = (next(random) % 3, next(random) % 5);
        text +=
            &format!("  - {{id: other-{other}, host: h{host}.example, path: /p{path}/{other}/*, upstream: origin}}\n");
    }
    dir.write("gateway.yaml", &text);
}

/// SplitMix64.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
