//! The binary: its commands, exit codes and signals, as an operator's shell sees them.

use std::{net::SocketAddr, process::Output, time::Duration};

use rustix::process::Signal;
use tidegate_tests::{Client, ConfigDir, Origin, Process, eventually, free_address, guests, plugin, soon, tidegate};
use tokio::net::TcpStream;

const CONFIGURATION: &str = "
gateway: {access-log: {to: '{log}'}}
listeners: {web: {address: '{web}', generation-header: true}}
upstreams: {origin: {endpoints: ['{origin}']}}
middleware:
  stamp: {module: stamp.wat, config: {edit: 1}}
routes:
  - {id: all, path: /*, middleware: [stamp], upstream: origin}
";

struct Scene {
    origin: Origin,
    dir: ConfigDir,
    web: SocketAddr,
    admin: String,
    process: Process,
}

async fn scene(more: &[&str]) -> Scene {
    let (origin, web, admin) = (Origin::start(), free_address(), free_address().to_string());
    let mut dir = ConfigDir::new().with("origin", origin.address()).with("web", web);
    let log = dir.beside("access.log");
    dir.name("log", log.display());
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("gateway.yaml", CONFIGURATION);
    let path = dir.path().display().to_string();
    let arguments = ["run", "--config", &path, "--admin", &admin, "--workers", "2"];
    let process = Process::start(&[&arguments, more].concat());
    soon("the gateway listens", async || TcpStream::connect(web).await.is_ok()).await;
    soon("its admin endpoint answers", async || TcpStream::connect(&admin).await.is_ok()).await;
    Scene { origin, dir, web, admin, process }
}

impl Scene {
    /// Runs a command that talks to the gateway.
    async fn remote(&self, arguments: &[&str]) -> (i32, String) {
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--admin".to_owned(), self.admin.clone()]);
        said(
            tokio::task::spawn_blocking(move || tidegate(&all.iter().map(String::as_str).collect::<Vec<_>>()))
                .await
                .unwrap(),
        )
    }

    async fn generation(&self) -> u64 {
        Client::http1(self.web).await.get("/").await.generation()
    }
}

fn said(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn check_answers_0_for_valid_1_for_refused_and_2_for_wrong_usage() {
    let dir = ConfigDir::new().with("web", free_address()).with("origin", "127.0.0.1:1").with("log", "off");
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("gateway.yaml", CONFIGURATION);
    let path = dir.path().display().to_string();
    let check = |more: &[&str]| said(tidegate(&[&["check", "--config", &path], more].concat()));
    assert_eq!(check(&[]).0, 0, "{}", check(&[]).1);
    dir.edit("gateway.yaml", "upstream: origin}", "upstream: orgin}");
    let (code, text) = check(&[]);
    assert_eq!(code, 1, "{text}");
    for part in ["gateway.yaml:", "orgin", "^", "origin"] {
        assert!(text.contains(part), "`{part}` in {text}");
    }
    let (code, text) = check(&["--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &found["valid"]), (1, &false.into()));
    dir.edit("gateway.yaml", "upstream: orgin}", "upstream: origin}");
    dir.write("stamp.wat", guests::PICKY);
    let (code, text) = check(&[]);
    assert!(code == 1 && text.contains("a limit of less than nothing"), "plugins are asked, too: {text}");
    assert_eq!(check(&["--no-such-flag"]).0, 2);
}

#[tokio::test]
async fn reload_waits_for_the_outcome_and_says_it() {
    let scene = scene(&["--watch", "off"]).await;
    scene.dir.edit("gateway.yaml", "edit: 1", "edit: 2");
    let (code, text) = scene.remote(&["reload"]).await;
    assert!(code == 0 && text.contains('1') && text.contains('2'), "{text}");
    assert_eq!(scene.generation().await, 2);
    scene.dir.edit("gateway.yaml", "upstream: origin}", "upstream: orgin}");
    let (code, text) = scene.remote(&["reload"]).await;
    assert!(code == 1 && text.contains("orgin") && text.contains("gateway.yaml:"), "{text}");
    assert_eq!(scene.generation().await, 2);
}

#[tokio::test]
async fn status_render_and_explain_talk_to_the_running_process() {
    let scene = scene(&[]).await;
    let (code, text) = scene.remote(&["status"]).await;
    assert!(code == 0 && text.contains("generation"), "{text}");
    let (code, text) = scene.remote(&["config", "render", "--explain"]).await;
    assert!(code == 0 && text.contains("stamp.wat") && text.contains("gateway.yaml:"), "{text}");
    let (code, text) = scene.remote(&["explain", "GET", &format!("http://{}/a/path", scene.web)]).await;
    assert!(code == 0 && text.contains("all") && text.contains("stamp") && text.contains("origin"), "{text}");
    drop(scene.process);
    let (code, text) = said(tidegate(&["status", "--admin", &scene.admin]));
    assert!(code == 1 && text.contains(&scene.admin), "{text}");
}

#[test]
fn the_schema_of_a_configuration_holds_the_settings_of_its_plugins_and_tables() {
    let dir = ConfigDir::new();
    dir.write_bytes("plugins/canary.wasm", &plugin("canary-table"));
    dir.write_bytes("keys.wasm", &plugin("key-auth"));
    dir.write("plain.wat", &guests::stamp(1));
    dir.write(
        "gateway.yaml",
        "middleware: {a: {module: keys.wasm}, b: {module: plain.wat}}\ntables: {c: {module: plugins/canary.wasm}}\n",
    );
    let (code, text) = said(tidegate(&["schema", "--config", &dir.path().display().to_string()]));
    let schema: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{code}: {error}: {text}"));
    let of = |module: &str| &schema["$defs"][format!("settings of {module}")]["properties"];
    assert_eq!(of("plugins/canary.wasm")["percent"]["maximum"], 100.0);
    assert!(of("keys.wasm")["consumer-header"].is_object() && of("plain.wat").is_null());
    for definition in ["Middleware", "Table"] {
        assert_eq!(schema["$defs"][definition]["allOf"].as_array().map(Vec::len), Some(2));
    }
    let table = dir.path().join("plugins/canary.wasm").display().to_string();
    let (code, text) = said(tidegate(&["plugin", "inspect", &table]));
    assert!(code == 0 && text.contains("abi: table") && text.contains("The share, 0 to 100."), "{text}");
}

#[test]
fn plugin_inspect_tells_the_abi_and_every_import() {
    let dir = ConfigDir::new();
    dir.write("stamp.wat", &guests::stamp(1));
    dir.write("none.wat", "(module)");
    let inspect = |name: &str| said(tidegate(&["plugin", "inspect", &dir.path().join(name).display().to_string()]));
    let (code, text) = inspect("stamp.wat");
    assert!(code == 0 && text.contains("tidegate:plugin"), "{text}");
    assert_eq!(inspect("none.wat").0, 1);
}

#[tokio::test]
async fn hup_and_usr1_reload() {
    let scene = scene(&["--watch", "off"]).await;
    for (generation, signal) in [(2, Signal::HUP), (3, Signal::USR1)] {
        scene.dir.edit("gateway.yaml", &format!("edit: {}", generation - 1), &format!("edit: {generation}"));
        scene.process.signal(signal);
        soon("the edit serves", async || scene.generation().await == generation).await;
    }
}

#[tokio::test]
async fn usr1_opens_the_access_log_anew() {
    let scene = scene(&[]).await;
    let log = scene.dir.beside("access.log");
    let lines = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    scene.generation().await;
    soon("a line is written", async || lines(&log) == 1).await;
    let moved = scene.dir.beside("access.log.1");
    std::fs::rename(&log, &moved).unwrap();
    scene.process.signal(Signal::USR1);
    soon("the log is there again", async || log.exists()).await;
    scene.generation().await;
    soon("the next line is in the new file", async || lines(&log) == 1).await;
    assert_eq!(lines(&moved), 1);
}

#[tokio::test]
async fn term_drains_and_exits_and_a_second_one_exits_at_once() {
    for twice in [false, true] {
        let mut scene = scene(&[]).await;
        let mut hold = scene.origin.hold("/slow");
        let mut client = Client::http1(scene.web).await;
        let answer =
            tokio::spawn(async move { client.try_send(tidegate_tests::request(http::Method::GET, "/slow")).await });
        let mut held = hold.next().await;
        scene.process.signal(Signal::TERM);
        soon("nobody can connect any more", async || TcpStream::connect(scene.web).await.is_err()).await;
        assert!(scene.process.ended().is_none(), "an exchange is under way");
        if twice {
            scene.process.signal(Signal::TERM);
        } else {
            held.answer(200, "to the end").await;
            assert_eq!(answer.await.unwrap().unwrap().text(), "to the end");
        }
        let ended = eventually("the process ends", Duration::from_secs(20), async || scene.process.ended()).await;
        assert!(ended.success(), "{ended}: {:#?}", scene.process.said());
    }
}

#[tokio::test]
async fn a_configuration_that_is_refused_at_the_start_ends_the_process_with_1() {
    let dir = ConfigDir::new();
    dir.write("gateway.yaml", "listeners: {web: {adress: '127.0.0.1:0'}}\n");
    let path = dir.path().display().to_string();
    let admin = free_address().to_string();
    let ran =
        tokio::task::spawn_blocking(move || tidegate(&["run", "--config", &path, "--admin", &admin])).await.unwrap();
    let (code, text) = said(ran);
    assert!(code == 1 && text.contains("adress") && text.contains("address"), "{text}");
}
