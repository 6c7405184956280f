//! Publishing through the real binary to a real etcd: a directory becomes a prefix in one step, comes back as it was, and
//! nothing that goes wrong leaves a prefix half-changed.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tidegate::{
    etcd::{Client, Kind, Op, Range},
    identity::Identity,
    publish::{Limits, Local, Prefix, Push, Remote, collect},
    source::Entry,
};
use tidegate_tests::{ConfigDir, Etcd, etcd::Setup, guests, tidegate};

const GATEWAY: &str = "
listeners: {web: {address: '127.0.0.1:0'}}
upstreams: {origin: {endpoints: ['127.0.0.1:1']}}
middleware: {stamp: {module: plugins/stamp.wat, config: {edit: 1}}}
";
const ROUTE: &str = "routes:\n  - {id: all, path: /*, middleware: [stamp], upstream: origin}\n";

struct Stage {
    etcd: Etcd,
    client: Client,
    dir: ConfigDir,
}

impl Stage {
    /// A directory of two documents and a module, and an etcd with the limits that it has by itself.
    async fn new() -> Self {
        let flags = vec!["--max-txn-ops=128".to_owned()];
        let etcd = Etcd::with(Setup { flags, ..Setup::default() }).await;
        let (client, dir) = (etcd.client(), ConfigDir::new());
        dir.write("gateway.yaml", GATEWAY);
        dir.write("routes/all.yaml", ROUTE);
        dir.write("plugins/stamp.wat", &guests::stamp(1));
        Self { etcd, client, dir }
    }

    /// Runs a command on the prefix `/gw/`; its exit code and what it wrote.
    async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--etcd".to_owned(), self.etcd.urls().join(","), "--etcd-prefix".to_owned(), "/gw/".to_owned()]);
        let ran = move || tidegate(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let output = tokio::task::spawn_blocking(ran).await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }

    async fn push(&self, more: &[&str]) -> (i32, String) {
        let path = self.dir.path().display().to_string();
        self.run(&[&["push", &path], more].concat()).await
    }

