//! When an attempt is made again by itself: one that was refused because somebody else did not answer. Knows only time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The next attempt that nobody asks for.
#[derive(Debug, Default)]
pub(super) struct Again {
    at: Option<Instant>,
    pause: Duration,
}

/// After the first refusal; doubled after each further one.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Again {
    /// Notes how an attempt went: whether it is to be made again.
    pub(super) fn after(&mut self, passing: bool) {
        self.pause = if passing { (2 * self.pause).clamp(PAUSE, PAUSE_MAX) } else { Duration::ZERO };
        self.at = passing.then(|| Instant::now() + self.pause);
    }

    /// Resolves when it is time; never where there is nothing to do again.
    pub(super) async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_until_it_passes() {
        let mut again = Again::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            again.after(true);
            assert!(again.at.is_some());
            assert_eq!(again.pause.as_secs(), seconds);
        }
        again.after(false);
        assert_eq!(again.at, None);
        again.after(true);
        assert_eq!(again.pause, PAUSE);
    }
}
