//! HTTP/1.0 and HTTP/1.1 on a connection: hyper's settings, and how a connection ends.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};

use super::{
    exchange,
    guarded::{self, Guarded},
    inbound::Arriving,
    session::Session,
    wire::Socket,
};

/// Serves a connection of which `first` was already read. Answers its socket where its client has asked for nothing for a
/// while, and may yet.
pub(super) async fn serve(socket: Socket, first: BytesMut, session: Rc<Session>) -> Option<Socket> {
    let service = service_fn(|request: http::Request<Incoming>| {
        exchange::serve(Rc::clone(&session), request.map(Arriving::Hyper))
    });
    let wire = Guarded::new(socket, first);
    let mut connection = builder(&session).serve_connection(wire, service);
    let mut told = false;
    let outcome = poll_fn(|cx| {
        session.resident().attend(cx);
        if session.heed() && !std::mem::replace(&mut told, true) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(End::Over(outcome)),
            Poll::Pending if session.rests() => Poll::Ready(End::Rest),
            Poll::Pending => {
                guarded::look_again(&session, cx);
                session.poll_overdue(cx).map(|()| End::Overdue)
            }
        }
    })
    .await;
    let parts = connection.into_parts();
    let unread = parts.io.has_unread();
    let (mut socket, early) = parts.io.into_parts();
    let switch = session.switch.take();
    match (outcome, switch) {
        (End::Rest, _) => return Some(socket),
        (End::Overdue, _) => socket.break_off(),
        (End::Over(Ok(())), Some(switch)) => switch.run(socket.into_stream(), &early, &session).await,
        (End::Over(Ok(())), None) if unread => linger(&mut socket, &session).await,
        (End::Over(Ok(())), None) => {}
        (End::Over(Err(error)), _) => {
            tracing::debug!(listener = &*session.door.name, peer = %session.connection.peer, %error, "connection ended");
            if session.is_broken() {
                socket.break_off();
            }
        }
    }
    None
}

// How hyper's part of a connection ends.
enum End {
    Over(hyper::Result<()>),
    // The time of the exchange under way is up, and its client takes nothing.
    Overdue,
    // Nothing is under way, nothing is buffered on either side.
    Rest,
}

/// Reads on for a while what nobody wants: closing a socket with unread bytes resets it, and the reset can overtake the
/// answer on its way to the client. What is there already is read even where the time is over before it was looked at.
pub(super) async fn linger(socket: &mut Socket, session: &Session) {
    let until = Instant::now() + LINGER;
    let mut unread = BytesMut::new();
    let more = |unread: &mut BytesMut, socket: &mut Socket, cx: &mut std::task::Context<'_>| {
        unread.clear();
        match socket.poll_read_more(cx, unread) {
            Poll::Ready(outcome) => Poll::Ready(outcome.is_ok_and(|read| read > 0)),
            Poll::Pending => session.alarm.poll_at(until, cx).map(|()| false),
        }
    };
    let mut late = 0;
    while late < LATE_READS_MAX && poll_fn(|cx| more(&mut unread, socket, cx)).await {
        late += usize::from(Instant::now() >= until);
    }
}

fn builder(session: &Session) -> http1::Builder {
    let (head_bytes_max, headers_max) = session.limits(|limits| (limits.head_bytes_max, limits.headers_max));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX.max(head_bytes_max + BUFFER_BYTES_MIN));
    if headers_max > HEADERS_ON_STACK {
        builder.max_headers(headers_max);
    }
    builder
}

const LINGER: Duration = Duration::from_secs(2);
// As much as a socket's buffer has by default.
const LATE_READS_MAX: usize = 64;
// What hyper buffers of a connection: a read, or a response that the client does not take fast enough.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
// hyper's own least.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
// More fields than this make hyper allocate for each head.
const HEADERS_ON_STACK: usize = 100;
