//! A place that modules are fetched from: files, and a registry with manifests, blobs and a token authority, over real
//! sockets. It misbehaves as it is told to, and says what it was asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running one; ended with the value.
#[derive(Debug)]
pub struct Depot {
    /// Where it listens, without TLS.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// How a path is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// In full.
    Whole,
    /// Never.
    Hang,
    /// In half, and then the connection is reset.
    Cut,
    /// With this status.
    Status(u16),
    /// With the status 503 so many times, then in full.
    Failing(u32),
    /// With a redirect to another path of its own.
    Elsewhere(&'static str),
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, File>,
    asked: Vec<String>,
    guard: Option<Guard>,
}

#[derive(Clone, Debug)]
struct File {
    media_type: String,
    content: Vec<u8>,
    manner: Manner,
}

#[derive(Clone, Debug)]
struct Guard {
    realm: String,
    credentials: String,
}

/// The SHA-256 of something, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Depot {
    /// An empty one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A peer that goes away is part of many tests.
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// Puts a file at a path; answers with its SHA-256.
    pub fn put(&self, path: &str, media_type: &str, content: &[u8]) -> String {
        let file = File { media_type: media_type.to_owned(), content: content.to_vec(), manner: Manner::Whole };
        self.state().files.insert(path.to_owned(), file);
        sha256(content)
    }

    /// How a path is answered from now on.
    pub fn answers(&self, path: &str, manner: Manner) {
        self.state().files.get_mut(path).unwrap_or_else(|| panic!("nothing at {path}")).manner = manner;
    }

    /// Puts a blob into a repository; answers with its descriptor.
    pub fn blob(&self, repository: &str, media_type: &str, content: &[u8]) -> Value {
        let hash = sha256(content);
        self.put(&format!("/v2/{repository}/blobs/sha256:{hash}"), "application/octet-stream", content);
        json!({"mediaType": media_type, "digest": format!("sha256:{hash}"), "size": content.len()})
    }

    /// Puts a manifest into a repository, under its digest and perhaps a tag; answers with the digest, without `sha256:`.
    pub fn manifest(&self, repository: &str, tag: Option<&str>, manifest: &Value) -> String {
        let (text, media_type) = (manifest.to_string(), manifest["mediaType"].as_str().unwrap_or_default());
        let hash = sha256(text.as_bytes());
        for name in [Some(format!("sha256:{hash}").as_str()), tag].into_iter().flatten() {
            self.put(&format!("/v2/{repository}/manifests/{name}"), media_type, text.as_bytes());
        }
        hash
    }

    /// An image of these layers; answers with its digest, without `sha256:`.
    pub fn push(&self, repository: &str, config: &str, layers: &[(&str, &[u8])]) -> String {
        let config = self.blob(repository, config, b"{}");
        let layers: Vec<_> = layers.iter().map(|(kind, content)| self.blob(repository, kind, content)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        self.manifest(repository, None, &manifest)
    }

    /// From now on the registry lets in who shows a token, which `base` gives to this user.
    pub fn guard(&self, base: &str, user: &str, password: &str) {
        let credentials = format!("Basic {}", crate::base64::encode(format!("{user}:{password}").as_bytes()));
        self.state().guard = Some(Guard { realm: format!("{base}/token"), credentials });
    }

    /// The paths that were asked for so far, in order; `METHOD` and a space before those that were not got.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const TOKEN: &str = "a-token-of-the-depot";

async fn serve(mut socket: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = socket.read_u8().await?;
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let (file, guard) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(path.clone());
        (state.files.get(&path).cloned(), state.guard.clone())
    };
    let shown = field("authorization");
    if let Some(guard) = guard {
        if path.starts_with("/token?") {
            let allowed = shown.as_deref() == Some(&guard.credentials);
            let scoped = path.contains("scope=repository%3A") && path.contains("service=depot");
            return match allowed && scoped {
                true => answer(&mut socket, 200, "", json!({"token": TOKEN}).to_string().as_bytes()).await,
                false => answer(&mut socket, 401, "", b"").await,
            };
        }
        if path.starts_with("/v2/") && shown.as_deref() != Some(&format!("Bearer {TOKEN}")) {
            let repository = path.trim_start_matches("/v2/").split("/manifests").next().unwrap_or_default();
            let challenge = format!(
                "www-authenticate: Bearer realm=\"{}\",service=\"depot\",scope=\"repository:{repository}:pull\"\r\n",
                guard.realm
            );
            return answer(&mut socket, 401, &challenge, b"").await;
        }
    }
    let Some(file) = file else { return answer(&mut socket, 404, "", b"").await };
    let kind = format!("content-type: {}\r\n", file.media_type);
    match file.manner {
        Manner::Whole => answer(&mut socket, 200, &kind, &file.content).await,
        Manner::Status(status) => answer(&mut socket, status, "", b"").await,
        Manner::Elsewhere(to) => answer(&mut socket, 307, &format!("location: {to}\r\n"), b"").await,
        Manner::Failing(left) => {
            if let Some(file) = state.lock().unwrap_or_else(PoisonError::into_inner).files.get_mut(&path) {
                file.manner = if left > 1 { Manner::Failing(left - 1) } else { Manner::Whole };
            }
            answer(&mut socket, 503, "", b"").await
        }
        Manner::Hang => {
            // Until the other side has enough of it.
            socket.read_u8().await.map(drop)
        }
        Manner::Cut => {
            let head = format!("HTTP/1.1 200 OK\r\n{kind}content-length: {}\r\n\r\n", file.content.len());
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(&file.content[..file.content.len() / 2]).await?;
            socket.flush().await?;
            socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO))
        }
    }
}

async fn answer(socket: &mut TcpStream, status: u16, fields: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    socket.shutdown().await
}
