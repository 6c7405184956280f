//! One member of a cluster: a process, its data, its addresses. Knows nothing of the others but their names.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{binary, wire::Wire};
use crate::free_address;

/// A member. Ended with the value, by its id.
#[derive(Debug)]
pub struct Member {
    name: String,
    folder: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    wire: Option<Wire>,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Member {
    /// A member that does not run yet; with `wired`, the others reach it over a wire that can be cut.
    pub(super) async fn new(number: usize, folder: &Path, wired: bool) -> Self {
        let name = format!("m{number}");
        let (client, peer) = (free_address(), free_address());
        let wire = if wired { Some(Wire::to(peer).await) } else { None };
        Self { folder: folder.join(&name), name, client, peer, wire, flags: Vec::new(), child: None }
    }

    /// Where clients reach it.
    pub const fn client(&self) -> SocketAddr {
        self.client
    }

    /// Its part of `--initial-cluster`.
    pub(super) fn peer(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    pub(super) fn wire(&self) -> &Wire {
        self.wire.as_ref().expect("only a cluster of several members has wires")
    }

    /// Its number as it says it to the others; known once it has run.
    pub(super) fn id(&self) -> String {
        let log = self.log();
        let id = log.split("\"local-member-id\":\"").nth(1).and_then(|rest| rest.split('"').next());
        id.unwrap_or_else(|| panic!("{} has not said its number:\n{log}", self.name)).to_owned()
    }

    pub(super) fn start(&mut self, flags: Vec<String>) {
        self.flags = flags;
        self.restart();
    }

    /// Starts it again on its data, with its flags.
    pub fn restart(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.log_file()).expect("a log can be written");
        let scheme = if self.flags.iter().any(|flag| flag.starts_with("--cert-file")) { "https" } else { "http" };
        let mut command = Command::new(binary());
        command.args([
            format!("--name={}", self.name),
            format!("--data-dir={}", self.folder.display()),
            format!("--listen-client-urls={scheme}://{}", self.client),
            format!("--advertise-client-urls={scheme}://{}", self.client),
            format!("--listen-peer-urls=http://{}", self.peer),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
        ]);
        // A loaded machine must not lose leaders by itself; one member elects itself whatever the timing.
        command.args(["--heartbeat-interval=50", "--election-timeout=500", "--logger=zap", "--log-level=info"]);
        // What passwords cost is no subject here, and would be seconds where many tests run.
        command.arg("--bcrypt-cost=4");
        command.args(["--grpc-keepalive-min-time=10ms", "--max-txn-ops=20000", "--max-request-bytes=1572864"]);
        command.args(&self.flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("etcd runs"));
    }

    /// Whether it was started and not ended by the test.
    pub const fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it without a chance to say goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
        }
    }

    /// Stops it where it stands: its sockets stay open, and nothing answers.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Deletes its data; it must not run.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "{} still runs", self.name);
        fs::remove_dir_all(&self.folder).expect("its data can be removed");
    }

    /// Copies its data to `name` beside it; it must not run.
    pub fn save(&self, name: &str) {
        assert!(self.child.is_none(), "{} still runs", self.name);
        copy(&self.folder, &self.folder.with_file_name(name));
    }

    /// Sets its data back to what was saved; it must not run.
    pub fn set_back(&self, name: &str) {
        self.wipe();
        copy(&self.folder.with_file_name(name), &self.folder);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    fn peer_url(&self) -> String {
        format!("http://{}", self.wire.as_ref().map_or(self.peer, Wire::address))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("the process is there");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Ended already, perhaps; then there is nothing to do.
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}
