//! The command line as a person types it: what is understood, what is printed, which code it ends with.

use std::{
    cell::RefCell,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    thread,
};

use clap::CommandFactory;

use super::*;
use crate::{
    admin::Address,
    fleet::{Node, Verdict},
    publish::{Change, Changes, Pushed},
    source::file::WatchMode,
};

#[derive(Default)]
struct Fake {
    ran: RefCell<Vec<RunOptions>>,
    finds: Vec<Diagnostic>,
    pushed: RefCell<Vec<PushOptions>>,
    outcome: RefCell<Option<Outcome>>,
}

impl Backend for Fake {
    fn run(&self, options: RunOptions) -> Result<(), String> {
        self.ran.borrow_mut().push(options);
        Ok(())
    }

    fn check(&self, layers: Vec<LayerChoice>) -> Result<(Vec<Diagnostic>, String), String> {
        if names(&layers) == ["missing"] {
            return Err("missing: no such file".into());
        }
        Ok((self.finds.clone(), "the findings\n".into()))
    }

    fn schema(&self, layers: Vec<LayerChoice>) -> Result<Value, String> {
        Ok(json!({ "layers": layers.len() }))
    }

    fn push(&self, options: &PushOptions) -> Result<Outcome, String> {
        self.pushed.borrow_mut().push(options.clone());
        self.outcome.borrow_mut().take().ok_or_else(|| "no etcd".into())
    }

    fn pull(&self, _etcd: &EtcdOptions, directory: &Path, force: bool) -> Result<Pulled, String> {
        if !force {
            return Err(format!("{} is not empty", directory.display()));
        }
        Ok(Pulled { revision: 7, files: 2, bytes: 30, leased: vec!["a.yaml".into()], strangers: Vec::new() })
    }

    fn collect(&self, _etcd: &EtcdOptions, _txn_ops_max: usize, dry_run: bool) -> Result<Collected, String> {
        Ok(Collected { removed: usize::from(!dry_run), chunks: 3, kept: 2, spared: 0 })
    }

    fn fleet(&self, etcd: &EtcdOptions, status_prefix: &str) -> Result<Fleet, String> {
        let node = Node { node: format!("under {status_prefix}"), prefix: etcd.prefix.clone(), ..Node::default() };
        Ok(Fleet::of(if status_prefix == "/empty/" { Vec::new() } else { vec![node] }, &etcd.prefix))
    }

    fn inspect(&self, module: &[u8]) -> Result<(String, Value), String> {
        let text = String::from_utf8_lossy(module).into_owned();
        if text == "bad" { Err("it is no module".into()) } else { Ok((text, json!({"abi": "native"}))) }
    }
}

/// The layers in their order, etcd by its addresses and prefix.
fn names(layers: &[LayerChoice]) -> Vec<String> {
    let name = |layer: &LayerChoice| match layer {
        LayerChoice::Files(path) => path.display().to_string(),
        LayerChoice::Etcd(options) => format!("{} {}", options.client.endpoints.join("+"), options.prefix),
    };
    layers.iter().map(name).collect()
}

#[test]
fn the_order_of_the_flags_is_the_order_of_the_layers() {
    for (line, layers) in [
        ("run|--etcd|http://e:1", vec!["http://e:1 /gw/"]),
        ("run|--config|a|--etcd|e:1,f:1|--config|b", vec!["a", "e:1+f:1 /gw/", "b"]),
        ("--etcd|e:1|--etcd-prefix|/x|-c|a", vec!["e:1 /x/", "a"]),
        ("run|-c|a|-c|b|--etcd-prefix|/y/|--etcd|e:1", vec!["a", "b", "e:1 /y/"]),
    ] {
        let backend = Fake::default();
        assert_eq!(typed_to(&backend, line).0, OK, "{line}");
        assert_eq!(names(&backend.ran.borrow()[0].layers), layers, "{line}");
    }
    assert_eq!(typed("check|--etcd|e:1").0, OK);
    for line in
        ["check", "run|--etcd|e:1|--etcd-prefix|/", "run|--etcd|e:1|--etcd-cert|c", "run|--etcd|e:1|--etcd-password|p"]
    {
        assert_eq!(typed(line).0, USAGE, "{line}");
    }
    let (code, _, said) = typed("run|--etcd|e:1|--etcd-user|u");
    assert!(code == FAILED && said.contains("--etcd-password-file"), "{said}");
}

/// Exit code, standard output, standard error.
type Ended = (u8, String, String);

fn typed_to(backend: &Fake, line: &str) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err };
    // Words are parted by `|`, as header fields have spaces.
    let arguments = std::iter::once("tidegate").chain(line.split('|').filter(|word| !word.is_empty()));
    let code = main(arguments.map(OsString::from), backend, &mut console);
    (code, String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
}

