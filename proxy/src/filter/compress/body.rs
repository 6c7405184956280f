//! A body that is compressed as it is read. Holds an encoder and one frame of the body; never more of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::coder::{Coder, PIECE_BYTES};
use crate::{
    error::{Error, Kind},
    exchange::Body,
};

/// The compressed body.
pub(super) struct Compressed {
    plain: Body,
    coder: Coder,
    // Of a frame, what is not compressed yet.
    left: Bytes,
    trailers: Option<HeaderMap>,
    // On the encoder, since this body last made way for others.
    spent: Duration,
}

/// The time that one body may keep a worker from its other exchanges.
const TURN: Duration = Duration::from_millis(1);

enum Next {
    Out(Bytes),
    Nothing,
}

impl Compressed {
    /// `plain`, through `coder`.
    pub(super) fn new(plain: Body, coder: Coder) -> Self {
        Self { plain, coder, left: Bytes::new(), trailers: None, spent: Duration::ZERO }
    }

    fn work(&mut self, work: impl FnOnce(&mut Coder) -> io::Result<Option<Bytes>>) -> Result<Next, Error> {
        let began = Instant::now();
        let out = work(&mut self.coder);
        self.spent += began.elapsed();
        let out = out.map_err(|error| Error::because(Kind::Internal, "compressing a response", error))?;
        Ok(out.map_or(Next::Nothing, Next::Out))
    }

    fn slice(&mut self) -> Result<Next, Error> {
        let slice = self.left.split_to(self.left.len().min(PIECE_BYTES));
        self.work(|coder| coder.write(&slice))
    }

    // What comes of the next frame.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Error>> {
        match Pin::new(&mut self.plain).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.left = data;
                    Poll::Ready(Ok(Next::Nothing))
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    Poll::Ready(self.work(Coder::finish))
                }
            },
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => Poll::Ready(self.work(Coder::finish)),
            Poll::Pending if self.coder.is_held() => match self.work(Coder::flush) {
                Ok(Next::Nothing) => Poll::Pending,
                flushed => Poll::Ready(flushed),
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.coder.is_finished() {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if self.spent >= TURN {
                self.spent = Duration::ZERO;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let next = if self.left.is_empty() {
                match self.poll_plain(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => return Poll::Pending,
                }
            } else {
                self.slice()
            };
            match next {
                Ok(Next::Out(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Ok(Next::Nothing) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.coder.is_finished() && self.trailers.is_none()
    }
}
