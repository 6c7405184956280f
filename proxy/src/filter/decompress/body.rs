//! A body that is decompressed as it is read. Holds a decoder and one frame of the body; never more of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::decoder::{Decoder, PIECE_BYTES};
use crate::{error::Error, exchange::Body};

/// The plain body.
pub(super) struct Plain {
    coded: Body,
    decoder: Decoder,
    // Of a frame, what is not decoded yet.
    left: Bytes,
    trailers: Option<HeaderMap>,
    // On the decoder, since this body last made way for others.
    spent: Duration,
}

/// The time that one body may keep a worker from its other exchanges.
const TURN: Duration = Duration::from_millis(1);

impl Plain {
    /// `coded`, through `decoder`.
    pub(super) fn new(coded: Body, decoder: Decoder) -> Self {
        Self { coded, decoder, left: Bytes::new(), trailers: None, spent: Duration::ZERO }
    }

    // What comes of what is there, or of the next frame.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        if self.left.is_empty() {
            match std::task::ready!(Pin::new(&mut self.coded).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.left = data,
                Some(Err(frame)) => {
                    self.trailers = frame.into_trailers().ok();
                    return Poll::Ready(self.decoder.finish());
                }
                None => return Poll::Ready(self.decoder.finish()),
            }
        }
        let began = Instant::now();
        let piece = self.left.split_to(self.left.len().min(PIECE_BYTES));
        let plain = self.decoder.write(&piece);
        self.spent += began.elapsed();
        Poll::Ready(plain)
    }
}

impl http_body::Body for Plain {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.decoder.is_finished() {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if self.spent >= TURN {
                self.spent = Duration::ZERO;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let plain = std::task::ready!(self.poll_next(cx))?;
            if !plain.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(plain))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_finished() && self.trailers.is_none()
    }
}
