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

use super::{
    frames::{Empty, Fault, Frames},
    others::{self, Others},
};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;
type Accepting<T> = Option<Boxed<Result<T, ConnectionError>>>;

/// A connection.
pub(super) struct Connection {
    inner: quinn::Connection,
    requests: Accepting<(quinn::SendStream, quinn::RecvStream)>,
    arriving: Accepting<quinn::RecvStream>,
    others: Others,
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

/// What is known of a stream beside what the codec reads of it.
pub(super) struct Accepted {
    /// When its client is through with it.
    pub(super) through: Through,
    /// What the codec takes for ends of its body.
    pub(super) empty: Empty,
}

/// The stream that was accepted last.
pub(super) type Latest = Rc<RefCell<Option<Accepted>>>;

impl Connection {
    /// `inner`, with frames of `frame_bytes_max` at most but for those of bodies.
    pub(super) fn new(inner: quinn::Connection, frame_bytes_max: u64) -> Self {
        let latest = Latest::default();
        let others = Others::default();
        Self { inner, requests: None, arriving: None, others, opening: None, frame_bytes_max, latest }
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
        loop {
            let inner = self.inner.clone();
            match poll_accept(&mut self.arriving, cx, || async move { inner.accept_uni().await }) {
                Poll::Ready(accepted) => self.others.push(accepted.map_err(lost)?),
                Poll::Pending => break,
            }
        }
        let frames = Frames::of_another(self.frame_bytes_max);
        match ready!(self.others.poll(cx)) {
            Ok((stream, early)) => Poll::Ready(Ok(RecvStream::new(stream, frames, &self.inner).behind(early))),
            Err(others::Ended::Lost(error)) => Poll::Ready(Err(lost(error))),
            Err(others::Ended::Broken(code)) => {
                self.inner.close(number(code.value()), b"a stream that may not be, or says what it may not");
                Poll::Ready(Err(lost(ConnectionError::LocallyClosed)))
            }
        }
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let inner = self.inner.clone();
        let accepted = ready!(poll_accept(&mut self.requests, cx, || async move { inner.accept_bi().await }));
        let (send, stream) = accepted.map_err(lost)?;
        let stopped = send.stopped();
        let through = async { if matches!(stopped.await, Ok(None)) { Ended::Taken } else { Ended::Gone } };
        let frames = Frames::of_request(self.frame_bytes_max);
        let through = Through(Ok(Box::pin(through)));
        *self.latest.borrow_mut() = Some(Accepted { through, empty: frames.empty() });
        let recv = RecvStream::new(stream, frames, &self.inner);
        Poll::Ready(Ok(BidiStream { send: SendStream::new(send), recv }))
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
        let polled = self.recv.poll_data(cx);
        if let Some(fault) = self.recv.broken {
            quic::SendStream::reset(&mut self.send, fault.code().value());
        }
        polled
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
    connection: quinn::Connection,
    // Read before the codec asked.
    early: Option<Bytes>,
    broken: Option<Fault>,
}

impl RecvStream {
    fn new(stream: quinn::RecvStream, frames: Frames, connection: &quinn::Connection) -> Self {
        Self { stream, frames, connection: connection.clone(), early: None, broken: None }
    }

    // The same, `early` first.
    fn behind(self, early: Bytes) -> Self {
        Self { early: Some(early), ..self }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if let Some(early) = self.early.take() {
            return Poll::Ready(Ok(Some(early)));
        }
        let read = ready!(pin!(self.stream.read_chunk(READ_BYTES_MAX, true)).poll(cx));
        Poll::Ready(match read {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(ReadError::Reset(code)) => Err(StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }),
            Err(ReadError::ConnectionLost(error)) => Err(lost_below(error)),
            Err(error) => Err(StreamErrorIncoming::Unknown(Box::new(error))),
        })
    }

    // RFC 9114 section 7.1: a stream that ends within a frame. The codec would take it for the end of the body.
    fn cut_off(&self) -> StreamErrorIncoming {
        let code = Code::H3_FRAME_ERROR.value();
        self.connection.close(number(code), b"a stream ends within a frame");
        StreamErrorIncoming::StreamTerminated { error_code: code }
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let bytes = ready!(self.poll_read(cx))?;
        match &bytes {
            None if self.frames.is_in_body() => return Poll::Ready(Err(self.cut_off())),
            None => {}
            Some(bytes) => self.broken = self.frames.feed(bytes).err(),
        }
        let Some(fault) = self.broken else { return Poll::Ready(Ok(bytes)) };
        let code = fault.code().value();
        self.stop_sending(code);
        Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code }))
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
