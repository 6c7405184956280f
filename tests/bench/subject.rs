//! What is measured: a process on a core of its own, with its configuration, its address and what the kernel says that
//! it has used. Ended with the value, by its id.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::speech::{Call, Speech};

/// A process under measurement.
pub(crate) struct Subject {
    /// As the tables name it.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its configuration and what it writes.
    pub(crate) folder: TempDir,
    /// Where a gateway's admin endpoint listens.
    pub(crate) admin: Option<SocketAddr>,
    /// When its process was started.
    pub(crate) began: Instant,
    process: Child,
}

/// After which a process that does not listen never will.
const START_MAX: Duration = Duration::from_secs(30);

/// CPU time so far, in µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Used {
    /// In user mode.
    pub(crate) user: f64,
    /// In the kernel.
    pub(crate) kernel: f64,
}

impl Used {
    /// Both, in µs.
    pub(crate) fn sum(&self) -> f64 {
        self.user + self.kernel
    }
}

impl Subject {
    /// Starts the gateway with one worker over a configuration; `{listen}` in it stands for its address, and `{folder}` for a folder
    /// of its own.
    pub(crate) fn gateway(binary: &Path, files: &[(&str, &str)]) -> Self {
        Self::gateway_with(binary, files, &[])
    }

    /// [`Subject::gateway`] over an io_uring; none where the kernel permits no such ring.
    pub(crate) fn gateway_over_io_uring(binary: &Path, files: &[(&str, &str)]) -> Option<Self> {
        let gateway = Self::gateway_by(on_cores("0"), START_MAX, binary, ["--io-uring".into()], files, &[]);
        (gateway.metric("tidegate_io_uring_workers") > 0.0).then_some(gateway)
    }

    /// The same under another name.
    pub(crate) fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// [`Subject::gateway`] with modules beside the documents.
    pub(crate) fn gateway_with(binary: &Path, files: &[(&str, &str)], modules: &[(&str, &[u8])]) -> Self {
        Self::gateway_in(binary, None, files, modules)
    }

    /// [`Subject::gateway_with`], and what it keeps is kept in `state`.
    pub(crate) fn gateway_keeping(
        binary: &Path,
        state: &Path,
        files: &[(&str, &str)],
        modules: &[(&str, &[u8])],
    ) -> Self {
        Self::gateway_in(binary, Some(state), files, modules)
    }

    /// [`Subject::gateway`] started by `command`, which is told what to run behind its own arguments; it listens within `patience`,
    /// and is not bound to a core.
    pub(crate) fn gateway_under(command: Command, patience: Duration, binary: &Path, files: &[(&str, &str)]) -> Self {
        Self::gateway_by(command, patience, binary, [], files, &[])
    }

    fn gateway_in(binary: &Path, state: Option<&Path>, files: &[(&str, &str)], modules: &[(&str, &[u8])]) -> Self {
        let state = state.map(|state| ["--state-dir".into(), state.into()]);
        Self::gateway_by(on_cores("0"), START_MAX, binary, state.into_iter().flatten(), files, modules)
    }

    fn gateway_by(
        command: Command,
        patience: Duration,
        binary: &Path,
        flags: impl IntoIterator<Item = OsString>,
        files: &[(&str, &str)],
        modules: &[(&str, &[u8])],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (address, own) = (free_address(), folder.path().to_string_lossy().into_owned());
        let fill = |text: &str| text.replace("{listen}", &address.to_string()).replace("{folder}", &own).into_bytes();
        let texts = files.iter().map(|(path, text)| (*path, fill(text)));
        for (path, bytes) in texts.chain(modules.iter().map(|(path, bytes)| (*path, bytes.to_vec()))) {
            let place = folder.path().join("config").join(path);
            fs::create_dir_all(place.parent().expect("a file has a folder")).expect("a folder can be made");
            fs::write(place, bytes).expect("a file can be written");
        }
        // A file that was written just now is not read before it has come to rest.
        thread::park_timeout(Duration::from_millis(200));
        let config = folder.path().join("config").into_os_string();
        let more = ["--config".into(), config].into_iter().chain(flags);
        Self::run(command, binary, (address, folder), more, patience)
    }

    /// Starts the gateway with one worker over the prefix `/gw/` of etcd; it listens on `address`, and keeps what it keeps
    /// in `state`.
    pub(crate) fn following(binary: &Path, address: SocketAddr, etcd: &str, state: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let more = ["--etcd".into(), etcd.into(), "--state-dir".into(), state.into()].into_iter();
        Self::run(on_cores("0"), binary, (address, folder), more, START_MAX)
    }

