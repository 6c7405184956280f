//! What following a prefix means day by day: changes, layers, leases, empty prefixes, modules, the command line.

use http::Method;
use tidegate::{
    etcd::{Op, Range},
    identity::Identity,
    source::{
        Pointer, Source,
        etcd::EtcdSource,
        file::{FileSource, WatchOptions},
    },
};
use tidegate_tests::{ConfigDir, Etcd, Gateway, Process, WEB, etcd::Setup, free_address, guests, soon, tidegate};

use super::stage::{PREFIX, Stage, quick, write};

const ROUTE: &str = "routes: [{id: all, path: /*, middleware: [{respond: {status: 200, body: here}}]}]\n";

async fn gateway(etcd: &Etcd) -> Gateway {
    let source: Box<dyn Source> = Box::new(EtcdSource::new(quick(etcd.options())));
    Gateway::over(vec![source]).await.unwrap_or_else(|why| panic!("{why}"))
}

#[tokio::test]
async fn one_changed_key_is_one_parse_and_an_equal_one_is_none() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    client.put("/gw/gateway.yaml", WEB).await.unwrap();
    for number in 0..50 {
        let flat = format!(
            "{{\"route_id\": \"r{number}\", \"path\": \"/r{number}\", \"target\": \"127.0.0.1:9\", \"middleware\": []}}"
        );
        client.put(format!("/gw/routes/r{number}.json"), flat).await.unwrap();
    }
    let gateway = gateway(&etcd).await;
    let status = gateway.status().await;
    assert_eq!(status["last_attempt"]["work"]["parsed_files"], 51, "{status:#}");

    let route = "{\"route_id\": \"r7\", \"path\": \"/other\", \"target\": \"127.0.0.1:9\", \"middleware\": []}";
    let revision = client.put("/gw/routes/r7.json", route).await.unwrap();
    soon("the attempt is told", async || gateway.status().await["last_attempt"]["generation"] == 2).await;
    let status = gateway.status().await;
    assert_eq!(status["last_attempt"]["work"]["parsed_files"], 1, "{status:#}");
    assert_eq!(status["revision"][0]["revision"], revision);
    assert_eq!(status["revision"][0]["source"], "etcd /gw/");

    // Neither an equal value nor a chunk nor another prefix is a change; what follows them is.
    client.put("/gw/routes/r7.json", route).await.unwrap();
    client.put("/gw/.blobs/00/0", "x").await.unwrap();
    client.put("/gwx/gateway.yaml", "nonsense: [").await.unwrap();
    client.delete(&Range::key("/gw/routes/r8.json")).await.unwrap();
    gateway.serves(3).await;
    assert_eq!(gateway.metric("tidegate_reloads_total", "trigger=\"watch\"").await, 2.0);
    assert_eq!(gateway.http1().await.get("/r8").await.status, 404);
}

#[tokio::test]
async fn a_reload_that_is_asked_for_compares_everything() {
    let stage = Stage::new(Setup::default(), false).await;
    let compared = stage.gateway.metric("tidegate_source_comparisons_total", "").await;
    let attempt = stage.gateway.reload().await;
    assert_eq!(attempt["outcome"], "unchanged", "{attempt:#}");
    assert_eq!(stage.gateway.metric("tidegate_source_comparisons_total", "").await, compared + 1.0);
    soon("traffic has run", async || stage.gateway.metric("tidegate_requests_total", "").await > 40.0).await;
    stage.end().await;
}

