//! Taking the generation for an exchange, pin and release included, while another worker does the same; beside the
//! load of an `ArcSwap`, which is what a reader of one shared pointer would pay.

use std::{
    collections::BTreeMap,
    env,
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::Instant,
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tidegate::{
    config::spec::Spec,
    drain::Drain,
    identity::Identity,
    snapshot::{Current, Graveyard, Serving, Snapshot, View},
};

use crate::{
    report::{median, number},
    subject::on_cores,
};

const ROUNDS: usize = 21;
const TURNS: u32 = 2_000_000;

/// Measures in a process of its own, which may use every core.
pub(crate) fn in_a_child() -> Value {
    let own = env::current_exe().expect("a process has a binary");
    let output = on_cores("0,1").arg(own).args(["-", "taking"]).output().expect("taskset is there");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Nanoseconds for each way, medians over interleaved rounds.
pub(crate) fn measure() -> Value {
    let snapshot = snapshot(&Drain::default(), 1, 2);
    let current = Arc::new(Current::new(Serving { stable: Arc::clone(&snapshot), candidate: None }));
    let shared = ArcSwap::new(snapshot);
    let (mut taken, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        taken.push(on_two_threads(|worker, start| {
            let (graveyard, _remains) = Graveyard::new();
            let view = View::new(Arc::clone(&current), worker, graveyard);
            let (head, ()) = http::Request::new(()).into_parts();
            start.wait();
            nanoseconds(|| {
                let own = black_box(&view).take(black_box(&head));
                black_box(own.pin());
            })
        }));
        loaded.push(on_two_threads(|_, start| {
            start.wait();
            nanoseconds(|| {
                black_box(black_box(&shared).load_full());
            })
        }));
    }
    json!({
        "take_pin_release_ns": median(taken.iter().copied()),
        "arc_swap_load_full_ns": median(loaded.iter().copied()),
        "rounds_ns": taken,
        "replaced": crate::replaced::measure(),
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let text = format!(
        "### Taking the generation\n\nns, on two threads at once: take, pin and release of a worker's own snapshot: **{}** \
         (aim: at most 5); `ArcSwap::load_full` and release: {}.\n",
        number(&result["take_pin_release_ns"], 1),
        number(&result["arc_swap_load_full_ns"], 1),
    );
    text + &crate::replaced::table(&result["replaced"])
}

/// Generation `generation` of nothing, for so many workers.
pub(crate) fn snapshot(drain: &Drain, generation: u64, workers: usize) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        generation,
        identity: Identity::of_bytes(b""),
        spec: Arc::new(Spec::default()),
        listeners: BTreeMap::new(),
        tracer: None,
        ledger: drain.open(generation, workers, None),
    })
}

/// The slower of two threads that begin together.
fn on_two_threads(turn: impl Fn(usize, &Barrier) -> f64 + Sync) -> f64 {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let other = scope.spawn(|| turn(1, &start));
        let own = turn(0, &start);
        own.max(other.join().expect("the other thread ends"))
    })
}

fn nanoseconds(mut turn: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..TURNS {
        turn();
    }
    began.elapsed().as_nanos() as f64 / f64::from(TURNS)
}
