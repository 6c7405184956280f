//! The rest of a request whose response has begun already: sent by a task beside the one that reads the response, so
//! that a client that is slow to read is not held up in what it sends. Rare; everything else needs no task.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use tokio::task::AbortHandle;

use super::{upload::Upload, wire::Wire};
use crate::error::Error;

/// A connection on which request and response are both under way. Dropped, it is closed.
pub(super) struct Pump {
    shared: Rc<RefCell<Shared>>,
    task: AbortHandle,
}

struct Shared {
    wire: Option<Box<Wire>>,
    // Taken when the request is sent to its end.
    upload: Option<Upload>,
    failed: Option<Error>,
    reader: Option<Waker>,
}

impl Pump {
    /// Sends the rest of `upload` on `wire`.
    pub(super) fn start(wire: Box<Wire>, upload: Upload) -> Self {
        let shared = Shared { wire: Some(wire), upload: Some(upload), failed: None, reader: None };
        let shared = Rc::new(RefCell::new(shared));
        let sent = Rc::clone(&shared);
        let task = tokio::task::spawn_local(std::future::poll_fn(move |cx| sent.borrow_mut().poll(cx)));
        Self { shared, task: task.abort_handle() }
    }

    /// Uses the connection to read. The body of the request may have failed meanwhile: then the response is void.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut Wire) -> T) -> Result<Option<T>, Error> {
        let mut shared = self.shared.borrow_mut();
        shared.failed.take().map_or_else(|| Ok(shared.wire.as_deref_mut().map(use_it)), Err)
    }

    /// Wakes `reader` when the request's body fails.
    pub(super) fn wake(&self, reader: &Waker) {
        self.shared.borrow_mut().reader = Some(reader.clone());
    }

    /// The connection, where the request was sent to its end.
    pub(super) fn end(self) -> Option<Box<Wire>> {
        let mut shared = self.shared.borrow_mut();
        if shared.upload.is_none() { shared.wire.take() } else { None }
    }
}

impl Shared {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(wire), Some(upload)) = (&mut self.wire, &mut self.upload) else { return Poll::Ready(()) };
        match ready!(wire.poll_upload(cx, upload)) {
            // What the upstream refused was not sent to its end.
            Ok(()) if upload.refused.is_some() => {}
            Ok(()) => self.upload = None,
            Err(error) => {
                self.failed = Some(error);
                self.reader.take().inspect(Waker::wake_by_ref);
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
        let mut shared = self.shared.borrow_mut();
        let rest = (shared.wire.take(), shared.upload.take());
        drop(shared);
        drop(rest);
    }
}