#[tokio::test]
async fn keys_of_a_lease_go_with_it_and_the_dump_says_when() {
    let mut stage = Stage::new(Setup::default(), false).await;
    let lease = stage.client.lease_grant(60).await.unwrap();
    let route = "routes: [{id: guest, path: /guest, middleware: [{respond: {status: 200, body: guest}}]}]\n";
    stage.client.put_with_lease("/gw/routes/guest.yaml", route, lease.id).await.unwrap();
    let mut client = stage.gateway.http1().await;
    soon("the leased route serves", async || client.get("/guest").await.text() == "guest").await;
    let dump = async || stage.gateway.ask(Method::GET, "/-/config").await.text();
    let mark = format!("unless lease {:x} is kept alive", lease.id);
    soon("the dump says when it goes", async || dump().await.contains(&mark)).await;
    assert!(dump().await.contains("# etcd /gw/routes/guest.yaml goes within "), "{}", dump().await);
    stage.client.lease_revoke(lease.id).await.unwrap();
    soon("the leased route is gone", async || client.get("/guest").await.text() == "here").await;
    soon("the dump is silent about it", async || !dump().await.contains(&mark)).await;
    let edit = stage.write().await;
    stage.serves(edit).await;
    stage.end().await;
}

#[tokio::test]
async fn an_empty_prefix_is_no_configuration_unless_it_is_said_to_be_one() {
    let etcd = Etcd::start().await;
    let empty = EtcdSource::new(quick(etcd.options()));
    let why = Gateway::over(vec![Box::new(empty)]).await.unwrap_err();
    assert!(why.contains("no document under /gw/") && why.contains("--etcd-allow-empty"), "{why}");

    let dir = ConfigDir::new();
    dir.write("gateway.yaml", &format!("{WEB}{ROUTE}"));
    let files = || Box::new(FileSource::open(dir.path(), WatchOptions::default()).unwrap()) as Box<dyn Source>;
    let empty = EtcdSource::new(quick(etcd.options()));
    assert!(Gateway::over(vec![files(), Box::new(empty)]).await.is_err(), "also beside another layer");
    let options = tidegate::source::etcd::EtcdOptions { allow_empty: true, ..quick(etcd.options()) };
    let gateway = Gateway::over(vec![files(), Box::new(EtcdSource::new(options))]).await.unwrap();
    assert_eq!(gateway.http1().await.get("/").await.text(), "here");
}

#[tokio::test]
async fn layers_override_each_other_in_their_order_and_each_is_watched() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let dir = ConfigDir::new();
    let route = |body: &str| ROUTE.replace("here", body);
    dir.write("gateway.yaml", &format!("{WEB}{}", route("files")));
    client.put("/gw/routes.yaml", route("etcd")).await.unwrap();
    let sources = |etcd_wins: bool| {
        let files: Box<dyn Source> = Box::new(FileSource::open(dir.path(), WatchOptions::default()).unwrap());
        let etcd: Box<dyn Source> = Box::new(EtcdSource::new(quick(etcd.options())));
        if etcd_wins { vec![files, etcd] } else { vec![etcd, files] }
    };
    let under = Gateway::over(sources(false)).await.unwrap();
    assert_eq!(under.http1().await.get("/").await.text(), "files");
    let over = Gateway::over(sources(true)).await.unwrap();
    let mut asking = over.http1().await;
    assert_eq!(asking.get("/").await.text(), "etcd");
    let explained = over.ask(Method::GET, "/-/config?explain=1").await.text();
    assert!(explained.contains("etcd /gw/routes.yaml:1"), "{explained}");
    let status = over.status().await;
    assert_eq!(status["sources"][0]["watch"], "events", "{status:#}");
    assert!(status["sources"][1]["watch"].as_str().unwrap().starts_with("watch on http://"), "{status:#}");

    client.delete(&Range::key("/gw/routes.yaml")).await.unwrap();
    client.put("/gw/other.yaml", "upstreams: {unused: {endpoints: ['127.0.0.1:9']}}\n").await.unwrap();
    soon("the layer below shows", async || asking.get("/").await.text() == "files").await;
    dir.write("gateway.yaml", &format!("{WEB}{}", route("files again")));
    soon("the file layer is followed too", async || asking.get("/").await.text() == "files again").await;
}

