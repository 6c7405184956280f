//! HTTP/3 on a QUIC connection (RFC 9114, RFC 9000): the handshake, one task a request, an end that tells the client which
//! requests were served. What a request is, and what becomes of it, is said elsewhere and the same for all protocols.

mod body;
mod frames;
mod others;
mod qpack;
mod quic;
mod section;
mod stream;

use std::{
    cell::Cell,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h3::server::RequestResolver;
use quinn::{ConnectionError, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;

pub(super) use body::{Body, Malformed};

use super::{Door, http2, proxied::Ends, session::Session};
use crate::{
    config::spec::Limits,
    exchange::Timers,
    tls::{Acceptor, Handshake, Refusal},
};

/// How connections of `door` begin, as of now; none where its listener is gone or speaks no TLS.
pub fn configuration(door: &Door) -> Option<ServerConfig> {
    let snapshot = door.view.stable();
    let listener = snapshot.shared().listeners.get(&door.name)?;
    Some(configure(listener.tls.as_ref()?, &listener.spec.limits))
}

/// Serves one connection that asked for `local`, to its end. Must run where tasks may be spawned that stay on their thread.
pub async fn serve(incoming: quinn::Incoming, local: SocketAddr, door: Rc<Door>) {
    let Some((connection, handshake)) = shake(incoming, &door).await else { return };
    let peer = connection.remote_address();
    let local = SocketAddr::new(connection.local_ip().unwrap_or_else(|| local.ip()), local.port());
    let ends = Ends { peer, local, proxy: None };
    let Some(session) = Session::begin(&door, ends, Some(handshake.secured)) else { return };
    drop(door);
    session.multiplex();
    session.is_not_to_advertise();
    let head_bytes_max = session.limits(|limits| limits.head_bytes_max) as u64;
    let quic = quic::Connection::new(connection, (HEAD_FRAMES * head_bytes_max).max(HEAD_FRAME_BYTES_MIN));
    let latest = quic.latest();
    let built = h3::server::builder().max_field_section_size(head_bytes_max).build(quic).await;
    let ended = match built {
        Ok(connection) => carry(connection, &latest, &session).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended
        && !error.is_h3_no_error()
    {
        tracing::debug!(listener = &*session.door.name, %peer, %error, "connection ended");
    }
}

// The handshake, bounded in time and in number. Where there are many, a client first has to show that it is where it says.
async fn shake(incoming: quinn::Incoming, door: &Rc<Door>) -> Option<(quinn::Connection, Handshake)> {
    let (series, worker, listener) = (&door.hall.series, door.worker.index, &*door.name);
    let snapshot = door.view.stable();
    let plan = snapshot.shared().listeners.get(&door.name);
    let Some((acceptor, limits)) = plan.and_then(|plan| Some((plan.tls.clone()?, &plan.spec.limits))) else {
        incoming.refuse();
        return None;
    };
    let Some(turn) = door.hall.shake(acceptor.handshakes_max()) else {
        series.handshake_failed(worker, Refusal::Crowded);
        incoming.refuse();
        return None;
    };
    if !incoming.remote_address_validated() && door.hall.handshakes() > acceptor.handshakes_max() / 2 {
        // One that cannot be asked to come again came again already.
        drop(incoming.retry());
        return None;
    }
    let peer = incoming.remote_address();
    let config = Arc::new(configure(&acceptor, limits));
    drop(snapshot);
    let timers = door.worker.locals.of::<Timers>();
    let shaken = async { incoming.accept_with(config)?.await };
    let shaken = timers.within(Instant::now() + acceptor.handshake_timeout(), shaken).await;
    drop(turn);
    let refusal = match shaken {
        Ok(Ok(connection)) => {
            let handshake = settled(&connection, &acceptor);
            series.handshake(worker, &handshake);
            return Some((connection, handshake));
        }
        Ok(Err(error)) => {
            tracing::debug!(listener, %peer, %error, "no handshake");
            refusal(&error)
        }
        Err(_elapsed) => Refusal::Timeout,
    };
    series.handshake_failed(worker, refusal);
    None
}

fn settled(connection: &quinn::Connection, acceptor: &Acceptor) -> Handshake {
    let data =
        connection.handshake_data().and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    acceptor.settled(data.and_then(|data| data.server_name), shown.as_ref().and_then(|shown| shown.first()))
}

// The alert that TLS ended with, where it did (RFC 9001 section 4.8).
fn refusal(error: &ConnectionError) -> Refusal {
    let ConnectionError::TransportError(error) = error else { return Refusal::Closed };
    match u64::from(error.code).checked_sub(CRYPTO_ERROR) {
        Some(42..=48 | 116) => Refusal::ClientCertificate,
        _ => Refusal::Protocol,
    }
}

fn configure(acceptor: &Acceptor, limits: &Limits) -> ServerConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(OTHER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_BUFFER_BYTES_MAX)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(GONE_AFTER.as_millis() as u32))))
        .keep_alive_interval(Some(PING_INTERVAL));
    let mut config = ServerConfig::with_crypto(acceptor.quic());
    config.transport_config(Arc::new(transport));
    config
}

