//! The real binary as a child: for the command line, signals and what needs a process of its own.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

/// A gateway in a process of its own. Ended with the value, by its id.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// Runs the binary to its end.
pub fn tidegate(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

// Keeps nothing on disk unless told to: whoever runs the tests has a state directory of his own.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).env("TIDEGATE_STATE_DIR", "off");
    command
}

/// The binary, built by cargo itself if it is not fresh, in the profile of the tests.
pub fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let own = env::current_exe().expect("a test has a binary");
        let profile = own.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
        let release = profile.ends_with("release");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--bins"]).args(release.then_some("--release"));
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
        let target = profile.parent().expect("a profile lies in the target directory");
        let status = cargo.current_dir(top).env("CARGO_TARGET_DIR", target).status().expect("cargo runs");
        assert!(status.success(), "the binary does not build");
        profile.join("tidegate")
    };
    BUILT.get_or_init(build).clone()
}

impl Process {
    /// Starts the binary; what it writes is kept.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let mut command = command(arguments);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            keep(child.stdout.take().expect("its output is a pipe"), &said),
            keep(child.stderr.take().expect("its errors are a pipe"), &said),
        ];
        Self { child, said, readers }
    }

    /// Whether all that it has written is known: it has ended, and so has its output.
    pub fn finished(&self) -> bool {
        self.readers.iter().all(thread::JoinHandle::is_finished)
    }

    /// Everything it has written, both streams, line by line.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// The status that it ended with, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Memory in use, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, perhaps; then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address that nothing listens on at the moment, for a process that must be told one. Below the ports that the
/// system gives out, so that no connection of a test takes it meanwhile.
///
/// # Panics
/// When every port is taken.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 10_000).expect("below 10,000");
    let free = (0..10_000_u16).find_map(|_| {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Relaxed) % 10_000) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        std::net::TcpListener::bind(address).is_ok().then_some(address)
    });
    free.expect("a free port")
}

fn keep(from: impl std::io::Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}
