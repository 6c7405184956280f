//! From an accepted connection to a socket that can be served: the handshake where the listener speaks TLS, bounded in
//! time and in number, each in its connection's own task. And what those are told who speak the wrong one of both.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Door, http1, session::Session, wire::Socket};
use crate::{
    error::Kind,
    exchange::{Secured, Timers},
    tls::{self, Acceptor, Handshake, Refusal, WorkerSocket},
};

/// The socket of a connection that `door` accepted; none where there was no handshake, or the listener is gone.
#[inline]
pub(super) async fn open(stream: TcpStream, peer: SocketAddr, door: &Rc<Door>) -> Option<Open> {
    let snapshot = door.view.stable();
    match snapshot.shared().listeners.get(&door.name)?.tls.clone() {
        None => match WorkerSocket::new(tls::Socket::Plain(stream), door.worker.ring.get()) {
            Ok(socket) => Some((socket, None)),
            Err(error) => {
                tracing::debug!(listener = &*door.name, %peer, %error, "no socket on the ring");
                None
            }
        },
        Some(acceptor) => {
            drop(snapshot);
            // Boxed, so that connections without TLS have no room for it.
            Box::pin(shake(stream, peer, door, acceptor)).await
        }
    }
}

/// A socket, and what its handshake settled.
pub(super) type Open = (WorkerSocket, Option<Box<Secured>>);

enum Opened {
    Secure(tls::Socket, Handshake),
    Cleartext(TcpStream),
}

async fn shake(stream: TcpStream, peer: SocketAddr, door: &Rc<Door>, acceptor: Arc<Acceptor>) -> Option<Open> {
    let (series, worker, listener) = (&door.hall.series, door.worker.index, &*door.name);
    let Some(turn) = door.hall.shake(acceptor.handshakes_max()) else {
        series.handshake_failed(worker, Refusal::Crowded);
        tracing::debug!(listener, %peer, "too many handshakes at a time");
        return None;
    };
    let timers = door.worker.locals.of::<Timers>();
    let opened = timers.within(Instant::now() + acceptor.handshake_timeout(), begin(stream, &acceptor)).await;
    drop(turn);
    match opened {
        Ok(Ok(Opened::Secure(socket, handshake))) => {
            series.handshake(worker, &handshake);
            Some((WorkerSocket::Watched(socket), Some(handshake.secured)))
        }
        Ok(Ok(Opened::Cleartext(stream))) => {
            series.handshake_failed(worker, Refusal::Cleartext);
            tracing::info!(listener, %peer, "a request without TLS on a port that speaks TLS");
            drop(timers.within(Instant::now() + TURNED_AWAY, answer(stream)).await);
            None
        }
        Ok(Err(error)) => {
            let refusal = Refusal::of(&error);
            series.handshake_failed(worker, refusal);
            tracing::debug!(listener, %peer, %error, "no handshake");
            None
        }
        Err(_elapsed) => {
            series.handshake_failed(worker, Refusal::Timeout);
            tracing::debug!(listener, %peer, "the handshake took too long");
            None
        }
    }
}

// A record of TLS begins with a number far below every letter that a method begins with.
async fn begin(stream: TcpStream, acceptor: &Acceptor) -> io::Result<Opened> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0].is_ascii_alphabetic() => Ok(Opened::Cleartext(stream)),
        _ => acceptor.accept(stream).await.map(|(socket, handshake)| Opened::Secure(socket, handshake)),
    }
}

// Says in the client's own tongue what is wrong, then reads on until it closes: closing a socket with unread bytes
// resets it, and the reset can overtake the answer.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(CLEARTEXT.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Tells a client that begins a handshake on a port without TLS that there will be none.
pub(super) async fn turn_away(socket: &mut Socket, session: &Session) {
    let (listener, peer) = (&*session.door.name, session.connection.peer);
    session.door.hall.series.refused(session.door.worker.index, Kind::MalformedRequest);
    tracing::info!(listener, %peer, "a TLS handshake on a port that does not speak TLS");
    let mut told = poll_fn(|cx| socket.poll_write(cx, &ALERT)).await.map(|_| ());
    if told.is_ok() {
        told = poll_fn(|cx| socket.poll_shutdown(cx)).await;
    }
    match told {
        Ok(()) => http1::linger(socket, session).await,
        Err(error) => tracing::debug!(listener, %peer, %error, "connection ended"),
    }
}

const CLEARTEXT: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 35\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https://\n";
// A fatal alert, handshake_failure (RFC 8446 section 6.2), in a record that every version reads.
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 40];
const TURNED_AWAY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_cleartext_is_as_long_as_it_says() {
        let (head, body) = CLEARTEXT.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
