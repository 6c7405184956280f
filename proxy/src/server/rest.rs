//! A connection of HTTP/1 whose client asks for nothing for a while: it keeps its socket and what was settled on it, and gives
//! back the buffers and the state of its codec, for other connections to use. Knows nothing of requests.

use std::{future::poll_fn, rc::Rc, task::Poll};

use bytes::BytesMut;

use super::{http1, session::Session, sniff, wire::Socket};

/// Serves a connection of which `first` was already read, rests included.
pub(super) async fn serve(mut socket: Socket, mut first: BytesMut, session: Rc<Session>) {
    // Boxed, so that it is gone while the connection rests.
    while let Some(rested) = Box::pin(http1::serve(socket, first, Rc::clone(&session))).await {
        (socket, first) = (rested, BytesMut::new());
        session.forget();
        let resting = Resting::new(&session);
        if !wait(&mut socket, &mut first, &session).await {
            return;
        }
        drop(resting);
    }
}

/// A connection that rests; dropped, it does no longer.
struct Resting<'a>(&'a Session);

impl<'a> Resting<'a> {
    fn new(session: &'a Session) -> Self {
        let door = &session.door;
        door.hall.series.rested(door.worker.index);
        door.worker.freed.notify_one();
        Self(session)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        let door = &self.0.door;
        door.hall.series.woke(door.worker.index);
    }
}

// Until the client asks again; not if it is gone, was silent for too long, or the listener closes.
async fn wait(socket: &mut Socket, first: &mut BytesMut, session: &Session) -> bool {
    let keep_alive = session.limits(|limits| limits.keep_alive_timeout);
    let Some(deadline) = session.idle_since().map(|since| since + keep_alive) else { return false };
    let asks = sniff::read(socket, first, session, deadline).await && !first.is_empty();
    if !asks {
        // One try: whoever takes nothing is not waited for.
        poll_fn(|cx| Poll::Ready(socket.poll_shutdown(cx).is_ready())).await;
    }
    asks
}