type Served = h3::server::Connection<quic::Connection, Bytes>;

// What a connection does next.
enum Next {
    Request(Box<RequestResolver<quic::Connection, Bytes>>),
    // Nothing more is taken.
    Farewell,
    // All is over.
    End,
}

async fn carry(
    mut connection: Served,
    latest: &quic::Latest,
    session: &Rc<Session>,
) -> Result<(), h3::error::ConnectionError> {
    let open = Rc::<Cell<usize>>::default();
    let mut told = false;
    loop {
        match next(&mut connection, session, (&open, told)).await? {
            Next::Request(resolver) => {
                let Some(accepted) = latest.borrow_mut().take() else { continue };
                let guard = Guard::new(&open, session);
                tokio::task::spawn_local(stream::serve(Rc::clone(session), *resolver, accepted, guard));
            }
            Next::Farewell => {
                told = true;
                connection.shutdown(0).await?;
            }
            Next::End => return Ok(()),
        }
    }
}

async fn next(
    connection: &mut Served,
    session: &Rc<Session>,
    (open, told): (&Cell<usize>, bool),
) -> Result<Next, h3::error::ConnectionError> {
    let mut accept = pin!(connection.accept());
    poll_fn(|cx| {
        session.resident().attend(cx);
        if !told && (session.heed() || session.is_closing() || open.get() == 0 && http2::is_idle(session, cx)) {
            return Poll::Ready(Ok(Next::Farewell));
        }
        match accept.as_mut().poll(cx) {
            Poll::Ready(accepted) => Poll::Ready(
                accepted.map(|request| request.map_or(Next::End, |request| Next::Request(Box::new(request)))),
            ),
            Poll::Pending if told && open.get() == 0 => Poll::Ready(Ok(Next::End)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A request's stream that is not over; the last one to end wakes the connection.
struct Guard(Rc<Cell<usize>>, Rc<Session>);

impl Guard {
    fn new(open: &Rc<Cell<usize>>, session: &Rc<Session>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open), Rc::clone(session))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        if self.0.get() == 0 {
            self.1.resident().wake();
        }
    }
}

// What the codec keeps of a head that is over its limit, so that its client can be told so.
const HEAD_FRAMES: u64 = 4;
const HEAD_FRAME_BYTES_MIN: u64 = 256 * 1024;
// The control stream, those of QPACK, and some that only test whether they are ignored.
const OTHER_STREAMS_MAX: u32 = 8;
// What a client may send on one stream, and on all of them, before it is read.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
// What is kept of all responses of a connection until the client has them.
const SEND_BUFFER_BYTES_MAX: u64 = 2 * 1024 * 1024;
// A peer that is gone without a word is noticed after this time.
const GONE_AFTER: Duration = Duration::from_secs(45);
const PING_INTERVAL: Duration = Duration::from_secs(15);
// RFC 9001 section 4.8.
const CRYPTO_ERROR: u64 = 0x100;
