//! The reference benchmark of reload without locks: sixteen threads take what is current while one replaces it every 100 ms, each by
//! the worker's own view of the gateway, by `ArcSwap::load`, and by a mutex around an `Arc`.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tidegate::{
    drain::Drain,
    snapshot::{Current, Graveyard, Serving, View},
};

use crate::{
    generation::snapshot,
    report::{number, percentile},
};

const THREADS: usize = 16;
const EVERY: Duration = Duration::from_millis(100);
const SPAN: Duration = Duration::from_secs(2);
/// Turns that are timed together, because one alone is less than what the clock costs.
const BATCH: u32 = 64;

/// One row a way.
#[expect(clippy::disallowed_methods, reason = "this is what the gateway's own way is compared with")]
pub(crate) fn measure() -> Value {
    let drain = Drain::default();
    let serving = |generation| Serving { stable: snapshot(&drain, generation, THREADS), candidate: None };
    let current = Arc::new(Current::new(serving(1)));
    let (shared, locked) = (ArcSwap::from_pointee(0_u64), Mutex::new(Arc::new(0_u64)));
    let own = row(
        "a worker's own view, pinned and released",
        |thread| {
            let (graveyard, remains) = Graveyard::new();
            let view = View::new(Arc::clone(&current), thread, graveyard);
            let (head, ()) = http::Request::new(()).into_parts();
            move || {
                // What was let go of is freed here, since there is no control plane.
                let _remains = &remains;
                black_box(black_box(&view).take(black_box(&head)).pin());
            }
        },
        |number| current.swap(serving(number)),
    );
    let loaded = row(
        "`ArcSwap::load`",
        |_| {
            || {
                black_box(black_box(&shared).load());
            }
        },
        |number| shared.store(Arc::new(number)),
    );
    let locked = row(
        "`Mutex<Arc>`, cloned",
        |_| {
            || {
                black_box(Arc::clone(&locked.lock().unwrap_or_else(PoisonError::into_inner)));
            }
        },
        |number| *locked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(number),
    );
    json!({ "threads": THREADS, "rows": [own, loaded, locked] })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "\n{} threads that take what is current while another replaces it every {} ms: ns of one, and what all do in a second.\n\n\
         | | mean | p99 | millions a second |\n|---|---|---|---|\n",
        result["threads"],
        EVERY.as_millis()
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let [mean, p99, rate] = ["mean_ns", "p99_ns", "millions"].map(|field| number(&row[field], 1));
        text += &format!("| {} | **{mean}** | {p99} | {rate} |\n", row["name"].as_str().unwrap_or_default());
    }
    text
}

fn row<T: FnMut()>(name: &str, taker: impl Fn(usize) -> T + Sync, replace: impl Fn(u64) + Sync) -> Value {
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let batches: Vec<f64> = thread::scope(|scope| {
        let takers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (taker, ended) = (&taker, &ended);
                scope.spawn(move || batches(taker(thread), ended))
            })
            .collect();
        for number in 2.. {
            thread::park_timeout(EVERY);
            replace(number);
            if began.elapsed() > SPAN {
                break;
            }
        }
        ended.store(true, Relaxed);
        takers.into_iter().flat_map(|taker| taker.join().expect("a thread ends")).collect()
    });
    let turns = batches.len() as f64 * f64::from(BATCH);
    let p99 = percentile(99.0, batches.iter().copied());
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    // By the clock of the wall, on the cores that there are: a thread that waits for its turn is not slow.
    let mean = began.elapsed().as_nanos() as f64 * cores / turns;
    json!({ "name": name, "mean_ns": mean, "p99_ns": p99, "millions": turns / began.elapsed().as_secs_f64() / 1e6 })
}

/// Nanoseconds of one turn, of each batch until the end.
fn batches(mut turn: impl FnMut(), ended: &AtomicBool) -> Vec<f64> {
    let mut batches = Vec::new();
    while !ended.load(Relaxed) {
        let began = Instant::now();
        for _ in 0..BATCH {
            turn();
        }
        batches.push(began.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    batches
}
