//! QUIC as the HTTP/3 codec sees it: streams of quinn's, with a limit on frames that have to be whole before they are
//! read. Says of each request's stream when its client is through with it. Knows no request.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::frames::Frames;

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;
type Accepting<T> = Option<Boxed<Result<T, ConnectionError>>>;

/// A connection.
pub(super) struct Connection {
    inner: quinn::Connection,
    requests: Accepting<(quinn::SendStream, quinn::RecvStream)>,
    others: Accepting<quinn::RecvStream>,
    opening: Accepting<quinn::SendStream>,
    frame_bytes_max: u64,
    latest: Latest,
}

/// Resolves when the client is through with a stream: it has all of the response, wants no more of it, or is gone.
pub(super) struct Through(Result<Boxed<Ended>, Ended>);

/// How a client was through with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has all that was sent.
    Taken,
    /// It wants no more, or its connection is gone.
    Gone,
}

/// The stream that was accepted last.
pub(super) type Latest = Rc<RefCell<Option<Through>>>;

impl Connection {
    /// `inner`, with frames of `frame_bytes_max` at most but for those of bodies.
    pub(super) fn new(inner: quinn::Connection, frame_bytes_max: u64) -> Self {
        let latest = Latest::default();
        Self { inner, requests: None, others: None, opening: None, frame_bytes_max, latest }
    }

    /// Where the stream is found that was accepted last.
    pub(super) fn latest(&self) -> Latest {
        Rc::clone(&self.latest)
    }
}

impl Future for Through {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let ended = match &mut self.0 {
            Ok(waits) => ready!(waits.as_mut().poll(cx)),
            Err(ended) => return Poll::Ready(*ended),
        };
        self.0 = Err(ended);
        Poll::Ready(ended)
    }
}

fn poll_accept<T, F>(
    accepting: &mut Accepting<T>,
    cx: &mut Context<'_>,
    begin: impl FnOnce() -> F,
) -> Poll<Result<T, ConnectionError>>
where
    F: Future<Output = Result<T, ConnectionError>> + 'static,
{
    let under_way = accepting.get_or_insert_with(|| Box::pin(begin()));
    let accepted = ready!(under_way.as_mut().poll(cx));
    *accepting = None;
    Poll::Ready(accepted)
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let inner = self.inner.clone();
        let accepted = ready!(poll_accept(&mut self.others, cx, || async move { inner.accept_uni().await }));
        let frames = Frames::of_another(self.frame_bytes_max);
        Poll::Ready(accepted.map(|stream| RecvStream { stream, frames }).map_err(lost))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let inner = self.inner.clone();
        let accepted = ready!(poll_accept(&mut self.requests, cx, || async move { inner.accept_bi().await }));
        let (send, stream) = accepted.map_err(lost)?;
        let stopped = send.stopped();
        let through = async { if matches!(stopped.await, Ok(None)) { Ended::Taken } else { Ended::Gone } };
        *self.latest.borrow_mut() = Some(Through(Ok(Box::pin(through))));
        let frames = Frames::of_request(self.frame_bytes_max);
        Poll::Ready(Ok(BidiStream { send: SendStream::new(send), recv: RecvStream { stream, frames } }))
    }

    fn opener(&self) -> Opener {
        Opener(self.inner.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        Poll::Ready(Err(no_requests()))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let inner = self.inner.clone();
        let opened = ready!(poll_accept(&mut self.opening, cx, || async move { inner.open_uni().await }));
        Poll::Ready(opened.map(SendStream::new).map_err(lost_below))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.inner.close(number(code.value()), reason);
    }
}

/// What the codec asks for and a server never uses: it opens no requests.
pub(super) struct Opener(quinn::Connection);

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        Poll::Ready(Err(no_requests()))
    }

    fn poll_open_send(&mut self, _cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        Poll::Ready(Err(no_requests()))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.0.close(number(code.value()), reason);
    }
}

/// The stream of a request and its response.
pub(super) struct BidiStream {
    send: SendStream,
    recv: RecvStream,
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What comes in.
pub(super) struct RecvStream {
    stream: quinn::RecvStream,
    frames: Frames,
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let read = ready!(pin!(self.stream.read_chunk(READ_BYTES_MAX, true)).poll(cx));
        let bytes = match read {
            Ok(chunk) => chunk.map(|chunk| chunk.bytes),
            Err(ReadError::Reset(code)) => {
                return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }));
            }
            Err(ReadError::ConnectionLost(error)) => return Poll::Ready(Err(lost_below(error))),
            Err(error) => return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(error)))),
        };
        if bytes.as_ref().is_some_and(|bytes| self.frames.feed(bytes).is_err()) {
            let code = Code::H3_EXCESSIVE_LOAD.value();
            self.stop_sending(code);
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code }));
        }
        Poll::Ready(Ok(bytes))
    }

    fn stop_sending(&mut self, code: u64) {
        // One that is over already needs no word.
        let _over = self.stream.stop(number(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

/// What goes out.
pub(super) struct SendStream {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
}

impl SendStream {
    const fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.writing.as_mut().filter(|data| data.has_remaining()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
            match written {
                Ok(written) => data.advance(written),
                Err(WriteError::Stopped(code)) => {
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }));
                }
                Err(WriteError::ConnectionLost(error)) => return Poll::Ready(Err(lost_below(error))),
                Err(error) => return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(error)))),
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("a frame before the one before it was sent".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        let _over = self.stream.reset(number(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(id)).expect("QUIC numbers streams below 2^62")
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(closed) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: closed.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost_below(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
}

fn no_requests() -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown("a server sends no requests".into())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.inner.remote_address())
    }
}

const READ_BYTES_MAX: usize = 64 * 1024;
