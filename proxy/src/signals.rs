//! Signals: what each one asks for. Knows not how it is done.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `HUP`: load what the sources hold.
    Reload,
    /// `USR1`: the same, and open log files anew.
    ReloadAndReopen,
    /// `TERM` or `INT`: let what is under way end, and exit; the second time, exit at once.
    Stop,
}

/// The signals that this process takes, from the making of this on.
#[derive(Debug)]
pub struct Signals {
    hangup: unix::Signal,
    user1: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Takes the signals. To be called in a runtime.
    ///
    /// # Errors
    /// When the system does not let a handler be set.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one. Equal signals that arrive before it is asked for again may count as one. May be dropped at any
    /// await.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.user1.recv() => Signal::ReloadAndReopen,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{self, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn each_signal_asks_for_its_own() {
        let mut signals = Signals::new().expect("handlers");
        for (raised, asked) in [
            (process::Signal::HUP, Signal::Reload),
            (process::Signal::USR1, Signal::ReloadAndReopen),
            (process::Signal::TERM, Signal::Stop),
            (process::Signal::INT, Signal::Stop),
        ] {
            kill_process(getpid(), raised).expect("raised");
            let next = timeout(Duration::from_secs(20), signals.next()).await.expect("it arrives");
            assert_eq!(next, asked, "{raised:?}");
        }
    }
}
