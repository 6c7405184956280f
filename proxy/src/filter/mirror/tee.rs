//! A body that is copied as it passes. The copy is whole, or it is dropped: it never waits, and never makes the
//! original wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};

use super::{Slot, Target, send};
use crate::{
    error::Error,
    exchange::{Body, Request},
    telemetry::MirrorOutcome,
};

/// A copy of a request that is not whole yet.
pub(super) struct Copy {
    request: Box<Request>,
    target: Arc<Target>,
    slot: Slot,
    // The bytes themselves, not the frames: a small one may hold a large read buffer.
    body: BytesMut,
    body_bytes_max: usize,
}

impl Copy {
    /// A copy of which only the head is there.
    pub(super) fn new(request: Box<Request>, target: Arc<Target>, slot: Slot, body_bytes_max: usize) -> Self {
        Self { request, target, slot, body: BytesMut::new(), body_bytes_max }
    }

    /// Sends it on its way.
    pub(super) fn send(mut self) {
        self.request.body = Body::full(self.body.freeze());
        tokio::task::spawn_local(send(self.request, self.target, self.slot));
    }

    fn end(self, outcome: MirrorOutcome) {
        self.target.series.finish(self.request.exchange.worker.index, outcome);
    }
}

/// The original body; `copy` is there until it is sent or given up.
pub(super) struct Tee {
    original: Body,
    copy: Option<Copy>,
    // Where the length is known, the reader may stop there without asking for the end.
    length: Option<u64>,
}

impl Tee {
    /// Copies `original` into `copy` as it is read.
    pub(super) fn new(original: Body, copy: Copy) -> Self {
        let length = original.size_hint().exact();
        let mut tee = Self { original, copy: Some(copy), length };
        if length.is_some_and(|length| tee.is_over(length)) {
            tee.give_up(MirrorOutcome::TooLarge);
        }
        tee
    }

    fn is_over(&self, length: u64) -> bool {
        self.copy.as_ref().is_some_and(|copy| length > copy.body_bytes_max as u64)
    }

    fn take(&mut self, data: &Bytes) {
        let Some(copy) = &mut self.copy else { return };
        if data.len() > copy.body_bytes_max - copy.body.len() {
            return self.give_up(MirrorOutcome::TooLarge);
        }
        copy.body.extend_from_slice(data);
        let whole = self.length == Some(copy.body.len() as u64) || self.original.is_end_stream();
        if whole {
            self.send();
        }
    }

    fn send(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send();
        }
    }

    fn give_up(&mut self, outcome: MirrorOutcome) {
        if let Some(copy) = self.copy.take() {
            copy.end(outcome);
        }
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.original).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.take(data);
                }
            }
            Some(Err(_)) => self.give_up(MirrorOutcome::Cut),
            None => self.send(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.original.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.original.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.give_up(MirrorOutcome::Cut);
    }
}
