//! When a call's time is over, to the millisecond. The worker's own timers come up to ten late, which is right for
//! connections, of which there are many, and not for calls, which seldom wait. Knows no call.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::Sleep;

/// A moment that may be waited for. Nothing is set up before the first poll.
pub(super) struct Deadline {
    at: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

impl Deadline {
    /// One at `at`.
    pub(super) const fn at(at: Instant) -> Self {
        Self { at, sleep: None }
    }

    /// Moves it.
    pub(super) fn set(&mut self, at: Instant) {
        if at != self.at {
            *self = Self::at(at);
        }
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A guest that computes comes here at each tick, and need not wait until the timers have been looked at.
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at.into())));
        sleep.as_mut().poll(cx)
    }

    /// Runs `future` until its end or until `at`; in the second case it is dropped.
    ///
    /// # Errors
    /// [`Late`] when the time was up first.
    pub(super) async fn within<F: Future>(at: Instant, future: F) -> Result<F::Output, Late> {
        let (mut deadline, mut future) = (Self::at(at), pin!(future));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => deadline.poll(cx).map(|()| Err(Late)),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_ready_is_never_late_and_what_never_is_ends() {
        assert_eq!(Deadline::within(Instant::now(), future::ready(3)).await, Ok(3));
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(Deadline::within(soon, future::pending::<()>()).await, Err(Late));
        assert!(Instant::now() >= soon);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_can_be_moved() {
        let now = Instant::now();
        let mut deadline = Deadline::at(now + Duration::from_secs(3600));
        let waited = poll_fn(|cx| {
            assert!(deadline.poll(cx).is_pending());
            deadline.set(now + Duration::from_millis(1));
            Poll::Ready(())
        });
        waited.await;
        poll_fn(|cx| deadline.poll(cx)).await;
    }
}