#[tokio::test]
async fn modules_and_documents_come_from_etcd_whole_or_in_chunks() {
    let etcd = Etcd::start().await;
    let client = etcd.client();
    let module = wat::parse_str(guests::stamp(1)).unwrap();
    client.put("/gw/plugins/stamp.wasm", module).await.unwrap();
    let text = format!(
        "{WEB}middleware: {{stamp: {{module: plugins/stamp.wasm}}}}\n\
         routes: [{{id: all, path: /*, middleware: [stamp, {{respond: {{status: 200, body: here}}}}]}}]\n"
    );
    client.put("/gw/gateway.yaml", text.clone()).await.unwrap();
    let gateway = gateway(&etcd).await;
    assert_eq!(gateway.http1().await.get("/").await.text(), "here");

    // The same document in two chunks is the same tree; a wrong one is refused, and the right one heals it.
    let (one, two) = text.split_at(40);
    let pointer = Pointer { sha256: Identity::of_bytes(text.as_bytes()), size: text.len() as u64, chunks: 2 };
    let at = |number| format!("{PREFIX}.blobs/{}/{number}", pointer.sha256);
    client.put(at(0), one.to_owned()).await.unwrap();
    client.put(at(1), two.replace("here", "HERE")).await.unwrap();
    client.put("/gw/gateway.yaml", pointer.write()).await.unwrap();
    let refused = async || {
        let last = gateway.status().await["last_attempt"].clone();
        last["outcome"] == "refused" && last["diagnostics"].to_string().contains("push it again")
    };
    soon("chunks of another document are refused", refused).await;
    client.put(at(1), two.to_owned()).await.unwrap();
    let healed = async || gateway.status().await["last_attempt"]["outcome"] == "unchanged";
    soon("the right chunks are taken by themselves", healed).await;
    let other = text.replace("here", "there");
    client.put("/gw/gateway.yaml", other).await.unwrap();
    gateway.serves(2).await;
}

#[tokio::test]
async fn the_command_line_follows_a_prefix() {
    let etcd = Etcd::start().await;
    let (web, admin) = (free_address(), free_address());
    let client = etcd.client();
    client.put("/gw/gateway.yaml", format!("listeners: {{web: {{address: '{web}'}}}}\n{ROUTE}")).await.unwrap();
    let (url, admin_text) = (etcd.urls().swap_remove(0), admin.to_string());
    let checked = tidegate(&["check", "--etcd", &url]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let checked = tidegate(&["check", "--etcd", &url, "--etcd-prefix", "/empty"]);
    assert_eq!(checked.status.code(), Some(1));
    let process = Process::start(&["run", "--etcd", &url, "--etcd-prefix", "/gw", "--admin", &admin_text]);
    let listens = async || tokio::net::TcpStream::connect(web).await.is_ok();
    soon("the gateway listens", listens).await;
    let mut asking = tidegate_tests::Client::http1(web).await;
    assert_eq!(asking.get("/").await.text(), "here", "{:?}", process.said());
    let changed = format!("listeners: {{web: {{address: '{web}'}}}}\n{}", ROUTE.replace("here", "there"));
    client.txn(Vec::new(), vec![Op::put("/gw/gateway.yaml", changed)], Vec::new()).await.unwrap();
    soon("the change is served", async || asking.get("/").await.text() == "there").await;
    let status = tidegate(&["status", "--admin", &admin_text]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("etcd /gw/"), "{status:?}");
}

#[tokio::test]
async fn a_gateway_that_starts_before_its_etcd_waits_and_says_what_it_waits_for() {
    let mut etcd = Etcd::start().await;
    write(&etcd.client(), 1).await;
    etcd.member(0).kill();
    let options = tidegate::source::etcd::EtcdOptions {
        first_wait: std::time::Duration::from_millis(300),
        ..quick(etcd.options())
    };
    let why = Gateway::over(vec![Box::new(EtcdSource::new(options))]).await.unwrap_err();
    assert!(why.contains(&etcd.urls()[0]) && why.contains("check that etcd runs"), "{why}");
    let starting = tokio::spawn(Gateway::over(vec![Box::new(EtcdSource::new(quick(etcd.options())))]));
    etcd.member(0).restart();
    let gateway = starting.await.unwrap().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(gateway.http1().await.get("/").await.header("x-a"), "1");
}
