//! A corpus of hostile guests of every ABI against the real binary: while each does its worst on its own route, every
//! request to the other routes is served, the process stays, a failure is answered and counted as what it is, a guest
//! that failed is not used again, and what it held is given back. Figures are printed (`--nocapture`); time is not
//! asserted.

mod http_wasm;
mod native;
mod proxy_wasm;
mod scene;
mod table;
mod wasi_http;

use std::time::Duration;

use tidegate_tests::eventually;

use self::scene::{CALL_TIMEOUT, EXCHANGE_TIMEOUT, Scene, p99};

/// One guest.
pub(crate) struct Guest {
    /// What it does.
    name: &'static str,
    module: Vec<u8>,
    expected: Expected,
    /// Further settings of its middleware.
    more: &'static str,
    /// Where its route is asked.
    path: &'static str,
    /// Whether it is a routing table, and not a middleware.
    is_table: bool,
    /// When it is late.
    deadline: Duration,
}

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The configuration that names it is refused, with a text that has this in it.
    Refused(&'static str),
    /// Each of its requests fails by a trap of this kind, with a guest of its own.
    Traps(&'static str),
    /// Each of its requests fails, because it takes too long.
    Late,
    /// Each of its requests fails, in good order or by no trap.
    Fails,
    /// Its requests are answered with one of these.
    Answers(&'static [u16]),
}

use Expected::{Answers, Fails, Late, Refused, Traps};

/// It comes to nothing: what it tried is refused to it, and the request goes on.
pub(crate) const HARMLESS: Expected = Answers(&[200]);
/// By what it does, or by the clock of the machine.
pub(crate) const EITHER: Expected = Answers(&[200, 503]);

impl Guest {
    // One that waits is late when its exchange is.
    fn waits(self) -> Self {
        Self { deadline: EXCHANGE_TIMEOUT, ..self }
    }

    fn new(name: &'static str, expected: Expected, module: impl Into<Vec<u8>>) -> Self {
        Self { name, module: module.into(), expected, more: "", path: "/bad", is_table: false, deadline: CALL_TIMEOUT }
    }
}

/// Modules that are large, made of one in text that does nothing else, of which comes `expected`: with 100,000 functions, with more
/// bytes than a module may have, and with all the memory that there can be, for which it is refused with `refused`.
fn large(text: &str, expected: Expected, refused: &'static str) -> [Guest; 3] {
    const MEMORY: &str = "(memory (export \"memory\") ";
    let (before, rest) = text.split_once(MEMORY).expect("it has a memory");
    let (pages, after) = rest.split_once(')').expect("it is of so many pages");
    let functions: String = (0..100_000).map(|number| format!("(func (result i32) (i32.const {number}))")).collect();
    [
        Guest::new("has 100,000 functions", expected, format!("{before}{MEMORY}{pages}){functions}{after}")),
        Guest::new("is larger than any module", Refused("bytes"), format!("{text}{}", " ".repeat(65 << 20))),
        Guest::new("begins with 4 GiB of memory", Refused(refused), format!("{before}{MEMORY}65536){after}")),
    ]
}

/// Plays guests one after another, and looks at what is left of them.
async fn corpus(guests: &[Guest]) {
    assert!(guests.len() >= 10);
    let mut scene = Scene::new().await;
    let mut calm = scene.calm().await;
    println!("{:<48} {:>10} {:>14}", "guest", "p99 other", "past deadline");
    println!("{:<48} {:>7} us", "(none)", p99(&mut calm).as_micros());
    for guest in guests {
        let mut figures = scene.play(guest).await;
        let (p99, overrun) = (p99(&mut figures.took).as_micros(), figures.overrun.as_micros());
        println!("{:<48} {p99:>7} us {overrun:>11} us", guest.name);
    }
    gives_back(&mut scene, guests).await;
    scene.log_is_bounded();
}

// What is unloaded is given back: all of its guests, and memory once the allocator has cleared up.
async fn gives_back(scene: &mut Scene, guests: &[Guest]) {
    scene.unload().await;
    let before = scene.process.memory_bytes();
    for guest in guests.iter().filter(|guest| guest.name.contains("memory") && !guest.name.contains("beyond")) {
        scene.play(guest).await;
    }
    scene.unload().await;
    // 2 %, and what allocator and pools keep for those that come next. Each guest wants 4 MiB, again and again.
    let bound = before + before / 50 + (16 << 20);
    let what = "the memory of hostile guests is given back";
    eventually(what, Duration::from_secs(30), async || (scene.process.memory_bytes() <= bound).then_some(())).await;
    println!("memory: {} MiB before, {} MiB after", before >> 20, scene.process.memory_bytes() >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_guests_hurt_nobody_but_themselves() {
    corpus(&native::corpus()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_wasm_guests_hurt_nobody_but_themselves() {
    corpus(&proxy_wasm::corpus()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_wasm_guests_hurt_nobody_but_themselves() {
    corpus(&http_wasm::corpus()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_of_wasi_http_hurt_nobody_but_themselves() {
    corpus(&wasi_http::corpus()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routing_tables_hurt_nobody_but_themselves() {
    corpus(&table::corpus()).await;
}
