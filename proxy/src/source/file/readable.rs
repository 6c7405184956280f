//! Waiting for the queue of events on the control plane's runtime, without a thread. The one `unsafe` of this room.
#![allow(unsafe_code, reason = "tokio takes a descriptor only on the word that it stays open")]

use std::{io, sync::Arc};

use tokio::io::{Interest, unix::AsyncFd};

use super::inotify::Inotify;

/// The queue, registered with the runtime of whoever made this.
#[derive(Debug)]
pub(super) struct Readable(AsyncFd<Arc<Inotify>>);

impl Readable {
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// The runtime's poller takes no more descriptors.
    pub(super) fn new(queue: Arc<Inotify>) -> io::Result<Self> {
        // SAFETY: the descriptor is an `OwnedFd` in a private field that is never replaced, and the `Arc` that the
        // `AsyncFd` holds keeps it open for as long as the `AsyncFd` lives.
        let registered = unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) };
        Ok(Self(registered.map_err(|refused| refused.into_parts().1)?))
    }

    /// Resolves when there were events, which have been passed on. Never, when the runtime is shutting down.
    pub(super) async fn drained(&self) {
        match self.0.readable().await {
            Ok(mut ready) => {
                self.0.get_ref().drain();
                ready.clear_ready();
            }
            Err(_) => std::future::pending().await,
        }
    }
}
