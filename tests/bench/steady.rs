//! What reloads cost those who are served meanwhile: an open loop at a fixed rate over 1,000 routes in documents of their own and
//! 20 plugins, in windows with ten reloads a second and windows without, by turns. And what a module that must be compiled does.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_tests::guests;
use tokio::time::sleep;

use crate::{
    load,
    open::{Lap, Open},
    report::{median, number},
    shipped,
    subject::Subject,
};

pub(crate) const ROUTES: usize = 1_000;
const PLUGINS: usize = 20;
/// Pairs of windows; the windows of a pair follow each other, and which comes first alternates.
const PAIRS: usize = 10;
const WINDOW: Duration = Duration::from_secs(6);
const RELOADS_PER_SECOND: u32 = 10;
/// Of what the gateway can do.
const SHARE: f64 = 0.5;
/// 97.5 % of Student's distribution with nine degrees of freedom: the interval for as many pairs.
const STUDENT: f64 = 2.262;

/// What is edited.
#[derive(Clone, Copy)]
enum Edit {
    /// One route's own step.
    Route,
    /// The settings of one plugin.
    Plugin,
    /// Which module a plugin is of; both are in the cache of compiled code.
    Module,
}

const EDITS: [(&str, Edit); 3] =
    [("a route", Edit::Route), ("a plugin's settings", Edit::Plugin), ("a plugin's module", Edit::Module)];

/// Windows of one kind.
#[derive(Default)]
struct Windows {
    cpu_us: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    failed: u64,
    /// Generations that were swapped in.
    swaps: Vec<f64>,
}

/// All edits by turns, then each alone, then a module that nobody has compiled.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let subject = start(gateway, &origin.to_string());
        let load = Open::new(subject.address, "/r7/x", "");
        let rate = SHARE * load.most(WINDOW / 3).await;
        let mut number = 0;
        // Both modules are compiled, and every pool is full, before anything counts.
        window(&subject, &load, rate, Some((&[Edit::Module, Edit::Route], &mut number))).await;
        let all = EDITS.map(|(_, edit)| edit);
        let (mut still, mut again, mut moved) = (Windows::default(), Windows::default(), Windows::default());
        for pair in 0..PAIRS {
            let reloads = async |number: &mut u64| window(&subject, &load, rate, Some((&all, number))).await;
            if pair % 2 == 0 {
                still.add(window(&subject, &load, rate, None).await);
                moved.add(reloads(&mut number).await);
            } else {
                moved.add(reloads(&mut number).await);
                still.add(window(&subject, &load, rate, None).await);
            }
            again.add(window(&subject, &load, rate, None).await);
        }
        let mut each = Vec::new();
        for (name, edit) in EDITS {
            each.push(alone(&subject, (name, edit), &mut number).await);
        }
        json!({
            "rate": rate, "seconds": WINDOW.as_secs(), "pairs": PAIRS,
            "swaps": moved.swaps, "failed": still.failed + again.failed + moved.failed,
            "cpu_percent": difference(&still.cpu_us, &moved.cpu_us),
            "cpu_aa_percent": difference(&still.cpu_us, &again.cpu_us),
            "p50_percent": difference(&still.p50_us, &moved.p50_us),
            "p99_percent": difference(&still.p99_us, &moved.p99_us),
            "p99_aa_percent": difference(&still.p99_us, &again.p99_us),
            "p99_us": [median(still.p99_us.iter().copied()), median(moved.p99_us.iter().copied())],
            "cpu_us": [still.cpu_us, moved.cpu_us, again.cpu_us],
            "each": each,
            "compiling": compiling(&subject, &load, rate).await,
        })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let of = |field: &str| {
        let [middle, by] = [0, 1].map(|at| number(&result[field][at], 2));
        format!("{middle} ± {by}")
    };
    let mut text = format!(
        "### Reloads under load\n\n{RELOADS_PER_SECOND} saves a second among {ROUTES} routes in documents of their own and {PLUGINS} plugins, by turns \
         a route, a plugin's settings and a plugin's module (both compiled before), under an open loop of {} requests a second. {} windows of {} s \
         with and as many without; the difference of the two of a pair in percent, with its interval of 95 %. Failed: **{}**.\n\n\
         | | with and without reloads | without and without | aim |\n|---|---|---|---|\n\
         | CPU a request | **{}** | {} | 0.3 |\n| p50 | {} | | |\n| p99 | **{}** | {} | 5 |\n",
        number(&result["rate"], 0),
        result["pairs"],
        result["seconds"],
        result["failed"],
        of("cpu_percent"),
        of("cpu_aa_percent"),
        of("p50_percent"),
        of("p99_percent"),
        of("p99_aa_percent"),
    );
    text += "\n| edit, while nobody asks | CPU of one, ms | aim |\n|---|---|---|\n";
    for row in result["each"].as_array().into_iter().flatten() {
        text +=
            &format!("| {} | **{}** | 0.5 |\n", row["name"].as_str().unwrap_or_default(), number(&row["cpu_ms"], 2));
    }
    let compiling = &result["compiling"];
    text + &format!(
        "\nA module of {} KiB that nobody has compiled yet: {} ms until it serves; p99 meanwhile {} µs, {} µs before; failed: {}.\n",
        compiling["bytes"].as_u64().unwrap_or_default() / 1024,
        number(&compiling["until_ms"], 0),
        number(&compiling["p99_us"], 0),
        number(&compiling["p99_before_us"], 0),
        compiling["failed"],
    )
}

/// One window.
struct Window {
    lap: Lap,
    total_us: f64,
    swaps: f64,
}

