//! The fleet through the real binary and a real etcd: every gateway says what it serves, whoever asks sees who refused and
//! why, and a push can wait for all of them.

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tidegate::etcd::{Client as EtcdClient, Range};
use tidegate_tests::{
    Client, ConfigDir, Etcd, Follower, Origin, Process, free_address, guests, request, soon, tidegate,
};

const GATEWAY: &str = "
listeners: {web: {address: '127.0.0.1:0', generation-header: true}}
upstreams: {origin: {endpoints: ['{origin}']}}
middleware: {stamp: {module: stamp.wat, config: {edit: 1}}}
routes:
  - {id: all, path: /*, middleware: [stamp], upstream: origin}
";

/// Runs the binary; its exit code and what it wrote.
fn run(arguments: Vec<String>) -> (i32, String) {
    let output = tidegate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), text)
}

struct Fleet {
    etcd: Etcd,
    client: EtcdClient,
    dir: ConfigDir,
    _origin: Origin,
    nodes: Vec<Follower>,
}

impl Fleet {
    /// Pushes a configuration, and starts gateways called `n0`, `n1` … that follow it.
    async fn start(nodes: usize) -> Self {
        let (etcd, origin) = (Etcd::start().await, Origin::start());
        let dir = ConfigDir::new().with("origin", origin.address());
        dir.write("gateway.yaml", GATEWAY);
        dir.write("stamp.wat", &guests::stamp(1));
        let client = etcd.client();
        let mut fleet = Self { etcd, client, dir, _origin: origin, nodes: Vec::new() };
        fleet.pushed(&[]).await;
        for number in 0..nodes {
            fleet.join(&format!("n{number}")).await;
        }
        fleet
    }

    async fn join(&mut self, name: &str) {
        let node = Follower::start(&self.etcd.urls(), &["--node-id", name]);
        node.serves().await;
        self.nodes.push(node);
        soon("it says what it serves", async || self.value(name).await.is_some()).await;
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let urls = self.etcd.urls().join(",");
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--etcd".to_owned(), urls]);
        tokio::task::spawn_blocking(move || run(all)).await.unwrap()
    }

    async fn push(&self, more: &[&str]) -> (i32, String) {
        let path = self.dir.path().display().to_string();
        self.run(&[&["push", &path, "--etcd-prefix", "/gw/"], more].concat()).await
    }

    async fn pushed(&self, more: &[&str]) -> Value {
        let (code, text) = self.push(&[&["--format", "json"], more].concat()).await;
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn value(&self, node: &str) -> Option<Value> {
        let page = self.client.range(&Range::key(format!("/gw.status/{node}"))).await.unwrap();
        page.kvs.first().map(|kv| serde_json::from_slice(&kv.value).unwrap())
    }

    /// What `fleet status` says, and whether it ends with 0.
    async fn status(&self) -> (Value, bool) {
        let (code, text) = self.run(&["fleet", "status", "--format", "json"]).await;
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(status["healthy"], code == 0, "{status:#}");
        (status, code == 0)
    }

    async fn states(&self) -> Vec<(String, String)> {
        let (status, _) = self.status().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        status["nodes"].as_array().unwrap().iter().map(|node| (text(&node["node"]), text(&node["state"]))).collect()
    }
}

#[tokio::test]
async fn a_push_that_waits_returns_when_every_gateway_serves_it() {
    let fleet = Fleet::start(3).await;
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let pushed = fleet.pushed(&["--wait=20s"]).await;
    assert_eq!(pushed["fleet"], json!({"serving": ["n0", "n1", "n2"], "missing": []}), "{pushed:#}");
    for (number, node) in fleet.nodes.iter().enumerate() {
        assert_eq!(node.get("/").await.generation(), 2);
        let status = node.status().await;
        assert_eq!((&status["hash"], &status["revision"][0]["revision"]), (&pushed["hash"], &pushed["revision"]));
        let said = fleet.value(&format!("n{number}")).await.unwrap();
        assert_eq!((&said["hash"], &said["generation"]), (&status["hash"], &2.into()), "{said:#}");
        assert_eq!((&said["prefix"], &said["version"]), (&"/gw/".into(), &status["version"]));
    }
    let serving = ["n0", "n1", "n2"].map(|node| (node.to_owned(), "serving".to_owned()));
    assert_eq!((fleet.states().await, fleet.status().await.1), (serving.to_vec(), true));
    // What is there already is served already.
    assert_eq!(fleet.pushed(&["--wait=20s"]).await["outcome"], "unchanged");
}

#[tokio::test]
async fn a_gateway_that_refuses_is_named_with_its_reason_and_serves_on() {
    let mut fleet = Fleet::start(1).await;
    fleet.join("picky").await;
    // What no check can know: somebody else listens there.
    let taken = free_address();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    fleet.dir.edit("gateway.yaml", "listeners: {web:", &format!("listeners: {{more: {{address: '{taken}'}}, web:"));
    let (code, text) = fleet.push(&["--wait=20s"]).await;
    assert_eq!(code, 1, "{text}");
    for part in ["served by 0 of 2, not by:", "n0: ", "picky: ", &taken.to_string()] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    let (code, table) = fleet.run(&["fleet", "status"]).await;
    assert_eq!(code, 1, "{table}");
    for part in ["NODE", "n0 ", "picky ", "refused ", &taken.to_string()] {
        assert!(table.contains(part), "`{part}` in {table}");
    }
    for node in &fleet.nodes {
        assert_eq!(node.get("/").await.generation(), 1);
        assert_eq!(node.status().await["last_attempt"]["outcome"], "refused");
    }
    drop(holder);
    fleet.dir.edit("gateway.yaml", &format!("more: {{address: '{taken}'}}, "), "");
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    fleet.pushed(&["--wait=20s"]).await;
    let (status, healthy) = fleet.status().await;
    assert!(
        healthy && status["nodes"].as_array().unwrap().iter().all(|node| node.get("refused").is_none()),
        "{status:#}"
    );
}

#[tokio::test]
async fn the_word_of_a_gateway_goes_with_it() {
    let mut fleet = Fleet::start(2).await;
    // One that is killed cannot take its word back: its lease ends, and a push waits until then and not longer.
    let lease = fleet.client.range(&Range::key("/gw.status/n1")).await.unwrap().kvs[0].lease;
    let left = fleet.client.lease_time_to_live(lease).await.unwrap().unwrap();
    assert!((1..=15).contains(&left.granted_s), "{left:?}");
    drop(fleet.nodes.remove(1));
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let pushed = fleet.pushed(&["--wait=20s"]).await;
    assert_eq!(pushed["fleet"], json!({"serving": ["n0"], "missing": []}), "{pushed:#}");
    assert_eq!(fleet.value("n1").await, None);
    fleet.nodes.remove(0).stop().await;
    assert_eq!(fleet.value("n0").await, None, "it takes its word back before it ends");
    let (code, text) = fleet.run(&["fleet", "status"]).await;
    assert!(code == 1 && text.contains("no gateway says that it follows /gw/"), "{text}");
    fleet.dir.edit("gateway.yaml", "edit: 2", "edit: 3");
    let (code, text) = fleet.push(&["--wait=200ms"]).await;
    assert!(code == 1 && text.contains("pushed: revision") && text.contains("served by nobody"), "{text}");
}

#[tokio::test]
async fn a_gateway_that_does_not_move_is_named_by_a_push_that_waits_and_by_the_status() {
    let fleet = Fleet::start(2).await;
    fleet.nodes[1].process().signal(Signal::STOP);
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let (code, text) = fleet.push(&["--wait=1s"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("served by 1 of 2, not by:\n  n1: it still serves generation 1 (hash "), "{text}");
    let states = [("n0", "serving"), ("n1", "behind")].map(|(node, state)| (node.to_owned(), state.to_owned()));
    assert_eq!((fleet.states().await, fleet.status().await.1), (states.to_vec(), false));
    fleet.nodes[1].process().signal(Signal::CONT);
    fleet.pushed(&["--wait=20s"]).await;
    assert!(fleet.status().await.1);
}

#[tokio::test]
async fn two_gateways_of_one_name_are_told_so() {
    let mut fleet = Fleet::start(1).await;
    fleet.join("n0").await;
    for (edit, gone) in [(2, 1), (3, 2)] {
        fleet.dir.edit("gateway.yaml", &format!("edit: {gone}"), &format!("edit: {edit}"));
        fleet.pushed(&[]).await;
        for node in &fleet.nodes {
            node.serves_generation(edit).await;
        }
    }
    for node in &fleet.nodes {
        let told = |line: &String| line.contains("under the same name") && line.contains("--node-id");
        soon("it is told", async || node.process().said().iter().any(told)).await;
    }
}

#[tokio::test]
async fn gateways_that_follow_other_prefixes_and_words_of_others_are_told_apart() {
    let fleet = Fleet::start(1).await;
    fleet.client.put("/gw.status/other", json!({"prefix": "/other/"}).to_string()).await.unwrap();
    let (code, text) = fleet.run(&["fleet", "status"]).await;
    assert!(code == 0 && text.contains("others follow /other/ (1)"), "{text}");
    let (code, text) = fleet.run(&["fleet", "status", "--etcd-prefix", "/other"]).await;
    assert!(code == 0 && text.contains("other") && !text.contains("n0"), "{text}");
    fleet.client.put("/gw.status/odd", "what").await.unwrap();
    let (code, text) = fleet.run(&["fleet", "status"]).await;
    assert!(code == 1 && text.contains("odd:\n  its value is not what"), "{text}");
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let (code, text) = fleet.push(&["--wait=20s"]).await;
    assert!(code == 1 && text.contains("served by 1 of 2") && text.contains("odd: its value is not what"), "{text}");
}

#[tokio::test]
async fn whatever_happens_to_etcd_the_word_of_a_gateway_comes_back() {
    let mut fleet = Fleet::start(1).await;
    let lease = fleet.client.range(&Range::key("/gw.status/n0")).await.unwrap().kvs[0].lease;
    fleet.client.lease_revoke(lease).await.unwrap();
    assert_eq!(fleet.value("n0").await, None);
    soon("a lost lease is made anew", async || fleet.value("n0").await.is_some()).await;

    fleet.etcd.member(0).kill();
    fleet.etcd.member(0).restart();
    fleet.etcd.answers().await;
    fleet.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    fleet.pushed(&["--wait=20s"]).await;

    fleet.etcd.members()[0].stop();
    fleet.etcd.members()[0].go_on();
    fleet.dir.edit("gateway.yaml", "edit: 2", "edit: 3");
    fleet.pushed(&["--wait=20s"]).await;

    fleet.etcd.member(0).kill();
    fleet.etcd.members()[0].wipe();
    fleet.etcd.member(0).restart();
    fleet.etcd.answers().await;
    soon("it says so to the new etcd", async || fleet.value("n0").await.is_some()).await;
    assert_eq!(fleet.nodes[0].get("/").await.generation(), 3, "and never served less");
    fleet.pushed(&["--wait=20s"]).await;
    let (status, healthy) = fleet.status().await;
    assert!(healthy, "{status:#}");
}

/// An etcd with users, and the arguments of a gateway that may only read the configuration.
async fn guarded(origin: &Origin) -> (Etcd, String) {
    let mut etcd = Etcd::start().await;
    let text = GATEWAY.replace("{origin}", &origin.address().to_string());
    etcd.client().put("/gw/gateway.yaml", text.clone()).await.unwrap();
    etcd.client().put("/gw/stamp.wat", guests::stamp(1)).await.unwrap();
    etcd.enable_auth().await;
    etcd.add_reader("reader", "secret", "/gw/").await;
    (etcd, text)
}

const AS_READER: [&str; 6] = ["--etcd-user", "reader", "--etcd-password", "secret", "--node-id", "n0"];

#[tokio::test]
async fn a_gateway_that_may_only_read_serves_all_the_same() {
    let origin = Origin::start();
    let (etcd, text) = guarded(&origin).await;
    let node = Follower::start(&etcd.urls(), &AS_READER);
    node.serves().await;
    let failed = async || node.metric("tidegate_fleet_status_errors_total").await > 0.0;
    soon("that it cannot say so is counted", failed).await;
    etcd.client().put("/gw/gateway.yaml", text.replace("edit: 1", "edit: 2")).await.unwrap();
    node.serves_generation(2).await;
    assert_eq!(node.get("/").await.generation(), 2);
    assert_eq!(node.ask("/-/ready").await.status, 200);
}

#[tokio::test]
async fn a_gateway_needs_to_write_nowhere_but_beside_the_configuration() {
    let origin = Origin::start();
    let (etcd, _) = guarded(&origin).await;
    etcd.grant_write("reader", "/gw.status/").await;
    let node = Follower::start(&etcd.urls(), &AS_READER);
    node.serves().await;
    let client = etcd.client();
    let said = async || !client.range(&Range::key("/gw.status/n0")).await.unwrap().kvs.is_empty();
    soon("it says what it serves", said).await;
    assert_eq!(node.metric("tidegate_fleet_status_errors_total").await, 0.0);
    let urls = etcd.urls();
    let quiet =
        Follower::start(&urls, &[&AS_READER[..4], &["--node-id", "n1", "--etcd-status-prefix", "off"]].concat());
    quiet.serves().await;
    let (code, text) = run(vec!["run".into(), "--etcd".into(), urls[0].clone(), "--etcd-status-prefix=/gw/s/".into()]);
    assert!(code == 1 && text.contains("is in the prefix that is followed (/gw/)"), "{text}");
    assert_eq!(client.read(&Range::prefix("/gw.status/")).await.unwrap().kvs.len(), 1);
}

#[tokio::test]
async fn origins_are_shown_across_layers_of_files_and_etcd_in_any_order() {
    let (etcd, origin) = (Etcd::start().await, Origin::start());
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("base.yaml", GATEWAY);
    dir.write("stamp.wat", &guests::stamp(1));
    let over = "upstreams:\n  origin: {endpoints: ['127.0.0.1:1']}\n";
    etcd.client().put("/gw/site/origin.yaml", over).await.unwrap();
    let path = dir.path().display().to_string();
    // The later on the command line wins, whichever it is.
    for (etcd_wins, endpoint) in [(true, "127.0.0.1:1".to_owned()), (false, origin.address().to_string())] {
        let admin = free_address();
        let (urls, at) = (etcd.urls().join(","), admin.to_string());
        let (files, keys) = (["--config", &path], ["--etcd", &urls, "--etcd-prefix", "/gw/"]);
        let layers = if etcd_wins { [&files[..], &keys].concat() } else { [&keys[..], &files].concat() };
        let process = Process::start(&[&["run", "--admin", &at, "--workers", "2"], &layers[..]].concat());
        soon("its admin endpoint answers", async || tokio::net::TcpStream::connect(admin).await.is_ok()).await;
        let target = format!("http://{admin}/-/config?explain=1");
        let rendered = Client::http1(admin).await.send(request(Method::GET, &target)).await.text();
        assert!(rendered.contains(&endpoint), "{endpoint} in {rendered}");
        let (keys, files) = ("#   etcd /gw/ (revision ".to_owned(), format!("#   {path} (revision "));
        let (first, second) = if etcd_wins { (files, keys) } else { (keys, files) };
        let mut lines = rendered.lines();
        assert_eq!(lines.next(), Some("# layers, the later wins:"));
        for layer in [first, second] {
            assert!(lines.next().unwrap().starts_with(&layer), "{layer} in {rendered}");
        }
        let from = if etcd_wins { "# etcd /gw/site/origin.yaml:2" } else { "base.yaml:3" };
        let line = rendered.lines().find(|line| line.contains(&endpoint)).unwrap();
        assert!(line.ends_with(from), "{from} in {rendered}");
        assert!(rendered.contains("base.yaml:2"), "the listener is set by one layer only: {rendered}");
        drop(process);
    }
}
