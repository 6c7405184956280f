//! The last good tree through the real binary and a real etcd: a start without etcd serves what was applied last and says
//! so, and what was tampered with is never served.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tidegate::etcd::Client as EtcdClient;
use tidegate_tests::{ConfigDir, Etcd, Follower, Origin, free_address, guests, soon, tidegate};

const GATEWAY: &str = "
listeners: {web: {address: '127.0.0.1:0', generation-header: true}}
upstreams: {origin: {endpoints: ['{origin}']}}
middleware: {stamp: {module: stamp.wat, config: {edit: 1}}}
routes:
  - {id: all, path: /*, middleware: [stamp], upstream: origin}
";

struct Scene {
    etcd: Etcd,
    client: EtcdClient,
    origin: Origin,
    dir: ConfigDir,
    state: PathBuf,
}

impl Scene {
    async fn new() -> Self {
        let (etcd, origin, dir) = (Etcd::start().await, Origin::start(), ConfigDir::new());
        let (client, state) = (etcd.client(), dir.beside("state"));
        let scene = Self { etcd, client, origin, dir, state };
        scene.put(1).await;
        scene.client.put("/gw/stamp.wat", guests::stamp(1)).await.unwrap();
        scene
    }

    async fn put(&self, edit: u32) {
        let text = GATEWAY
            .replace("{origin}", &self.origin.address().to_string())
            .replace("edit: 1", &format!("edit: {edit}"));
        self.client.put("/gw/gateway.yaml", text).await.unwrap();
    }

    fn start(&self) -> Follower {
        let state = self.state.display().to_string();
        Follower::start(&self.etcd.urls(), &["--state-dir", &state])
    }

    /// A gateway that has applied edit 2, and is gone.
    async fn served(&self) {
        let gateway = self.start();
        gateway.serves().await;
        self.put(2).await;
        gateway.serves_generation(2).await;
        gateway.stop().await;
    }

    /// A start that must not succeed; what it said.
    async fn refused(&self) -> String {
        let (code, said) = self.start().ended().await;
        assert_eq!(code, Some(1), "{said}");
        said
    }

    fn objects(&self) -> Vec<PathBuf> {
        let objects = fs::read_dir(self.state.join("last-good/objects")).unwrap();
        objects.map(|entry| entry.unwrap().path()).collect()
    }
}

async fn edit(gateway: &Follower) -> String {
    gateway.get("/").await.echoed("x-config").concat()
}

#[tokio::test]
async fn a_start_without_etcd_serves_the_last_good_tree_and_says_so_until_etcd_answers() {
    let mut scene = Scene::new().await;
    scene.served().await;
    scene.etcd.member(0).kill();
    let gateway = scene.start();
    gateway.serves().await;
    assert!(edit(&gateway).await.contains('2'));
    let ready = gateway.ask("/-/ready").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (200, &true.into()));
    let degraded = ready.json()["degraded"].as_array().unwrap().clone();
    let why = degraded[0].as_str().unwrap();
    assert!(why.starts_with("etcd /gw/ cannot be read; its last good state of "), "{why}");
    let status = gateway.status().await;
    assert_eq!(status["degraded"][0], why, "{status:#}");
    let said = tokio::task::spawn_blocking({
        let admin = gateway.admin();
        move || String::from_utf8_lossy(&tidegate(&["status", "--admin", &admin]).stdout).into_owned()
    });
    assert!(said.await.unwrap().contains(&format!("degraded    {why}")));
    assert_eq!(gateway.ask("/-/ready?strict=1").await.status, 503);
    assert_eq!(gateway.metric("tidegate_last_good_serves").await, 1.0);
    let hash = gateway.status().await["hash"].clone();

    scene.etcd.member(0).restart();
    scene.etcd.answers().await;
    soon("etcd's own tree took over", async || gateway.metric("tidegate_last_good_serves").await == 0.0).await;
    assert!(gateway.ask("/-/ready").await.json().get("degraded").is_none());
    let status = gateway.status().await;
    assert_eq!(
        (&status["generation"], &status["hash"]),
        (&1.into(), &hash),
        "it is the same tree: nothing was swapped"
    );
    scene.put(3).await;
    gateway.serves_generation(2).await;
    assert!(edit(&gateway).await.contains('3'));
}

#[tokio::test]
async fn what_changed_while_it_was_away_is_swapped_in_when_etcd_answers() {
    let mut scene = Scene::new().await;
    scene.served().await;
    scene.put(3).await;
    scene.etcd.member(0).kill();
    let gateway = scene.start();
    gateway.serves().await;
    assert!(edit(&gateway).await.contains('2'));
    scene.etcd.member(0).restart();
    gateway.serves_generation(2).await;
    assert!(edit(&gateway).await.contains('3'));
}

#[tokio::test]
async fn an_etcd_that_takes_connections_and_says_nothing_is_not_waited_for() {
    let scene = Scene::new().await;
    scene.served().await;
    scene.etcd.members()[0].stop();
    let gateway = scene.start();
    gateway.serves().await;
    assert_eq!(gateway.metric("tidegate_last_good_serves").await, 1.0);
    scene.etcd.members()[0].go_on();
    soon("etcd's own tree took over", async || gateway.metric("tidegate_last_good_serves").await == 0.0).await;
    assert_eq!(gateway.get("/").await.generation(), 1);
}

#[tokio::test]
async fn a_mistake_in_etcd_does_not_keep_a_gateway_from_starting_that_has_served_before() {
    let scene = Scene::new().await;
    scene.served().await;
    scene.client.put("/gw/bad.yaml", "routes: [{id: bad, path: /bad, upstream: nobody}]").await.unwrap();
    let gateway = scene.start();
    gateway.serves().await;
    assert!(edit(&gateway).await.contains('2'));
    let status = gateway.status().await;
    assert_eq!(status["last_attempt"]["outcome"], "refused");
    assert!(status["last_attempt"]["diagnostics"].to_string().contains("nobody"), "{status:#}");
    assert!(status["degraded"][0].as_str().unwrap().contains("refused"), "{status:#}");
    // A plugin's objection is known only once the engine has run it.
    scene.client.delete(&tidegate::etcd::Range::key("/gw/bad.yaml")).await.unwrap();
    soon("the mended tree took over", async || gateway.metric("tidegate_last_good_serves").await == 0.0).await;
    gateway.stop().await;
    scene.client.put("/gw/stamp.wat", guests::PICKY).await.unwrap();
    let gateway = scene.start();
    gateway.serves().await;
    assert!(gateway.status().await["last_attempt"]["diagnostics"].to_string().contains("a limit of less than nothing"));
}

#[tokio::test]
async fn without_a_last_good_tree_it_is_said_that_there_is_none() {
    let mut scene = Scene::new().await;
    scene.etcd.member(0).kill();
    let said = scene.refused().await;
    assert!(said.contains("no last good tree of these sources") && said.contains("/gw/"), "{said}");
}

#[tokio::test]
async fn what_was_tampered_with_is_refused_and_never_served() {
    let mut scene = Scene::new().await;
    scene.served().await;
    scene.etcd.member(0).kill();
    let document = scene.objects().into_iter().find(|path| fs::read_to_string(path).unwrap().contains("listeners"));
    let document = document.unwrap();
    let whole = fs::read_to_string(&document).unwrap();
    fs::write(&document, whole.replace("edit: 2", "edit: 9")).unwrap();
    let said = scene.refused().await;
    assert!(said.contains("is damaged and is not served") && said.contains("gateway.yaml"), "{said}");
    fs::write(&document, &whole[..whole.len() / 2]).unwrap();
    assert!(scene.refused().await.contains("is damaged and is not served"));
    fs::write(&document, &whole).unwrap();

    // A directory that others may write to is no place for what is served.
    let directory = scene.state.join("last-good");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let said = scene.refused().await;
    assert!(said.contains("must be a directory of this user alone"), "{said}");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&scene.state, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(scene.refused().await.contains("chmod go-w"));
    fs::set_permissions(&scene.state, fs::Permissions::from_mode(0o700)).unwrap();

    // What was kept of one etcd is not served for another of the same prefix.
    let state = scene.state.display().to_string();
    let elsewhere = [format!("http://{}", free_address())];
    let (_, said) = Follower::start(&elsewhere, &["--state-dir", &state]).ended().await;
    assert!(said.contains("no last good tree of these sources"), "{said}");

    // As it was, it serves.
    let gateway = scene.start();
    gateway.serves().await;
    assert!(edit(&gateway).await.contains('2'));
}

#[tokio::test]
async fn a_damaged_compiled_module_is_compiled_anew() {
    let mut scene = Scene::new().await;
    scene.served().await;
    scene.etcd.member(0).kill();
    let modules = scene.state.join("modules");
    for module in fs::read_dir(&modules).unwrap() {
        let path = module.unwrap().path();
        let mut code = fs::read(&path).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 0xff;
        fs::write(&path, code).unwrap();
    }
    let gateway = scene.start();
    gateway.serves().await;
    assert!(edit(&gateway).await.contains('2'));
    assert!(gateway.process().said().join("\n").contains("damaged"));
    let _dir = &scene.dir;
}
