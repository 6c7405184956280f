//! A gateway under callgrind, which counts every instruction that its threads run: from when all of them rest until they rest again.
//! Knows no scene.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::subject::Subject;

/// A gateway whose instructions are counted once [`Counted::begin`] was called; until then it runs ten times as fast.
pub(crate) struct Counted {
    pub(crate) subject: Subject,
    folder: TempDir,
}

const COUNTS: &str = "counts";
/// Under valgrind, and in the profile of the tests, with 1,000 documents.
const START_MAX: Duration = Duration::from_secs(180);
/// Something else goes on then, and is counted.
const REST_MAX: Duration = Duration::from_millis(300);
/// It counts the time of guests, and goes on for a while after them.
const TICKER: &str = "wasm-ticks";

/// Which threads are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads {
    /// The worker: what a request costs.
    Worker,
    /// All that do something because of something: what a change costs.
    AllButTicker,
}

impl Threads {
    // A thread is known by what it ran.
    fn are_of(self, dump: &str) -> bool {
        match self {
            Self::Worker => dump.contains("tidegate::server::"),
            Self::AllButTicker => !dump.contains("increment_epoch"),
        }
    }
}

impl Counted {
    /// Starts the gateway with one worker over these files, as [`Subject::gateway`] does.
    pub(crate) fn start(gateway: &Path, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = callgrind(&folder.path().join(COUNTS));
        command.args(["--instr-atstart=no", "--separate-threads=yes"]).env("TIDEGATE_STATE_DIR", "off");
        Self { subject: Subject::gateway_under(command, START_MAX, gateway, files), folder }
    }

    /// Counts from now on.
    ///
    /// # Errors
    /// When valgrind cannot be spoken to here.
    pub(crate) fn begin(&self) -> Result<(), String> {
        self.say("instrumentation on")
    }

    /// Sets the count to nothing.
    pub(crate) async fn zero(&self) -> Result<(), String> {
        self.rest().await;
        self.say("zero")
    }

    /// Instructions of these threads since the count was nothing.
    pub(crate) async fn count(&self, threads: Threads) -> Result<u64, String> {
        self.rest().await;
        self.say("dump")?;
        // Each thread has a file of its own in each dump, beside one that is made at the start and stays empty.
        let (mut sum, mut found) = (0, false);
        for file in fs::read_dir(self.folder.path()).map_err(|error| error.to_string())?.flatten() {
            if file.path().extension().is_some() {
                let text = fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
                if threads.are_of(&text) {
                    (sum, found) = (sum + total(&text)?, true);
                }
                fs::remove_file(file.path()).map_err(|error| error.to_string())?;
            }
        }
        if found { Ok(sum) } else { Err("none of the threads that were to be counted ran".to_owned()) }
    }

    /// Waits until no thread goes on by itself: whatever comes next finds all of them waiting, on a busy machine as well, so that
    /// it takes the same way every time.
    pub(crate) async fn rest(&self) {
        let (end, mut before) = (Instant::now() + REST_MAX, None);
        while Instant::now() < end {
            let now = self.subject.asleep(TICKER);
            if now.is_some() && now == before {
                return;
            }
            before = now;
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn say(&self, what: &str) -> Result<(), String> {
        let output = Command::new("vgdb").arg(format!("--pid={}", self.subject.id())).args(what.split(' ')).output();
        let output = output.map_err(|error| format!("vgdb does not run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("vgdb {what}: {}", said.trim())) }
    }
}

/// Instructions of a command from its start to its end.
pub(crate) fn whole(command: &[&str]) -> Result<u64, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let counts = folder.path().join(COUNTS);
    let output =
        callgrind(&counts).args(command).output().map_err(|error| format!("valgrind does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = fs::read_to_string(&counts).map_err(|error| error.to_string())?;
    total(&text)
}

fn callgrind(counts: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--dump-line=no", "--sigill-diagnostics=no"]);
    command.arg(format!("--callgrind-out-file={}", counts.display()));
    command
}

/// The sum at the end of what callgrind writes.
fn total(counts: &str) -> Result<u64, String> {
    let line = counts.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|sum| sum.trim().parse().ok()).ok_or_else(|| "callgrind has written no totals".to_owned())
}
