//! Where hostile guests are played: the real binary with routes beside theirs, and what is asked of it meanwhile. Knows
//! no ABI.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Method;
use serde_json::Value;
use tidegate_tests::{Client, ConfigDir, Hold, Origin, Process, free_address, guests, request, soon};
use tokio::time::interval;

use super::{
    EITHER,
    Expected::{Answers, Fails, Late, Refused, Traps},
    Guest,
};

/// Of one call. What is over it is answered then.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(50);
/// Of one exchange, where a guest waits for something.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_millis(150);
/// Of one call of a guest that is not late by what it does.
const PATIENCE: Duration = Duration::from_secs(5);
/// In which a module of 100,000 functions is compiled by a gateway without optimisation, on a machine that has other tests to run.
const COMPILED_WITHIN: Duration = Duration::from_secs(180);
/// Requests to the hostile route one after another, and then as many at once.
const REQUESTS: usize = 3;

pub(super) struct Scene {
    pub(super) process: Process,
    web: SocketAddr,
    admin: SocketAddr,
    dir: ConfigDir,
    // Counts guests, so that each has series of its own.
    played: usize,
    _origin: Origin,
    // Calls to it are never answered.
    _held: [Hold; 2],
}

/// What one guest's turn came to.
#[derive(Default)]
pub(super) struct Figures {
    /// Of the requests to other routes.
    pub(super) took: Vec<Duration>,
    /// How long after its deadline the slowest of its own was answered.
    pub(super) overrun: Duration,
}

pub(super) fn p99(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Scene {
    pub(super) async fn new() -> Self {
        let origin = Origin::start();
        let held = ["/held", "/to/http/origin/held"].map(|path| origin.hold(path));
        let (web, admin) = (free_address(), free_address());
        let dir = ConfigDir::new().with("origin", origin.address()).with("web", web);
        dir.write("good.wat", guests::HEADER);
        dir.write("gateway.yaml", &document(None, 0));
        let (path, at) = (dir.path().display().to_string(), admin.to_string());
        let process =
            Process::start(&["run", "--config", &path, "--admin", &at, "--workers", "2", "--state-dir", "off"]);
        let scene = Self { process, web, admin, dir, played: 0, _origin: origin, _held: held };
        soon("the gateway serves", async || tokio::net::TcpStream::connect(web).await.is_ok()).await;
        scene
    }

    /// What the other routes take where there is no hostile guest.
    pub(super) async fn calm(&self) -> Vec<Duration> {
        Others::start(self.web, 50).finish("nobody").await
    }

    /// Has no hostile guest any more, and waits until none is left.
    pub(super) async fn unload(&self) {
        self.dir.write("gateway.yaml", &document(None, 0));
        self.reload().await;
        soon("no guest is left but those of the good plugin", async || {
            self.metric("tidegate_plugin_guests", "bad").await + self.metric("tidegate_table_guests", "bad").await
                == 0.0
                && self.metric("tidegate_plugin_guest_memory_bytes", "bad").await == 0.0
        })
        .await;
    }

    /// One guest's turn.
    pub(super) async fn play(&mut self, guest: &Guest) -> Figures {
        self.played += 1;
        let file = if guest.module.starts_with(b"\0asm") { "bad.wasm" } else { "bad.wat" };
        self.dir.write_bytes(file, &guest.module);
        self.dir.write("gateway.yaml", &document(Some((guest, file)), self.played));
        let attempt = self.reload().await;
        let outcome = attempt["outcome"].as_str().unwrap_or_default();
        if let Refused(why) = guest.expected {
            assert_eq!(outcome, "refused", "{}: {attempt:#}", guest.name);
            let said = attempt["diagnostics"][0]["message"].as_str().unwrap_or_default();
            assert!(said.contains(why) && said.len() < 20_000, "{}: {said:?}", guest.name);
            return Figures::default();
        }
        // The gateway watches its directory, and may have been quicker.
        assert_ne!(outcome, "refused", "{}: {attempt:#}", guest.name);
        let others = Others::start(self.web, usize::MAX);
        let mut overrun = Duration::ZERO;
        for _ in 0..REQUESTS {
            overrun = overrun.max(self.ask(guest).await);
        }
        self.is_counted(guest).await;
        let all = futures_util::future::join_all((0..REQUESTS).map(|_| self.ask(guest))).await;
        let took = others.end(guest.name).await;
        assert_eq!(self.process.ended(), None, "{}: the process is there", guest.name);
        Figures { took, overrun: all.into_iter().max().unwrap_or_default().max(overrun) }
    }

    // Asks its route, and answers with how long after the deadline the answer came.
    async fn ask(&self, guest: &Guest) -> Duration {
        let mut client = Client::http1(self.web).await;
        let began = Instant::now();
        let host = if guest.is_table { TABLE_HOST } else { "plugin.test" };
        let asked = request(Method::GET, &format!("http://{host}{}", guest.path));
        let status = client.send(asked).await.status.as_u16();
        let expected: &[u16] = match guest.expected {
            Answers(expected) => expected,
            _ if guest.is_table => &[200],
            _ => &[503],
        };
        assert!(expected.contains(&status), "{}: {status}, expected {expected:?}", guest.name);
        if guest.expected == Late { began.elapsed().saturating_sub(guest.deadline) } else { Duration::ZERO }
    }

    // A failure is counted as what it is, and each trap has cost a guest.
    async fn is_counted(&self, guest: &Guest) {
        let (name, kind) = (guest.name, if guest.is_table { "table" } else { "plugin" });
        let own = format!("{kind}=\"bad-{}\"", self.played);
        let count = async |what: &str, labels: String| self.metric(&format!("tidegate_{kind}_{what}"), &labels).await;
        let errors = async |of: &str| count("errors_total", format!("{own},kind=\"{of}\"")).await;
        let all = REQUESTS as f64;
        match guest.expected {
            Traps(of) => {
                assert_eq!(errors("plugin_failed").await, all, "{name}");
                assert_eq!(count("traps_total", format!("{own},kind=\"{of}\"")).await, all, "{name}: traps by {of}");
            }
            Late => assert_eq!(errors("plugin_timeout").await, all, "{name}"),
            Fails => assert_eq!(errors("plugin_failed").await, all, "{name}"),
            Refused(_) | Answers(_) => return,
        }
        if matches!(guest.expected, Traps(_) | Late) && !guest.is_table {
            let made = self.metric("tidegate_plugin_instantiations_total", &own).await;
            assert!(made >= all, "{name}: {made} guests for {all} that failed");
        }
    }

    async fn reload(&self) -> Value {
        let target = format!("http://{}/-/reload", self.admin);
        let mut client = Client::http1(self.admin).await;
        let answer = client.try_send_within(COMPILED_WITHIN, request(Method::POST, &target));
        answer.await.expect("the admin endpoint answers").json()
    }

    async fn metric(&self, name: &str, labels: &str) -> f64 {
        let target = format!("http://{}/metrics", self.admin);
        let text = Client::http1(self.admin).await.send(request(Method::GET, &target)).await.text();
        let own = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        own.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Whatever guests say and however they fail, the log is no flood.
    pub(super) fn log_is_bounded(&self) {
        let said = self.process.said();
        assert!(!said.iter().any(|line| line.contains("panicked")), "{said:#?}");
        let longest = said.iter().map(String::len).max().unwrap_or_default();
        assert!(longest < 64 << 10, "a line of the log has {longest} bytes");
        assert!(said.len() < 20_000, "the log has {} lines", said.len());
    }
}

/// Requests to the other routes, on as many connections that both workers have some.
struct Others {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

impl Others {
    fn start(web: SocketAddr, at_most: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |path: &'static str| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let (mut client, mut took) = (Client::http1(web).await, Vec::new());
                let mut pace = interval(Duration::from_millis(2));
                while !stop.load(Relaxed) && took.len() < at_most {
                    pace.tick().await;
                    let began = Instant::now();
                    let answer = client.get(path).await;
                    assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text());
                    took.push(began.elapsed());
                }
                took
            })
        };
        let tasks = ["/plain", "/good", "/plain", "/good"].into_iter().map(one).collect();
        Self { stop, tasks }
    }

    /// What each took, until now; and that none failed.
    async fn end(self, name: &str) -> Vec<Duration> {
        self.stop.store(true, Relaxed);
        self.finish(name).await
    }

    async fn finish(self, name: &str) -> Vec<Duration> {
        let mut took = Vec::new();
        for task in self.tasks {
            took.extend(task.await.unwrap_or_else(|error| panic!("{name}: another route suffered: {error}")));
        }
        assert!(!took.is_empty(), "{name}: nobody else was served");
        took
    }
}

