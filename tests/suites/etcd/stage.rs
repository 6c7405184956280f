//! The stage of the suites on etcd: an etcd, a gateway that follows it with quick timings, and requests that never
//! stop. What is written is an edit: two keys in one transaction, whose numbers every response shows side by side.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Method;
use tidegate::{
    etcd::{Client, Op, Password, User},
    source::etcd::{EtcdOptions, EtcdSource},
};
use tidegate_tests::{
    Etcd, Gateway, WEB,
    etcd::{Setup, Wire},
    eventually, request, soon,
};
use tokio::task::JoinHandle;

/// Longer than anything takes on a machine that does much else; the times that count are printed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The prefix.
pub(super) const PREFIX: &str = "/gw/";

/// The user as whom the gateway reads, where there are users.
pub(super) const READER: &str = "reader";

pub(super) struct Stage {
    pub(super) etcd: Etcd,
    pub(super) gateway: Gateway,
    /// Between the gateway and the only member.
    pub(super) wire: Wire,
    /// May do everything.
    pub(super) client: Client,
    pub(super) edit: u64,
    traffic: Traffic,
}

/// Timings for tests, of a gateway that reaches etcd as `client` says.
pub(super) fn quick(client: tidegate::etcd::Options) -> EtcdOptions {
    let ms = Duration::from_millis;
    EtcdOptions {
        client,
        prefix: PREFIX.to_owned(),
        first_wait: ms(10_000),
        compare: ms(60_000),
        quiet_max: ms(500),
        pace: ms(2),
        leases: ms(500),
        pause: ms(20),
        pause_max: ms(200),
        pause_refused_max: ms(500),
        ..EtcdOptions::default()
    }
}

impl Stage {
    /// An etcd and a gateway that serves the first edit. With `users`, the gateway is one that may read only.
    pub(super) async fn new(setup: Setup, users: bool) -> Self {
        Self::resuming(setup, users, Duration::from_secs(5)).await
    }

    /// The same, with a gateway that resumes after absences up to this long, and else compares everything.
    pub(super) async fn resuming(setup: Setup, users: bool, resume_max: Duration) -> Self {
        let (members, tls) = (setup.members, setup.tls);
        let mut etcd = Etcd::with(setup).await;
        let wire = Wire::to(etcd.members()[0].client()).await;
        if users {
            etcd.enable_auth().await;
            etcd.add_reader(READER, "first", PREFIX).await;
            std::fs::write(password_file(&etcd), "first").unwrap();
        }
        let client = etcd.client();
        write(&client, 1).await;
        let mut reach = etcd.options();
        if members == 1 {
            let scheme = if tls { "https" } else { "http" };
            reach.endpoints = vec![format!("{scheme}://{}", wire.address())];
            // Else it would find the way around the wire.
            reach.sync_interval = Duration::ZERO;
        }
        if users {
            let password = Password::File(password_file(&etcd));
            reach.user = Some(User { name: READER.to_owned(), password });
        }
        let source = EtcdSource::new(EtcdOptions { resume_max, ..quick(reach) });
        let gateway = Gateway::over(vec![Box::new(source)]).await.unwrap_or_else(|why| panic!("{why}"));
        let traffic = Traffic::on(&gateway).await;
        Self { etcd, gateway, wire, client, edit: 1, traffic }
    }

    /// Writes the next edit; answers its number.
    pub(super) async fn write(&mut self) -> u64 {
        self.edit += 1;
        write(&self.client, self.edit).await;
        self.edit
    }

    /// Waits until an edit is served; answers how long that took.
    pub(super) async fn serves(&self, edit: u64) -> Duration {
        let began = Instant::now();
        let mut client = self.gateway.http1().await;
        let what = format!("edit {edit} is served");
        eventually(&what, PATIENCE, async || (client.get("/").await.header("x-a") == edit.to_string()).then_some(()))
            .await;
        began.elapsed()
    }

    /// How often something of this kind failed.
    pub(super) async fn failures(&self, kind: &str) -> u64 {
        self.gateway.metric("tidegate_source_failures_total", &format!("kind=\"{kind}\"")).await as u64
    }

