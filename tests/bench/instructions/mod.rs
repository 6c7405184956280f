//! `tidegate-bench GATEWAY instructions [write]`: what operations cost in instructions, held to the figures that are committed. A
//! guard against regressions that no machine's speed, and nothing that runs beside it, can move. Run by
//! `scripts/instructions.sh`.

mod callgrind;
mod driver;
mod ledger;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use self::{
    callgrind::whole,
    driver::{Act, Driver},
    ledger::Ledger,
};
use crate::{load, scale};

/// What is counted in one gateway: operations of the short run, of two.
const SCENES: [(&str, Act, usize); 4] = [
    ("a request over HTTP/1.1", Act::Http1("/plain/x"), 24),
    ("a request over HTTP/2", Act::Http2("/plain/x"), 24),
    ("a request through three plugins", Act::Http1("/chain/x"), 24),
    ("an edit of one route among 1,000", Act::Edit, 3),
];
const FINDING: &str = "finding one route among 10,000";
/// Of the short run: so many that the making of the table, which differs with the seeds of its hashes, does not tell.
const FOUND: usize = 20_000;
/// How many times as long the long run is; start and end of both are the same, so what they differ by is the operations'.
const LONGER: usize = 3;
/// Runs of each length.
const PAIRS: usize = 5;
/// The exit code where instructions cannot be counted.
const NO_MEANS: u8 = 3;

/// Counts, and holds what it counted to the committed figures; with `write`, commits to it.
pub(crate) fn run(gateway: &Path, write: bool) -> ExitCode {
    let counted = match load::alone(count(gateway)) {
        Ok(counted) => counted,
        Err(why) => {
            eprintln!("instructions: they cannot be counted here: {why}");
            return ExitCode::from(NO_MEANS);
        }
    };
    let (file, tools) = (ledger_file(), tools());
    let ledger = Ledger::read(&fs::read_to_string(&file).unwrap_or_default());
    let verdict = ledger.verdict(&tools, &counted);
    print!("{}", verdict.text);
    if write {
        fs::write(&file, ledger.renewed(&tools, &counted).text()).expect("the sources can be written");
        return ExitCode::SUCCESS;
    }
    ExitCode::from(u8::from(verdict.is_worse))
}

/// Each scene, and the instructions of one operation of it.
async fn count(gateway: &Path) -> Result<Vec<(&'static str, u64)>, String> {
    let mut driver = Driver::start(gateway).await?;
    let mut counted = Vec::new();
    for (scene, act, short) in SCENES {
        eprintln!("instructions: {scene}");
        driver.run(act, short).await?;
        // What else goes on in the process adds to a run and takes nothing from it: the least of each length has least of that.
        let mut least = (u64::MAX, u64::MAX);
        for _ in 0..PAIRS {
            least.0 = least.0.min(driver.run(act, short).await?);
            least.1 = least.1.min(driver.run(act, LONGER * short).await?);
        }
        counted.push((scene, slope(least, short) as u64));
    }
    drop(driver);
    eprintln!("instructions: {FINDING}");
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let finding = |times: usize| whole(&[&own.to_string_lossy(), "-", FIND, &times.to_string()]);
    counted.push((FINDING, slope((finding(FOUND)?, finding(LONGER * FOUND)?), FOUND) as u64));
    Ok(counted)
}

/// Instructions of one operation, of those of the short run and of the long one.
fn slope((short, long): (u64, u64), operations: usize) -> f64 {
    (long as f64 - short as f64) / ((LONGER - 1) * operations) as f64
}

/// What a child does, for itself to be counted.
pub(crate) const FIND: &str = "find";

/// Looks so many routes up.
pub(crate) fn find(times: &str) {
    scale::find(10_000, 100, times.parse().expect("a number of look-ups"));
}

fn ledger_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/instructions.txt")
}

/// What instructions depend on besides the sources.
fn tools() -> String {
    let version = |tool: &str| {
        let output = Command::new(tool).arg("--version").output();
        output.map_or_else(|_| format!("no {tool}"), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    format!("{}, {}, {}", version("rustc"), version("valgrind"), env::consts::ARCH)
}
