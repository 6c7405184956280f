//! What the calls of one VM hold of requests and messages that are not sent yet: bounded, because a module may send the
//! same piece of its memory again and again. Knows no call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::status::{Done, Status};

/// Bytes that wait at a time. What would be over it is refused.
const BYTES_MAX: usize = 32 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox(Arc<AtomicUsize>);

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Outbox {
    /// Counts as many bytes.
    ///
    /// # Errors
    /// Where there is no room for them.
    pub(super) fn hold(&self, bytes: usize) -> Done<Held> {
        let fits = |waiting: usize| waiting.checked_add(bytes).filter(|sum| *sum <= BYTES_MAX);
        match self.0.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(Held { waiting: Arc::clone(&self.0), bytes }),
            Err(_) => Err(Status::InternalFailure),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_makes_room() {
        let outbox = Outbox::default();
        let held = outbox.hold(BYTES_MAX).unwrap();
        assert_eq!((outbox.hold(1).is_err(), outbox.hold(0).is_ok()), (true, true));
        drop(held);
        assert!(outbox.hold(usize::MAX).is_err() && outbox.hold(1).is_ok());
    }
}
