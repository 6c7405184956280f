//! Waiting for a condition with a deadline: the only place of the tests that may sleep.

use std::time::{Duration, Instant};

/// How long [`soon`] waits: far longer than anything should take, so that only what never happens fails.
const SOON: Duration = Duration::from_secs(20);

/// Asks `condition` until it answers with something, or fails the test after `deadline`; `what` completes the
/// sentence "waited in vain until …".
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn eventually<T, C>(what: &str, deadline: Duration, condition: C) -> impl Future<Output = T>
where
    C: AsyncFnMut() -> Option<T>,
{
    let caller = std::panic::Location::caller();
    async move {
        let mut condition = condition;
        let end = Instant::now() + deadline;
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            assert!(Instant::now() < end, "{caller}: waited in vain until {what} ({deadline:?})");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// [`eventually`] with a condition that is true or false, and a deadline that no machine is too slow for.
#[track_caller]
pub fn soon<C: AsyncFnMut() -> bool>(what: &str, condition: C) -> impl Future<Output = ()> {
    let mut condition = condition;
    eventually(what, SOON, async move || condition().await.then_some(()))
}