    async fn pushed(&self, more: &[&str]) -> Value {
        let (code, text) = self.push(&[&["--format", "json"], more].concat()).await;
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A module that is too large for a value, which differs by its number.
    fn write_large_module(&self, number: u32) {
        let padding = format!(";; {}\n", "x".repeat(97)).repeat(25_000);
        self.dir.write("plugins/stamp.wat", &format!("{}{padding}", guests::stamp(number)));
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let page = self.client.read(&Range::prefix(prefix).keys_only()).await.unwrap();
        page.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    }

    async fn value(&self, key: &str) -> Option<Vec<u8>> {
        let page = self.client.range(&Range::key(key)).await.unwrap();
        page.kvs.first().map(|kv| kv.value.to_vec())
    }

    async fn revision(&self) -> i64 {
        self.client.range(&Range::key("/").limit(1)).await.unwrap().header.revision
    }

    /// Everything below `directory`, by path.
    fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![directory.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(directory).unwrap().display().to_string();
                    found.push((name, fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    /// A push by way of the library, to be held between its steps.
    async fn plan<'a>(&'a self, prefix: &'a Prefix, entries: &[(&str, &[u8])]) -> Push<'a> {
        let entries = entries.iter().map(|(path, content)| (path.to_string(), Entry::new(content.to_vec()))).collect();
        let local = Local { entries, hash: Identity::of_bytes(b"test") };
        let remote = Remote::read(&self.client, prefix).await.unwrap();
        Push::plan(&self.client, prefix, remote, local, Limits::default()).await.unwrap()
    }
}

#[tokio::test]
async fn what_was_pushed_comes_back_and_is_not_pushed_again() {
    let stage = Stage::new().await;
    stage.write_large_module(1);
    let before = stage.revision().await;
    let first = stage.pushed(&[]).await;
    assert_eq!((first["outcome"].as_str(), first["added"].as_array().unwrap().len()), (Some("pushed"), 3), "{first:#}");
    // Three chunks, and one transaction for all the rest.
    assert_eq!(first["revision"], before + 4);
    let module = fs::read(stage.dir.path().join("plugins/stamp.wat")).unwrap();
    let hash = Identity::of_bytes(&module).to_string();
    let pointer: Value = serde_json::from_slice(&stage.value("/gw/plugins/stamp.wat").await.unwrap()).unwrap();
    assert_eq!(pointer, json!({"tidegate-blob": {"sha256": hash, "size": module.len(), "chunks": 3}}));
    let chunks: Vec<_> = (0..3).map(|number| format!("/gw/.blobs/{hash}/{number}")).collect();
    assert_eq!(stage.keys("/gw/.blobs/").await, chunks);

    let again = stage.pushed(&[]).await;
    assert_eq!(
        (&again["outcome"], &again["revision"], &again["hash"]),
        (&"unchanged".into(), &first["revision"], &first["hash"])
    );
    stage.dir.edit("routes/all.yaml", "id: all", "id: every");
    let edit = stage.pushed(&[]).await;
    assert_eq!((edit["revision"].as_i64(), &edit["uploaded"]), (Some(before + 5), &0.into()), "{edit:#}");
    assert_eq!((&edit["changed"][0]["path"], edit["unchanged"].as_i64()), (&"routes/all.yaml".into(), Some(2)));
    stage.dir.remove("routes/all.yaml");
    let removal = stage.pushed(&[]).await;
    assert_eq!(removal["removed"][0]["path"], "routes/all.yaml");
    assert_eq!(stage.value("/gw/routes/all.yaml").await, None);

    let fetched = stage.dir.beside("fetched");
    let path = fetched.display().to_string();
    let (code, text) = stage.run(&["pull", &path]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(Stage::files(&fetched), Stage::files(&stage.dir.path()));
}

#[tokio::test]
async fn a_pull_replaces_a_used_directory_only_when_told_to_and_then_as_a_whole() {
    let stage = Stage::new().await;
    let used = stage.dir.beside("used");
    let path = used.display().to_string();
    let (code, text) = stage.run(&["pull", &path]).await;
    assert!(code == 1 && text.contains("nothing under /gw/") && !used.exists(), "{text}");
    stage.pushed(&[]).await;
    fs::create_dir(&used).unwrap();
    fs::write(used.join("mine.txt"), "mine").unwrap();
    let (code, text) = stage.run(&["pull", &path]).await;
    assert!(code == 1 && text.contains("--force"), "{text}");
    assert_eq!(Stage::files(&used), [("mine.txt".to_owned(), b"mine".to_vec())]);
    let (code, text) = stage.run(&["pull", &path, "--force"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(Stage::files(&used), Stage::files(&stage.dir.path()));
    let strays = fs::read_dir(used.parent().unwrap()).unwrap();
    let strays: Vec<_> =
        strays.map(|entry| entry.unwrap().file_name()).filter(|name| name.to_string_lossy().contains("pull")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test]
async fn keys_that_lead_out_of_the_directory_are_not_followed() {
    let stage = Stage::new().await;
    stage.pushed(&[]).await;
    for key in ["/gw/../outside.yaml", "/gw//twice.yaml", "/gw/.hidden.yaml", "/gw/a/./b.yaml"] {
        stage.client.put(key, "routes: []").await.unwrap();
    }
    let fetched = stage.dir.beside("fetched");
    let (code, text) = stage.run(&["pull", &fetched.display().to_string()]).await;
    assert!(code == 0 && text.contains("/gw/../outside.yaml: left out"), "{text}");
    assert_eq!(Stage::files(&fetched), Stage::files(&stage.dir.path()));
    assert!(!stage.dir.beside("outside.yaml").exists());
    // One name cannot be a file and a directory.
    stage.client.put("/gw/gateway.yaml/more.yaml", "routes: []").await.unwrap();
    let (code, text) = stage.run(&["pull", &fetched.display().to_string(), "--force"]).await;
    assert!(code == 1 && text.contains("gateway.yaml/more.yaml cannot be written"), "{text}");
    assert_eq!(Stage::files(&fetched), Stage::files(&stage.dir.path()));
}

#[tokio::test]
async fn a_directory_that_a_gateway_would_refuse_is_not_pushed() {
    let stage = Stage::new().await;
    let before = stage.revision().await;
    stage.dir.edit("routes/all.yaml", "upstream: origin", "upstream: orgin");
    let (code, text) = stage.push(&[]).await;
    assert_eq!(code, 1, "{text}");
    for part in ["routes/all.yaml:2", "orgin", "origin", "nothing was pushed"] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    stage.dir.edit("routes/all.yaml", "upstream: orgin", "upstream: origin");
    stage.dir.write("plugins/stamp.wat", guests::PICKY);
    let (code, text) = stage.push(&["--format", "json"]).await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &found["outcome"]), (1, &"refused".into()), "{text}");
    assert!(text.contains("a limit of less than nothing"), "{text}");
    assert_eq!(stage.revision().await, before);
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.pushed(&[]).await;
    let before = stage.revision().await;
    stage.dir.edit("routes/all.yaml", "id: all", "id: every");
    stage.dir.write("more.yaml", "upstreams: {more: {endpoints: ['127.0.0.1:2']}}\n");
    stage.client.put("/gw/old.yaml", "routes: []\n").await.unwrap();
    let (code, text) = stage.push(&["--dry-run"]).await;
    assert_eq!(code, 0, "{text}");
    for part in [
        "+ more.yaml (",
        "~ routes/all.yaml (",
        "    -  - {id: all,",
        "    +  - {id: every,",
        "- old.yaml (",
        "1 added, 1 changed, 1 removed, 2 unchanged",
    ] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    assert_eq!(stage.revision().await, before + 1, "only our own write");
}

#[tokio::test]
async fn whoever_pushes_second_is_told_so_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.pushed(&[]).await;
    let prefix = Prefix::new("/gw/").unwrap();
    let slow = stage.plan(&prefix, &[("gateway.yaml", b"slow"), ("slow.yaml", b"slow")]).await;
    stage.dir.edit("routes/all.yaml", "id: all", "id: every");
    stage.pushed(&[]).await;
    let why = slow.carry_out().await.unwrap_err();
    assert!(why.contains("somebody else pushed (revision ") && why.contains("nothing was changed"), "{why}");
    assert_eq!(stage.value("/gw/slow.yaml").await, None);

    // By hand: a write, and a deletion.
    for by_hand in [Op::put("/gw/routes/all.yaml", "routes: []\n"), Op::Delete(Range::key("/gw/routes/all.yaml"))] {
        let slow = stage.plan(&prefix, &[("gateway.yaml", b"slow")]).await;
        stage.client.txn(Vec::new(), vec![by_hand], Vec::new()).await.unwrap();
        let why = slow.carry_out().await.unwrap_err();
        assert!(why.contains("routes/all.yaml was ") && why.contains("by somebody else meanwhile"), "{why}");
        assert_ne!(stage.value("/gw/gateway.yaml").await, Some(b"slow".to_vec()));
    }
}

#[tokio::test]
async fn of_pushes_at_once_the_prefix_holds_one_as_a_whole() {
    let stage = Stage::new().await;
    let prefix = Prefix::new("/gw/").unwrap();
    let pushes = (0..12).map(|number| {
        let (stage, prefix) = (&stage, &prefix);
        async move {
            let content = format!("# {number}").into_bytes();
            let mine = format!("only-{number}.yaml");
            let push = stage.plan(prefix, &[("a.yaml", &content), ("b.yaml", &content), (&mine, &content)]).await;
            push.carry_out().await
        }
    });
    let outcomes = futures_util::future::join_all(pushes).await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(done >= 1, "{outcomes:?}");
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|why| why.contains("meanwhile")));
    let content = stage.value("/gw/a.yaml").await.unwrap();
    assert_eq!(stage.value("/gw/b.yaml").await.unwrap(), content);
    let documents: Vec<_> = stage.keys("/gw/").await.into_iter().filter(|key| key.ends_with(".yaml")).collect();
    assert_eq!(documents.len(), 3, "{documents:?}");
}

#[tokio::test]
async fn more_changes_than_one_list_takes_are_still_one_revision_and_too_many_are_refused() {
    let stage = Stage::new().await;
    for number in 0..600 {
        let text = format!("upstreams: {{u{number}: {{endpoints: ['127.0.0.1:1']}}}}\n");
        stage.dir.write(&format!("many/{number}.yaml"), &text);
    }
    let before = stage.revision().await;
    let pushed = stage.pushed(&[]).await;
    assert_eq!((pushed["revision"].as_i64(), pushed["added"].as_array().unwrap().len()), (Some(before + 1), 603));
    let prefix = Prefix::new("/gw/").unwrap();
    // Lists within lists within the list; what is too many even so is not split.
    let many = |count: usize| -> Vec<_> { (0..count).map(|number| format!("{number}.yaml")).collect() };
    let paths = many(5_000);
    let entries: Vec<_> = paths.iter().map(|path| (path.as_str(), path.as_bytes())).collect();
    let other = Prefix::new("/other/").unwrap();
    let Ok(pushed) = stage.plan(&other, &entries).await.carry_out().await else { panic!("5,000 are refused") };
    assert_eq!(pushed.revision, before + 2);
    assert_eq!(stage.keys("/other/").await.len(), 5_001);
    let too_many = async |count, limits| {
        let remote = Remote::read(&stage.client, &prefix).await.unwrap();
        let entries = many(count).into_iter().map(|path| (path, Entry::new("x"))).collect();
        let local = Local { entries, hash: Identity::of_bytes(b"test") };
        Push::plan(&stage.client, &prefix, remote, local, limits).await.err().unwrap()
    };
    let why = too_many(72_000, Limits { request_bytes_max: 100 << 20, ..Limits::default() }).await;
    assert!(why.contains("--max-txn-ops") && why.contains("72603 changes"), "{why}");
    let why = too_many(30_000, Limits::default()).await;
    assert!(why.contains("--max-request-bytes") && why.contains("30603 changes"), "{why}");
    // A server that takes less than it was said to.
    let (code, text) = stage.push(&["--max-txn-ops", "100000", "--dry-run"]).await;
    assert_eq!(code, 0, "{text}");
    for number in 0..600 {
        stage.dir.remove(&format!("many/{number}.yaml"));
    }
    let (code, text) = stage.push(&["--max-txn-ops", "100000"]).await;
    assert!(code == 1 && text.contains("--max-txn-ops"), "{text}");
    assert_eq!(stage.revision().await, before + 2);
}

#[tokio::test]
async fn documents_that_are_too_large_together_go_as_contents() {
    let stage = Stage::new().await;
    let padding = format!("# {}\n", "x".repeat(97)).repeat(6_000);
    for number in 0..3 {
        let text = format!("{padding}upstreams: {{u{number}: {{endpoints: ['127.0.0.1:1']}}}}\n");
        stage.dir.write(&format!("{number}.yaml"), &text);
    }
    let pushed = stage.pushed(&[]).await;
    assert_eq!(pushed["uploaded"], 1, "two of them fit into the transaction: {pushed:#}");
    let fetched = stage.dir.beside("fetched");
    let (code, text) = stage.run(&["pull", &fetched.display().to_string()]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(Stage::files(&fetched), Stage::files(&stage.dir.path()));
}

#[tokio::test]
async fn a_content_cut_short_is_not_pulled_and_is_mended_by_a_push() {
    let stage = Stage::new().await;
    stage.write_large_module(1);
    stage.pushed(&[]).await;
    let chunk = stage.keys("/gw/.blobs/").await.remove(1);
    let whole = stage.value(&chunk).await.unwrap();
    let fetched = stage.dir.beside("fetched");
    let pull = async || stage.run(&["pull", &fetched.display().to_string()]).await;
    for (spoilt, why) in [
        (None, "chunk 1 of 3 is missing"),
        (Some(whole[..1000].to_vec()), "bytes or more"),
        (Some(vec![b'y'; whole.len()]), "SHA-256"),
    ] {
        match &spoilt {
            None => drop(stage.client.delete(&Range::key(chunk.as_str())).await.unwrap()),
            Some(spoilt) => drop(stage.client.put(chunk.clone(), spoilt.clone()).await.unwrap()),
        }
        let (code, text) = pull().await;
        assert!(code == 1 && text.contains("plugins/stamp.wat cannot be read") && text.contains(why), "{why}: {text}");
        assert!(!fetched.exists());
        if spoilt.is_none() {
            assert_eq!(stage.pushed(&[]).await["uploaded"], 1, "a missing chunk is seen without reading the others");
            assert_eq!(stage.value(&chunk).await.unwrap(), whole);
        }
    }
    // Named anew, it is read before it is trusted.
    stage.client.delete(&Range::key("/gw/plugins/stamp.wat")).await.unwrap();
    assert_eq!(stage.pushed(&[]).await["uploaded"], 1);
    assert_eq!(pull().await.0, 0);
}

#[tokio::test]
async fn contents_that_nothing_names_are_collected_and_a_push_under_way_keeps_its_own() {
    let stage = Stage::new().await;
    stage.write_large_module(1);
    stage.pushed(&[]).await;
    let old = stage.keys("/gw/.blobs/").await;
    stage.write_large_module(2);
    stage.pushed(&[]).await;
    assert_eq!(stage.keys("/gw/.blobs/").await.len(), 6);
    let (code, text) = stage.run(&["gc", "--dry-run"]).await;
    assert!(code == 0 && text.contains("would be collected: 1 contents") && text.contains("1 kept"), "{text}");
    assert_eq!(stage.keys("/gw/.blobs/").await.len(), 6);

    // A push that goes back to the first module finds its content there; then it is collected.
    let prefix = Prefix::new("/gw/").unwrap();
    stage.write_large_module(1);
    let module = fs::read(stage.dir.path().join("plugins/stamp.wat")).unwrap();
    let back = stage.plan(&prefix, &[("plugins/stamp.wat", &module)]).await;
    let collected = collect(&stage.client, &prefix, Limits::default(), false).await.unwrap();
    assert_eq!((collected.removed, collected.chunks, collected.kept), (1, 3, 1));
    assert!(stage.keys("/gw/.blobs/").await.iter().all(|key| !old.contains(key)));
    back.carry_out().await.unwrap();
    assert_eq!(stage.keys("/gw/.blobs/").await.iter().filter(|key| old.contains(key)).count(), 3);

    // And with the push itself.
    let pushed = stage.pushed(&["--gc"]).await;
    assert_eq!((&pushed["collected"]["removed"], &pushed["collected"]["kept"]), (&1.into(), &1.into()), "{pushed:#}");
    assert_eq!(stage.keys("/gw/.blobs/").await, old);

    // What is uploaded and not named yet is that of a push under way, until another push is done.
    let upload = format!("/gw/.blobs/{}/0", Identity::of_bytes(b"upload"));
    stage.client.put(upload.clone(), "upload").await.unwrap();
    let (code, text) = stage.run(&["gc"]).await;
    assert!(code == 0 && text.contains("1 kept, 1 spared") && stage.value(&upload).await.is_some(), "{text}");
    stage.dir.edit("routes/all.yaml", "id: all", "id: every");
    assert_eq!(stage.pushed(&["--gc"]).await["collected"]["removed"], 1);
    assert_eq!(stage.keys("/gw/.blobs/").await, old);
}

#[tokio::test]
async fn keys_under_leases_belong_to_whoever_keeps_them() {
    let stage = Stage::new().await;
    let lease = stage.client.lease_grant(600).await.unwrap();
    let service = "upstreams: {service: {endpoints: ['127.0.0.1:3']}}\n";
    stage.client.put_with_lease("/gw/services/one.yaml", service, lease.id).await.unwrap();
    // What is there under a lease is part of what will be served, so documents may name it.
    stage.dir.write("more.yaml", "routes:\n  - {id: more, path: /more, upstream: service}\n");
    let pushed = stage.pushed(&[]).await;
    assert_eq!(pushed["leased"], json!(["services/one.yaml"]), "{pushed:#}");
    assert_eq!(stage.value("/gw/services/one.yaml").await.as_deref(), Some(service.as_bytes()));
    let fetched = stage.dir.beside("fetched");
    let (code, text) = stage.run(&["pull", &fetched.display().to_string()]).await;
    assert!(code == 0 && text.contains("services/one.yaml: left out"), "{text}");
    assert_eq!(Stage::files(&fetched), Stage::files(&stage.dir.path()));
    stage.dir.write("services/one.yaml", service);
    let (code, text) = stage.push(&[]).await;
    assert!(code == 1 && text.contains("services/one.yaml is a key under a lease"), "{text}");
}

#[tokio::test]
async fn layers_of_the_gateways_are_checked_along_and_not_pushed() {
    let stage = Stage::new().await;
    let base = stage.dir.beside("base");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("upstreams.yaml"), "upstreams: {base: {endpoints: ['127.0.0.1:4']}}\n").unwrap();
    stage.dir.write("more.yaml", "routes:\n  - {id: more, path: /more, upstream: base}\n");
    let (code, text) = stage.push(&[]).await;
    assert!(code == 1 && text.contains("base"), "{text}");
    let base = base.display().to_string();
    stage.pushed(&["--under", &base]).await;
    assert_eq!(stage.value("/gw/upstreams.yaml").await, None);
    stage.pushed(&["--over", &base]).await;
}

#[tokio::test]
async fn without_permission_or_without_etcd_it_is_said_what_to_do() {
    let mut stage = Stage::new().await;
    stage.etcd.enable_auth().await;
    stage.etcd.add_reader("reader", "secret", "/gw/").await;
    let as_reader = ["--etcd-user", "reader", "--etcd-password", "secret"];
    let (code, text) = stage.push(&as_reader).await;
    assert!(code == 1 && text.contains("permission denied") && text.contains("grant"), "{text}");
    let (code, text) = stage.push(&[]).await;
    assert!(code == 1 && text.contains("/gw/ cannot be read"), "{text}");
    assert_eq!(stage.etcd.client().read(&Range::prefix("/gw/")).await.unwrap().kvs.len(), 0);
    stage.etcd.member(0).kill();
    for arguments in [&["push", "."][..], &["pull", "nowhere"], &["gc"]] {
        let path = stage.dir.path().display().to_string();
        let arguments: Vec<_> = arguments.iter().map(|word| if *word == "." { path.as_str() } else { word }).collect();
        let (code, text) = stage.run(&arguments).await;
        assert!(code == 1 && text.contains(&stage.etcd.urls()[0]), "{text}");
    }
    assert_eq!(stage.client.range(&Range::key("x")).await.unwrap_err().kind, Kind::Network);
}

#[tokio::test]
async fn what_is_no_content_is_not_pushed() {
    let stage = Stage::new().await;
    let pointer = json!({"tidegate-blob": {"sha256": Identity::of_bytes(b"x").to_string(), "size": 1, "chunks": 1}});
    let prefix = Prefix::new("/gw/").unwrap();
    let remote = Remote::read(&stage.client, &prefix).await.unwrap();
    let entries = [("plugins/stamp.wasm".to_owned(), Entry::new(pointer.to_string()))].into();
    let local = Local { entries, hash: Identity::of_bytes(b"test") };
    let why = Push::plan(&stage.client, &prefix, remote, local, Limits::default()).await.err().unwrap();
    assert!(why.contains("tidegate pull"), "{why}");
    for arguments in [&["push"][..], &["push", "a", "--wait=soon"], &["pull"], &["gc", "what"], &["fleet"]] {
        assert_eq!(stage.run(arguments).await.0, 2, "{arguments:?}");
    }
}