    /// The gateway with one worker, told `more` on its command line.
    fn run(
        mut command: Command,
        binary: &Path,
        (address, folder): (SocketAddr, TempDir),
        more: impl Iterator<Item = OsString>,
        patience: Duration,
    ) -> Self {
        let admin = free_address();
        command.arg(binary).args(["run", "--workers", "1", "--admin"]).arg(admin.to_string()).args(more);
        Self::start("Tidegate", (address, Some(admin)), folder, command, patience).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts another proxy; `{listen}` in its configuration stands for its address, `{port}` for the port of it, and
    /// `{folder}` for a folder of its own; in `arguments`, `{configuration}` stands for the configuration.
    pub(crate) fn other(name: &str, arguments: &[&str], configuration: &str) -> Self {
        Self::other_with(name, arguments, configuration, &[])
    }

    /// [`Subject::other`] with files in its folder.
    pub(crate) fn other_with(name: &str, arguments: &[&str], configuration: &str, files: &[(&str, &[u8])]) -> Self {
        let subject = Self::other_within(START_MAX, name, arguments, configuration, files);
        subject.unwrap_or_else(|why| panic!("{why}"))
    }

    /// [`Subject::other_with`], if it listens within `patience`.
    pub(crate) fn other_within(
        patience: Duration,
        name: &str,
        arguments: &[&str],
        configuration: &str,
        files: &[(&str, &[u8])],
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, bytes) in files {
            let place = folder.path().join(name);
            fs::create_dir_all(place.parent().expect("a file has a folder")).expect("a folder can be made");
            fs::write(place, bytes).expect("a file can be written");
        }
        let address = free_address();
        let path = folder.path().to_string_lossy().into_owned();
        let text = configuration.replace("{listen}", &address.to_string()).replace("{folder}", &path);
        let text = text.replace("{port}", &address.port().to_string());
        fs::write(folder.path().join("proxy.conf"), &text).expect("a file can be written");
        let mut command = on_cores("0");
        command.args(
            arguments.iter().map(|argument| argument.replace("{folder}", &path).replace("{configuration}", &text)),
        );
        Self::start(name, (address, None), folder, command, patience)
    }

    fn start(
        name: &str,
        (address, admin): (SocketAddr, Option<SocketAddr>),
        folder: TempDir,
        mut command: Command,
        patience: Duration,
    ) -> Result<Self, String> {
        let log = fs::File::create(folder.path().join("output")).expect("a file can be made");
        let copy = log.try_clone().expect("a file can be shared");
        let began = Instant::now();
        let process = command.stdin(Stdio::null()).stdout(copy).stderr(log).spawn().expect("what starts it is there");
        let mut subject = Self { name: name.to_owned(), address, folder, admin, began, process };
        subject.wait(patience).map(|()| subject)
    }

    /// What it has used until now: all threads, from the kernel's accounting.
    pub(crate) fn used(&self) -> Used {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the process runs");
        let (_, fields) = stat.rsplit_once(')').expect("a stat line names the process in brackets");
        let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok());
        // Fields 14 and 15 of proc(5), in ticks of 10 ms.
        let [user, kernel] = [11, 12].map(|at| ticks(at).expect("a stat line has its times") * 10_000.0);
        Used { user, kernel }
    }

    /// CPU time in µs until now of the threads that live, from the scheduler's own clock, which has no ticks.
    pub(crate) fn precisely_used(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the process runs");
        let of_one = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        tasks.flatten().filter_map(of_one).sum::<f64>() / 1e3
    }

    /// Returns once it answers a request for `path` with 200.
    ///
    /// # Panics
    /// When it does not.
    pub(crate) async fn answers(&self, path: &str) {
        let call = Call { address: self.address, speech: Speech::Http1, path: path.into() };
        while let Err(error) = call.clone().once().await {
            assert!(self.began.elapsed() < START_MAX, "{} does not answer: {error}", self.name);
            tokio::task::yield_now().await;
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long all its threads but those of this name have run, in ns, if every one of them waits for something.
    pub(crate) fn asleep(&self, but: &str) -> Option<u64> {
        let mut ran_ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the process runs").flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Field 3 of proc(5), behind the name in brackets. A thread that has ended meanwhile waits for nothing.
            let stat = read("stat");
            let Some((_, fields)) = stat.rsplit_once(')').filter(|(name, _)| !name.ends_with(but)) else { continue };
            if !fields.trim_start().starts_with('S') {
                return None;
            }
            ran_ns += read("schedstat").split_whitespace().next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
        }
        Some(ran_ns)
    }

    /// Puts a file of a gateway's configuration in place, in one step: written beside it, then renamed.
    pub(crate) fn place(&self, path: &str, text: &str) {
        let staged = self.folder.path().join("staged");
        fs::write(&staged, text).expect("a file can be written");
        fs::rename(&staged, self.folder.path().join("config").join(path)).expect("a rename in a folder succeeds");
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        self.entries("task")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.entries("fd")
    }

    fn entries(&self, folder: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{folder}", self.process.id())).expect("the process runs").count()
    }

    /// Memory in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).expect("a process has a size") * 1024
    }

    /// The sum of all series of a gateway's metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let admin = self.admin.expect("only a gateway is asked");
        let mut socket = TcpStream::connect(admin).expect("the admin endpoint listens");
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("the admin endpoint reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("the admin endpoint answers");
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit_once(' ')?.1.trim().parse::<f64>().ok()
        });
        series.sum()
    }

    // A build that writes down what it does (`scripts/dist.sh`) does so when it ends by itself.
    fn end(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).ok();
        let end = Instant::now() + START_MAX;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn wait(&mut self, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        let is_there = |address: &SocketAddr| TcpStream::connect_timeout(address, Duration::from_millis(100)).is_ok();
        while ![Some(self.address), self.admin].iter().flatten().all(is_there) {
            let said = || fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("{} ended with {status}:\n{}", self.name, said()));
            }
            if Instant::now() > end {
                return Err(format!("{} does not listen within {patience:?}:\n{}", self.name, said()));
            }
            thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if env::var_os("LLVM_PROFILE_FILE").is_some() {
            self.end();
        }
        // Ended already, perhaps; then there is nothing to do.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A command that runs what follows in its arguments on these cores alone.
pub(crate) fn on_cores(cores: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cores]);
    command
}

/// An address that nothing listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("a bound socket has an address")
}