fn typed(line: &str) -> Ended {
    typed_to(&Fake::default(), line)
}

#[test]
fn the_definition_holds_together() {
    Arguments::command().debug_assert();
}

#[test]
fn run_is_what_no_command_means() {
    for line in ["", "run"] {
        let fake = Fake::default();
        assert_eq!(typed_to(&fake, line), (OK, String::new(), String::new()), "{line}");
        let ran = fake.ran.borrow();
        assert!(ran[0].layers.is_empty() && ran[0].admin.is_none() && ran[0].workers.is_none());
        assert_eq!(ran[0].watch, Default::default(), "the defaults are the source's own");
    }
    let fake = Fake::default();
    let line = "run|--config|a|-c|b/|--admin|unix:/x|--workers|3|--watch|poll|--watch-poll|2s|--pid-file|p";
    assert_eq!(typed_to(&fake, line).0, OK);
    assert_eq!(typed_to(&fake, &line[4..]).0, OK, "without the command");
    for ran in fake.ran.borrow().iter() {
        assert_eq!(names(&ran.layers), ["a", "b/"]);
        assert_eq!(ran.admin, Some(Address::Unix("/x".into())));
        assert_eq!((ran.workers, ran.pid_file.clone()), (Some(3), Some("p".into())));
        assert_eq!((ran.watch.mode, ran.watch.poll.as_secs()), (WatchMode::Poll, 2));
    }
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    for line in [
        "serve",
        "run|--workers|0",
        "run|--workers|many",
        "run|--admin|nowhere",
        "run|--watch|sometimes",
        "run|--watch-poll|5",
        "check",
        "check|--config|a|--format|sarif2",
        "explain|GET",
        "config",
        "plugin|inspect",
        "push|--etcd|a",
        "push|dir",
        "push|dir|--etcd|a|--wait|5s",
        "push|dir|--etcd|a|--wait=soon",
        "push|dir|--etcd|a|--dry-run|--gc",
        "push|dir|--etcd|a|--max-txn-ops|1",
        "pull|--etcd|a",
        "gc",
        "fleet",
        "fleet|status",
        "run|--etcd|a|--etcd-status-prefix|/",
        "reload|--config|a",
        "--config|a|status",
    ] {
        let (code, out, err) = typed(line);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{line}");
        assert!(err.contains("error:") || err.contains("Usage:"), "{line}: {err}");
    }
    for line in [
        "--help",
        "--version",
        "run|--help",
        "check|--help",
        "reload|--help",
        "explain|--help",
        "push|--help",
        "pull|--help",
        "gc|--help",
        "fleet|status|--help",
    ] {
        let (code, out, err) = typed(line);
        assert_eq!((code, err.as_str()), (OK, ""), "{line}");
        assert!(line.contains("version") || out.contains("Exit codes:"), "{line}: {out}");
    }
}

#[test]
fn check_prints_what_it_found_and_ends_by_it() {
    assert_eq!(typed("check|--config|a"), (OK, "the findings\nvalid\n".into(), String::new()));
    let warned = Fake { finds: vec![Diagnostic::warning("w", "warned")], ..Fake::default() };
    assert_eq!(typed_to(&warned, "check|-c|a").0, OK);
    let refused = Fake { finds: vec![Diagnostic::error("unknown-field", "no field `x`")], ..Fake::default() };
    assert_eq!(typed_to(&refused, "check|-c|a"), (FAILED, "the findings\nrefused\n".into(), String::new()));
    let (code, out, _) = typed_to(&refused, "check|-c|a|--format|json");
    let printed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &printed["valid"]), (FAILED, &Value::Bool(false)));
    assert_eq!(printed["diagnostics"][0]["code"], "unknown-field");
    let (code, out, _) = typed_to(&refused, "check|-c|a|--format|sarif");
    let printed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &printed["version"]), (FAILED, &json!("2.1.0")));
    assert_eq!(printed["runs"][0]["results"][0]["ruleId"], "unknown-field");
    for (line, layers) in [("schema", 0), ("schema|--config|a|-c|b|--etcd|e:1", 3)] {
        let (code, out, _) = typed(line);
        assert_eq!((code, serde_json::from_str::<Value>(&out).expect("JSON")), (OK, json!({ "layers": layers })));
    }
    assert_eq!(typed("check|-c|missing"), (FAILED, String::new(), "tidegate: missing: no such file\n".into()));
}

#[test]
fn inspect_reads_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("plugin.wasm");
    fs::write(&file, "ABI native\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(typed(&format!("plugin|inspect|{file}")), (OK, "ABI native\n".into(), String::new()));
    assert!(typed(&format!("plugin|inspect|{file}|--format|json")).1.contains("native"));
    fs::write(file, "bad").expect("written");
    assert_eq!(typed(&format!("plugin|inspect|{file}")).2, format!("tidegate: {file}: it is no module\n"));
    assert_eq!(typed("plugin|inspect|/nowhere.wasm").0, FAILED);
}

