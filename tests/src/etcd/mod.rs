//! A real etcd, one member or three, in processes of its own: killed, stopped, wiped, set back, cut off, and always
//! ended with the value. What an operator would do with `etcdctl` goes over its JSON endpoints.

mod certificates;
mod fake;
mod member;
mod wire;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::etcd::{Client, KeepAlive, Options, Password, Tls, User};

pub use certificates::Certificates;
pub use fake::{Fake, Misbehaviour};
pub use member::Member;
pub use wire::{Whom, Wire};

use crate::{base64, eventually, request};

/// How long a cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name and password of the user that may do everything, where there are users.
pub const ROOT: &str = "root";

/// A cluster.
#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    members: Vec<Member>,
    certificates: Option<Certificates>,
    user: Option<(String, String)>,
}

/// What a cluster is started with.
#[derive(Debug)]
pub struct Setup {
    /// One or three.
    pub members: usize,
    /// Whether clients speak TLS and show a certificate.
    pub tls: bool,
    /// For how many seconds a token lives that nobody uses.
    pub token_ttl_s: u32,
    /// Further flags.
    pub flags: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { members: 1, tls: false, token_ttl_s: 300, flags: Vec::new() }
    }
}

impl Etcd {
    /// One member.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// Three members, whose connections with each other can be cut.
    pub async fn cluster() -> Self {
        Self::with(Setup { members: 3, ..Setup::default() }).await
    }

    /// As `setup` says; returns when it answers.
    pub async fn with(setup: Setup) -> Self {
        // In memory where there is such a place: nothing here is about disks.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary directory can be made");
        let certificates = setup.tls.then(|| Certificates::new(folder.path()));
        let wires = setup.members > 1;
        let mut members = Vec::new();
        for number in 0..setup.members {
            members.push(Member::new(number, folder.path(), wires).await);
        }
        let peers: Vec<_> = members.iter().map(Member::peer).collect();
        let mut flags = setup.flags;
        flags.push(format!("--auth-token-ttl={}", setup.token_ttl_s));
        flags.push(format!("--initial-cluster={}", peers.join(",")));
        flags.extend(certificates.iter().flat_map(Certificates::flags));
        for member in &mut members {
            member.start(flags.clone());
        }
        let etcd = Self { folder, members, certificates, user: None };
        etcd.answers().await;
        etcd
    }

