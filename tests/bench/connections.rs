//! A connection of its own for every request, in cleartext and over TLS 1.3 with a whole handshake and a resumed one: CPU time a
//! request, beside nginx and HAProxy, one worker each. Connections to the origin are kept.

use std::{
    cell::Cell,
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, HandshakeKind, NamedGroup,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
};
use serde_json::{Value, json};
use tidegate_tests::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use crate::{
    extent, load, protocols,
    report::{beside, median, number},
    speech::{self, HOST, Io, Speech},
    subject::Subject,
};

const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_millis(1_500);
/// Connections under way at a time.
const LOOPS: usize = 16;
/// Of the handshakes that were to be of a kind, how many must have been.
const KIND_MIN: f64 = 0.95;
/// The body that the origin answers with.
const BODY_BYTES: usize = 64;

/// How connections begin.
#[derive(Clone)]
pub(crate) struct Manner {
    name: &'static str,
    /// What is agreed on by a handshake, and what kind of handshake it is to be; none in cleartext.
    secure: Option<(Arc<ClientConfig>, HandshakeKind)>,
    /// Whether the peers' library knows the key agreement.
    peers: bool,
}

impl Manner {
    /// All of them, as the table names them.
    pub(crate) fn all(authority: &Authority) -> [Self; 4] {
        // One group on offer, so that all agree on the same: by default the gateway prefers the hybrid one.
        let with = |group| Arc::new(speech::config(authority, b"http/1.1", Arc::new(provider(group))));
        let (x25519, hybrid) = (with(NamedGroup::X25519), with(NamedGroup::X25519MLKEM768));
        let tls = |name, config, kind, peers| Self { name, secure: Some((config, kind)), peers };
        [
            Self { name: "HTTP/1.1", secure: None, peers: true },
            tls("TLS 1.3, whole handshake, X25519", Arc::clone(&x25519), HandshakeKind::Full, true),
            tls("TLS 1.3, resumed, X25519", x25519, HandshakeKind::Resumed, true),
            tls("TLS 1.3, whole handshake, X25519MLKEM768", hybrid, HandshakeKind::Full, false),
        ]
    }

    /// Whether there is a handshake.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// The same with memory of its own of what can be resumed, so that no server is shown the tickets of another.
    fn alone(&self) -> Self {
        let secure = self.secure.as_ref().map(|(config, kind)| {
            let mut config = ClientConfig::clone(config);
            config.resumption = match kind {
                HandshakeKind::Resumed => Resumption::in_memory_sessions(1),
                _ => Resumption::disabled(),
            };
            (Arc::new(config), *kind)
        });
        Self { secure, ..self.clone() }
    }
}

/// One row a manner: medians of interleaved rounds.
pub(crate) fn measure(gateway: &Path) -> Value {
    load::beside_an_origin(async |origin| {
        let authority = Authority::new();
        let [clear, secure, ..] = Speech::all(&authority).map(|(_, speech)| speech);
        let mut rows = Vec::new();
        for manner in Manner::all(&authority) {
            let speech = if manner.is_secure() { &secure } else { &clear };
            let mut subjects = protocols::subjects(gateway, &origin.to_string(), speech, &authority);
            subjects.truncate(if manner.peers { 3 } else { 1 });
            rows.push(row(&manner, &subjects).await);
        }
        json!({ "loops": LOOPS, "rows": rows })
    })
}

/// What was measured, as Markdown.
pub(crate) fn table(result: &Value) -> String {
    let mut text = format!(
        "### A connection for each request\n\nCPU time a request, µs, on a connection of its own, {} under way at a time; certificates of \
         ECDSA P-256, one worker (aim: no more than the better of the two).\n\n\
         | | Tidegate | nginx | HAProxy | to the better |\n|---|---|---|---|---|\n",
        result["loops"]
    );
    for row in result["rows"].as_array().into_iter().flatten() {
        let cells = beside(&row["cpu_us"], 1);
        let name = row["name"].as_str().unwrap_or_default();
        text += &format!("| {name} | {cells} | **{}** |\n", number(&row["ratio"], 2));
    }
    text + "\nDebian's OpenSSL, which the peers are built with, knows no X25519MLKEM768.\n"
}

async fn row(manner: &Manner, subjects: &[Subject]) -> Value {
    let mut rounds = vec![Vec::new(); subjects.len()];
    for round in 0..extent::count(ROUNDS, 1) {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            rounds[at].push(of_one(manner, &subjects[at]).await);
        }
    }
    let cpu: Vec<_> = rounds.iter().map(|rounds| median(rounds.iter().copied())).collect();
    json!({ "name": manner.name, "cpu_us": cpu, "ratio": protocols::to_the_better(&cpu), "rounds_us": rounds })
}

/// CPU time in µs that one connection with its one request takes.
pub(crate) async fn of_one(manner: &Manner, subject: &Subject) -> f64 {
    let (count, other) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let mut tasks = JoinSet::new();
    for _ in 0..LOOPS {
        tasks.spawn_local(again_and_again(manner.alone(), subject.address, (Rc::clone(&count), Rc::clone(&other))));
    }
    let span = extent::span(SPAN);
    // The first of each loop has nothing to resume.
    sleep(span / 5).await;
    other.set(0);
    let (began, before, spent) = (Instant::now(), count.get(), subject.used().sum());
    sleep(span).await;
    let (done, cost) = (count.get() - before, subject.used().sum() - spent);
    if let Some(ended) = tasks.try_join_next() {
        panic!("{}: a connection failed: {ended:?}", subject.name);
    }
    tasks.shutdown().await;
    let all = done + other.get();
    assert!(
        all > 0 && done as f64 >= KIND_MIN * all as f64,
        "{}: of {all} connections in {:?}, {done} were as asked ({})",
        subject.name,
        began.elapsed(),
        manner.name
    );
    cost / all as f64
}

/// Counts connections whose handshake was as asked for, and the others.
async fn again_and_again(
    manner: Manner,
    address: SocketAddr,
    (count, other): (Rc<Cell<u64>>, Rc<Cell<u64>>),
) -> Result<Infallible, Box<dyn Error + Send + Sync>> {
    loop {
        let counter = if manner.once(address).await? { &count } else { &other };
        counter.set(counter.get() + 1);
    }
}

impl Manner {
    /// One connection, one request, until the server closes; whether the handshake was of the kind that was asked for.
    async fn once(&self, address: SocketAddr) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let Some((config, kind)) = &self.secure else {
            ask(Box::new(socket)).await?;
            return Ok(true);
        };
        let stream = TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(HOST)?, socket).await?;
        let as_asked = stream.get_ref().1.handshake_kind() == Some(*kind);
        ask(Box::new(stream)).await?;
        Ok(as_asked)
    }
}

/// The server closes first, so that no port of ours is kept from being used again.
async fn ask(mut socket: Box<dyn Io>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let path = load::path_of(BODY_BYTES);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: bench\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        match socket.read(&mut buffer[filled..]).await {
            Ok(1..) if filled == buffer.len() => return Err("an answer longer than was asked for".into()),
            Ok(read @ 1..) => filled += read,
            // Whether the end is announced over TLS is each server's own habit.
            ended => {
                let whole = speech::head(&buffer[..filled])?.is_some_and(|(head, body)| filled == head + body);
                return if whole { Ok(()) } else { Err(format!("an answer broke off: {ended:?}").into()) };
            }
        }
    }
}

fn provider(group: NamedGroup) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|known| known.name() == group);
    provider
}