impl Windows {
    fn add(&mut self, Window { lap, total_us, swaps }: Window) {
        self.cpu_us.push(total_us / lap.answered as f64);
        self.p50_us.push(lap.percentile(50.0));
        self.p99_us.push(lap.percentile(99.0));
        self.failed += lap.failed;
        self.swaps.push(swaps);
    }
}

/// The mean difference of pairs in percent of the first, and half its interval of 95 %.
fn difference(before: &[f64], after: &[f64]) -> [f64; 2] {
    let differences: Vec<_> =
        before.iter().zip(after).map(|(before, after)| 100.0 * (after - before) / before).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (count - 1.0);
    [mean, STUDENT * (variance / count).sqrt()]
}

async fn window(subject: &Subject, load: &Open, rate: f64, edits: Option<(&[Edit], &mut u64)>) -> Window {
    let (used, generation) = (subject.precisely_used(), subject.metric("tidegate_generation"));
    let lap = async { load.lap(rate, WINDOW).await };
    let lap = match edits {
        None => lap.await,
        Some((edits, number)) => tokio::join!(lap, save(subject, edits, number)).0,
    };
    let swaps = subject.metric("tidegate_generation") - generation;
    Window { lap, total_us: subject.precisely_used() - used, swaps }
}

/// What edits cost while nobody asks for anything.
async fn alone(subject: &Subject, (name, edit): (&str, Edit), number: &mut u64) -> Value {
    let used = subject.precisely_used();
    sleep(WINDOW).await;
    let idle = subject.precisely_used() - used;
    let (used, generation) = (subject.precisely_used(), subject.metric("tidegate_generation"));
    save(subject, &[edit], number).await;
    let swaps = subject.metric("tidegate_generation") - generation;
    let cpu_ms = (subject.precisely_used() - used - idle) / 1e3 / swaps.max(1.0);
    json!({ "name": name, "cpu_ms": cpu_ms, "swaps": swaps })
}

/// Saves ten times a second, for one window.
async fn save(subject: &Subject, edits: &[Edit], number: &mut u64) {
    let began = Instant::now();
    for turn in 0..RELOADS_PER_SECOND * u32::try_from(WINDOW.as_secs()).expect("a window is short") {
        *number += 1;
        let edit = edits[turn as usize % edits.len()];
        match edit {
            Edit::Route => subject.place(
                &format!("routes/r{}.yaml", *number as usize % ROUTES),
                &route(*number as usize % ROUTES, *number),
            ),
            Edit::Plugin | Edit::Module => {
                let module = if matches!(edit, Edit::Module) { *number % 2 } else { 0 };
                let plugin = *number as usize % PLUGINS;
                subject.place(&format!("plugins/p{plugin}.yaml"), &self::plugin(plugin, *number, module));
            }
        }
        let next = began + (turn + 1) * Duration::from_secs(1) / RELOADS_PER_SECOND;
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
}

fn start(gateway: &Path, origin: &str) -> Subject {
    let files = files(origin);
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    Subject::gateway(gateway, &files)
}

/// The configuration: each route and each plugin in a document of its own.
pub(crate) fn files(origin: &str) -> Vec<(String, String)> {
    let head =
        format!("listeners:\n  web: {{address: '{{listen}}'}}\nupstreams:\n  origin: {{endpoints: ['{origin}']}}\n");
    let mut files = vec![
        ("gateway.yaml".to_owned(), head),
        ("plugins/m0.wat".to_owned(), guests::HEADER.to_owned()),
        ("plugins/m1.wat".to_owned(), guests::stamp(1)),
    ];
    files.extend((0..ROUTES).map(|number| (format!("routes/r{number}.yaml"), route(number, 0))));
    files.extend((0..PLUGINS).map(|number| (format!("plugins/p{number}.yaml"), plugin(number, 0, 0))));
    files
}

/// The document of one route.
pub(crate) fn route(number: usize, edit: u64) -> String {
    let plugin = number % PLUGINS;
    format!(
        "routes:\n  - {{id: r{number}, path: /r{number}/*, upstream: origin, middleware: [p{plugin}, {{headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}}}]}}\n"
    )
}

fn plugin(number: usize, edit: u64, module: u64) -> String {
    format!("middleware:\n  p{number}: {{module: plugins/m{module}.wat, config: {{number: {number}, edit: {edit}}}}}\n")
}

/// The largest plugin that ships, never seen before by this process: until a route serves with it.
async fn compiling(subject: &Subject, load: &Open, rate: f64) -> Value {
    let Some(module) = shipped::module("jwt-auth") else { return Value::Null };
    let before = load.lap(rate, WINDOW / 3).await;
    let config = subject.folder.path().join("config");
    fs::write(config.join("plugins/new.wasm"), &module).expect("a file can be written");
    let generation = subject.metric("tidegate_generation");
    let jwt = shipped::SHIPPED
        .iter()
        .find(|shipped| shipped.name == "jwt-auth")
        .expect("it ships")
        .config
        .replace("{copy}", "1");
    subject.place("plugins/p0.yaml", &format!("middleware:\n  p0: {{module: plugins/new.wasm, config: {jwt}}}\n"));
    let began = Instant::now();
    let mut meanwhile = Lap::default();
    while subject.metric("tidegate_generation") == generation {
        assert!(began.elapsed() < 10 * WINDOW, "the module never serves");
        meanwhile.merge(load.lap(rate, Duration::from_millis(100)).await);
    }
    json!({
        "bytes": module.len(), "until_ms": began.elapsed().as_secs_f64() * 1e3,
        "p99_us": meanwhile.percentile(99.0), "p99_before_us": before.percentile(99.0), "failed": meanwhile.failed,
    })
}
