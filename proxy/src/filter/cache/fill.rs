//! A body that is stored as it passes. It is stored whole or not at all: it never waits, and never makes its reader wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::{desk::Desk, stored::Resource, stored::Stored};
use crate::{
    error::Error,
    exchange::Body,
    state::{Lead, Reserved},
};

/// What is being stored.
pub(super) struct Filling {
    /// Where to.
    pub(super) desk: Arc<Desk>,
    /// Under which key.
    pub(super) key: String,
    /// The head.
    pub(super) stored: Stored,
    /// The room for what is there so far.
    pub(super) reserved: Reserved<Resource>,
    /// How many changes there were when it was asked for.
    pub(super) then: u64,
    /// Whoever waits for it does so until this is dropped.
    pub(super) lead: Option<Lead>,
}

/// A body, and its copy until that is stored or given up.
pub(super) struct Fill {
    body: Body,
    // The bytes themselves, not the frames: a small one may hold a large read buffer.
    bytes: Vec<u8>,
    filling: Option<Filling>,
    // Where the length is known, the reader may stop there without asking for the end.
    length: Option<u64>,
}

impl Fill {
    /// Stores `body` as it is read.
    pub(super) fn store(body: Body, filling: Filling) -> Body {
        if body.is_empty() {
            filling.finish(Bytes::new());
            return body;
        }
        let length = body.size_hint().exact();
        Body::stream(Self { body, bytes: Vec::new(), filling: Some(filling), length })
    }

    fn take(&mut self, data: &Bytes) {
        let Some(filling) = &mut self.filling else { return };
        let (there, bytes_max) = (self.bytes.len(), filling.desk.rules.entry_bytes_max);
        if data.len() > bytes_max - there {
            return self.give_up();
        }
        let (needed, room) = (there + data.len(), self.bytes.capacity());
        if needed > room {
            let known = self.length.and_then(|length| usize::try_from(length).ok());
            let wanted = known.unwrap_or(2 * room).clamp(needed, bytes_max);
            if !filling.reserved.grow(wanted - room) {
                return self.give_up();
            }
            self.bytes.reserve_exact(wanted - there);
        }
        self.bytes.extend_from_slice(data);
        if self.length == Some(self.bytes.len() as u64) || self.body.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(filling) = self.filling.take() {
            filling.finish(std::mem::take(&mut self.bytes).into_boxed_slice().into());
        }
    }

    // Who waits for it need not wait any longer, nor for the next one.
    fn give_up(&mut self) {
        self.bytes = Vec::new();
        if let Some(Filling { desk, key, lead, .. }) = self.filling.take() {
            desk.let_go(&key, lead, Instant::now());
        }
    }
}

impl Filling {
    fn finish(self, body: Bytes) {
        let Self { desk, key, stored, reserved, then, lead } = self;
        // What was reserved is counted once more with what is stored.
        drop(reserved);
        desk.put(&key, Arc::new(stored.with(body)), then);
        drop(lead);
    }
}

impl http_body::Body for Fill {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => self.take(data),
                // A message with trailers would be stored without them.
                None => self.give_up(),
            },
            // It broke off.
            Some(Err(_)) => drop(self.filling.take()),
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.filling.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
