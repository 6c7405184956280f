//! The accept loop of one listener's QUIC socket on one worker. Each worker has a socket of its own, and the kernel sends a
//! client's packets to one of them by its address and port: a connection stays with its worker for as long as both stay
//! what they are. Knows nothing of HTTP.

use std::{io, net::UdpSocket, pin::pin, rc::Rc, sync::Arc, task::Poll};

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};

use crate::server::{Door, Permit, Resident, http3};

/// Accepts on `socket` until `door` closes; the socket stays until its last connection is over. Must run where
/// tasks may be spawned that stay on their thread.
pub async fn accept(socket: UdpSocket, door: Rc<Door>) {
    let endpoint = match open(socket, &door) {
        Ok(endpoint) => endpoint,
        Err(error) => return tracing::error!(listener = &*door.name, %error, "a bound socket takes no QUIC"),
    };
    let resident = door.enter();
    while let Some(incoming) = next(&endpoint, &resident).await {
        admit(incoming, &endpoint, &door);
    }
    // What comes from now on is not answered: its client goes on with TCP.
    endpoint.set_server_config(None);
}

fn open(socket: UdpSocket, door: &Door) -> io::Result<Endpoint> {
    // Each connection takes the newest; this one says that there are connections to take.
    let config = http3::configuration(door).ok_or_else(|| io::Error::other("its listener speaks no TLS"))?;
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

// The next connection, or `None` when the door closes.
async fn next(endpoint: &Endpoint, resident: &Resident) -> Option<Incoming> {
    let mut accept = pin!(endpoint.accept());
    std::future::poll_fn(|cx| {
        resident.attend(cx);
        if resident.door().is_closing() { Poll::Ready(None) } else { accept.as_mut().poll(cx) }
    })
    .await
}

fn admit(incoming: Incoming, endpoint: &Endpoint, door: &Rc<Door>) {
    let snapshot = door.view.stable();
    let max = snapshot.shared().listeners.get(&door.name).map_or(usize::MAX, |it| it.spec.limits.connections_max);
    let (Ok(local), Some(permit)) = (endpoint.local_addr(), door.hall.admit(door.worker.index, max)) else {
        return incoming.refuse();
    };
    let door = Rc::clone(door);
    let serve = async move {
        http3::serve(incoming, local, door).await;
        drop::<Permit>(permit);
    };
    drop(tokio::task::spawn_local(serve));
}