/// The host that tables are asked about; the other routes are asked under another.
const TABLE_HOST: &str = "table.test";

// The configuration with a hostile guest, or without one.
fn document(hostile: Option<(&Guest, &str)>, number: usize) -> String {
    let (mut middleware, mut tables, mut steps) = (String::new(), String::new(), String::new());
    if let Some((guest @ Guest { more, is_table, .. }, file)) = hostile {
        // What need not end at its deadline must not, on a machine that is busy.
        let short = matches!(guest.expected, Late | EITHER);
        let (call, exchange) = if short { (CALL_TIMEOUT, EXCHANGE_TIMEOUT) } else { (PATIENCE, 2 * PATIENCE) };
        let limits = format!("call-timeout: {}ms, memory-bytes-max: 4MiB", call.as_millis());
        if *is_table {
            let table = format!("module: {file}, hosts: [{TABLE_HOST}], limits: {{{limits}}}{more}");
            tables = format!("tables: {{bad-{number}: {{{table}}}}}");
        } else {
            let limits = format!("{limits}, exchange-timeout: {}ms, kv-bytes-max: 1MiB", exchange.as_millis());
            let plugin = format!("module: {file}, grants: {{upstreams: [origin]}}, limits: {{{limits}}}{more}");
            middleware = format!("  bad-{number}: {{{plugin}}}");
            steps = format!("middleware: [bad-{number}], ");
        }
    }
    format!(
        "gateway: {{admin: {{trust-loopback: true}}}}
listeners: {{web: {{address: '{{web}}'}}}}
{tables}
upstreams: {{origin: {{endpoints: ['{{origin}}']}}}}
middleware:
  good: {{module: good.wat}}
  a: {{respond: {{body: a}}}}
  b: {{respond: {{body: b}}}}
{middleware}
routes:
  - {{id: plain, path: /plain, upstream: origin}}
  - {{id: good, path: /good, middleware: [good], upstream: origin}}
  - {{id: rest, path: /*, {steps}upstream: origin}}
"
    )
}
