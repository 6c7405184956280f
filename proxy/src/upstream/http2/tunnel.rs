//! WebSocket on a stream (RFC 8441): what an HTTP/1.1 client asks for with an upgrade goes out as an extended CONNECT,
//! and its agreement comes back as a 101 with a tunnel. Knows nothing of what is said in it.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use http::{HeaderValue, StatusCode, Version, header, response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{failure, line::Seat, outgoing::Outgoing};
use crate::exchange::{Duplex, Request, Response, Tunnel, websocket};

/// Whether `request` asks to switch to WebSocket, the only protocol that a stream can switch to.
pub(super) fn is_asked_for(request: &Request) -> bool {
    request.upgrade.as_ref().is_some_and(websocket::is_meant)
}

/// The 101 that a successful answer to an extended CONNECT stands for.
pub(super) fn agree(
    mut head: response::Parts,
    (input, outgoing): (RecvStream, Outgoing),
    seat: Seat,
    request: &Request,
) -> Response {
    head.status = StatusCode::SWITCHING_PROTOCOLS;
    head.version = Version::HTTP_2;
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(key) = request.head.headers.get(header::SEC_WEBSOCKET_KEY) {
        head.headers.insert(header::SEC_WEBSOCKET_ACCEPT, websocket::accept(key.as_bytes()));
    }
    head.headers.remove(header::CONTENT_LENGTH);
    let end = End { input, read: Bytes::new(), output: outgoing.into_stream(), seat };
    let tunnel = Tunnel::new(async { Ok(Box::new(end) as Box<dyn Duplex>) });
    Response { head, body: Default::default(), tunnel: Some(tunnel) }
}

// The endpoint's end of a tunnel. Dropped before its end, it resets its stream.
struct End {
    input: RecvStream,
    // Received and not taken yet.
    read: Bytes,
    output: SendStream<Bytes>,
    seat: Seat,
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.input.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => {
                    self.read = data.map_err(failure::io)?;
                    self.seat.line.hear();
                }
            }
        }
        let count = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..count]);
        self.read.advance(count);
        self.input.flow_control().release_capacity(count).map_err(failure::io)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.output.reserve_capacity(bytes.len().min(WRITE_BYTES_MAX));
        while self.output.capacity() == 0 {
            match ready!(self.output.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(failure::io(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.output.capacity().min(bytes.len()).min(WRITE_BYTES_MAX);
        self.output.send_data(Bytes::copy_from_slice(&bytes[..count]), false).map_err(failure::io)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The stream may be over already.
        drop(self.output.send_data(Bytes::new(), true));
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "End({})", self.seat.line.peer)
    }
}

// Copied at a time.
const WRITE_BYTES_MAX: usize = 64 * 1024;
