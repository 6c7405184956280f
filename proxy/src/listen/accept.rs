//! The accept loop of one listener on one worker. It ends only when its door closes: whatever accept says, the next
//! connection may be fine. Each connection is a task of its own, so that a slow one delays nobody.

use std::{io, net::SocketAddr, rc::Rc, task::Poll, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use crate::server::{self, Door, Permit, Resident};

/// Accepts on `socket` until `door` closes, then takes what is already in the socket's queue and drops the socket.
/// Must run where tasks may be spawned that stay on their thread.
pub async fn accept(socket: TcpListener, door: Rc<Door>) {
    let resident = door.enter();
    let bound = socket.local_addr().ok().filter(|bound| !bound.ip().is_unspecified());
    let mut pause = PAUSE_MIN;
    while let Some(next) = next(&socket, &resident).await {
        match next {
            Ok((stream, peer)) => {
                pause = PAUSE_MIN;
                admit(stream, (peer, bound), &door);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                door.hall.series.accept_failed(door.worker.index);
                tracing::warn!(listener = &*door.name, %error, pause_ms = pause.as_millis(), "cannot accept");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
    empty_queue(socket, bound, &door);
}

// The next connection, or `None` when the door closes.
async fn next(socket: &TcpListener, resident: &Resident) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    std::future::poll_fn(|cx| {
        resident.attend(cx);
        if resident.door().is_closing() { Poll::Ready(None) } else { socket.poll_accept(cx).map(Some) }
    })
    .await
}

// `bound` is where all connections come to, where that is one address.
fn admit(stream: TcpStream, (peer, bound): (SocketAddr, Option<SocketAddr>), door: &Rc<Door>) {
    let snapshot = door.view.stable();
    let max = snapshot.shared().listeners.get(&door.name).map_or(usize::MAX, |it| it.spec.limits.connections_max);
    if let Some(permit) = door.hall.admit(door.worker.index, max) {
        let door = Rc::clone(door);
        let serve = async move {
            server::serve(stream, (peer, bound), door).await;
            drop::<Permit>(permit);
        };
        drop(tokio::task::spawn_local(serve));
    }
}

// Asks the kernel rather than tokio, whose readiness may be a step behind.
fn empty_queue(socket: TcpListener, bound: Option<SocketAddr>, door: &Rc<Door>) {
    let Ok(socket) = socket.into_std() else { return };
    loop {
        match socket.accept() {
            Ok((stream, peer)) => {
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    admit(stream, (peer, bound), door);
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(_queue_is_empty) => return,
        }
    }
}

// accept(2) passes on errors of the connection that it would have returned, and of the network: the next call is
// about another connection. The others (EMFILE, ENFILE, ENOBUFS, ENOMEM) are the process's or the machine's.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    const ONE: [io::ErrorKind; 8] = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        Interrupted,
        NetworkDown,
        NetworkUnreachable,
        TimedOut,
    ];
    ONE.contains(&error.kind())
}

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
