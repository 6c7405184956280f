//! `docs/plugins.md` to the letter: its commands and files, run in a fresh folder outside the project, end with a request
//! that is answered by the new plugin. Prints the time from saving a rebuilt module to its effect.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tidegate_tests::{Client, eventually, free_address, process::binary};

#[tokio::test]
async fn an_author_gets_from_nothing_to_a_plugin_that_serves() {
    let text = fs::read_to_string(top().join("docs/plugins.md")).unwrap();
    let web = free_address();
    let text = text.replace("127.0.0.1:8080", &web.to_string());
    let (start, change) = sessions(&text);
    let folder = tempfile::tempdir().unwrap();

    // Its last command is the first request; the gateway that it started serves on.
    let first = Session::run(&start, folder.path()).await;
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert!(said.contains("settings: {") && said.contains("What the header says."), "the inspection: {said}");
    assert!(said.contains("x-hello: good morning") && said.contains("\r\n\r\nhello\n"), "the request: {said}");

    // Its last command saves the module.
    let second = Session::run(&change, &folder.path().join("hello")).await;
    let saved = Instant::now();
    let mut client = Client::http1(web).await;
    eventually("the rebuilt plugin answers", Duration::from_secs(20), async || {
        (client.get("/").await.header("x-hello") == "GOOD MORNING").then_some(())
    })
    .await;
    println!("docs/plugins.md: {} ms from saving the module to its effect", saved.elapsed().as_millis());
    drop((first, second));
}

/// A shell that ran to its end, and what it left running.
struct Session(Child);

impl Session {
    async fn run(script: &str, folder: &Path) -> Self {
        let path = format!("{}:{}", binary().parent().unwrap().display(), env::var("PATH").unwrap());
        let said = fs::File::create(folder.join("said")).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(folder).process_group(0);
        shell.env("PATH", path).env("TIDEGATE", top()).env("TIDEGATE_ADMIN", free_address().to_string());
        // What cargo set for the tests themselves is not an author's.
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name.starts_with("RUST")) {
            if !["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&name.as_str()) {
                shell.env_remove(name);
            }
        }
        shell.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut session = Self(shell.spawn().unwrap());
        let deadline = Duration::from_secs(900);
        let status = eventually("the commands end", deadline, async || session.0.try_wait().unwrap()).await;
        assert!(status.success(), "{status}:\n{}", fs::read_to_string(folder.join("said")).unwrap());
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The gateway that it left, if it did.
        let _ended_already = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
    }
}

// The commands up to the first request, and those that change the plugin after it.
fn sessions(text: &str) -> (String, String) {
    let (_, inside) = text.split_once("<!-- begin: what the test does -->").unwrap();
    let (inside, _) = inside.split_once("<!-- end: what the test does -->").unwrap();
    let blocks: Vec<_> = inside.split("```").skip(1).step_by(2).map(command).collect();
    let request = blocks.iter().position(|block| block.contains("curl ")).unwrap() + 1;
    assert!(request < blocks.len(), "a change follows the first request");
    // An author's shell is still the same one.
    let start = blocks[..request].concat();
    let kept: String = start.lines().filter(|line| line.starts_with("eval ")).map(|line| format!("{line}\n")).collect();
    (start, kept + &blocks[request..].concat())
}

// A block of commands as it is, or the command that writes a file.
fn command(block: &str) -> String {
    let (language, text) = block.split_once('\n').unwrap();
    match language {
        "sh" => text.to_owned(),
        "rust" => {
            let (first, text) = text.split_once('\n').unwrap();
            let path = first.strip_prefix("// ").unwrap();
            format!("cat >{path} <<'END OF FILE'\n{text}END OF FILE\n")
        }
        other => panic!("a block of {other}: nobody knows what to do with it"),
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
