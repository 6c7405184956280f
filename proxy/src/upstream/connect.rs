//! A new connection to an endpoint: its name resolved, its addresses tried one after the other, all within one
//! deadline. Knows nothing of requests.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

use super::{
    pool::{Facts, Pool},
    resolve,
    wire::Wire,
};
use crate::{
    error::{Error, Kind},
    state::{EndpointState, Open, States},
    tls::{Connector, Offer, Socket, WorkerSocket},
};

/// Connects for the upstream `user`, as one of at most `limit` connections to `endpoint`, to speak HTTP/1.1.
///
/// # Errors
/// Those of [`open`].
pub(super) async fn connect(
    (endpoint, connector): (&Arc<EndpointState>, Option<&Connector>),
    pool: &Rc<Pool>,
    user: &Rc<Facts>,
    states: &States,
    (limit, time): (usize, Duration),
    introduction: Option<Box<[u8]>>,
) -> Result<Box<Wire>, Error> {
    let first = introduction.as_deref().unwrap_or_default();
    let (target, limits) = ((endpoint, connector, (Offer::Http1, first)), (limit, Instant::now() + time));
    let (io, peer, open) = open(target, pool, user, states, limits).await?;
    let mut wire = Box::new(Wire::new(io, peer, Rc::clone(pool), Rc::clone(user), open));
    wire.introduced = introduction;
    Ok(wire)
}

/// A connection on which nothing was said yet but what comes first, to speak what is offered, until `end`.
///
/// # Errors
/// `UpstreamConnectionsMax` at the limit, `UpstreamConnectTimeout` when the time is up, `UpstreamConnect` for everything else. None of
/// them has sent anything.
pub(super) async fn open(
    (endpoint, connector, talk): (&Arc<EndpointState>, Option<&Connector>, (Offer, &[u8])),
    pool: &Rc<Pool>,
    user: &Rc<Facts>,
    states: &States,
    (limit, end): (usize, Instant),
) -> Result<(WorkerSocket, SocketAddr, Open), Error> {
    let Some(open) = claim(pool, states, limit, end).await else {
        return Err(error(Kind::UpstreamConnectionsMax, user, endpoint, "connections-max connections are in use"));
    };
    let addresses = pool.timers.within(end, resolve::addresses(endpoint, &states.control)).await;
    let addresses = addresses.map_err(|_| late(user, endpoint))?;
    let addresses = addresses.map_err(|why| error(Kind::UpstreamConnect, user, endpoint, &why))?;
    let mut failed = None;
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets its part of the time that is left, so that one that never answers does not take it all.
        let now = Instant::now();
        let share = end.saturating_duration_since(now) / (addresses.len() - tried) as u32;
        match pool.timers.within(now + share, dial(*address, endpoint.key.authority(), connector, talk)).await {
            Ok(Ok(io)) => match WorkerSocket::new(io, pool.ring.as_ref()) {
                Ok(io) => return Ok((io, *address, open)),
                Err(cause) => failed = Some(cause),
            },
            Ok(Err(cause)) => failed = Some(cause),
            Err(_) => {}
        }
    }
    Err(failed.map_or_else(
        || late(user, endpoint),
        |cause| {
            let text = format!("upstream {}: no connection to {}", user.name, endpoint.key.address);
            Error::because(Kind::UpstreamConnect, text, cause)
        },
    ))
}

/// The error of a connection that did not stand in time.
pub(super) fn late(user: &Facts, endpoint: &EndpointState) -> Error {
    error(Kind::UpstreamConnectTimeout, user, endpoint, "no connection within connect-timeout")
}

// The right to one more connection. At the limit, one that another worker keeps unused is closed for it; where all are
// in use there is none.
async fn claim(pool: &Pool, states: &States, limit: usize, end: Instant) -> Option<Open> {
    let gauges = pool.gauges();
    if let Some(open) = gauges.open(limit) {
        return Some(open);
    }
    loop {
        let mut closed = pin!(gauges.closed());
        closed.as_mut().enable();
        if let Some(open) = gauges.open(limit) {
            return Some(open);
        }
        if gauges.unused() == 0 {
            return None;
        }
        gauges.want();
        states.sweepers.iter().for_each(Notify::notify_one);
        pool.timers.within(end, closed).await.ok()?;
    }
}

/// Connects to `address`, which `endpoint` (`HOST:PORT`) leads to, says what comes first, and where it speaks TLS shakes hands to speak what is
/// offered.
///
/// # Errors
/// The socket's, and the handshake's.
pub(super) async fn dial(
    address: SocketAddr,
    endpoint: &str,
    connector: Option<&Connector>,
    (offer, first): (Offer, &[u8]),
) -> io::Result<Socket> {
    let mut io = TcpStream::connect(address).await?;
    io.set_nodelay(true)?;
    if !first.is_empty() {
        io.write_all(first).await?;
    }
    let Some(connector) = connector else { return Ok(Socket::Plain(io)) };
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    Box::pin(connector.connect(io, host, offer)).await
}

fn error(kind: Kind, user: &Facts, endpoint: &EndpointState, what: &str) -> Error {
    Error::new(kind, format!("upstream {} at {}: {what}", user.name, endpoint.key.address))
}