    /// Waits until the source is in this trouble; readiness says so, and stays.
    pub(super) async fn is_in_trouble(&self, kinds: &[&str]) {
        let what = format!("the source is in one of these troubles: {kinds:?}");
        eventually(&what, PATIENCE, async || {
            let status = self.gateway.status().await;
            let kind = status["sources"][0]["kind"].as_str()?;
            kinds.contains(&kind).then_some(())
        })
        .await;
        assert_eq!(self.gateway.ask(Method::GET, "/-/ready").await.status, 200, "it serves as well as before");
        assert_eq!(self.gateway.metric("tidegate_source_healthy", "").await, 0.0);
    }

    /// Waits until the source is in no trouble.
    pub(super) async fn is_well(&self) {
        eventually("the source is well", PATIENCE, async || {
            let ready = self.gateway.ask(Method::GET, "/-/ready?strict=1").await;
            (ready.status == 200).then_some(())
        })
        .await;
    }

    /// Where the gateway watches.
    pub(super) async fn watched(&self) -> usize {
        let find = async || {
            let status = self.gateway.status().await;
            let watch = status["sources"][0]["watch"].as_str()?.to_owned();
            self.etcd.urls().iter().position(|url| watch.ends_with(url.as_str()))
        };
        eventually("the gateway watches a member", PATIENCE, find).await
    }

    /// The file with the gateway's password.
    pub(super) fn password_file(&self) -> PathBuf {
        password_file(&self.etcd)
    }

    /// Ends the requests: none has failed, and each was of one edit.
    pub(super) async fn end(self) {
        self.traffic.end().await;
        assert_eq!(self.gateway.metric("tidegate_requests_total", "code=\"5").await, 0.0);
    }
}

/// Writes an edit as one transaction.
pub(super) async fn write(client: &Client, edit: u64) {
    let all = format!(
        "{WEB}middleware: {{a: {{headers: {{response: {{set: {{x-a: '{edit}'}}}}}}}}}}
routes: [{{id: all, path: /*, middleware: [a, b, {{respond: {{status: 200, body: here}}}}]}}]
"
    );
    let one = format!("middleware: {{b: {{headers: {{response: {{set: {{x-b: '{edit}'}}}}}}}}}}\n");
    let puts = vec![Op::put(format!("{PREFIX}gateway.yaml"), all), Op::put(format!("{PREFIX}parts/b.yaml"), one)];
    let written = async || client.txn(Vec::new(), puts.clone(), Vec::new()).await.ok();
    eventually("etcd takes an edit", PATIENCE, written).await;
}

fn password_file(etcd: &Etcd) -> PathBuf {
    etcd.folder().join("password")
}

/// Requests that never stop, on a connection that is kept and now and then on a new one.
struct Traffic {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// Fewer are no traffic.
const ANSWERS_MIN: u64 = 50;

/// Every how many requests a connection is a new one.
const KEPT_FOR: u64 = 16;

impl Traffic {
    async fn on(gateway: &Gateway) -> Self {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let task = tokio::spawn(ask(gateway.web(), Arc::clone(&over), Arc::clone(&answers)));
        Self { over, answers, task }
    }

    async fn end(self) {
        let enough = async || self.task.is_finished() || self.answers.load(Relaxed) >= ANSWERS_MIN;
        soon("there was traffic", enough).await;
        self.over.store(true, Relaxed);
        self.task.await.expect("no request failed");
    }
}

async fn ask(web: SocketAddr, over: Arc<AtomicBool>, answers: Arc<AtomicU64>) {
    let mut edits: HashMap<u64, String> = HashMap::new();
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    let mut kept = tidegate_tests::Client::http1(web).await;
    while !over.load(Relaxed) {
        pace.tick().await;
        if answers.fetch_add(1, Relaxed) % KEPT_FOR == KEPT_FOR - 1 {
            kept = tidegate_tests::Client::http1(web).await;
        }
        let answer = kept.try_send(request(Method::GET, "/")).await.expect("a request never fails");
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "here"));
        let (a, b) = (answer.header("x-a"), answer.header("x-b"));
        assert!(!a.is_empty() && a == b, "a generation shows the edits {a} and {b}");
        let known = edits.entry(answer.generation()).or_insert_with(|| a.to_owned());
        assert_eq!(known, a, "generation {}", answer.generation());
    }
}
