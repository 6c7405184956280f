//! Who is behind a proxy that says so before anything else (PROXY protocol): the header is read off the bare connection,
//! before TLS, and only from networks that are trusted. Knows nothing of what follows it.

mod header;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
};

use super::Door;
use crate::{
    config::spec::{Listener, Part, ProxyProtocol},
    exchange::{Elapsed, Timers},
    telemetry::ProxyOutcome,
};
use header::{Header, Verdict};

/// The two ends of a connection, as they are or as a proxy told them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Who connected.
    pub(super) peer: SocketAddr,
    /// Where to.
    pub(super) local: SocketAddr,
    /// The proxy that told them.
    pub(super) proxy: Option<IpAddr>,
}

/// The ends of a connection of `door`, which begins with what follows the header from then on. None where the listener
/// is gone, or does not take the connection.
#[inline]
pub(super) async fn open(stream: &mut TcpStream, ends: Ends, door: &Rc<Door>) -> Option<Ends> {
    let snapshot = door.view.stable();
    let listener = &snapshot.shared().listeners.get(&door.name)?.spec;
    if listener.proxy_protocol.is_none() {
        return Some(ends);
    }
    let listener = Arc::clone(listener);
    drop(snapshot);
    // Boxed, so that other connections have no room for it.
    Box::pin(ask(stream, ends, door, &listener)).await
}

async fn ask(stream: &mut TcpStream, ends: Ends, door: &Rc<Door>, listener: &Arc<Part<Listener>>) -> Option<Ends> {
    let policy = listener.proxy_protocol.as_ref()?;
    let trusted = policy.trusts(ends.peer.ip());
    let (outcome, told) = if !trusted && policy.required {
        (ProxyOutcome::Untrusted, None)
    } else {
        let timers = door.worker.locals.of::<Timers>();
        let seen = timers.within(Instant::now() + policy.header_timeout, look(stream, policy.header_bytes_max)).await;
        judge(stream, seen, (ends, trusted), policy).await
    };
    door.hall.series.proxied(door.worker.index, outcome);
    if told.is_none() {
        let (listener, peer, outcome) = (&*door.name, ends.peer, outcome.name());
        tracing::debug!(listener, %peer, outcome, "a connection refused by what its PROXY header is");
    }
    told
}

type Seen = Result<io::Result<Verdict>, Elapsed>;

// What is counted, and the ends where the connection is taken.
async fn judge(
    stream: &mut TcpStream,
    seen: Seen,
    (ends, trusted): (Ends, bool),
    policy: &ProxyProtocol,
) -> (ProxyOutcome, Option<Ends>) {
    let unasked = (!policy.required).then_some(ends);
    match seen {
        // Who says nothing at all may say something without a header later.
        Err(_) if unasked.is_some() && is_silent(stream) => (ProxyOutcome::Absent, unasked),
        Err(_) => (ProxyOutcome::Timeout, None),
        Ok(Err(_)) => (ProxyOutcome::Malformed, None),
        Ok(Ok(Verdict::Absent | Verdict::More)) => (ProxyOutcome::Absent, unasked),
        Ok(Ok(_)) if !trusted => (ProxyOutcome::Untrusted, None),
        Ok(Ok(Verdict::Malformed(_))) => (ProxyOutcome::Malformed, None),
        Ok(Ok(Verdict::TooLong)) => (ProxyOutcome::TooLong, None),
        Ok(Ok(Verdict::Header(header))) => take(stream, &header, ends).await,
    }
}

async fn take(stream: &mut TcpStream, header: &Header, ends: Ends) -> (ProxyOutcome, Option<Ends>) {
    let mut bytes = vec![0; header.length];
    if stream.read_exact(&mut bytes).await.is_err() {
        return (ProxyOutcome::Malformed, None);
    }
    let proxy = Some(ends.peer.ip());
    let told = match header.addresses {
        Some((peer, local)) => Ends { peer, local, proxy },
        None => Ends { proxy, ..ends },
    };
    let outcome = match (header.addresses, header.version) {
        (None, _) => ProxyOutcome::Unaddressed,
        (Some(_), 1) => ProxyOutcome::Version1,
        (Some(_), _) => ProxyOutcome::Version2,
    };
    (outcome, Some(told))
}

fn is_silent(stream: &TcpStream) -> bool {
    matches!(peek(stream, &mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

// Looks at the first bytes until they are judged; takes none of them. `More` is said of a client that closed without a
// word.
async fn look(stream: &TcpStream, bytes_max: usize) -> io::Result<Verdict> {
    let mut bytes = vec![0; bytes_max];
    let judge = || {
        let read = peek(stream, &mut bytes)?;
        let verdict = header::read(&bytes[..read], bytes_max);
        // What was seen is still there, and would be found again without end: the socket is said not to be readable, and
        // what comes says that it is.
        if verdict == Verdict::More && read > 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(verdict) }
    };
    stream.async_io(Interest::READABLE, judge).await
}

fn peek(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    let (read, _) = rustix::net::recv(stream, bytes, flags)?;
    Ok(read)
}