    /// The members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member.
    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.members[number]
    }

    /// Where clients reach each member.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        self.members.iter().map(|member| format!("{scheme}://{}", member.client())).collect()
    }

    /// The certificates, where it speaks TLS.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("it was set up with TLS")
    }

    /// A folder beside its data, gone with it.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// How a client reaches it, with timings for tests; as the user that may do everything, where there are users.
    pub fn options(&self) -> Options {
        let tls = self.certificates.as_ref().map(|certificates| Tls {
            ca: Some(certificates.ca()),
            cert: Some(certificates.client().0),
            key: Some(certificates.client().1),
            domain: None,
        });
        let user = |(name, password): &(String, String)| User {
            name: name.clone(),
            password: Password::Text(password.clone()),
        };
        Options {
            endpoints: self.urls(),
            tls,
            user: self.user.as_ref().map(user),
            dial_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            keep_alive: KeepAlive { interval: Duration::from_millis(300), timeout: Duration::from_millis(300) },
            sync_interval: Duration::from_secs(5),
            ..Options::default()
        }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.options())
    }

    /// Waits until it takes writes.
    pub async fn answers(&self) {
        let client = self.client();
        eventually("etcd takes writes", PATIENCE, async || client.put("ready", "").await.ok()).await;
    }

    /// What an operator would ask the first member for with `etcdctl`: a POST of JSON.
    pub async fn ask(&self, path: &str, body: Value) -> Value {
        self.ask_member(0, path, body).await
    }

    /// [`Etcd::ask`] of one member.
    ///
    /// # Panics
    /// With its answer, where that is an error.
    pub async fn ask_member(&self, number: usize, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(number, path, &body, self.token(number).await).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    async fn token(&self, number: usize) -> Option<String> {
        let (name, password) = self.user.as_ref()?;
        let who = json!({"name": name, "password": password});
        let (status, answer) = self.post(number, "/v3/auth/authenticate", &who, None).await;
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().map(str::to_owned)
    }

    async fn post(&self, number: usize, path: &str, body: &Value, token: Option<String>) -> (u16, Value) {
        assert!(self.certificates.is_none(), "the JSON endpoints are asked without TLS");
        let address = self.members[number].client();
        let mut post = request(Method::POST, &format!("http://{address}{path}"));
        *post.body_mut() = body.to_string().into();
        if let Some(token) = token {
            let token = HeaderValue::from_str(&token).expect("a token is a field value");
            post.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let answer = crate::Client::http1(address).await.send(post).await;
        (answer.status.as_u16(), answer.json())
    }

    /// Forgets every revision before `revision`.
    pub async fn compact(&self, revision: i64) {
        self.ask("/v3/kv/compaction", json!({"revision": revision, "physical": true})).await;
    }

    /// The member that leads.
    pub async fn leader(&self) -> usize {
        let led_by = self.ask("/v3/maintenance/status", json!({})).await["leader"].clone();
        for number in 0..self.members.len() {
            if self.ask_member(number, "/v3/maintenance/status", json!({})).await["header"]["member_id"] == led_by {
                return number;
            }
        }
        panic!("no member leads");
    }

    /// Makes another member lead.
    pub async fn move_leader(&self, to: usize) {
        let target = self.ask_member(to, "/v3/maintenance/status", json!({})).await["header"]["member_id"].clone();
        let leader = self.leader().await;
        if leader != to {
            self.ask_member(leader, "/v3/maintenance/transfer-leadership", json!({"targetID": target})).await;
        }
    }

    /// Cuts a member off from the others, and the others from it; clients still reach it.
    pub fn isolate(&self, number: usize) {
        let id = self.members[number].id();
        self.members.iter().enumerate().for_each(|(other, member)| {
            member.wire().cut(if other == number { Whom::Everyone } else { Whom::Member(id.clone()) });
        });
    }

    /// Lets all members reach each other again.
    pub fn heal(&self) {
        self.members.iter().for_each(|member| member.wire().mend());
    }

    /// Makes users count: from now on only `root` (with the password `root`) may do anything.
    pub async fn enable_auth(&mut self) {
        self.ask("/v3/auth/user/add", json!({"name": ROOT, "password": ROOT})).await;
        self.ask("/v3/auth/user/grant", json!({"user": ROOT, "role": ROOT})).await;
        self.ask("/v3/auth/enable", json!({})).await;
        self.user = Some((ROOT.to_owned(), ROOT.to_owned()));
    }

    /// Adds a user who may read what begins with `prefix`, by a role of the same name.
    pub async fn add_reader(&self, name: &str, password: &str, prefix: &str) {
        self.ask("/v3/auth/user/add", json!({"name": name, "password": password})).await;
        self.ask("/v3/auth/role/add", json!({"name": name})).await;
        self.ask("/v3/auth/user/grant", json!({"user": name, "role": name})).await;
        self.grant(name, prefix).await;
    }

    /// Lets a role read what begins with `prefix`.
    pub async fn grant(&self, role: &str, prefix: &str) {
        self.permit(role, prefix, "READ").await;
    }

    /// Lets a role read and write what begins with `prefix`.
    pub async fn grant_write(&self, role: &str, prefix: &str) {
        self.permit(role, prefix, "READWRITE").await;
    }

    async fn permit(&self, role: &str, prefix: &str, what: &str) {
        let (key, end) = span(prefix);
        let permission = json!({"permType": what, "key": key, "range_end": end});
        self.ask("/v3/auth/role/grant", json!({"name": role, "perm": permission})).await;
    }

    /// Takes that right away again.
    pub async fn revoke(&self, role: &str, prefix: &str) {
        let (key, end) = span(prefix);
        self.ask("/v3/auth/role/revoke", json!({"role": role, "key": key, "range_end": end})).await;
    }

    /// Gives a user another password, which ends every token of his.
    pub async fn change_password(&self, name: &str, password: &str) {
        self.ask("/v3/auth/user/changepw", json!({"name": name, "password": password})).await;
    }
}

fn span(prefix: &str) -> (String, String) {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    (base64::encode(prefix.as_bytes()), base64::encode(&end))
}

/// The server, found or fetched by `scripts/etcd.sh`.
fn binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
        let output = Command::new(top.join("scripts/etcd.sh")).stdin(Stdio::null()).output().expect("bash runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}
