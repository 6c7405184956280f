//! HTTP/1.0 and HTTP/1.1 on a connection.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use hyper::{
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};

use super::{exchange, session::Session, wire::Socket};

/// Serves a connection of which `first` was already read.
pub(super) async fn serve(socket: Socket, first: Vec<u8>, session: Rc<Session>) {
    let service = service_fn(|request| exchange::serve(Rc::clone(&session), request));
    let wire = Guarded { socket, held: first, taken: 0 };
    let mut connection = builder(&session).serve_connection(wire, service);
    let mut told = false;
    let outcome = poll_fn(|cx| {
        session.resident().attend(cx);
        if session.door.is_closing() && !std::mem::replace(&mut told, true) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    if let Err(error) = outcome {
        tracing::debug!(listener = &*session.door.name, peer = %session.connection.peer, %error, "connection ended");
        return;
    }
    let parts = connection.into_parts();
    let switch = session.switch.take();
    if let Some(switch) = switch {
        switch.run(parts.io.socket.into_stream(), &parts.read_buf, &session).await;
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

/// The socket as hyper sees it.
struct Guarded {
    socket: Socket,
    held: Vec<u8>,
    taken: usize,
}

impl Read for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.taken < this.held.len() {
            let piece = cursor.remaining().min(this.held.len() - this.taken);
            cursor.put_slice(&this.held[this.taken..this.taken + piece]);
            this.taken += piece;
            return Poll::Ready(Ok(()));
        }
        ready!(this.socket.poll_read(cx, &mut cursor, <[u8]>::len))?;
        Poll::Ready(Ok(()))
    }
}

impl Write for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write_vectored(cx, pieces)
    }
}

// What hyper buffers of a connection: a read, or a response that the client does not take fast enough.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
// hyper's own least.
const BUFFER_BYTES_MIN: usize = 8 * 1024;
// More fields than this make hyper allocate for each head.
const HEADERS_ON_STACK: usize = 100;
