//! What hostile guests cost those beside them, on one worker: windows with requests to a guest that does its worst and windows
//! without, by turns; how late an overrun is answered; and what is left of a guest when its configuration is gone.

use std::{
    cell::{Cell, RefCell},
    fs,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_tests::{
    Client, guests,
    http_wasm::{NEXT, handlers},
    proxy_wasm::{CONTINUE, on_request},
    request,
};
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::{
    load,
    report::{number, percentile},
    subject::Subject,
};

/// Windows of each kind.
const ROUNDS: usize = 8;
/// Of one window.
const WINDOW: Duration = Duration::from_millis(500);
/// Of one call into a hostile guest.
const CALL_TIMEOUT: Duration = Duration::from_millis(50);
/// Requests to it that are under way at a time.
const HOSTILE: usize = 4;
/// Connections that ask for something else meanwhile, and how often each does.
const OTHERS: usize = 4;
const PACE: Duration = Duration::from_millis(2);

/// A guest, and where it is asked.
struct Guest {
    name: &'static str,
    module: Vec<u8>,
    path: &'static str,
    /// Whether it ends at its deadline only.
    late: bool,
    is_table: bool,
}

/// What requests came to.
#[derive(Default)]
struct Seen {
    took_ms: RefCell<Vec<f64>>,
    failed: Cell<u64>,
}

/// One row a guest.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let origin = origin.to_string();
        let subject = Subject::gateway_with(gateway, &[("gateway.yaml", &document(None, &origin))], &[]);
        let mut rows = Vec::new();
        for guest in guests() {
            eprintln!("bench: hostile: {}", guest.name);
            rows.push(row(&subject, &guest, &origin).await);
        }
        json!({ "call_timeout_ms": CALL_TIMEOUT.as_millis(), "hostile": HOSTILE, "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### Hostile guests\n\nOne worker, {} requests to the guest under way at a time, `call-timeout` {} ms; the requests of \
         others beside them, in windows with and without. Aims: none of the others fails, their p99 rises by at most 5 ms, an \
         overrun is answered within 5 ms of its deadline, memory is back within 2 % of what it was when as much had been \
         asked of the guest once before.\n\n\
         | guest | others that failed | p99 without, ms | with, ms | rise, ms | past the deadline p50, ms | p99, ms | memory after, % |\n\
         |---|---|---|---|---|---|---|---|\n",
        result["hostile"], result["call_timeout_ms"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let name = row["guest"].as_str().unwrap_or_default();
        let cell = |field: &str, digits| number(&row[field], digits);
        text += &format!(
            "| {name} | {} | {} | {} | **{}** | {} | **{}** | {} |\n",
            cell("failed", 0),
            cell("quiet_ms", 2),
            cell("loud_ms", 2),
            cell("rise_ms", 2),
            cell("late_p50_ms", 1),
            cell("late_p99_ms", 1),
            cell("memory_percent", 1)
        );
    }
    text
}

async fn row(subject: &Subject, guest: &Guest, origin: &str) -> Value {
    // Once before, so that what is kept for the next guests of its kind is there already.
    load_guest(subject, Some(guest), origin).await;
    for _ in 0..ROUNDS {
        window(subject.address, Some(guest), &Seen::default().into(), &Seen::default().into()).await;
    }
    unload(subject, origin).await;
    let before = subject.memory_bytes();
    load_guest(subject, Some(guest), origin).await;
    let (quiet, loud, own) = (Rc::<Seen>::default(), Rc::<Seen>::default(), Rc::<Seen>::default());
    for _ in 0..ROUNDS {
        window(subject.address, None, &quiet, &own).await;
        window(subject.address, Some(guest), &loud, &own).await;
    }
    unload(subject, origin).await;
    let after = subject.memory_bytes();
    let p99 = |seen: &Seen| percentile(99.0, seen.took_ms.borrow().iter().copied());
    let deadline = CALL_TIMEOUT.as_secs_f64() * 1e3;
    let late = |percent: f64| {
        let late = own.took_ms.borrow().iter().map(|took| took - deadline).collect::<Vec<_>>();
        guest.late.then(|| percentile(percent, late))
    };
    json!({
        "guest": guest.name,
        "failed": quiet.failed.get() + loud.failed.get(),
        "quiet_ms": p99(&quiet),
        "loud_ms": p99(&loud),
        "rise_ms": p99(&loud) - p99(&quiet),
        "late_p50_ms": late(50.0),
        "late_p99_ms": late(99.0),
        "memory_percent": after as f64 / before as f64 * 100.0,
    })
}

// Others ask for a window, and the hostile guest is asked where one is given.
async fn window(address: SocketAddr, guest: Option<&Guest>, others: &Rc<Seen>, own: &Rc<Seen>) {
    let (until, mut tasks) = (Instant::now() + WINDOW, JoinSet::new());
    for _ in 0..OTHERS {
        tasks.spawn_local(ask(address, ("others.example", "/plain"), until, (Rc::clone(others), Some(PACE))));
    }
    if let Some(guest) = guest {
        let host = if guest.is_table { TABLE_HOST } else { "plugin.example" };
        for _ in 0..HOSTILE {
            tasks.spawn_local(ask(address, (host, guest.path), until, (Rc::clone(own), None)));
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn ask(
    address: SocketAddr,
    (host, path): (&'static str, &'static str),
    until: Instant,
    (seen, pace): (Rc<Seen>, Option<Duration>),
) {
    let target = format!("http://{host}{path}");
    let (mut client, mut pace) = (Client::http1(address).await, pace.map(interval));
    while Instant::now() < until {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let began = Instant::now();
        let answer = client.try_send(request(Method::GET, &target)).await;
        seen.took_ms.borrow_mut().push(began.elapsed().as_secs_f64() * 1e3);
        if answer.as_ref().map(|answer| answer.status).ok() != Some(StatusCode::OK) {
            seen.failed.set(seen.failed.get() + 1);
        }
        if answer.is_err() {
            client = Client::http1(address).await;
        }
    }
}

async fn load_guest(subject: &Subject, guest: Option<&Guest>, origin: &str) {
    let folder = subject.folder.path().join("config");
    if let Some(guest) = guest {
        fs::write(folder.join(file(guest)), &guest.module).expect("a file can be written");
    }
    let text = document(guest, origin).replace("{listen}", &subject.address.to_string());
    fs::write(folder.join("gateway.yaml"), text).expect("a file can be written");
    let admin = subject.admin.expect("a gateway has an admin endpoint");
    let target = format!("http://{admin}/-/reload");
    let answer = Client::http1(admin).await.send(request(Method::POST, &target)).await;
    assert_eq!(answer.status, StatusCode::OK, "the configuration is taken: {}", answer.text());
}

// Until its guests are gone, and what memory there is has been given back.
async fn unload(subject: &Subject, origin: &str) {
    load_guest(subject, None, origin).await;
    let gone = async {
        while subject.metric("tidegate_plugin_guests") + subject.metric("tidegate_table_guests") > 0.0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("no guest outlives its configuration");
    // As long as the gateway takes to give back what it does not use.
    sleep(Duration::from_secs(3)).await;
}

const TABLE_HOST: &str = "table.example";

fn file(guest: &Guest) -> &'static str {
    if guest.module.len() > 3 && guest.module[0] == 0 { "bad.wasm" } else { "bad.wat" }
}

fn document(guest: Option<&Guest>, origin: &str) -> String {
    let (mut middleware, mut tables, mut steps) = (String::new(), String::new(), "");
    if let Some(guest) = guest {
        let limits = format!("call-timeout: {}ms, memory-bytes-max: 16MiB", CALL_TIMEOUT.as_millis());
        if guest.is_table {
            tables =
                format!("tables: {{bad: {{module: {}, hosts: [{TABLE_HOST}], limits: {{{limits}}}}}}}", file(guest));
        } else {
            let limits = format!("{limits}, exchange-timeout: {}ms, failures-max: 1000000", CALL_TIMEOUT.as_millis());
            middleware = format!("  bad: {{module: {}, limits: {{{limits}}}}}", file(guest));
            steps = "middleware: [bad], ";
        }
    }
    format!(
        "gateway: {{admin: {{trust-loopback: true}}}}
listeners: {{web: {{address: '{{listen}}'}}}}
{tables}
upstreams: {{origin: {{endpoints: ['{origin}']}}}}
middleware:
  a: {{respond: {{body: a}}}}
  b: {{respond: {{body: b}}}}
{middleware}
routes:
  - {{id: plain, path: /plain, upstream: origin}}
  - {{id: rest, path: /*, {steps}upstream: origin}}
"
    )
}

fn guests() -> Vec<Guest> {
    const LOOP: &str = "(loop $on (br $on))";
    const GROW: &str = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    const FILL: &str = "(drop (memory.grow (i32.const 200)))
        (loop $on (memory.fill (i32.const 65536) (i32.const 7) (i32.const 13000000)) (br $on))";
    let guest = |name, module: String, path, late| Guest { name, module: module.into(), path, late, is_table: false };
    let proxy_wasm = |name, does: &str, late| guest(name, on_request(&format!("{does} {CONTINUE}")), "/bad", late);
    let http_wasm = |name, does: &str, late| guest(name, handlers(&format!("{does} {NEXT}"), ""), "/bad", late);
    let mut all = vec![
        guest("native: loops", guests::UNRULY.to_owned(), "/spin", true),
        guest("native: waits", guests::UNRULY.to_owned(), "/wait", true),
        guest("native: traps", guests::UNRULY.to_owned(), "/trap", false),
        proxy_wasm("Proxy-Wasm: loops", LOOP, true),
        proxy_wasm("Proxy-Wasm: traps", "unreachable", false),
        proxy_wasm("Proxy-Wasm: takes all memory and traps", GROW, false),
        proxy_wasm(
            "Proxy-Wasm: logs without end",
            "(loop $on (drop (call $log (i32.const 2) @\"flood\")) (br $on))",
            true,
        ),
        http_wasm("http-wasm: loops", LOOP, true),
        http_wasm("http-wasm: traps", "unreachable", false),
        http_wasm("http-wasm: takes all memory and traps", GROW, false),
        http_wasm("http-wasm: fills 13 MB again and again", FILL, true),
        Guest { is_table: true, ..guest("table: loops", guests::TABLE.to_owned(), "/spin", true) },
        Guest { is_table: true, ..guest("table: traps", guests::TABLE.to_owned(), "/trap", false) },
    ];
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist/wasi-http-probe.wasm");
    let probe = fs::read(probe).inspect_err(|_| eprintln!("bench: wasi:http is left out (make plugins)")).ok();
    let probes = [
        ("wasi:http: loops", "/loop", true),
        ("wasi:http: waits", "/wait", true),
        ("wasi:http: traps", "/trap", false),
        ("wasi:http: takes all memory and traps", "/bomb", false),
    ];
    all.extend(probe.into_iter().flat_map(|module| {
        probes.map(|(name, path, late)| Guest { name, module: module.clone(), path, late, is_table: false })
    }));
    all
}