/// A gateway that gives one answer, and the head that it was asked with.
fn answering(status: u16, body: &str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let body = body.to_owned();
    (address, thread::spawn(move || answer(listener.accept().expect("asked").0, status, &body)))
}

fn answer(mut stream: impl Read + Write, status: u16, body: &str) -> String {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        asked.extend(byte);
    }
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("answered");
    String::from_utf8(asked).expect("UTF-8")
}

#[test]
fn a_reload_prints_both_generations_and_ends_by_the_outcome() {
    let applied = r#"{"outcome": "applied", "generation_before": 6, "generation": 7, "phases_ms": {"read": 1.5}}"#;
    let refused = r#"{"outcome": "refused", "generation_before": 6, "generation": 6, "report": "error: no\n"}"#;
    let dry = r#"{"outcome": "applied", "dry_run": true, "generation_before": 6, "generation": 6}"#;
    for (status, body, flag, code, out) in [
        (200, applied, "", OK, "applied: generation 6 -> 7 (read 1.5 ms)\n"),
        (422, refused, "", FAILED, "error: no\nrefused: generation 6 serves on\n"),
        (200, dry, "|--dry-run", OK, "would be applied: generation 6 serves on (dry run)\n"),
    ] {
        let (address, gateway) = answering(status, body);
        assert_eq!(typed(&format!("reload|--admin|{address}{flag}")), (code, out.into(), String::new()));
        let asked = gateway.join().expect("no panic");
        let target = if flag.is_empty() { "/-/reload " } else { "/-/reload?dry_run=1 " };
        assert!(asked.starts_with(&format!("POST {target}")), "{asked}");
    }
    let (address, _gateway) = answering(403, r#"{"error": "use the Unix socket"}"#);
    let (code, _, err) = typed(&format!("reload|--admin|{address}"));
    assert_eq!((code, err.as_str()), (FAILED, "tidegate: the gateway answered 403: use the Unix socket\n"));
}

#[test]
fn what_was_answered_is_printed_for_people_and_for_programs() {
    let status = r#"{"generation": 7, "serving_since": "T", "hash": "abc", "workers": 2, "uptime_s": 9, "version": "0",
        "revision": [{"source": "./g", "revision": 3}], "sources": [],
        "last_attempt": {"outcome": "refused", "trigger": "watch", "at": "T",
            "diagnostics": [{"severity": "error", "message": "m", "at": {"file": "f", "line": 1, "column": 2}}]},
        "live_generations": [{"generation": 7, "exchanges": 1, "tunnels": 0, "age_s": 9}]}"#;
    let (address, _gateway) = answering(200, status);
    let (code, out, _) = typed(&format!("status|--admin|{address}"));
    assert_eq!(code, OK);
    for line in ["generation  7, serving since T", "error: m at f:1:2", "generation 7: 1 exchanges"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (address, gateway) = answering(200, r#"{"route": null, "listener": "web"}"#);
    let line = format!("explain|--admin|{address}|GET|http://a/b?c|-H|x: y z|--listener|web");
    let (code, out, _) = typed(&line);
    assert!(code == OK && out.contains("none matches"), "{out}");
    let asked = gateway.join().expect("no panic");
    let target = "/-/explain?method=GET&url=http%3A%2F%2Fa%2Fb%3Fc&header=x%3A%20y%20z&listener=web ";
    assert!(asked.starts_with(&format!("GET {target}")), "{asked}");
    let (address, _gateway) = answering(200, "listeners: {}\n");
    assert_eq!(typed(&format!("config|render|--admin|{address}")).1, "listeners: {}\n");
}

#[test]
fn a_token_is_shown_and_a_socket_is_reached() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, token) = (folder.path().join("admin.sock"), folder.path().join("token"));
    fs::write(&token, "s3cret\n").expect("written");
    let listener = UnixListener::bind(&socket).expect("bound");
    let gateway = thread::spawn(move || answer(listener.accept().expect("asked").0, 200, r#"{"generation": 7}"#));
    let (socket, token) = (socket.display(), token.display());
    let (code, out, _) = typed(&format!("status|--admin|unix:{socket}|--admin-token-file|{token}|--format|json"));
    assert_eq!((code, out.as_str()), (OK, "{\n  \"generation\": 7\n}\n"));
    let asked = gateway.join().expect("no panic");
    assert!(asked.contains("Authorization: Bearer s3cret\r\n"), "{asked}");
    let (code, _, err) = typed("status|--admin|unix:/nowhere/admin.sock");
    assert!(code == FAILED && err.contains("no gateway answers at unix:/nowhere/admin.sock"), "{err}");
}

#[test]
fn a_push_is_understood_and_its_outcome_printed() {
    let done = Pushed {
        revision: 9,
        hash: "abcdef0123456789".into(),
        changes: Changes {
            added: vec![Change { path: "a.yaml".into(), bytes_before: None, bytes: Some(3), diff: None }],
            ..Changes::default()
        },
        unchanged: 2,
        uploaded: 1,
    };
    let outcome = |verdict: Option<Verdict>| Outcome::Pushed {
        pushed: done.clone(),
        leased: vec!["s.yaml".into()],
        collected: None,
        verdict,
        warnings: String::new(),
    };
    let line = "push|dir|--etcd|a:1,b:2|--etcd-user|me|--etcd-password|secret|--under|base|--wait|--gc|--etcd-status-prefix|/s/";
    let serving = Verdict { serving: vec!["n0".into()], missing: Vec::new() };
    let fake = Fake { outcome: RefCell::new(Some(outcome(Some(serving)))), ..Fake::default() };
    let (code, out, err) = typed_to(&fake, line);
    assert_eq!((code, err.as_str()), (OK, ""), "{out}");
    for part in [
        "s.yaml: left alone",
        "pushed: revision 9, 1 added, 0 changed, 0 removed, 2 unchanged, hash abcdef012345,",
        "1 contents uploaded",
        "served by 1 of 1\n",
    ] {
        assert!(out.contains(part), "`{part}` in {out}");
    }
    let asked = fake.pushed.borrow()[0].clone();
    assert_eq!((asked.directory, asked.under), ("dir".into(), vec!["base".into()]));
    assert_eq!(
        (asked.wait.map(|wait| wait.as_secs()), asked.collect, asked.status_prefix.as_str()),
        (Some(60), true, "/s/")
    );
    assert_eq!((asked.etcd.client.endpoints, asked.etcd.prefix.as_str()), (vec!["a:1".into(), "b:2".into()], "/gw/"));
    assert_eq!(asked.etcd.client.user.map(|user| user.name), Some("me".into()));

    let missing = Verdict { serving: vec!["n0".into()], missing: vec![("n1".into(), vec!["no field `x`".into()])] };
    let fake = Fake { outcome: RefCell::new(Some(outcome(Some(missing.clone())))), ..Fake::default() };
    let (code, out, _) = typed_to(&fake, "push|dir|--etcd|a|--wait=2s");
    assert!(code == FAILED && out.contains("served by 1 of 2, not by:\n  n1: no field `x`\n"), "{out}");
    let fake = Fake { outcome: RefCell::new(Some(outcome(Some(missing)))), ..Fake::default() };
    let (_, out, _) = typed_to(&fake, "push|dir|--etcd|a|--wait|--format|json");
    let printed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&printed["outcome"], &printed["added"][0]["path"]), (&"pushed".into(), &"a.yaml".into()));
    assert_eq!(printed["fleet"]["missing"][0]["node"], "n1");

    let refused = Outcome::Refused { diagnostics: Vec::new(), text: "error: no\n".into() };
    let fake = Fake { outcome: RefCell::new(Some(refused)), ..Fake::default() };
    let expected = (FAILED, "error: no\nrefused: nothing was pushed\n".into(), String::new());
    assert_eq!(typed_to(&fake, "push|dir|--etcd|a"), expected);
    assert_eq!(typed("push|dir|--etcd|a").2, "tidegate: no etcd\n");
    let why = "tidegate: --etcd-user me needs a password: --etcd-password-file FILE, or TIDEGATE_ETCD_PASSWORD\n";
    assert_eq!(typed("push|dir|--etcd|a|--etcd-user|me").2, why);
}

#[test]
fn pull_gc_and_fleet_print_what_came_of_them() {
    let (code, out, _) = typed("pull|dir|--etcd|a|--force");
    assert_eq!((code, out.lines().count()), (OK, 2), "{out}");
    assert!(out.contains("pulled revision 7: 2 files, 30 bytes\na.yaml: left out"), "{out}");
    assert_eq!(typed("pull|dir|--etcd|a").2, "tidegate: dir is not empty\n");
    assert!(typed("gc|--etcd|a").1.starts_with("collected: 1 contents that nothing names, in 3 chunks; 2 kept"));
    assert!(typed("gc|--etcd|a|--dry-run").1.starts_with("would be collected: 0"));
    assert!(typed("fleet|status|--etcd|a").1.contains("under /gw.status/"));
    assert!(
        typed("fleet|status|--etcd|a|--etcd-status-prefix|/empty/").1.contains("no gateway says that it follows /gw/")
    );
    let (_, out, _) = typed("fleet|status|--etcd|a|--format|json");
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON")["nodes"][0]["node"], "under /gw.status/");
}
