//! The client's connection: HTTP/1.1 and HTTP/2 in, hygiene, forwarded headers, timeouts, errors to responses, and the
//! one place that takes a generation for an exchange. With `upstream` the only room that names hyper on the data path.
//! Must not know sockets that listen, documents, or what the steps of a chain do.

mod admit;
mod alarm;
mod authority;
mod call;
mod connect;
mod count;
mod door;
mod exchange;
mod fields;
mod forwarded;
mod frames;
mod guard;
mod guarded;
mod hpack;
mod http1;
mod http2;
pub mod http3;
mod inbound;
mod interim;
mod life;
mod outbound;
pub mod path;
mod prefixed;
mod proxied;
mod rerouting;
mod rest;
mod secure;
mod selection;
mod session;
mod sniff;
mod tunnel;
mod wire;

use std::{net::SocketAddr, rc::Rc};

use tokio::net::TcpStream;

pub use count::{Hall, Permit};
pub use door::{Door, Resident};

use proxied::Ends;
use session::Session;
use sniff::Protocol;
use wire::Socket;

/// Serves one connection to its end, after a handshake where its listener speaks TLS: HTTP/2 where that was agreed on
/// (ALPN), or where a connection without TLS opens with that protocol's preface (RFC 9113 section 3.4); HTTP/1.1
/// otherwise. Must run where tasks may be spawned that stay on their thread.
///
/// `bound` is what it connected to, where that is known; `stream` must send small pieces at once (`TCP_NODELAY`).
pub async fn serve(mut stream: TcpStream, (peer, bound): (SocketAddr, Option<SocketAddr>), door: Rc<Door>) {
    // A socket that cannot say its own address is gone already.
    let Ok(local) = bound.map_or_else(|| stream.local_addr(), Ok) else { return };
    let Some(ends) = proxied::open(&mut stream, Ends { peer, local, proxy: None }, &door).await else { return };
    let Some((stream, secured)) = secure::open(stream, ends.peer, &door).await else { return };
    let Some(session) = Session::begin(&door, ends, secured) else { return };
    drop(door);
    let agreed = stream.agreed_on_http2();
    let mut socket = Socket::new(stream, Rc::clone(&session));
    let Some((seen, first)) = sniff::protocol(&mut socket, &session).await else { return };
    match agreed.map_or(seen, Protocol::agreed) {
        Protocol::Http1 => rest::serve(socket, first, session).await,
        // Boxed, so that a connection that rests has no room for it.
        Protocol::Http2 => Box::pin(http2::serve(socket, first, session)).await,
        Protocol::Tls => secure::turn_away(&mut socket, &session).await,
    }
}

#[cfg(test)]
mod tests;
